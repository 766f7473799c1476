//! Calls into vLLM's workers, of which Glassbox has none: what one answers that has no such method.

use super::super::arguments::{python_error, query};
use super::super::json::{self, Json};
use super::super::respond;
use super::super::schema::{Field, Schema, optional};
use super::Asked;
use crate::error::ApiError;
use axum::body::Body;
use axum::http::Response;
use serde_json::json;

/// What the API server says when a worker has failed.
pub fn worker_failed(reason: &str) -> ApiError {
    ApiError::internal(format!(
        "Call to collective_rpc method failed: Worker failed with error '{reason}', please check \
         the stack trace above for the root cause"
    ))
}

/// Calls a method by its name. There is one: it does nothing, and has been done.
pub fn call(asked: Asked<'_>) -> Result<Response<Body>, ApiError> {
    let body = match json::parse(asked.body) {
        Ok(document) => document.root,
        Err(error) => {
            let error = python_error(asked.body, &error);
            return Err(ApiError::http(400, format!("JSON decode error: {error}")));
        }
    };
    let Json::Dict(body) = body else {
        return Err(ApiError::http(400, "Request body must be a JSON object"));
    };
    let Some(method) = body.get("method").filter(|method| !method.is_null()) else {
        return Err(ApiError::http(400, "Missing 'method' in request body"));
    };
    let count = match body.get("args") {
        None => 0,
        Some(Json::List(args)) => args.len(),
        Some(Json::Dict(args)) => args.len(),
        Some(Json::Str(args)) => args.chars().count(),
        Some(other) => {
            let kind = other.type_name();
            return Err(ApiError::bad_request(format!("'{kind}' object is not iterable")));
        }
    };
    match method.as_str() {
        None => Err(worker_failed("the first argument must be callable")),
        Some("check_health") if count > 0 => Err(worker_failed(&format!(
            "Worker.check_health() takes 1 positional argument but {} were given",
            count + 1
        ))),
        Some("check_health") => Ok(respond::json(&json!({"results": [null]}))),
        Some(name) => Err(worker_failed(&format!("'CPUWorker' object has no attribute '{name}'"))),
    }
}

/// How many devices the model is spread over.
pub fn world_size(asked: Asked<'_>) -> Result<Response<Body>, ApiError> {
    const FIELDS: &[Field] = &[optional("include_dp", &Schema::Bool)];
    query(asked.query, FIELDS)?;
    Ok(respond::json(&json!({"world_size": 1})))
}
