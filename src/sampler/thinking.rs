//! Reasoning that has a budget: where it starts and ends, and what it is ended with.

use crate::types::{ThinkingBudget, Token};

/// Follows the reasoning of one generation, token by token, prompt included.
#[derive(Clone, Debug)]
pub(super) struct Thinking {
    budget: ThinkingBudget,
    /// The latest tokens, as many as a mark has.
    tail: Vec<Token>,
    /// Tokens so far.
    len: usize,
    /// Where the latest marks stand.
    last_start: Option<usize>,
    last_end: Option<usize>,
}

impl Thinking {
    pub(super) fn new(budget: ThinkingBudget, prompt: &[Token]) -> Self {
        let tail = Vec::with_capacity(budget.marks.longest() + 1);
        let mut thinking = Self { budget, tail, len: 0, last_start: None, last_end: None };
        prompt.iter().for_each(|&token| thinking.push(token));
        thinking
    }

    pub(super) fn push(&mut self, token: Token) {
        let marks = &self.budget.marks;
        if self.tail.len() == marks.longest() {
            self.tail.remove(0);
        }
        self.tail.push(token);
        self.len += 1;
        if self.tail.ends_with(&marks.start) {
            self.last_start = Some(self.len - marks.start.len());
        }
        if self.tail.ends_with(&marks.end) {
            self.last_end = Some(self.len - marks.end.len());
        }
    }

    /// The token that has to come now, because all that may be thought has been: the first of what
    /// ends it, or the one behind those that stand there already.
    pub(super) fn forced(&self) -> Option<Token> {
        let marks = &self.budget.marks;
        let start = self.last_start.filter(|start| self.last_end.is_none_or(|end| end < *start))?;
        let thought = self.len - (start + marks.start.len());
        if thought < self.budget.tokens as usize {
            return None;
        }
        let begun = |count: &usize| self.tail.ends_with(&marks.forced[..*count]);
        let done = (1..marks.forced.len()).rev().find(begun).unwrap_or(0);
        Some(marks.forced[done])
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::types::ReasoningMarks;
    use serde_json::Value;
    use std::sync::Arc;

    /// What vLLM's kernel forces (`tests/data/text/thinking_golden.py`).
    #[test]
    fn forces_what_vllm_forces() {
        let cases: Vec<Value> =
            serde_json::from_str(include_str!("../../tests/data/text/thinking.json")).unwrap();
        let tokens = |list: &Value| -> Vec<Token> {
            list.as_array().unwrap().iter().map(|t| t.as_u64().unwrap() as Token).collect()
        };
        for (i, case) in cases.iter().enumerate() {
            let [start, end, forced] = [0, 1, 2].map(|mark| tokens(&case["marks"][mark]));
            let marks = Arc::new(ReasoningMarks { start, end, forced });
            let budget = ThinkingBudget { tokens: case["budget"].as_u64().unwrap() as u32, marks };
            let all = tokens(&case["tokens"]);
            let (prompt, output) = all.split_at(case["prompt"].as_u64().unwrap() as usize);
            let mut thinking = Thinking::new(budget, prompt);
            output.iter().for_each(|&token| thinking.push(token));
            let wanted = case["forced"].as_u64().map(|token| token as Token);
            assert_eq!(thinking.forced(), wanted, "case {i}: {case}");
        }
        assert!(cases.iter().filter(|case| !case["forced"].is_null()).count() > 50);
    }
}
