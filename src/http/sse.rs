//! Server-sent events: the body of a streamed reply.

use super::fanout::Fanout;
use super::respond::error_event;
use crate::error::ApiError;
use axum::body::Body;
use bytes::{BufMut, Bytes, BytesMut};
use futures_util::Stream;
use serde::Serialize;
use std::convert::Infallible;
use std::pin::Pin;
use std::task::{Context, Poll};

/// Events that are ready go out together up to this size.
const FLUSH_BYTES: usize = 32 << 10;

/// Turns the output of generations into the chunks of one API.
pub trait Chunks: Send + Unpin + 'static {
    /// Writes what the part `at` of `fanout` has just given.
    fn output(&mut self, out: &mut BytesMut, fanout: &mut Fanout, at: usize);

    /// Writes what follows after all parts have ended.
    fn end(&mut self, out: &mut BytesMut, fanout: &Fanout);

    /// Writes that the request has failed; nothing else follows but [`Self::close`].
    fn fail(&mut self, out: &mut BytesMut, error: &ApiError) {
        let mut event = String::new();
        error_event(&mut event, error);
        out.put_slice(event.as_bytes());
    }

    /// Writes what ends every stream.
    fn close(&mut self, out: &mut BytesMut) {
        out.put_slice(b"data: [DONE]\n\n");
    }
}

/// Writes one event.
pub fn write_event(out: &mut BytesMut, chunk: &impl Serialize) {
    out.put_slice(b"data: ");
    // Writing to memory cannot fail, and chunks hold only JSON's types.
    let written = serde_json::to_writer(out.writer(), chunk);
    debug_assert!(written.is_ok());
    out.put_slice(b"\n\n");
}

/// The body of a stream. A request that failed after its checks becomes an error event: by then
/// vLLM has promised a stream.
pub fn body(fanout: Result<Fanout, ApiError>, chunks: impl Chunks) -> Body {
    body_after(BytesMut::new(), fanout, chunks)
}

/// The same behind events that are there already.
pub fn body_after(
    opening: BytesMut,
    fanout: Result<Fanout, ApiError>,
    chunks: impl Chunks,
) -> Body {
    Body::from_stream(Events { fanout: Some(fanout), chunks, buffer: opening, has_failed: false })
}

/// Hands all events to `write`, a few at a time, and tells whether the request has failed.
pub async fn drive(
    fanout: Result<Fanout, ApiError>,
    chunks: impl Chunks,
    write: impl Fn(BytesMut),
) -> bool {
    let buffer = BytesMut::new();
    let mut events = Events { fanout: Some(fanout), chunks, buffer, has_failed: false };
    loop {
        let ended = std::future::poll_fn(|cx| match events.fill(cx) {
            false if events.buffer.is_empty() => Poll::Pending,
            ended => Poll::Ready(ended),
        });
        let ended = ended.await;
        if !events.buffer.is_empty() {
            write(events.buffer.split());
        }
        if ended {
            return events.has_failed;
        }
    }
}

struct Events<C> {
    /// `None` once all is said. Dropping it ends what the engine still does for it.
    fanout: Option<Result<Fanout, ApiError>>,
    chunks: C,
    buffer: BytesMut,
    has_failed: bool,
}

impl<C: Chunks> Events<C> {
    /// Writes what is ready; true when nothing more will come.
    fn fill(&mut self, cx: &mut Context<'_>) -> bool {
        while self.buffer.len() < FLUSH_BYTES {
            let error = match &mut self.fanout {
                None => return true,
                Some(Err(error)) => error.clone(),
                Some(Ok(fanout)) => match fanout.poll_output(cx) {
                    Poll::Pending => return false,
                    Poll::Ready(Some(Ok(at))) => {
                        self.chunks.output(&mut self.buffer, fanout, at);
                        continue;
                    }
                    Poll::Ready(None) => {
                        self.chunks.end(&mut self.buffer, fanout);
                        self.finish();
                        return true;
                    }
                    Poll::Ready(Some(Err(error))) => error,
                },
            };
            self.has_failed = true;
            self.chunks.fail(&mut self.buffer, &error);
            self.finish();
        }
        false
    }

    fn finish(&mut self) {
        self.chunks.close(&mut self.buffer);
        self.fanout = None;
    }
}

impl<C: Chunks> Stream for Events<C> {
    type Item = Result<Bytes, Infallible>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let ended = self.fill(cx);
        if !self.buffer.is_empty() {
            return Poll::Ready(Some(Ok(self.buffer.split().freeze())));
        }
        if ended { Poll::Ready(None) } else { Poll::Pending }
    }
}
