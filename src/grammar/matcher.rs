//! One generation's way through a grammar.

use crate::types::{Token, TokenConstraint};
use llguidance::Matcher;
use llguidance::toktrie::{SimpleVob, TokEnv};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};

/// What ends the reasoning before a grammar.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ReasoningEnd {
    /// The grammar begins behind this token.
    pub token: Option<Token>,
    /// The grammar begins with this one: it starts something that is no reasoning.
    pub content: Option<Token>,
}

/// Where a generation stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    /// The model reasons, and may say what it likes.
    Reasoning(ReasoningEnd),
    /// In the grammar.
    Inside,
    /// The grammar has ended with an end token; what follows, if anything does, is free.
    Over,
    /// The engine gave up: a limit was reached.
    Failed,
}

/// Follows the tokens of one generation.
pub struct GrammarMatcher {
    matcher: Matcher,
    vocabulary: TokEnv,
    /// Tokens that end the output: allowed where the grammar can end, and only there.
    stops: Vec<Token>,
    mask: Option<SimpleVob>,
    state: State,
    /// Set when the grammar's shared tables are beyond use.
    broken: Arc<AtomicBool>,
}

impl GrammarMatcher {
    /// At the start of a grammar, or of the reasoning before it.
    pub(super) fn new(
        matcher: Matcher,
        vocabulary: TokEnv,
        stops: Vec<Token>,
        reasoning: Option<ReasoningEnd>,
        broken: Arc<AtomicBool>,
    ) -> Self {
        let state = reasoning.map_or(State::Inside, State::Reasoning);
        Self { matcher, vocabulary, stops, mask: None, state, broken }
    }

    fn allowed(&mut self) -> Option<SimpleVob> {
        let ended = self.matcher.is_stopped() && self.matcher.stop_reason().is_ok();
        let mut mask = match ended {
            true => self.vocabulary.tok_trie().alloc_token_set(),
            false => self.matcher.compute_mask().ok()?,
        };
        let may_end = ended || self.matcher.is_accepting().ok()?;
        // llguidance knows one end token; which ones end this generation is the request's matter.
        let eos = self.vocabulary.tok_trie().eos_token();
        let ends = [(eos, false)].into_iter().chain(self.stops.iter().map(|&stop| (stop, may_end)));
        for (token, allowed) in ends {
            if (token as usize) < mask.len() {
                mask.set(token as usize, allowed);
            }
        }
        Some(mask)
    }

    fn consume(&mut self, token: Token) -> bool {
        let fits = self.matcher.consume_token(token).is_ok();
        if !fits {
            self.fail();
        }
        fits
    }

    fn fail(&mut self) {
        self.state = State::Failed;
        self.mask = None;
        self.broken.store(true, Relaxed);
    }
}

impl TokenConstraint for GrammarMatcher {
    fn prepare(&mut self) {
        if self.state == State::Inside && self.mask.is_none() {
            self.mask = self.allowed();
            if self.mask.is_none() {
                self.fail();
            }
        }
    }

    fn mask(&self) -> Option<&[u32]> {
        self.mask.as_ref().map(SimpleVob::as_slice)
    }

    fn accept(&mut self, token: Token) -> bool {
        match self.state {
            State::Over => return true,
            State::Failed => return false,
            State::Reasoning(end) if end.content == Some(token) => {
                self.state = State::Inside;
                return self.consume(token);
            }
            State::Reasoning(end) => {
                if end.token == Some(token) {
                    self.state = State::Inside;
                }
                return true;
            }
            State::Inside => {}
        }
        let allowed = |mask: SimpleVob| (token as usize) < mask.len() && mask.is_allowed(token);
        if !self.mask.take().is_some_and(allowed) {
            return false;
        }
        if self.stops.contains(&token) {
            self.state = State::Over;
            return true;
        }
        self.consume(token)
    }
}
