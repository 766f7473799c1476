//! `/invocations`: SageMaker's one endpoint, which takes a chat or a completion.

use super::arguments::python_error;
use super::body::{check_type, read};
use super::call::Call;
use super::frontend::Frontend;
use super::json::{self, Json, dumps_str};
use super::request::{ChatRequest, CompletionRequest};
use super::{chat, completions};
use crate::error::ApiError;
use axum::body::{Body, Bytes};
use axum::http::{HeaderMap, Response};
use std::sync::Arc;

/// The header that names the model; whatever the body says about it goes unheard.
const ADAPTER: &str = "x-amzn-sagemaker-adapter-identifier";

/// Answers as the first API whose schema the body fits.
pub async fn answer(
    frontend: Arc<Frontend>,
    call: Call,
    headers: HeaderMap,
    body: Bytes,
) -> Result<Response<Body>, ApiError> {
    check_type(&headers)?;
    let document = json::parse(&body).map_err(|error| {
        ApiError::http(400, format!("JSON decode error: {}", python_error(&body, &error)))
    })?;
    let body = match document.root {
        Json::Dict(members) => with_model(&headers, &body, members.is_empty()),
        other => return Err(no_object(&other)),
    };
    if fits(read(&headers, &body, ChatRequest::new)) {
        return chat::create(frontend, call, headers, &body).await;
    }
    if fits(read(&headers, &body, CompletionRequest::new)) {
        return completions::create(frontend, call, headers, &body).await;
    }
    let message = "Cannot find suitable handler for request. Expected one of: \
                   ['ChatCompletionRequest', 'CompletionRequest']";
    Err(ApiError::bad_request(message))
}

/// Whether an API takes a body, if only to refuse it: its own checks count, its schema's do not.
fn fits<T>(checked: Result<T, ApiError>) -> bool {
    checked.err().is_none_or(|error| error.kind != "Bad Request")
}

/// The object `body` with another model: of two members with one name, the last one counts.
fn with_model(headers: &HeaderMap, body: &[u8], is_empty: bool) -> Vec<u8> {
    let end = body.iter().rposition(|byte| *byte == b'}').unwrap_or(body.len());
    let mut member = if is_empty { String::new() } else { ",".to_owned() };
    member.push_str("\"model\":");
    match headers.get(ADAPTER).map(|adapter| String::from_utf8_lossy(adapter.as_bytes())) {
        Some(adapter) => dumps_str(&mut member, &adapter),
        None => member.push_str("null"),
    }
    [&body[..end], member.as_bytes(), b"}"].concat()
}

/// What Python says when vLLM looks for a member of something else.
fn no_object(value: &Json) -> ApiError {
    ApiError::bad_request(match value {
        Json::List(_) => "list indices must be integers or slices, not str".to_owned(),
        Json::Str(_) => "string indices must be integers, not 'str'".to_owned(),
        other => format!("argument of type '{}' is not iterable", other.type_name()),
    })
}
