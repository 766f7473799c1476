//! `POST /inference/v1/generate`: tokens in, tokens out, and text beside them where it is asked
//! for. `POST /inference/v1/abort_requests` ends what is under way.

mod abort;
mod reply;
mod stream;

pub use abort::abort_requests;

use super::body::read;
use super::call::Call;
use super::fanout::{Job, Numbering, Origin};
use super::frontend::Frontend;
use super::headers::{PRIORITY, request_id};
use super::prompt::TokenPrompt;
use super::reply::{random_id, unix_time};
use super::request::{GenerateRequest, MaxTokens, Sampling};
use super::request_log::{RequestLog, with_reply_id};
use super::{respond, sse};
use crate::error::ApiError;
use axum::body::Body;
use axum::http::{HeaderMap, Response};
use reply::Replies;
use std::sync::Arc;

/// Answers one request.
pub async fn create(
    frontend: Arc<Frontend>,
    mut call: Call,
    mut headers: HeaderMap,
    body: &[u8],
) -> Result<Response<Body>, ApiError> {
    let (request, surrogates) = read(&headers, body, GenerateRequest::new)?;
    call.asks_for(&request.common, &headers);
    call.arrived();
    let given = request.common.request_id.as_deref();
    let id = request_id("generate-tokens-", &headers, given, random_id);
    let log = RequestLog::new(&frontend.options, &id, call.span());
    log.iter().for_each(|log| log.body(body));
    frontend.check_model(request.common.model.as_deref())?;
    surrogates?;
    frontend.check_count(request.sampling.n)?;
    frontend.check_output_mode(&request)?;
    request.beyond.check(request.common.stream, frontend.model_name())?;
    let room = frontend.engine.reserve(request.sampling.n)?;
    let prompt = frontend.unchecked_prompt(&request.token_ids);
    call.tokenised();
    let sampling = frontend.sampling_of(&request, &prompt)?;
    let replies = Replies::new(&frontend, &request, id.clone(), unix_time(), &prompt);
    // Here only the body says what is urgent.
    headers.remove(PRIORITY);
    let origin =
        Origin { id: &id, numbers: Numbering::None, headers: &headers, call: call.clone(), log };
    let fanout = match request.beyond.check_late(&frontend.options.limits) {
        Ok(()) => {
            let jobs = vec![Job { prompt, sampling }];
            frontend.start(&request.common, origin, room, jobs).await
        }
        Err(error) => Err(error),
    };
    let fanout = fanout.inspect_err(|error| call.failed(error));
    if request.common.stream {
        let chunks = stream::GenerateChunks::new(frontend, replies, request.common.stream_options);
        return Ok(with_reply_id(respond::events(sse::body(fanout, chunks)), id));
    }
    let mut fanout = fanout?;
    let outputs = fanout.finish().await?;
    let response = replies.whole(&frontend, &outputs, &mut fanout);
    Ok(with_reply_id(response, id))
}

impl Frontend {
    /// Here no request may want more replies than run at a time.
    fn check_count(&self, n: usize) -> Result<(), ApiError> {
        let max = self.options.max_num_seqs;
        if n <= max {
            return Ok(());
        }
        Err(ApiError::bad_request(format!(
            "sampling_params.n must be at most the server's max_num_seqs ({max}), got {n}."
        )))
    }

    /// Text needs a tokenizer.
    fn check_output_mode(&self, request: &GenerateRequest) -> Result<(), ApiError> {
        if !request.text_mode || self.encoder.has_tokenizer() {
            return Ok(());
        }
        Err(ApiError::bad_request(
            "output_mode='text' requires a tokenizer, but this server does not load one \
             (--tokens-only or --skip-tokenizer-init). Send the request to a server that loads a \
             tokenizer, or use output_mode='tokens'.",
        ))
    }

    /// The parameters for one prompt: without a length they take the server's, and none goes
    /// beyond the context.
    fn sampling_of(
        &self,
        request: &GenerateRequest,
        prompt: &TokenPrompt,
    ) -> Result<Sampling, ApiError> {
        let len = prompt.tokens.len();
        let room = i64::from(self.options.limits.max_model_len) - len as i64;
        let wanted = match &request.max_tokens {
            MaxTokens::Default => self.max_tokens(None, len, &request.common)?,
            MaxTokens::Unbounded => room,
            MaxTokens::Given(wanted) => wanted.saturate().min(room),
        };
        let mut sampling = request.sampling.clone();
        sampling.params.max_tokens = wanted.max(1) as u32;
        Ok(sampling)
    }
}
