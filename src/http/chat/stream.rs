//! The reply to a chat request, chunk by chunk.

use super::super::fanout::{Fanout, Output};
use super::super::frontend::Frontend;
use super::super::reply::{Member, Stop, Usage, finish_members};
use super::super::sse::{Chunks, write_event};
use super::super::timing::KnownTiming;
use super::delta::Delta;
use super::parsing::Parsing;
use super::reply::{Logprobs, Replies};
use crate::telemetry::metrics::{ParserApi, ParserMode};
use crate::text::parse::{OutputParser, ParsedDelta};
use crate::types::Token;
use bytes::BytesMut;
use serde::Serialize;
use std::borrow::Cow;
use std::sync::Arc;

/// Writes the chunks of one request.
pub struct ChatChunks {
    frontend: Arc<Frontend>,
    replies: Replies,
    include_usage: bool,
    /// Every chunk reports token counts.
    continuous: bool,
    has_started: bool,
    choices: Vec<Progress>,
}

/// How far a choice is.
struct Progress {
    /// Tokens so far.
    tokens: usize,
    /// `None` when output is content and nothing else.
    parser: Option<OutputParser>,
    has_calls: bool,
}

impl ChatChunks {
    pub fn new(
        frontend: Arc<Frontend>,
        replies: Replies,
        include_usage: bool,
        continuous: bool,
    ) -> Self {
        let parser = |parsing: &Parsing| parsing.stream(&replies.prompt);
        let progress = |_| Progress {
            tokens: 0,
            parser: replies.parsing.as_ref().map(parser),
            has_calls: false,
        };
        let choices = (0..replies.choices).map(progress).collect();
        Self { frontend, replies, include_usage, continuous, has_started: false, choices }
    }

    fn chunk<'a>(&'a self, choice: Choice<'a>) -> Chunk<'a> {
        let usage = self.continuous.then(|| {
            let progress = &self.choices[choice.index];
            let details = self.replies.details(progress.reasoning_tokens());
            Usage::counts(self.replies.prompt_tokens, progress.tokens).in_chat_chunk(details)
        });
        Chunk {
            id: &self.replies.id,
            object: "chat.completion.chunk",
            created: self.replies.created,
            model: &self.replies.model,
            choices: [choice],
            usage,
            system_fingerprint: None,
            prompt_token_ids: None,
            prompt_text: None,
        }
    }

    /// The chunks that open every choice, before the first output of any.
    fn start(&self, out: &mut BytesMut) {
        for index in 0..self.replies.choices {
            let delta = Delta::opening(&self.replies.role);
            let mut chunk = self.chunk(Choice::new(index, delta));
            chunk.prompt_token_ids = Some(self.replies.prompt_token_ids.as_deref());
            chunk.prompt_text = Some(self.replies.prompt_text.as_deref());
            write_event(out, &chunk);
        }
        let Some(echo) = &self.replies.echo else { return };
        for index in 0..self.replies.choices {
            let choice = Choice::new(index, Delta::content(echo));
            write_event(out, &self.chunk(choice));
        }
    }

    /// What a choice says now; `None` when it has nothing to say yet.
    fn delta<'a>(&mut self, index: usize, output: &'a Output) -> Option<ParsedDelta<'a>> {
        let progress = &mut self.choices[index];
        progress.tokens = output.total_tokens;
        let Some(parser) = &mut progress.parser else {
            let content = Some(Some(Cow::Borrowed(output.text.as_str())));
            return Some(ParsedDelta { content, ..ParsedDelta::default() });
        };
        let step = parser.push(&output.text, &output.tokens, output.finish.is_some());
        if let Some(called) = step.tools_called {
            self.frontend.metrics.tool_parser_invoked(
                ParserMode::Streaming,
                ParserApi::Chat,
                called,
            );
        }
        let mut delta = step.delta?;
        progress.has_calls |= !delta.tool_calls.is_empty();
        self.replies.parsing.iter().for_each(|parsing| parsing.keep(&mut delta));
        Some(delta)
    }

    fn choice<'a>(
        &'a self,
        index: usize,
        output: &'a Output,
        delta: ParsedDelta<'a>,
    ) -> Choice<'a> {
        let (mut finish_reason, stop_reason) = finish_members(output.finish.as_ref());
        if let (Some(parsing), Some(finish)) = (&self.replies.parsing, &output.finish) {
            let has_calls = self.choices[index].has_calls;
            finish_reason = Some(parsing.stream_finish(finish.reason, has_calls));
        }
        Choice {
            logprobs: self.replies.logprobs(&output.logprobs),
            finish_reason,
            stop_reason: finish_reason.map(|_| stop_reason),
            token_ids: Some(self.replies.shown_tokens(&output.tokens)),
            ..Choice::new(index, Delta::from(delta))
        }
    }

    /// Whether a chunk has to go out for its tokens even if it says nothing.
    fn shows_tokens(&self) -> bool {
        let replies = &self.replies;
        !replies.hides_tokens() && (replies.return_token_ids || replies.top_logprobs.is_some())
    }
}

