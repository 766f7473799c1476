//! Requests that come over no socket: those of a batch.

use super::call::Call;
use super::frontend::Frontend;
use super::routes;
use axum::body::Body;
use axum::http::{Request, Response};
use std::sync::Arc;

/// Answers a request that came over no socket.
pub async fn answer(frontend: Arc<Frontend>, request: Request<Body>) -> Response<Body> {
    let path = routes::path(&frontend, request.uri().path());
    let call = Call::begin(&frontend, request.method(), path, request.headers());
    let response = routes::respond_to(frontend, call.clone(), request).await;
    call.replied(response.status());
    response
}
