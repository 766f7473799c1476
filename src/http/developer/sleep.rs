//! Sleep: the engine gives memory back and takes no requests.

use super::super::arguments::query;
use super::super::frontend::Frontend;
use super::super::respond;
use super::super::schema::{Field, Schema, coerce, optional};
use super::Asked;
use super::pause::{MODE, mode};
use crate::error::ApiError;
use crate::telemetry::metrics::SleepOperation;
use axum::body::Body;
use axum::http::Response;
use serde_json::json;

const LEVEL: Schema = Schema::Int { ge: Some(0), le: Some(2) };

pub async fn sleep(frontend: &Frontend, asked: Asked<'_>) -> Result<Response<Body>, ApiError> {
    const FIELDS: &[Field] = &[optional("level", &LEVEL), optional("mode", &MODE)];
    let given = query(asked.query, FIELDS)?;
    let level = given.get("level").and_then(|level| coerce::int(level).ok());
    let level = level.map_or(1, |level| level.saturate()) as u8;
    let _measured = frontend.metrics.operations.sleep(SleepOperation::Sleep);
    frontend.engine.sleep(level, mode(&given)).await?;
    Ok(respond::json(&json!({"status": "sleeping", "level": level})))
}

pub async fn wake_up(frontend: &Frontend, asked: Asked<'_>) -> Result<Response<Body>, ApiError> {
    let given = form_urlencoded::parse(asked.query.unwrap_or_default().as_bytes());
    let tags: Vec<String> =
        given.filter(|(name, _)| name == "tags").map(|(_, tag)| tag.into_owned()).collect();
    let tags = Some(tags).filter(|tags| !tags.is_empty());
    log::info!("wake up the engine with tags: {tags:?}");
    let _measured = frontend.metrics.operations.sleep(SleepOperation::Wake);
    let is_awake = frontend.engine.wake_up(tags.clone()).await?.map_err(|reason| {
        let reason = format!(
            "Worker failed with error '{reason}', please check the stack trace above for the root \
             cause"
        );
        failed("wake_up", &reason)
    })?;
    let status = if is_awake { "awake" } else { "sleeping" };
    Ok(respond::json(&json!({"status": status, "tags": tags})))
}

pub fn is_sleeping(frontend: &Frontend) -> Response<Body> {
    let status = frontend.engine.status();
    respond::json(&json!({"is_sleeping": status.is_paused() || status.is_asleep()}))
}

pub async fn release_kv_cache_memory(frontend: &Frontend) -> Result<Response<Body>, ApiError> {
    let _measured = frontend.metrics.operations.sleep(SleepOperation::ReleaseKvCacheMemory);
    let released = frontend.engine.release_kv_cache().await?;
    released.map_err(|reason| failed("release_kv_cache_memory", &reason))?;
    Ok(respond::json(&json!({"status": "kv_cache_released"})))
}

fn failed(method: &str, reason: &str) -> ApiError {
    ApiError::internal(format!("Call to {method} method failed: {reason}"))
}
