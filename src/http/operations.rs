//! What operators and load balancers ask: `/health`, `/ping`, `/version`, `/load`, `/metrics`.

use super::frontend::Frontend;
use super::respond;
use crate::config::VLLM_VERSION;
use axum::body::Body;
use axum::http::{HeaderValue, Response, StatusCode, header};
use serde_json::json;
use std::sync::atomic::Ordering::Relaxed;

/// 503 when the engine is dead, or when work waits and no step has ended for too long.
pub fn health(frontend: &Frontend) -> Response<Body> {
    let status = frontend.engine.status();
    let stalled = status.stalled_for() > frontend.options.stall_limit;
    respond::empty(match status.is_dead() || stalled {
        true => StatusCode::SERVICE_UNAVAILABLE,
        false => StatusCode::OK,
    })
}

/// The vLLM release whose behaviour this server has.
pub fn version() -> Response<Body> {
    respond::json(&json!({"version": VLLM_VERSION}))
}

/// Requests in work, 0 unless they are counted.
pub fn load(frontend: &Frontend) -> Response<Body> {
    respond::json(&json!({"server_load": frontend.load.load(Relaxed)}))
}

/// The metrics page. Scrapers that GET exactly `/metrics` get another version of the type.
pub fn metrics(frontend: &Frontend, is_plain_get: bool) -> Response<Body> {
    let mut response = Response::new(Body::from((frontend.render_metrics)()));
    let kind = match is_plain_get {
        true => "text/plain; version=1.0.0; charset=utf-8",
        false => "text/plain; version=0.0.4; charset=utf-8",
    };
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static(kind));
    response
}
