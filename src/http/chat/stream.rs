//! The reply to a chat request, chunk by chunk.

use super::super::fanout::{Fanout, Output};
use super::super::frontend::Frontend;
use super::super::reply::{Member, Stop, Usage};
use super::super::sse::{Chunks, write_event};
use super::super::timing::KnownTiming;
use super::Progress;
use super::delta::Delta;
use super::reply::{Logprobs, Replies};
use crate::text::parse::ParsedDelta;
use crate::types::Token;
use bytes::BytesMut;
use serde::Serialize;
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

impl ChatChunks {
    pub fn new(
        frontend: Arc<Frontend>,
        replies: Replies,
        include_usage: bool,
        continuous: bool,
    ) -> Self {
        let choices = (0..replies.choices).map(|_| Progress::new(&replies)).collect();
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

    fn choice<'a>(
        &'a self,
        index: usize,
        output: &'a Output,
        delta: ParsedDelta<'a>,
    ) -> Choice<'a> {
        let (finish_reason, stop_reason) = self.choices[index].finish(&self.replies, output);
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
        let delta = match self.choices[at].read(&self.frontend, &self.replies, output) {
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
        let created = self.frontend.created_cache(self.replies.prompt_tokens, fanout.cached(0));
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
                    .in_last_chunk(cached, Some(created))
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
