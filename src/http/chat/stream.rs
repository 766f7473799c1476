//! The reply to a chat request, chunk by chunk.

use super::super::fanout::{Fanout, Output};
use super::super::frontend::Frontend;
use super::super::reply::{Member, Stop, Usage, finish_members};
use super::super::sse::{Chunks, write_event};
use super::reply::{Logprobs, Replies};
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
    /// Tokens of each choice so far.
    tokens: Vec<usize>,
}

impl ChatChunks {
    pub fn new(
        frontend: Arc<Frontend>,
        replies: Replies,
        include_usage: bool,
        continuous: bool,
    ) -> Self {
        let tokens = vec![0; replies.choices];
        Self { frontend, replies, include_usage, continuous, has_started: false, tokens }
    }

    fn chunk<'a>(&'a self, choice: Choice<'a>) -> Chunk<'a> {
        let completion_tokens = self.tokens.get(choice.index).copied().unwrap_or(0);
        let prompt_tokens = self.replies.prompt_tokens;
        let usage = self
            .continuous
            .then(|| Usage::counts(prompt_tokens, completion_tokens).in_chat_chunk());
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
            let delta = Delta { role: Some(&self.replies.role), content: "" };
            let mut chunk = self.chunk(Choice::new(index, delta));
            chunk.prompt_token_ids = Some(self.replies.prompt_token_ids.as_deref());
            chunk.prompt_text = Some(self.replies.prompt_text.as_deref());
            write_event(out, &chunk);
        }
        let Some(echo) = &self.replies.echo else { return };
        for index in 0..self.replies.choices {
            let choice = Choice::new(index, Delta { role: None, content: echo });
            write_event(out, &self.chunk(choice));
        }
    }

    fn choice<'a>(&self, index: usize, output: &'a Output) -> Choice<'a> {
        let (finish_reason, stop_reason) = finish_members(output.finish.as_ref());
        Choice {
            logprobs: self.replies.logprobs(&output.logprobs),
            finish_reason,
            stop_reason: finish_reason.map(|_| stop_reason),
            token_ids: Some(self.replies.return_token_ids.then_some(output.tokens.as_slice())),
            ..Choice::new(index, Delta { role: None, content: &output.text })
        }
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
        self.tokens[at] = output.total_tokens;
        let mut chunk = self.chunk(self.choice(at, output));
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
        let usage = Usage::counts(self.replies.prompt_tokens, self.tokens.iter().sum());
        write_event(
            out,
            &LastChunk {
                id: &self.replies.id,
                object: "chat.completion.chunk",
                created: self.replies.created,
                model: &self.replies.model,
                choices: [],
                usage: usage.in_last_chunk(cached, Some(0)),
                system_fingerprint: self.frontend.options.system_fingerprint.as_deref(),
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
struct Delta<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    role: Option<&'a str>,
    content: &'a str,
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
}
