//! The reply to a chat request, whole.

use super::super::fanout::{Fanout, Output};
use super::super::frontend::Frontend;
use super::super::prompt::TokenPrompt;
use super::super::reply::{Stop, TokenMap, Usage, finish_members};
use super::super::request::ChatRequest;
use super::super::respond;
use super::{content_text, reply_role};
use crate::text::{ChatLogprob, PositionTexts};
use crate::types::Token;
use axum::body::Body;
use axum::http::Response;
use serde::Serialize;
use serde_json::Value;
use std::sync::Arc;

/// What all replies and chunks of one request have in common.
pub struct Replies {
    pub id: String,
    pub created: u64,
    pub model: String,
    pub role: String,
    /// The last message's text, when it is to be repeated.
    pub echo: Option<String>,
    pub prompt_tokens: usize,
    pub prompt_token_ids: Option<Arc<[Token]>>,
    pub prompt_text: Option<String>,
    pub return_token_ids: bool,
    /// How many most likely tokens to show, if log-probabilities are shown at all.
    pub top_logprobs: Option<i32>,
    pub tokens_as_ids: bool,
    pub choices: usize,
}

impl Replies {
    /// `messages` are the conversation as the template saw it.
    pub fn new(
        frontend: &Frontend,
        request: &ChatRequest,
        id: String,
        created: u64,
        prompt: &TokenPrompt,
        messages: &[Value],
    ) -> Self {
        let common = &request.common;
        let role = reply_role(frontend, &request.conversation);
        let last = messages.last().filter(|last| common.echo && last["role"] == role.as_str());
        let echo = last.map(|last| content_text(last).into_owned());
        Self {
            id,
            created,
            model: frontend.model_name().to_owned(),
            role,
            echo: echo.filter(|text| !text.is_empty()),
            prompt_tokens: prompt.tokens.len(),
            prompt_token_ids: common.return_token_ids.then(|| prompt.tokens.clone()),
            prompt_text: prompt.text.clone().filter(|_| request.return_prompt_text),
            return_token_ids: common.return_token_ids,
            top_logprobs: request.logprobs.then_some(request.top_logprobs as i32),
            tokens_as_ids: frontend.tokens_as_ids(common),
            choices: common.sampling.reserve_n(),
        }
    }

    /// The log-probabilities of some tokens, when they are shown.
    pub fn logprobs(&self, positions: &[PositionTexts]) -> Option<Logprobs> {
        let top = self.top_logprobs?;
        let entry = |position: &PositionTexts| position.chat(top, self.tokens_as_ids);
        Some(Logprobs { content: positions.iter().map(entry).collect() })
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
            id: &self.id,
            object: "chat.completion",
            created: self.created,
            model: &self.model,
            choices: choices.collect(),
            service_tier: (),
            system_fingerprint: frontend.options.system_fingerprint.as_deref(),
            usage: Usage::counts(self.prompt_tokens, completion_tokens).in_reply(cached, Some(0)),
            prompt_logprobs: prompt_logprobs.map(|logprobs| frontend.prompt_logprobs(&logprobs)),
            prompt_token_ids: self.prompt_token_ids.as_deref(),
            prompt_text: self.prompt_text.as_deref(),
            kv_transfer_params: (),
            ec_transfer_params: (),
            metrics: (),
        })
    }

    fn choice<'a>(&'a self, index: usize, output: &'a Output) -> Choice<'a> {
        let (finish_reason, stop_reason) = finish_members(output.finish.as_ref());
        let content = match &self.echo {
            Some(echo) => format!("{echo}{}", output.text),
            None => output.text.clone(),
        };
        Choice {
            index,
            message: Message {
                role: &self.role,
                content,
                refusal: (),
                annotations: (),
                audio: (),
                function_call: (),
                reasoning: (),
            },
            logprobs: self.logprobs(&output.logprobs),
            finish_reason,
            stop_reason,
            token_ids: self.return_token_ids.then_some(&output.tokens),
            routed_experts: (),
        }
    }
}

/// `logprobs` of a choice.
#[derive(Serialize)]
pub struct Logprobs {
    content: Vec<ChatLogprob>,
}

#[derive(Serialize)]
struct Reply<'a> {
    id: &'a str,
    object: &'static str,
    created: u64,
    model: &'a str,
    choices: Vec<Choice<'a>>,
    service_tier: (),
    system_fingerprint: Option<&'a str>,
    usage: Usage,
    prompt_logprobs: Option<Vec<Option<TokenMap>>>,
    prompt_token_ids: Option<&'a [Token]>,
    prompt_text: Option<&'a str>,
    kv_transfer_params: (),
    ec_transfer_params: (),
    metrics: (),
}

#[derive(Serialize)]
struct Choice<'a> {
    index: usize,
    message: Message<'a>,
    logprobs: Option<Logprobs>,
    finish_reason: Option<&'static str>,
    stop_reason: Option<Stop<'a>>,
    token_ids: Option<&'a Vec<Token>>,
    routed_experts: (),
}

#[derive(Serialize)]
struct Message<'a> {
    role: &'a str,
    content: String,
    refusal: (),
    annotations: (),
    audio: (),
    function_call: (),
    reasoning: (),
}
