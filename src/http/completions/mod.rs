//! `POST /v1/completions`.

mod reply;
mod stream;

use super::body::read;
use super::call::Call;
use super::fanout::{Job, Numbering, Origin};
use super::frontend::Frontend;
use super::headers::{request_id, with_load_metrics};
use super::prompt::{LengthRules, TokenPrompt};
use super::reply::{random_id, unix_time};
use super::request::{BeamParams, CompletionRequest, Prompt};
use super::request_log::{RequestLog, with_reply_id};
use super::{respond, sse};
use crate::error::ApiError;
use axum::body::Body;
use axum::http::{HeaderMap, Response};
use reply::{Replies, Source};
use std::sync::Arc;

/// Answers one request.
pub async fn create(
    frontend: Arc<Frontend>,
    mut call: Call,
    headers: HeaderMap,
    body: &[u8],
) -> Result<Response<Body>, ApiError> {
    let (mut request, surrogates) = read(&headers, body, CompletionRequest::new)?;
    call.asks_for(&request.common, &headers);
    call.arrived();
    let id = request_id("cmpl-", &headers, request.common.request_id.as_deref(), random_id);
    let log = RequestLog::new(&frontend.options, &id, call.span());
    log.iter().for_each(|log| log.body(body));
    if request.common.stream && request.common.use_beam_search {
        let message = "Streaming is not currently supported with beam search";
        return Err(ApiError::bad_request(message));
    }
    frontend.check_model(request.common.model.as_deref())?;
    surrogates?;
    let room = frontend.engine.reserve(request.common.sampling.reserve_n())?;
    check_prompt_kind(&request)?;
    let prompts = std::mem::take(&mut request.prompts);
    let prompts = frontend.completion_prompts(&request, prompts).await?;
    call.tokenised();
    let sources: Result<_, _> =
        prompts.iter().map(|prompt| frontend.source(&request, prompt)).collect();
    let replies = Replies::new(&frontend, &request, id.clone(), unix_time(), sources?);
    let origin =
        Origin { id: &id, numbers: Numbering::Dash, headers: &headers, call: call.clone(), log };
    let fanout = match request.common.use_beam_search {
        true => {
            let searches = frontend.completion_searches(&request, prompts)?;
            frontend.start_beams(&request.common, origin, room, searches).await
        }
        false => {
            let jobs = frontend.completion_jobs(&request, prompts)?;
            frontend.start(&request.common, origin, room, jobs).await
        }
    };
    let fanout = fanout.and_then(|fanout| frontend.check_token_texts(&request).map(|()| fanout));
    let fanout = fanout.inspect_err(|error| call.failed(error));
    if request.common.stream {
        let (usage, continuous) = frontend.usage_options(&request.common);
        let chunks = stream::CompletionChunks::new(frontend, replies, usage, continuous);
        return Ok(with_reply_id(respond::events(sse::body(fanout, chunks)), id));
    }
    let mut fanout = fanout?;
    let outputs = fanout.finish().await?;
    let response = replies.whole(&frontend, &outputs, &mut fanout);
    Ok(with_reply_id(with_load_metrics(&frontend, &headers, response), id))
}

/// Refuses prompts of a kind that this server or model cannot take.
pub fn check_prompt_kind(request: &CompletionRequest) -> Result<(), ApiError> {
    let refuse = |message: &str, param: &str| Err(ApiError::bad_request(message).with_param(param));
    if request.suffix {
        let is_text = request.prompts.iter().all(|prompt| matches!(prompt, Prompt::Text(_)));
        let message = if request.common.echo {
            "Echo is unsupported with suffix."
        } else if request.prompt_embeds {
            "suffix is not supported with prompt_embeds"
        } else if request.common.truncate_prompt_tokens.is_some() {
            "suffix is not supported with truncate_prompt_tokens"
        } else if is_text {
            "suffix is only supported for models with FIM completion rendering"
        } else {
            "suffix requires text prompt input for FIM completion rendering"
        };
        return refuse(message, "suffix");
    }
    if !request.prompt_embeds {
        return Ok(());
    }
    if request.common.echo {
        return Err(ApiError::bad_request("Echo is unsupported with prompt embeds."));
    }
    let message = "You must set `--enable-prompt-embeds` to input `prompt_embeds`.";
    Err(ApiError::parameter(message, "prompt_embeds", None))
}

