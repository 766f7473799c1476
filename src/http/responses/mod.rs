//! OpenAI's Responses API: `/v1/responses` and what is stored of it.

mod events;
mod items;
mod paths;
mod query;
mod reply;
mod store;
mod stream;

pub use paths::{ROUTES, Stored, route, stored};
pub use store::Store;

use super::body::read;
use super::call::Call;
use super::chat::Parsing;
use super::fanout::{Fanout, Job, Numbering, Origin};
use super::frontend::Frontend;
use super::reply::{random_id, unix_time};
use super::request::{ChatRequest, Earlier, ResponsesRequest, Sampling};
use super::request_log::{RequestLog, with_reply_id};
use super::{prompt::TokenPrompt, respond, sse};
use crate::error::ApiError;
use crate::types::json::Json;
use axum::body::Body;
use axum::http::{HeaderMap, Response};
use bytes::BytesMut;
use query::Follow;
use reply::{Outline, Status, Turn};
use std::sync::Arc;
use store::EventLog;
use stream::ResponseEvents;

/// The header of data-parallel ranks, which vLLM does not read here.
const RANK: &str = "x-data-parallel-rank";

/// A checked request with all that the engine and the reply need.
struct Prepared {
    chat: ChatRequest,
    prompt: TokenPrompt,
    sampling: Sampling,
    /// The conversation, where it is to be kept.
    messages: Option<Arc<[Json]>>,
}

/// Answers one request.
pub async fn create(
    frontend: Arc<Frontend>,
    mut call: Call,
    mut headers: HeaderMap,
    body: &[u8],
) -> Result<Response<Body>, ApiError> {
    let (request, surrogates) = read(&headers, body, ResponsesRequest::new)?;
    call.asks_for(request.common(), &headers);
    call.arrived();
    headers.remove(RANK);
    let id = request.request_id.clone().unwrap_or_else(|| "resp_".to_owned() + &random_id());
    let log = RequestLog::new(&frontend.options, &id, call.span());
    log.iter().for_each(|log| log.body(body));
    frontend.check_model(request.common().model.as_deref())?;
    surrogates?;
    request.check(frontend.responses.is_some())?;
    let room = frontend.engine.reserve(1)?;
    let Prepared { chat, prompt, sampling, messages } =
        prepare(&frontend, &request, body.len()).await?;
    call.tokenised();
    let turn = turn(&frontend, request, id.clone(), &chat, &prompt, &sampling, messages);
    let origin = Origin {
        id: &id,
        numbers: Numbering::Underscore,
        headers: &headers,
        call: call.clone(),
        log,
    };
    let job = Job { prompt, sampling };
    let fanout = frontend.start(&chat.common, origin, room, vec![job]).await;
    let fanout = fanout.inspect_err(|error| call.failed(error));
    let is_stream = chat.common.stream;
    let response = match turn.kept.clone().filter(|_| turn.outline.is_in_background()) {
        Some((store, messages)) => in_background(turn, &store, &messages, fanout, is_stream),
        None if is_stream => {
            let mut events = ResponseEvents::new(turn);
            let opening = events.start();
            respond::events(sse::body_after(opening, fanout, events))
        }
        None => {
            let generated = whole(&turn, fanout?).await?;
            respond::json(&turn.reply(&generated))
        }
    };
    Ok(with_reply_id(response, id))
}

/// Everything up to the engine.
async fn prepare(
    frontend: &Frontend,
    request: &ResponsesRequest,
    len: usize,
) -> Result<Prepared, ApiError> {
    let store = frontend.responses.as_ref();
    let past = match (&request.previous_response_id, store) {
        (Some(id), Some(store)) => Some(store.past(id)?),
        (Some(id), None) => return Err(store::not_found(id)),
        (None, _) => None,
    };
    let earlier = past.as_ref().map(|past| Earlier { messages: &past.messages, said: &past.said });
    let messages = request.messages(earlier.as_ref())?;
    let is_kept = request.store && store.is_some();
    let kept: Option<Arc<[Json]>> = is_kept.then(|| messages.as_slice().into());
    let chat = request.to_chat(messages);
    let (prompt, _) = frontend.chat_prompt(&chat, len).await?;
    check_length(&prompt, frontend.options.limits.max_model_len)?;
    request.check_constraints(frontend.parses_tools())?;
    let sampling = frontend.chat_sampling(&chat, &prompt)?;
    request.check_shown()?;
    Ok(Prepared { chat, prompt, sampling, messages: kept })
}

