//! Reasoning as the parser for DeepSeek-R1 finds it: between two tokens, of which the first may be
//! missing.

use super::ParsedDelta;
use crate::types::Token;
use std::borrow::Cow;

const START: &str = "<think>";
const END: &str = "</think>";

/// The two tokens.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct ThinkTokens {
    pub start: Token,
    pub end: Token,
}

impl ThinkTokens {
    /// Whether a prompt leaves reasoning behind.
    pub fn end_in(self, prompt: &[Token]) -> bool {
        let last = prompt.iter().rev().find(|token| [self.start, self.end].contains(token));
        last == Some(&self.end)
    }

    /// Tokens behind the end of reasoning.
    pub fn content_of(self, tokens: &[Token]) -> &[Token] {
        let end = tokens.iter().position(|token| *token == self.end);
        end.map_or(&[], |end| &tokens[end + 1..])
    }

    /// Tokens between the two, where both were generated.
    pub fn count(self, tokens: &[Token]) -> usize {
        let (mut count, mut depth) = (0, 0_usize);
        for token in tokens {
            match *token {
                token if token == self.start => depth += 1,
                token if token == self.end => depth = depth.saturating_sub(1),
                _ => count += usize::from(depth > 0),
            }
        }
        count
    }

    /// A stretch of output while reasoning goes on; true when it ends there. `has_started` tells
    /// whether the start has been seen before.
    pub fn read<'a>(
        self,
        text: &'a str,
        tokens: &[Token],
        has_started: bool,
    ) -> (Option<ParsedDelta<'a>>, bool) {
        let ends = tokens.contains(&self.end);
        if let [token] = tokens
            && [self.start, self.end].contains(token)
        {
            return (None, ends);
        }
        if !ends {
            return (Some(ParsedDelta::reasoning(Cow::Borrowed(text))), false);
        }
        let end = text.find(END).map(|at| text[..at].chars().count() as isize).unwrap_or(-1);
        let start = match text.find(START) {
            _ if has_started || !tokens.contains(&self.start) => 0,
            start => start.map_or(-1, |at| text[..at].chars().count() as isize) + 7,
        };
        let content = slice(text, end + END.len() as isize, None);
        let content = Some(content).filter(|content| !content.is_empty());
        let delta = ParsedDelta {
            reasoning: Some(Some(Cow::Borrowed(slice(text, start, Some(end))))),
            content: Some(content.map(Cow::Borrowed)),
            tool_calls: Vec::new(),
        };
        (Some(delta), true)
    }
}

/// Python's `text[start:end]`: the text of a tag may be held back while its token is there, and
/// then vLLM slices by the -1 of a search without result.
fn slice(text: &str, start: isize, end: Option<isize>) -> &str {
    let count = text.chars().count() as isize;
    let place = |at: isize| if at < 0 { (count + at).max(0) } else { at.min(count) } as usize;
    let byte = |at: usize| text.char_indices().nth(at).map_or(text.len(), |(byte, _)| byte);
    let (start, end) = (place(start), end.map_or(count as usize, place));
    &text[byte(start)..byte(end.max(start))]
}

/// Reasoning and content of a whole output.
pub(super) fn split(output: &str) -> (Option<String>, Option<String>) {
    let output = output.split_once(START).map_or(output, |(_, behind)| behind);
    match output.split_once(END) {
        None => (Some(output.to_owned()), None),
        Some((reasoning, content)) => {
            let content = Some(content.to_owned()).filter(|content| !content.is_empty());
            (Some(reasoning.to_owned()), content)
        }
    }
}
