//! The reply with tokens, chunk by chunk.

use super::super::fanout::Fanout;
use super::super::frontend::Frontend;
use super::super::reply::Usage;
use super::super::request::StreamOptions;
use super::super::sse::{Chunks, write_event};
use super::reply::{Chunk, Replies};
use bytes::BytesMut;
use std::sync::Arc;

/// Writes the chunks of one request.
pub struct GenerateChunks {
    frontend: Arc<Frontend>,
    replies: Replies,
    options: StreamOptions,
    has_started: bool,
    /// Tokens of each choice so far.
    tokens: Vec<usize>,
}

impl GenerateChunks {
    pub fn new(frontend: Arc<Frontend>, replies: Replies, options: StreamOptions) -> Self {
        let tokens = vec![0; replies.choices];
        Self { frontend, replies, options, has_started: false, tokens }
    }
}

impl Chunks for GenerateChunks {
    fn output(&mut self, out: &mut BytesMut, fanout: &mut Fanout, at: usize) {
        let (replies, output) = (&self.replies, fanout.output(at));
        let is_first = !std::mem::replace(&mut self.has_started, true);
        self.tokens[at] = output.total_tokens;
        let usage = || Usage::counts(replies.prompt_tokens, output.total_tokens);
        let chunk = Chunk {
            request_id: &replies.id,
            usage: self.options.continuous.then(|| usage().in_reply(None, None)),
            prompt_token_ids: replies.prompt_token_ids.as_deref().filter(|_| is_first).map(Some),
            output_mode: replies.output_mode(),
            choices: [replies.choice(at, output)],
        };
        write_event(out, &chunk);
    }

    fn end(&mut self, out: &mut BytesMut, fanout: &Fanout) {
        if !self.options.include_usage {
            return;
        }
        let cached = self.frontend.shown_cached(fanout.cached(0));
        let usage = Usage::counts(self.replies.prompt_tokens, self.tokens.iter().sum());
        let chunk = Chunk {
            request_id: &self.replies.id,
            usage: Some(usage.in_last_chunk(cached, None)),
            prompt_token_ids: None,
            output_mode: self.replies.output_mode(),
            choices: [],
        };
        write_event(out, &chunk);
    }
}
