//! `POST /inference/v1/abort_requests`.

use super::super::body::python_json;
use super::super::frontend::Frontend;
use super::super::json::Json;
use super::super::respond;
use crate::error::ApiError;
use axum::body::Body;
use axum::http::{Response, StatusCode};

/// Ends the named requests: they answer with finish reason `abort` and what they have. Names of
/// none are passed over.
pub fn abort_requests(frontend: &Frontend, body: &[u8]) -> Result<Response<Body>, ApiError> {
    let body = python_json(body)?;
    let ids = match body.get("request_ids") {
        Some(Json::Str(id)) => vec![id.as_str()],
        Some(Json::List(ids)) => ids.iter().filter_map(Json::as_str).collect(),
        None | Some(Json::Null) => {
            return Err(ApiError::schema("Missing 'request_ids' in request body", None));
        }
        Some(_) => Vec::new(),
    };
    let generations = frontend.in_flight.named(&ids);
    if !generations.is_empty() {
        frontend.engine.abort(generations);
    }
    if frontend.options.log_requests.is_some() {
        log::info!("Aborted request(s) {}.", ids.join(","));
    }
    Ok(respond::empty(StatusCode::OK))
}
