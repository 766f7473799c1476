//! `/scale_elastic_ep`: more or fewer engines for experts, which a dense model does not have.

use super::body::check_type;
use super::json::{self, Int, Json, to_str};
use super::respond;
use crate::error::ApiError;
use axum::body::Body;
use axum::http::{HeaderMap, Response};
use serde_json::json;

/// One engine is what there is; any other number cannot be had.
pub fn scale(headers: &HeaderMap, body: &[u8]) -> Result<Response<Body>, ApiError> {
    let refuse = |message: &str| Err(ApiError::http(400, message));
    check_type(headers)?;
    let Ok(document) = json::parse(body) else { return refuse("Invalid JSON format") };
    let Json::Dict(members) = document.root else { return refuse("Invalid JSON format") };
    let size = match members.get("new_data_parallel_size").filter(|size| !size.is_null()) {
        None => return refuse("new_data_parallel_size is required"),
        Some(size) => size,
    };
    let Some(count) = positive(size) else {
        return refuse("new_data_parallel_size must be a positive integer");
    };
    if members.get("drain_timeout").is_some_and(|timeout| positive(timeout).is_none()) {
        return refuse("drain_timeout must be a positive integer");
    }
    if count != 1 {
        log::error!("Scale failed: this process runs one engine");
        return Err(ApiError::http(500, "Scale failed"));
    }
    let message = format!("Scaled to {} data parallel engines", to_str(size));
    Ok(respond::json(&json!({"message": message})))
}

/// Nothing scales here.
pub fn is_scaling() -> Response<Body> {
    respond::json(&json!({"is_scaling_elastic_ep": false}))
}

/// A positive integer, of which Python's `True` is one.
fn positive(value: &Json) -> Option<i64> {
    match value {
        Json::Bool(true) => Some(1),
        Json::Int(int) => Some(Int::saturate(int)).filter(|int| *int > 0),
        _ => None,
    }
}