fn check_length(prompt: &TokenPrompt, max_model_len: u32) -> Result<(), ApiError> {
    let len = prompt.tokens.len();
    if len < max_model_len as usize {
        return Ok(());
    }
    let message = format!(
        "The engine prompt length {len} exceeds the max_model_len {max_model_len}. Please reduce \
         prompt."
    );
    Err(ApiError::invalid_request(400, message, "input"))
}

fn turn(
    frontend: &Arc<Frontend>,
    request: ResponsesRequest,
    id: String,
    chat: &ChatRequest,
    prompt: &TokenPrompt,
    sampling: &Sampling,
    messages: Option<Arc<[Json]>>,
) -> Turn {
    let ResponsesRequest { shown, tools, top_logprobs, shows_messages, .. } = request;
    let outline = Outline::new(frontend, id, unix_time(), shown, top_logprobs, sampling);
    Turn {
        frontend: frontend.clone(),
        outline: Arc::new(outline),
        parsing: Parsing::new(frontend, chat),
        tools,
        include_reasoning: chat.include_reasoning,
        top_logprobs,
        prompt: prompt.tokens.clone(),
        prompt_text: shows_messages.then(|| prompt.text.clone().unwrap_or_default()),
        kept: frontend.responses.clone().zip(messages),
    }
}

/// Waits for the whole output and keeps what it came to.
async fn whole(turn: &Turn, mut fanout: Fanout) -> Result<reply::Generated, ApiError> {
    let mut outputs = fanout.finish().await?;
    let output = outputs.pop().unwrap_or_default();
    let generated = turn.read(output, &fanout);
    turn.keep(&generated);
    Ok(generated)
}

/// Goes on without the client, who may come back for the response, or follow its events.
fn in_background(
    turn: Turn,
    store: &Arc<Store>,
    messages: &Arc<[Json]>,
    fanout: Result<Fanout, ApiError>,
    is_stream: bool,
) -> Response<Body> {
    let outline = turn.outline.clone();
    let log = is_stream.then(Arc::<EventLog>::default);
    store.begin(&outline, messages, log.clone());
    let work = {
        let (store, outline, log) = (store.clone(), outline.clone(), log.clone());
        async move {
            let failed = match log {
                None => match fanout {
                    Ok(fanout) => whole(&turn, fanout).await.is_err(),
                    Err(_) => true,
                },
                Some(log) => {
                    let mut events = ResponseEvents::new(turn);
                    log.add(events.start().freeze());
                    sse::drive(fanout, events, |text: BytesMut| log.add(text.freeze())).await
                }
            };
            if failed {
                store.fail(outline.id());
            }
        }
    };
    store.runs_in(outline.id(), tokio::spawn(work).abort_handle());
    match log {
        Some(log) => respond::events(Body::from_stream(log.follow(None))),
        None => respond::json(&outline.bare(Status::Queued)),
    }
}

/// `GET /v1/responses/{id}`.
pub fn retrieve(
    frontend: &Frontend,
    id: &str,
    query: Option<&str>,
) -> Result<Response<Body>, ApiError> {
    let Follow { stream, starting_after } = Follow::from_query(query)?;
    let store = frontend.responses.as_ref().ok_or_else(|| store::not_found(id))?;
    if !stream {
        return Ok(respond::json_text(store.get(id)?));
    }
    match store.events(id)? {
        Some(events) => Ok(respond::events(Body::from_stream(events.follow(starting_after)))),
        // vLLM breaks the connection off.
        None => {
            let message = format!("Unknown response_id: {id}");
            Err(ApiError::parameter(message, "response_id", Some(id)))
        }
    }
}

/// `POST /v1/responses/{id}/cancel`.
pub fn cancel(frontend: &Frontend, id: &str) -> Result<Response<Body>, ApiError> {
    let store = frontend.responses.as_ref().ok_or_else(|| store::not_found(id))?;
    Ok(respond::json_text(store.cancel(id)?))
}
