//! Pausing, resuming, aborting, forgetting the cache.

use super::super::arguments::query;
use super::super::frontend::Frontend;
use super::super::json::{self, Dict, Json};
use super::super::respond;
use super::super::schema::{Field, Schema, coerce, optional};
use super::Asked;
use crate::engine::PauseMode;
use crate::error::ApiError;
use axum::body::Body;
use axum::http::{Response, StatusCode};
use serde_json::json;

/// What a pause does to requests in flight.
pub const MODE: Schema = Schema::Literal(&["abort", "wait", "keep"]);

/// The mode among checked parameters.
pub fn mode(given: &Dict) -> PauseMode {
    match given.get("mode").and_then(Json::as_str) {
        Some("wait") => PauseMode::Wait,
        Some("keep") => PauseMode::Keep,
        _ => PauseMode::Abort,
    }
}

/// A flag among checked parameters.
pub fn flag(given: &Dict, name: &str, default: bool) -> bool {
    given.get(name).and_then(|value| coerce::bool(value).ok()).unwrap_or(default)
}

/// Forgets all cached blocks, if nobody holds any.
pub async fn reset_prefix_cache(
    frontend: &Frontend,
    asked: Asked<'_>,
) -> Result<Response<Body>, ApiError> {
    const FIELDS: &[Field] = &[
        optional("reset_running_requests", &Schema::Bool),
        // There is no external cache to reset: this asks for nothing.
        optional("reset_external", &Schema::Bool),
    ];
    let given = query(asked.query, FIELDS)?;
    let preempt = flag(&given, "reset_running_requests", false);
    log::info!("Resetting prefix cache...");
    let engine = frontend.engine.clone();
    // The engine answers after the step under way.
    let reset = tokio::task::spawn_blocking(move || engine.reset_prefix_cache(preempt)).await;
    Ok(respond::json(&json!({"success": reset.unwrap_or(false)})))
}

pub async fn pause(frontend: &Frontend, asked: Asked<'_>) -> Result<Response<Body>, ApiError> {
    const FIELDS: &[Field] = &[optional("mode", &MODE), optional("clear_cache", &Schema::Bool)];
    let given = query(asked.query, FIELDS)?;
    frontend.engine.pause(mode(&given), flag(&given, "clear_cache", true)).await?;
    Ok(respond::json(&json!({"status": "paused"})))
}

pub async fn resume(frontend: &Frontend) -> Result<Response<Body>, ApiError> {
    frontend.engine.resume().await?;
    Ok(respond::json(&json!({"status": "resumed"})))
}

pub fn is_paused(frontend: &Frontend) -> Response<Body> {
    respond::json(&json!({"is_paused": frontend.engine.status().is_paused()}))
}

/// Aborts requests by their ids, or all of them. Ids that are not in flight count as well, as in
/// vLLM.
pub fn abort(frontend: &Frontend, asked: Asked<'_>) -> Result<Response<Body>, ApiError> {
    let body = match json::parse(asked.body) {
        Ok(document) => document.root,
        Err(_) => return Err(ApiError::http(400, "Invalid JSON format")),
    };
    let Json::Dict(body) = body else {
        return Err(ApiError::http(400, "Request body must be a JSON object"));
    };
    let (generations, count) = match body.get("request_ids").filter(|ids| ids.truthy()) {
        None => frontend.in_flight.all(),
        Some(Json::List(ids)) => {
            let texts: Vec<&str> = ids.iter().filter_map(Json::as_str).collect();
            (frontend.in_flight.named(&texts), ids.len())
        }
        // Python goes over the letters of a text and the keys of an object.
        Some(Json::Str(text)) => (Vec::new(), text.chars().count()),
        Some(Json::Dict(members)) => {
            let texts: Vec<&str> = members.keys().map(String::as_str).collect();
            (frontend.in_flight.named(&texts), members.len())
        }
        Some(other) => {
            let kind = other.type_name();
            let error = format!("Failed to abort requests: '{kind}' object is not iterable");
            let mut response = respond::json(&json!({"error": error}));
            *response.status_mut() = StatusCode::INTERNAL_SERVER_ERROR;
            return Ok(response);
        }
    };
    frontend.engine.abort(generations);
    Ok(respond::json(&json!({"status": "aborted", "aborted": count})))
}
