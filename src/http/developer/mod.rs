//! What is there with VLLM_SERVER_DEV_MODE=1: operators and trainers steer the engine.

mod pause;
mod remote;
mod server_info;
mod sleep;
mod weights;

use super::frontend::Frontend;
use super::respond;
use super::routes::POST;
use crate::error::ApiError;
use axum::body::Body;
use axum::http::{HeaderMap, Method, Response, StatusCode};
use std::sync::Arc;

/// One of these endpoints.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Developer {
    ResetPrefixCache,
    ResetMmCache,
    ResetEncoderCache,
    ServerInfo,
    CollectiveRpc,
    Pause,
    Resume,
    IsPaused,
    AbortRequests,
    Sleep,
    WakeUp,
    IsSleeping,
    ReleaseKvCacheMemory,
    WorldSize,
    Weights(weights::Operation),
}

const GET: &[Method] = &[Method::GET];

/// Where they are.
pub const ROUTES: [(&str, &[Method], Developer); 23] = {
    use Developer::*;
    use weights::Operation::*;
    [
        ("/reset_prefix_cache", POST, ResetPrefixCache),
        ("/reset_mm_cache", POST, ResetMmCache),
        ("/reset_encoder_cache", POST, ResetEncoderCache),
        ("/server_info", GET, ServerInfo),
        ("/collective_rpc", POST, CollectiveRpc),
        ("/pause", POST, Pause),
        ("/resume", POST, Resume),
        ("/is_paused", GET, IsPaused),
        ("/abort_requests", POST, AbortRequests),
        ("/sleep", POST, Sleep),
        ("/wake_up", POST, WakeUp),
        ("/is_sleeping", GET, IsSleeping),
        ("/release_kv_cache_memory", POST, ReleaseKvCacheMemory),
        ("/get_world_size", GET, WorldSize),
        ("/init_weight_transfer_engine", POST, Weights(Init)),
        ("/shutdown_weight_transfer_engine", POST, Weights(Shutdown)),
        ("/start_weight_update", POST, Weights(Start)),
        ("/start_draft_weight_update", POST, Weights(StartDraft)),
        ("/update_weights", POST, Weights(Update)),
        ("/finish_weight_update", POST, Weights(Finish)),
        ("/update_weight_version", POST, Weights(SetVersion)),
        ("/weight_info", GET, Weights(Version)),
        ("/weight_checker", POST, Weights(Check)),
    ]
};

/// A request to one of them.
pub struct Asked<'a> {
    pub query: Option<&'a str>,
    pub headers: &'a HeaderMap,
    pub body: &'a [u8],
}

/// Answers it.
pub async fn answer(
    frontend: &Arc<Frontend>,
    endpoint: Developer,
    asked: Asked<'_>,
) -> Result<Response<Body>, ApiError> {
    match endpoint {
        Developer::ResetPrefixCache => pause::reset_prefix_cache(frontend, asked).await,
        Developer::ResetMmCache => Ok(nothing_to_reset("multi-modal")),
        Developer::ResetEncoderCache => Ok(nothing_to_reset("encoder")),
        Developer::ServerInfo => server_info::answer(frontend, asked),
        Developer::CollectiveRpc => remote::call(asked),
        Developer::Pause => pause::pause(frontend, asked).await,
        Developer::Resume => pause::resume(frontend).await,
        Developer::IsPaused => Ok(pause::is_paused(frontend)),
        Developer::AbortRequests => pause::abort(frontend, asked),
        Developer::Sleep => sleep::sleep(frontend, asked).await,
        Developer::WakeUp => sleep::wake_up(frontend, asked).await,
        Developer::IsSleeping => Ok(sleep::is_sleeping(frontend)),
        Developer::ReleaseKvCacheMemory => sleep::release_kv_cache_memory(frontend).await,
        Developer::WorldSize => remote::world_size(asked),
        Developer::Weights(operation) => weights::answer(frontend, operation, asked),
    }
}

/// A text model has neither cache: there is nothing to do, and vLLM tells no more than that either.
fn nothing_to_reset(cache: &str) -> Response<Body> {
    log::info!("Resetting {cache} cache...");
    respond::empty(StatusCode::OK)
}
