//! Headers with a meaning of vLLM's own.

use super::frontend::Frontend;
use super::json::float_repr;
use super::request::GenerateFields;
use axum::body::Body;
use axum::http::{HeaderMap, HeaderValue, Response};
use std::sync::atomic::Ordering::Relaxed;

/// The header that names a request.
pub const REQUEST_ID: &str = "x-request-id";
/// The header that says how urgent a request is.
pub const PRIORITY: &str = "x-vllm-priority";

/// The id of a reply: a prefix, then what the header, the body or chance says.
pub fn request_id(
    prefix: &str,
    headers: &HeaderMap,
    body: Option<&str>,
    random: fn() -> String,
) -> String {
    let header = headers.get(REQUEST_ID).map(|id| String::from_utf8_lossy(id.as_bytes()));
    match (header, body) {
        (Some(id), _) => format!("{prefix}{id}"),
        (None, Some(id)) => format!("{prefix}{id}"),
        (None, None) => prefix.to_owned() + &random(),
    }
}

/// The session of a request, as vLLM looks for it: body, header, extra arguments.
pub fn session(headers: &HeaderMap, fields: &GenerateFields) -> Option<String> {
    let body = || fields.session_id.clone();
    body().or_else(|| session_header(headers)).or_else(|| fields.xargs_session_id.clone())
}

/// The session that the header names, in Latin-1 as Starlette reads it.
pub fn session_header(headers: &HeaderMap) -> Option<String> {
    let id = headers.get("x-session-id")?.as_bytes();
    (!id.is_empty()).then(|| id.iter().map(|&byte| char::from(byte)).collect())
}

/// Adds the load report (ORCA) that a client asked for by `endpoint-load-metrics-format`.
pub fn with_load_metrics(
    frontend: &Frontend,
    headers: &HeaderMap,
    mut response: Response<Body>,
) -> Response<Body> {
    let Some(format) = headers.get("endpoint-load-metrics-format") else { return response };
    let status = frontend.engine.status();
    let waiting = float_repr(status.gauges.waiting.load(Relaxed) as f64);
    let usage = float_repr(status.kv_cache_usage());
    let report = match format.as_bytes().to_ascii_lowercase().as_slice() {
        b"text" => format!(
            "TEXT named_metrics.num_requests_waiting={waiting}, \
             named_metrics.kv_cache_usage_perc={usage}"
        ),
        b"json" => format!(
            "JSON {{\"named_metrics\": {{\"num_requests_waiting\": {waiting}, \
             \"kv_cache_usage_perc\": {usage}}}}}"
        ),
        _ => return response,
    };
    if let Ok(report) = HeaderValue::try_from(report) {
        response.headers_mut().insert("endpoint-load-metrics", report);
    }
    response
}
