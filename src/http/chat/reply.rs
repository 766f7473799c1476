//! The reply to a chat request, whole.

use super::super::fanout::{Fanout, Output};
use super::super::frontend::Frontend;
use super::super::kv_transfer::KvTransferReply;
use super::super::prompt::TokenPrompt;
use super::super::reply::{CompletionDetails, Stop, TokenMap, Usage, finish_members};
use super::super::request::ChatRequest;
use super::super::respond;
use super::super::timing::RequestTiming;
use super::parsing::{Parsing, Said, ToolCall};
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
    /// Whether it was asked to be repeated, even if there is none: then content is never null.
    pub echoes: bool,
    /// `None` when output is content and nothing else.
    pub parsing: Option<Parsing>,
    /// Whether usage tells how many tokens are reasoning.
    pub counts_reasoning: bool,
    pub prompt: Arc<[Token]>,
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
            echoes: common.echo,
            parsing: Parsing::new(frontend, request),
            counts_reasoning: frontend.parsers.as_ref().is_some_and(|p| p.has_reasoning()),
            prompt: prompt.tokens.clone(),
            prompt_tokens: prompt.tokens.len(),
            prompt_token_ids: common.return_token_ids.then(|| prompt.tokens.clone()),
            prompt_text: prompt.text.clone().filter(|_| request.return_prompt_text),
            return_token_ids: common.return_token_ids,
            top_logprobs: request.logprobs.then_some(request.top_logprobs as i32),
            tokens_as_ids: frontend.tokens_as_ids(common),
            choices: common.sampling.reserve_n(),
        }
    }

    /// Whether nothing may tell what the tokens are.
    pub fn hides_tokens(&self) -> bool {
        self.parsing.as_ref().is_some_and(Parsing::hides_tokens)
    }

    /// Usage of so many tokens of reasoning, when it tells of them.
    pub fn details(&self, reasoning_tokens: usize) -> Option<CompletionDetails> {
        self.counts_reasoning.then_some(CompletionDetails { reasoning_tokens })
    }

    /// The log-probabilities of some tokens, when they are shown.
    pub fn logprobs(&self, positions: &[PositionTexts]) -> Option<Logprobs> {
        let top = self.top_logprobs.filter(|_| !self.hides_tokens())?;
        let entry = |position: &PositionTexts| position.chat(top, self.tokens_as_ids);
        Some(Logprobs { content: positions.iter().map(entry).collect() })
    }

    /// Tokens, when replies show them.
    pub fn shown_tokens<'a>(&self, tokens: &'a [Token]) -> Option<&'a [Token]> {
        (self.return_token_ids && !self.hides_tokens()).then_some(tokens)
    }

    /// The response once all parts have ended.
    pub fn whole(
        &self,
        frontend: &Frontend,
        outputs: &[Output],
        fanout: &mut Fanout,
    ) -> Response<Body> {
        let said: Vec<Said> = outputs.iter().map(|output| self.said(frontend, output)).collect();
        let details = self.details(said.iter().map(|said| said.reasoning_tokens).sum());
        let choices = outputs.iter().zip(said).enumerate();
        let choices = choices.map(|(at, (output, said))| self.choice(at, output, said));
        let completion_tokens = outputs.iter().map(|output| output.total_tokens).sum();
        let created = frontend.created_cache(self.prompt_tokens, fanout.cached(0));
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
            usage: Usage::counts(self.prompt_tokens, completion_tokens)
                .in_reply(cached, Some(created))
                .with_details(details),
            prompt_logprobs: prompt_logprobs.map(|logprobs| frontend.prompt_logprobs(&logprobs)),
            prompt_token_ids: self.prompt_token_ids.as_deref(),
            prompt_text: self.prompt_text.as_deref(),
            kv_transfer_params: frontend.shown_transfer(fanout),
            ec_transfer_params: (),
            metrics: frontend.shown_timing(fanout),
        })
    }

    /// What an output says.
    pub fn said(&self, frontend: &Frontend, output: &Output) -> Said {
        let mut said = match &self.parsing {
            Some(parsing) => parsing.whole(frontend, output),
            None => Said {
                content: Some(output.text.clone()),
                finish: finish_members(output.finish.as_ref()).0,
                ..Said::default()
            },
        };
        if self.echoes {
            let content = said.content.get_or_insert_default();
            content.insert_str(0, self.echo.as_deref().unwrap_or_default());
        }
        said
    }

    fn choice<'a>(&'a self, index: usize, output: &'a Output, said: Said) -> Choice<'a> {
        let (_, stop_reason) = finish_members(output.finish.as_ref());
        Choice {
            index,
            message: Message {
                role: &self.role,
                content: said.content,
                refusal: (),
                annotations: (),
                audio: (),
                function_call: (),
                tool_calls: said.tool_calls.into_iter().map(ToolCall::from).collect(),
                reasoning: said.reasoning,
            },
            logprobs: self.logprobs(&output.logprobs),
            finish_reason: said.finish,
            stop_reason,
            token_ids: self.shown_tokens(&output.tokens),
            routed_experts: (),
        }
    }
}

/// The reply to several chats: one choice for each.
pub fn batch_reply(frontend: &Frontend, replies: &[Replies], outputs: &[Output]) -> Response<Body> {
    let choices = replies.iter().zip(outputs).enumerate().map(|(at, (replies, output))| {
        let mut said = replies.said(frontend, output);
        // Tools are for single chats: what looks like a call is none.
        said.tool_calls.clear();
        said.finish = finish_members(output.finish.as_ref()).0;
        replies.choice(at, output, said)
    });
    let prompt_tokens = replies.iter().map(|replies| replies.prompt_tokens).sum();
    let completion_tokens = outputs.iter().map(|output| output.total_tokens).sum();
    respond::json(&Reply {
        id: &replies[0].id,
        object: "chat.completion",
        created: replies[0].created,
        model: &replies[0].model,
        choices: choices.collect(),
        service_tier: (),
        system_fingerprint: frontend.options.system_fingerprint.as_deref(),
        usage: Usage::counts(prompt_tokens, completion_tokens).in_reply(None, None),
        prompt_logprobs: None,
        prompt_token_ids: None,
        prompt_text: None,
        kv_transfer_params: None,
        ec_transfer_params: (),
        metrics: None,
    })
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
    kv_transfer_params: Option<KvTransferReply<'a>>,
    ec_transfer_params: (),
    metrics: Option<&'a RequestTiming>,
}

#[derive(Serialize)]
struct Choice<'a> {
    index: usize,
    message: Message<'a>,
    logprobs: Option<Logprobs>,
    finish_reason: Option<&'static str>,
    stop_reason: Option<Stop<'a>>,
    token_ids: Option<&'a [Token]>,
    routed_experts: (),
}

#[derive(Serialize)]
struct Message<'a> {
    role: &'a str,
    content: Option<String>,
    refusal: (),
    annotations: (),
    audio: (),
    function_call: (),
    #[serde(skip_serializing_if = "Vec::is_empty")]
    tool_calls: Vec<ToolCall>,
    reasoning: Option<String>,
}
