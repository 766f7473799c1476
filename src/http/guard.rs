//! Values that live as long as a response body.

use super::frontend::Frontend;
use axum::body::{Body, Bytes, HttpBody};
use axum::http::Response;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::task::{Context, Poll};

/// Keeps `guard` until the body of `response` has been sent or given up.
pub fn hold<G: Send + Unpin + 'static>(response: Response<Body>, guard: G) -> Response<Body> {
    response.map(|body| Body::new(Guarded { body, _guard: guard }))
}

struct Guarded<G> {
    body: Body,
    _guard: G,
}

impl<G: Unpin> HttpBody for Guarded<G> {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<hyper::body::Frame<Bytes>, axum::Error>>> {
        Pin::new(&mut self.body).poll_frame(cx)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> hyper::body::SizeHint {
        self.body.size_hint()
    }
}

/// Counts a request as load while it lives, if it is load and load is tracked.
pub struct LoadGuard(Option<Arc<Frontend>>);

impl LoadGuard {
    pub fn count(frontend: &Arc<Frontend>, is_load: bool) -> Self {
        let tracked = is_load && frontend.options.enable_server_load_tracking;
        if tracked {
            frontend.load.fetch_add(1, Relaxed);
        }
        Self(tracked.then(|| frontend.clone()))
    }
}

impl Drop for LoadGuard {
    fn drop(&mut self) {
        if let Some(frontend) = &self.0 {
            frontend.load.fetch_sub(1, Relaxed);
        }
    }
}
