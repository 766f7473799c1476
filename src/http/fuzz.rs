//! Doors for the fuzz targets under `tests/fuzz`: the parsers of this room, by themselves.

use super::arguments;
use super::json;
use super::request::{
    ChatRequest, CompletionRequest, DetokenizeRequest, MessagesRequest, ResponsesRequest,
    TokenizeRequest,
};
use super::respond;
use super::schema::{Field, Schema, optional};
use super::tls;
use crate::error::ApiError;
use axum::http::{HeaderMap, HeaderValue, header};

/// The value of a body, if it is JSON.
pub fn json(body: &[u8]) -> Option<serde_json::Value> {
    json::parse(body).ok().map(|document| document.root.to_value())
}

/// The status with which a chat is refused before it is tokenised.
pub fn chat(body: &[u8]) -> Option<u16> {
    refused(body, ChatRequest::new)
}

/// The same for a completion.
pub fn completions(body: &[u8]) -> Option<u16> {
    refused(body, CompletionRequest::new)
}

/// The same for Anthropic's messages.
pub fn messages(body: &[u8]) -> Option<u16> {
    refused(body, MessagesRequest::new)
}

/// The same for the Responses API.
pub fn responses(body: &[u8]) -> Option<u16> {
    refused(body, ResponsesRequest::new)
}

/// The same for `/tokenize`.
pub fn tokenize(body: &[u8]) -> Option<u16> {
    refused(body, TokenizeRequest::new)
}

/// The same for `/detokenize`.
pub fn detokenize(body: &[u8]) -> Option<u16> {
    refused(body, DetokenizeRequest::new)
}

fn refused<T>(body: &[u8], check: fn(json::Json) -> Result<T, ApiError>) -> Option<u16> {
    let mut headers = HeaderMap::new();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
    let error = super::body::read(&headers, body, check).err()?;
    // The error is written as well: it quotes what was sent.
    respond::error(&error);
    Some(error.status)
}

/// The status with which query arguments of every kind are refused.
pub fn query(query: &str) -> Option<u16> {
    const FIELDS: &[Field] = &[
        optional("mode", &Schema::Literal(&["abort", "wait", "keep"])),
        optional("level", &Schema::Int { ge: Some(0), le: Some(2) }),
        optional("clear_cache", &Schema::Bool),
    ];
    arguments::query(Some(query), FIELDS).err().map(|error| error.status)
}

/// An error with this message as an event of a stream.
pub fn error_event(message: &str) -> String {
    let mut out = String::new();
    respond::error_event(&mut out, &ApiError::bad_request(message));
    out
}

/// How many cipher suites an OpenSSL list selects, or why none.
///
/// # Errors
/// As `--ssl-ciphers` is refused.
pub fn ciphers(list: &str) -> Result<usize, String> {
    tls::select(list).map(|suites| suites.len())
}
