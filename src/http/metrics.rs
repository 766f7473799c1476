//! Counting HTTP requests, to the end of their replies.

use super::frontend::Frontend;
use super::guard;
use crate::telemetry::metrics::{HttpExchange, METHODS};
use axum::body::{Body, HttpBody};
use axum::http::{Request, Response, header};
use std::sync::Arc;
use std::time::Instant;

/// A request in work; counted when this is dropped.
pub struct Counting {
    frontend: Arc<Frontend>,
    since: Instant,
    exchange: HttpExchange,
}

/// Begins to count a request to `path`, which may have no endpoint for it; `None` for paths that
/// are not counted.
pub fn begin<B>(
    frontend: &Arc<Frontend>,
    path: &str,
    is_known: bool,
    request: &Request<B>,
) -> Option<Counting> {
    let handler = frontend.metrics.http.handler(path, is_known)?;
    let method = METHODS.iter().position(|method| request.method() == *method)?;
    let length = request.headers().get(header::CONTENT_LENGTH);
    let request_bytes = length.and_then(|length| length.to_str().ok()?.parse().ok()).unwrap_or(0);
    // A client that leaves before there is a reply counts as vLLM counts it: as served.
    let (status, took) = (200, Default::default());
    let exchange = HttpExchange { handler, method, status, request_bytes, response_bytes: 0, took };
    Some(Counting { frontend: frontend.clone(), since: Instant::now(), exchange })
}

impl Counting {
    /// Goes on until the body of `response` is sent or given up.
    pub fn until_sent(mut self, response: Response<Body>) -> Response<Body> {
        self.exchange.status = response.status().as_u16();
        self.exchange.response_bytes = response.body().size_hint().exact().unwrap_or(0);
        guard::hold(response, self)
    }
}

impl Drop for Counting {
    fn drop(&mut self) {
        self.exchange.took = self.since.elapsed();
        self.frontend.metrics.http.count(&self.exchange);
    }
}
