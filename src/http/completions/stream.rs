//! The reply to a completion request, chunk by chunk.

use super::super::fanout::Fanout;
use super::super::frontend::Frontend;
use super::super::reply::{Stop, Usage, finish_members};
use super::super::sse::{Chunks, write_event};
use super::super::timing::KnownTiming;
use super::reply::{Logprobs, Replies};
use crate::types::Token;
use bytes::BytesMut;
use serde::Serialize;
use std::borrow::Cow;
use std::sync::Arc;

/// Writes the chunks of one request.
pub struct CompletionChunks {
    frontend: Arc<Frontend>,
    replies: Replies,
    include_usage: bool,
    /// Every chunk reports token counts.
    continuous: bool,
    choices: Vec<Progress>,
}

/// How far a choice has got.
#[derive(Clone, Default)]
struct Progress {
    tokens: usize,
    /// The prompt was shown, as far as it is.
    has_echoed: bool,
    /// Characters of token texts so far.
    offset: usize,
}

impl CompletionChunks {
    pub fn new(
        frontend: Arc<Frontend>,
        replies: Replies,
        include_usage: bool,
        continuous: bool,
    ) -> Self {
        let choices = vec![Progress::default(); replies.sources.len() * replies.n];
        Self { frontend, replies, include_usage, continuous, choices }
    }
}

impl Chunks for CompletionChunks {
    fn output(&mut self, out: &mut BytesMut, fanout: &mut Fanout, at: usize) {
        let replies = &self.replies;
        let progress = &mut self.choices[at];
        let is_first = !std::mem::replace(&mut progress.has_echoed, true);
        let echoes = is_first && replies.echo;
        let prompt_logprobs = if echoes { fanout.take_prompt_logprobs(at) } else { None };
        let output = fanout.output(at);
        let source = replies.source(at);
        if !echoes && output.text.is_empty() && output.total_tokens == 0 {
            return;
        }
        let (text, positions) = match (echoes, replies.only_prompt) {
            (true, true) => (Cow::Borrowed(source.text.as_str()), &[][..]),
            (true, false) => {
                (Cow::Owned(format!("{}{}", source.text, output.text)), &output.logprobs[..])
            }
            _ => (Cow::Borrowed(output.text.as_str()), &output.logprobs[..]),
        };
        let logprobs = replies.logprobs(at, prompt_logprobs.as_ref(), positions, progress.offset);
        progress.offset = logprobs.as_ref().map_or(progress.offset, Logprobs::end);
        progress.tokens = output.total_tokens;
        let (finish_reason, stop_reason) = finish_members(output.finish.as_ref());
        let is_last = finish_reason.is_some() && !self.include_usage;
        let fingerprint = self.frontend.options.system_fingerprint.as_deref();
        let shows_prompt = is_first && (replies.echo || replies.return_token_ids);
        let chunk = Chunk {
            id: &replies.id,
            object: "text_completion",
            created: replies.created,
            model: &replies.model,
            choices: [Choice {
                index: at,
                text,
                logprobs,
                finish_reason,
                stop_reason,
                prompt_token_ids: shows_prompt.then_some(&*source.tokens),
                token_ids: replies.return_token_ids.then_some(output.tokens.as_slice()),
            }],
            usage: self.continuous.then(|| Usage::counts(source.tokens.len(), progress.tokens)),
            system_fingerprint: fingerprint.filter(|_| is_last),
            metrics: None,
        };
        write_event(out, &chunk);
    }

    fn end(&mut self, out: &mut BytesMut, fanout: &Fanout) {
        if !self.include_usage {
            return;
        }
        let replies = &self.replies;
        let prompt_tokens = replies.sources.iter().map(|source| source.tokens.len()).sum();
        let completion_tokens = self.choices.iter().map(|choice| choice.tokens).sum();
        let cached = self.frontend.shown_cached(fanout.cached(0));
        let usage = Usage::counts(prompt_tokens, completion_tokens).in_last_chunk(cached, None);
        write_event(
            out,
            &Chunk {
                id: &replies.id,
                object: "text_completion",
                created: replies.created,
                model: &replies.model,
                choices: [],
                usage: Some(usage),
                system_fingerprint: self.frontend.options.system_fingerprint.as_deref(),
                metrics: self.frontend.shown_timing(fanout).map(KnownTiming),
            },
        );
    }
}

#[derive(Serialize)]
#[serde(bound(serialize = "[Choice<'a>; N]: Serialize"))]
struct Chunk<'a, const N: usize> {
    id: &'a str,
    object: &'static str,
    created: u64,
    model: &'a str,
    choices: [Choice<'a>; N],
    #[serde(skip_serializing_if = "Option::is_none")]
    usage: Option<Usage>,
    #[serde(skip_serializing_if = "Option::is_none")]
    system_fingerprint: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    metrics: Option<KnownTiming<'a>>,
}

#[derive(Serialize)]
struct Choice<'a> {
    index: usize,
    text: Cow<'a, str>,
    logprobs: Option<Logprobs>,
    finish_reason: Option<&'static str>,
    stop_reason: Option<Stop<'a>>,
    prompt_token_ids: Option<&'a [Token]>,
    token_ids: Option<&'a [Token]>,
}
