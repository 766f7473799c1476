//! The reply with tokens, whole; and the choices, which chunks have as well.

use super::super::fanout::{Fanout, Output};
use super::super::frontend::Frontend;
use super::super::kv_transfer::KvTransferReply;
use super::super::prompt::TokenPrompt;
use super::super::reply::{Member, Stop, TokenMap, Usage, finish_members};
use super::super::request::GenerateRequest;
use super::super::respond;
use crate::text::{ChatLogprob, PositionTexts, TokenText};
use crate::types::Token;
use axum::body::Body;
use axum::http::Response;
use serde::Serialize;
use std::sync::Arc;

/// What all replies and chunks of one request have in common.
pub struct Replies {
    pub id: String,
    created: u64,
    model: String,
    pub prompt_tokens: usize,
    pub prompt_token_ids: Option<Arc<[Token]>>,
    pub text_mode: bool,
    pub choices: usize,
    /// How many most likely tokens to show, if log-probabilities are shown at all.
    logprobs: Option<i32>,
    tokens_as_ids: bool,
}

impl Replies {
    pub fn new(
        frontend: &Frontend,
        request: &GenerateRequest,
        id: String,
        created: u64,
        prompt: &TokenPrompt,
    ) -> Self {
        Self {
            id,
            created,
            model: frontend.model_name().to_owned(),
            prompt_tokens: prompt.tokens.len(),
            prompt_token_ids: request.common.return_token_ids.then(|| prompt.tokens.clone()),
            text_mode: request.text_mode,
            choices: request.sampling.n,
            logprobs: request.logprobs,
            tokens_as_ids: frontend.options.return_tokens_as_token_ids,
        }
    }

    /// vLLM's name of the form of the choices.
    pub fn output_mode(&self) -> &'static str {
        if self.text_mode { "text" } else { "tokens" }
    }

    /// The response once all parts have ended.
    pub fn whole(
        &self,
        frontend: &Frontend,
        outputs: &[Output],
        fanout: &mut Fanout,
    ) -> Response<Body> {
        let choices = outputs.iter().enumerate().map(|(at, output)| self.choice(at, output));
        let completion_tokens = outputs.iter().map(|output| output.total_tokens).sum();
        let cached = frontend.shown_cached(fanout.cached(0));
        let prompt_logprobs = fanout.take_prompt_logprobs(0);
        respond::json(&Reply {
            request_id: &self.id,
            model: &self.model,
            created: self.created,
            usage: Usage::counts(self.prompt_tokens, completion_tokens).in_reply(cached, None),
            prompt_logprobs: prompt_logprobs.map(|logprobs| frontend.prompt_logprobs(&logprobs)),
            prompt_token_id_logprobs: (),
            prompt_token_ids: self.prompt_token_ids.as_deref(),
            mm_placeholders: (),
            metrics: (),
            kv_transfer_params: frontend.shown_transfer(fanout),
            ec_transfer_params: (),
            output_mode: self.output_mode(),
            choices: choices.collect(),
        })
    }

    /// What a part has given.
    pub fn choice<'a>(&self, index: usize, output: &'a Output) -> Choice<'a> {
        let (finish_reason, stop_reason) = finish_members(output.finish.as_ref());
        let end = output.total_tokens;
        let span = WeightVersion { version: "default", start: 0, end };
        Choice {
            index,
            finish_reason,
            stop_reason,
            token_ids: &output.tokens,
            routed_experts: (),
            sampling_mask: (),
            weight_versions: finish_reason.filter(|_| end > 0).map(|_| [span]),
            text: self.text_mode.then_some(&output.text),
            logprobs: self.logprobs.map(|top| self.logprobs_of(&output.logprobs, top)),
        }
    }

    fn logprobs_of(&self, positions: &[PositionTexts], top: i32) -> Logprobs {
        // The sampled token is shown whatever was asked for.
        let top = if top == 0 { 1 } else { top };
        if self.text_mode {
            let entry = |position: &PositionTexts| position.chat(top, self.tokens_as_ids);
            return Logprobs::Text { content: positions.iter().map(entry).collect() };
        }
        let count = usize::try_from(top).unwrap_or(usize::MAX);
        let entry = |position: &PositionTexts| {
            let tokens = position.tokens();
            Position {
                token: Entry::of(&tokens[0]),
                top_logprobs: tokens.iter().take(count).map(Entry::of).collect(),
            }
        };
        Logprobs::Tokens { content: positions.iter().map(entry).collect() }
    }
}

#[derive(Serialize)]
struct Reply<'a> {
    request_id: &'a str,
    model: &'a str,
    created: u64,
    usage: Usage,
    prompt_logprobs: Option<Vec<Option<TokenMap>>>,
    prompt_token_id_logprobs: (),
    prompt_token_ids: Option<&'a [Token]>,
    mm_placeholders: (),
    metrics: (),
    kv_transfer_params: Option<KvTransferReply<'a>>,
    ec_transfer_params: (),
    output_mode: &'static str,
    choices: Vec<Choice<'a>>,
}

/// One reply, or what a chunk adds to it.
#[derive(Serialize)]
pub struct Choice<'a> {
    index: usize,
    finish_reason: Option<&'static str>,
    stop_reason: Option<Stop<'a>>,
    token_ids: &'a [Token],
    routed_experts: (),
    sampling_mask: (),
    weight_versions: Option<[WeightVersion; 1]>,
    #[serde(skip_serializing_if = "Option::is_none")]
    text: Option<&'a String>,
    logprobs: Option<Logprobs>,
}

/// Which weights gave which tokens: always the same.
#[derive(Serialize)]
struct WeightVersion {
    version: &'static str,
    start: usize,
    end: usize,
}

#[derive(Serialize)]
#[serde(untagged)]
enum Logprobs {
    Tokens { content: Vec<Position> },
    Text { content: Vec<ChatLogprob> },
}

#[derive(Serialize)]
struct Position {
    #[serde(flatten)]
    token: Entry,
    top_logprobs: Vec<Entry>,
}

#[derive(Serialize)]
struct Entry {
    token_id: Token,
    logprob: f64,
    rank: u32,
}

impl Entry {
    fn of(token: &TokenText) -> Self {
        Self { token_id: token.token, logprob: token.shown_logprob(), rank: token.rank }
    }
}

/// A chunk. The members of its last one are only those with a value.
#[derive(Serialize)]
#[serde(bound(serialize = "[Choice<'a>; N]: Serialize"))]
pub struct Chunk<'a, const N: usize> {
    pub request_id: &'a str,
    pub usage: Option<Usage>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub prompt_token_ids: Member<&'a [Token]>,
    pub output_mode: &'static str,
    pub choices: [Choice<'a>; N],
}