impl Frontend {
    /// Tokenises all prompts.
    pub async fn completion_prompts(
        &self,
        request: &CompletionRequest,
        prompts: Vec<Prompt>,
    ) -> Result<Vec<TokenPrompt>, ApiError> {
        if prompts.is_empty() {
            return Err(ApiError::bad_request("You must pass at least one prompt"));
        }
        let common = &request.common;
        let limits = &self.options.limits;
        let wanted = &request.max_tokens;
        let rules = LengthRules::new(common, Some(wanted), "max_tokens", limits.max_model_len)?;
        let mut tokenised = Vec::with_capacity(prompts.len());
        for prompt in prompts {
            tokenised.push(self.completion_prompt(prompt, &rules).await?);
        }
        Ok(tokenised)
    }

    /// Checks the sampling parameters against each prompt.
    pub fn completion_jobs(
        &self,
        request: &CompletionRequest,
        prompts: Vec<TokenPrompt>,
    ) -> Result<Vec<Job>, ApiError> {
        let (common, wanted) = (&request.common, &request.max_tokens);
        let fields = &common.sampling;
        let mut jobs: Vec<Job> = Vec::with_capacity(prompts.len());
        for prompt in prompts {
            // With echo, no tokens means the prompt alone; the engine still makes one.
            let max_tokens = match common.echo && *wanted == 0 {
                true => 1,
                false => self.max_tokens(Some(wanted), prompt.tokens.len(), common)?,
            };
            let sampling = match jobs.first() {
                Some(first) => fields.resolve_again(&first.sampling, max_tokens)?,
                None => fields.resolve(max_tokens, common.big_extra_arg, &self.defaults)?,
            };
            jobs.push(Job { prompt, sampling });
        }
        Ok(jobs)
    }

    /// The searches for a request that wants beams.
    fn completion_searches(
        &self,
        request: &CompletionRequest,
        prompts: Vec<TokenPrompt>,
    ) -> Result<Vec<(TokenPrompt, BeamParams)>, ApiError> {
        self.encoder.check()?;
        let common = &request.common;
        let search = |prompt: TokenPrompt| {
            let wanted = Some(&request.max_tokens);
            let max_tokens = self.max_tokens(wanted, prompt.tokens.len(), common)?;
            Ok((prompt, common.sampling.beams(max_tokens, &self.defaults)?))
        };
        prompts.into_iter().map(search).collect()
    }

    /// What the replies show of a prompt.
    fn source(
        &self,
        request: &CompletionRequest,
        prompt: &TokenPrompt,
    ) -> Result<Source, ApiError> {
        let with_text = request.common.echo && !request.common.return_token_ids;
        let text = match &prompt.text {
            _ if !with_text => String::new(),
            Some(text) => text.clone(),
            None => {
                self.encoder.check()?;
                self.encoder.decode(&prompt.tokens, false)
            }
        };
        Ok(Source { text, tokens: prompt.tokens.clone() })
    }

    /// Refuses log-probabilities by text without a tokenizer. vLLM finds out when it writes the
    /// reply, after all else that may be wrong.
    fn check_token_texts(&self, request: &CompletionRequest) -> Result<(), ApiError> {
        let shows_texts = request.logprobs.is_some() && !self.tokens_as_ids(&request.common);
        if !shows_texts || self.encoder.has_tokenizer() {
            return Ok(());
        }
        let message = "Unable to get tokenizer because `skip_tokenizer_init=True`";
        Err(match request.common.echo {
            true => ApiError::parameter(message, "skip_tokenizer_init", Some("True")),
            false => ApiError::bad_request(message),
        })
    }
}
