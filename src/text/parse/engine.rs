//! The state machine behind the qwen3 formats: from marks and text to what they mean.

use super::super::Vocabulary;
use super::lex::{Lexed, Lexer, token_starts};
use super::marks::{Mark, Marks};
use super::scan::{Item, Scanner};
use crate::types::Token;
use std::sync::Arc;

/// Where the output is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum State {
    Content,
    Reasoning,
    /// Behind the tag that opens a call.
    CallOpen,
    CallName,
    CallArguments,
    /// Behind a function, before the tag that closes its call.
    CallClosed,
}

/// What a stretch of output means. A call is known by its number, from 0.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Event {
    Content(String),
    Reasoning(String),
    ReasoningEnd,
    CallStart(usize),
    CallName(usize, String),
    CallArguments(usize, String),
    CallEnd(usize),
}

/// What a state machine leaves alone.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Ignores {
    /// Tags of calls are text, but still end reasoning: another parser reads them.
    pub calls: bool,
    /// Tags of reasoning are text.
    pub reasoning: bool,
}

/// One reading of one output.
#[derive(Debug)]
pub(super) struct Engine {
    marks: Arc<Marks>,
    vocabulary: Arc<Vocabulary>,
    ignores: Ignores,
    state: State,
    scanner: Scanner,
    lexer: Lexer,
    /// Tokens are known, so that marks which are tokens are found by their ids alone.
    has_tokens: bool,
    /// Calls so far.
    calls: usize,
    reasoning_tokens: usize,
}

impl Engine {
    pub fn new(
        (marks, vocabulary): (&Arc<Marks>, &Arc<Vocabulary>),
        state: State,
        ignores: Ignores,
    ) -> Self {
        Self {
            marks: marks.clone(),
            vocabulary: vocabulary.clone(),
            ignores,
            state,
            scanner: Scanner::default(),
            lexer: Lexer::default(),
            has_tokens: false,
            calls: 0,
            reasoning_tokens: 0,
        }
    }

    /// Whether the output is content now.
    pub fn is_in_content(&self) -> bool {
        self.state == State::Content
    }

    /// Tokens of reasoning so far. Tokens that came without text are not among them.
    pub fn reasoning_tokens(&self) -> usize {
        self.reasoning_tokens
    }

    /// Takes a stretch of output that holds no mark and cannot be part of one, and says where it
    /// belongs; `None` when [`Self::feed`] has to look at it.
    pub fn pass(&mut self, text: &str, tokens: &[Token]) -> Option<State> {
        let is_plain = !text.is_empty()
            && self.lexer.is_empty()
            && !self.scanner.is_waiting()
            && !self.marks.may_start_in(text)
            && tokens.iter().all(|token| self.marks.of(*token).is_none());
        if !is_plain {
            return None;
        }
        self.has_tokens |= !tokens.is_empty();
        if self.state == State::Reasoning {
            self.reasoning_tokens += tokens.len();
        }
        Some(self.state)
    }

    /// Takes a stretch of output with its tokens; without any, marks are found in the text alone.
    pub fn feed(&mut self, text: &str, tokens: &[Token]) -> Vec<Event> {
        self.has_tokens |= !tokens.is_empty();
        let items = self.scanner.scan((&self.marks, &self.vocabulary), text, tokens);
        let mut events = Vec::new();
        self.items(items, &mut events);
        events
    }

    /// The output has ended: gives what was held back.
    pub fn finish(&mut self) -> Vec<Event> {
        let mut events = Vec::new();
        let items = self.scanner.flush();
        self.items(items, &mut events);
        self.flush(&mut events);
        match self.state {
            State::Content => {}
            State::Reasoning => events.push(Event::ReasoningEnd),
            _ => events.extend(self.calls.checked_sub(1).map(Event::CallEnd)),
        }
        self.state = State::Content;
        events
    }

    fn items(&mut self, items: Vec<Item>, events: &mut Vec<Event>) {
        for item in items {
            match item {
                Item::Mark(token) => {
                    self.flush(events);
                    self.mark(token.mark, token.text, 0, events);
                }
                Item::Text { text, count, .. } if text.is_empty() => {
                    self.text(text, count, events);
                }
                Item::Text { text, tokens, count } => {
                    let starts = token_starts(&text, &tokens, count);
                    let lexed = self.lexer.feed(&self.marks, &text, &starts);
                    self.lexed(lexed, events);
                }
            }
        }
    }

    fn flush(&mut self, events: &mut Vec<Event>) {
        let lexed = self.lexer.flush(&self.marks);
        self.lexed(lexed, events);
    }

    fn lexed(&mut self, lexed: Vec<Lexed>, events: &mut Vec<Event>) {
        for Lexed { mark, text, tokens } in lexed {
            // Text that only looks like a mark which is a token is text.
            let is_look_alike = |mark: &Mark| self.has_tokens && self.marks.token(*mark).is_some();
            match mark.filter(|mark| !is_look_alike(mark)) {
                Some(mark) => self.mark(mark, text, tokens, events),
                None => self.text(text, tokens, events),
            }
        }
    }

    /// Text in the current state.
    fn text(&mut self, text: String, tokens: u32, events: &mut Vec<Event>) {
        let call = self.calls.saturating_sub(1);
        match self.state {
            State::Content => events.push(Event::Content(text)),
            State::Reasoning => {
                self.reasoning_tokens += tokens as usize;
                events.push(Event::Reasoning(text));
            }
            State::CallName => events.push(Event::CallName(call, text)),
            State::CallArguments => events.push(Event::CallArguments(call, text)),
            State::CallOpen | State::CallClosed => {}
        }
    }

    fn mark(&mut self, mark: Mark, text: String, tokens: u32, events: &mut Vec<Event>) {
        use Mark::*;
        use State::*;
        let is_thought = matches!(mark, ThinkStart | ThinkEnd);
        let ends = |this: &Self, events: &mut Vec<Event>| {
            events.extend(this.calls.checked_sub(1).map(Event::CallEnd));
        };
        let starts = |this: &mut Self, events: &mut Vec<Event>| {
            events.push(Event::CallStart(this.calls));
            this.calls += 1;
        };
        match (self.state, mark) {
            _ if is_thought && self.ignores.reasoning => self.text(text, tokens, events),
            (Reasoning, ThinkStart) | (Content, ThinkEnd) => {}
            (Reasoning, ThinkEnd) => {
                self.state = Content;
                events.push(Event::ReasoningEnd);
            }
            (Reasoning | Content, ToolStart) if self.ignores.calls => {
                self.state = Content;
                events.push(Event::ReasoningEnd);
                events.push(Event::Content(text));
            }
            (Reasoning | Content, ToolStart) => {
                self.state = CallOpen;
                events.push(Event::ReasoningEnd);
                starts(self, events);
            }
            (Content, FunctionStart) if self.ignores.calls => events.push(Event::Content(text)),
            (Content | CallClosed, FunctionStart) => {
                self.state = CallName;
                starts(self, events);
            }
            (CallOpen, ToolEnd) => {
                self.state = Content;
                ends(self, events);
            }
            (CallOpen, FunctionStart) => self.state = CallName,
            (CallName, Close) => self.state = CallArguments,
            (CallName | CallArguments, FunctionEnd) => {
                self.state = CallClosed;
                ends(self, events);
            }
            (CallClosed, ToolEnd) => self.state = Content,
            (CallClosed, ToolStart) => {
                self.state = CallOpen;
                starts(self, events);
            }
            (_, Special) => {}
            _ => self.text(text, tokens, events),
        }
    }
}
