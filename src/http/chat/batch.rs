//! `POST /v1/chat/completions/batch`: several chats, one reply with a choice for each.

use super::super::body::read;
use super::super::call::Call;
use super::super::fanout::{Job, Numbering, Origin};
use super::super::frontend::Frontend;
use super::super::headers::{PRIORITY, request_id};
use super::super::reply::{random_id, unix_time};
use super::super::request::BatchRequest;
use super::super::request_log::{RequestLog, with_reply_id};
use super::reply::{Replies, batch_reply};
use crate::error::ApiError;
use axum::body::Body;
use axum::http::{HeaderMap, Response};

/// Answers one request.
pub async fn create(
    frontend: &Frontend,
    mut call: Call,
    mut headers: HeaderMap,
    body: &[u8],
) -> Result<Response<Body>, ApiError> {
    let (request, surrogates) = read(&headers, body, BatchRequest::new)?;
    call.arrived();
    frontend.check_model(request.model.as_deref())?;
    surrogates?;
    let room = frontend.engine.reserve(1)?;
    let created = unix_time();
    let (mut id, mut first) = (String::new(), None);
    let (mut jobs, mut replies): (Vec<Job>, Vec<Replies>) = (Vec::new(), Vec::new());
    for chat in request.requests() {
        let chat = chat?;
        if first.is_none() {
            id = request_id("chatcmpl-", &headers, chat.common.request_id.as_deref(), random_id);
        }
        let (prompt, messages) = frontend.chat_prompt(&chat, body.len()).await?;
        let sampling = match jobs.first() {
            None => frontend.chat_sampling(&chat, &prompt)?,
            Some(job) => {
                let wanted = chat.max_tokens.as_ref();
                let max = frontend.max_tokens(wanted, prompt.tokens.len(), &chat.common)?;
                chat.common.sampling.resolve_again(&job.sampling, max)?
            }
        };
        replies.push(Replies::new(frontend, &chat, id.clone(), created, &prompt, &messages));
        jobs.push(Job { prompt, sampling });
        first.get_or_insert(chat.common);
    }
    let Some(common) = first else { return Err(ApiError::internal("no conversation")) };
    call.asks_for(&common, &headers);
    call.tokenised();
    // Here only the body says what is urgent.
    headers.remove(PRIORITY);
    let log = RequestLog::new(&frontend.options, &id, call.span());
    log.iter().for_each(|log| log.body(body));
    let numbers = Numbering::Underscore;
    let origin = Origin { id: &id, numbers, headers: &headers, call: call.clone(), log };
    let fanout = frontend.start(&common, origin, room, jobs).await;
    let mut fanout = fanout.inspect_err(|error| call.failed(error))?;
    let outputs = fanout.finish().await?;
    Ok(with_reply_id(batch_reply(frontend, &replies, &outputs), id))
}
