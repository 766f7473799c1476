//! How far a streamed choice is.

use super::super::fanout::Output;
use super::super::frontend::Frontend;
use super::super::reply::{Stop, finish_members};
use super::Replies;
use super::parsing::Parsing;
use crate::telemetry::metrics::{ParserApi, ParserMode};
use crate::text::parse::{OutputParser, ParsedDelta};
use std::borrow::Cow;

/// Reads the output of one choice as it comes.
#[derive(Debug)]
pub struct Progress {
    /// Tokens so far.
    pub tokens: usize,
    /// `None` when output is content and nothing else.
    parser: Option<OutputParser>,
    has_calls: bool,
}

impl Progress {
    /// Before the first output of one of these replies.
    pub fn new(replies: &Replies) -> Self {
        let parser = |parsing: &Parsing| parsing.stream(&replies.prompt);
        Self { tokens: 0, parser: replies.parsing.as_ref().map(parser), has_calls: false }
    }

    /// What the choice says now; `None` when it has nothing to say yet.
    pub fn read<'a>(
        &mut self,
        frontend: &Frontend,
        replies: &Replies,
        output: &'a Output,
    ) -> Option<ParsedDelta<'a>> {
        self.tokens = output.total_tokens;
        let Some(parser) = &mut self.parser else {
            let content = Some(Some(Cow::Borrowed(output.text.as_str())));
            return Some(ParsedDelta { content, ..ParsedDelta::default() });
        };
        let step = parser.push(&output.text, &output.tokens, output.finish.is_some());
        if let Some(called) = step.tools_called {
            frontend.metrics.tool_parser_invoked(ParserMode::Streaming, ParserApi::Chat, called);
        }
        let mut delta = step.delta?;
        self.has_calls |= !delta.tool_calls.is_empty();
        replies.parsing.iter().for_each(|parsing| parsing.keep(&mut delta));
        Some(delta)
    }

    /// The two members that tell how the choice ended.
    pub fn finish<'a>(
        &self,
        replies: &Replies,
        output: &'a Output,
    ) -> (Option<&'static str>, Option<Stop<'a>>) {
        let (mut reason, stop) = finish_members(output.finish.as_ref());
        if let (Some(parsing), Some(finish)) = (&replies.parsing, &output.finish) {
            reason = Some(parsing.stream_finish(finish.reason, self.has_calls));
        }
        (reason, stop)
    }

    /// Tokens of reasoning so far.
    pub fn reasoning_tokens(&self) -> usize {
        self.parser.as_ref().map_or(0, OutputParser::reasoning_tokens)
    }
}