impl Progress {
    fn reasoning_tokens(&self) -> usize {
        self.parser.as_ref().map_or(0, OutputParser::reasoning_tokens)
    }
}

impl Chunks for ChatChunks {
    fn output(&mut self, out: &mut BytesMut, fanout: &mut Fanout, at: usize) {
        if !self.has_started {
            self.start(out);
            self.has_started = true;
        }
        let output = fanout.output(at);
        if output.text.is_empty() && output.total_tokens == 0 {
            return;
        }
        let delta = match self.delta(at, output) {
            Some(delta) => delta,
            None if output.finish.is_none() && !self.shows_tokens() => return,
            None => ParsedDelta::default(),
        };
        let mut chunk = self.chunk(self.choice(at, output, delta));
        if !self.include_usage && output.finish.is_some() {
            chunk.system_fingerprint = self.frontend.options.system_fingerprint.as_deref();
        }
        write_event(out, &chunk);
    }

    fn end(&mut self, out: &mut BytesMut, fanout: &Fanout) {
        if !self.include_usage {
            return;
        }
        let cached = self.frontend.shown_cached(fanout.cached(0));
        let tokens = self.choices.iter().map(|choice| choice.tokens).sum();
        let reasoning_tokens = self.choices.iter().map(Progress::reasoning_tokens).sum();
        let usage = Usage::counts(self.replies.prompt_tokens, tokens);
        write_event(
            out,
            &LastChunk {
                id: &self.replies.id,
                object: "chat.completion.chunk",
                created: self.replies.created,
                model: &self.replies.model,
                choices: [],
                usage: usage
                    .in_last_chunk(cached, Some(0))
                    .with_details(self.replies.details(reasoning_tokens)),
                system_fingerprint: self.frontend.options.system_fingerprint.as_deref(),
                metrics: self.frontend.shown_timing(fanout).map(KnownTiming),
            },
        );
    }
}

#[derive(Serialize)]
struct Chunk<'a> {
    id: &'a str,
    object: &'static str,
    created: u64,
    model: &'a str,
    choices: [Choice<'a>; 1],
    #[serde(skip_serializing_if = "Option::is_none")]
    usage: Option<Usage>,
    #[serde(skip_serializing_if = "Option::is_none")]
    system_fingerprint: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    prompt_token_ids: Member<&'a [Token]>,
    #[serde(skip_serializing_if = "Option::is_none")]
    prompt_text: Member<&'a str>,
}

#[derive(Serialize)]
struct Choice<'a> {
    index: usize,
    delta: Delta<'a>,
    logprobs: Option<Logprobs>,
    finish_reason: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    stop_reason: Member<Stop<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    token_ids: Member<&'a [Token]>,
}

impl<'a> Choice<'a> {
    fn new(index: usize, delta: Delta<'a>) -> Self {
        Self {
            index,
            delta,
            logprobs: None,
            finish_reason: None,
            stop_reason: None,
            token_ids: None,
        }
    }
}

#[derive(Serialize)]
struct LastChunk<'a> {
    id: &'a str,
    object: &'static str,
    created: u64,
    model: &'a str,
    choices: [(); 0],
    usage: Usage,
    #[serde(skip_serializing_if = "Option::is_none")]
    system_fingerprint: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    metrics: Option<KnownTiming<'a>>,
}
