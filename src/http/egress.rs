//! What a connection has still to send, and whether its other end takes it.
//!
//! A reply's body ends when the server has taken its last piece, not when that is sent. The socket
//! is wrapped, so that a call is over when all that was written has been flushed, or when the
//! connection is gone. The same wrapper holds a body back while much of it waits for a client that
//! does not read, and knows when nobody looks at whether the client is still there.

use super::call::Call;
use axum::body::{Body, Bytes, HttpBody};
use axum::http::Response;
use hyper::body::Frame;
use std::io::{self, IoSlice};
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering::Relaxed};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll, Waker};
use std::time::{Duration, Instant};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// A body gives no more while so much of it waits to be sent; uvicorn's number.
const UNSENT: usize = 64 << 10;

/// One connection's way out. All who use it run in the connection's own task.
pub struct Egress {
    /// Some call waits for its last bytes to leave.
    waiting: AtomicBool,
    calls: Mutex<Vec<Call>>,
    /// Bytes of bodies that were taken since all was sent.
    unsent: AtomicUsize,
    /// The body that is held back.
    held: Mutex<Option<Waker>>,
    since: Instant,
    /// Milliseconds after `since` at which the client stopped taking bytes, plus one; 0 while it
    /// does.
    stalled: AtomicU64,
    /// The server waits for the socket to have something to read, so it will see its end.
    looking: AtomicBool,
}

impl Egress {
    /// Of a new connection.
    pub fn new() -> Self {
        Self {
            waiting: AtomicBool::new(false),
            calls: Mutex::default(),
            unsent: AtomicUsize::new(0),
            held: Mutex::default(),
            since: Instant::now(),
            stalled: AtomicU64::new(0),
            looking: AtomicBool::new(false),
        }
    }

    fn add(&self, call: Call) {
        self.calls.lock().unwrap_or_else(PoisonError::into_inner).push(call);
        self.waiting.store(true, Relaxed);
    }

    /// How long the client has taken nothing of what waits for it.
    pub fn stalled_for(&self) -> Duration {
        match self.stalled.load(Relaxed) {
            0 => Duration::ZERO,
            at => self.since.elapsed().saturating_sub(Duration::from_millis(at - 1)),
        }
    }

    /// Whether the end of the connection would go unnoticed: bytes behind a request's body keep the
    /// server from reading until the request is answered.
    pub fn is_blind(&self) -> bool {
        !self.looking.load(Relaxed)
    }

    fn stalls(&self) {
        if self.stalled.load(Relaxed) == 0 {
            let now = u64::try_from(self.since.elapsed().as_millis()).unwrap_or(u64::MAX - 1);
            self.stalled.store(now + 1, Relaxed);
        }
    }

    /// All that was written is out.
    fn flushed(&self) {
        self.stalled.store(0, Relaxed);
        if self.unsent.swap(0, Relaxed) >= UNSENT
            && let Some(body) = self.held.lock().unwrap_or_else(PoisonError::into_inner).take()
        {
            body.wake();
        }
        if self.waiting.swap(false, Relaxed) {
            let mut calls = self.calls.lock().unwrap_or_else(PoisonError::into_inner);
            calls.drain(..).for_each(|call| call.delivered());
        }
    }

    /// Whether a body may go on; it is woken when it may.
    fn poll_room(&self, cx: &mut Context<'_>) -> Poll<()> {
        if self.unsent.load(Relaxed) < UNSENT {
            return Poll::Ready(());
        }
        *self.held.lock().unwrap_or_else(PoisonError::into_inner) = Some(cx.waker().clone());
        Poll::Pending
    }
}

/// Gives `response` away by `egress`, at the client's pace. The call is over when it has left;
/// `guard` lives as long as the body.
pub fn send<G>(
    response: Response<Body>,
    call: Call,
    egress: Arc<Egress>,
    guard: G,
) -> Response<Body>
where
    G: Send + Unpin + 'static,
{
    response.map(|body| Body::new(Paced { body, call: Some(call), egress, _guard: guard }))
}

struct Paced<G> {
    body: Body,
    call: Option<Call>,
    egress: Arc<Egress>,
    _guard: G,
}

impl<G: Unpin> HttpBody for Paced<G> {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        std::task::ready!(self.egress.poll_room(cx));
        let frame = std::task::ready!(Pin::new(&mut self.body).poll_frame(cx));
        if let Some(Ok(frame)) = &frame {
            let len = frame.data_ref().map_or(0, Bytes::len);
            self.egress.unsent.fetch_add(len, Relaxed);
        }
        Poll::Ready(frame)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> hyper::body::SizeHint {
        self.body.size_hint()
    }
}

impl<G> Drop for Paced<G> {
    fn drop(&mut self) {
        if let Some(call) = self.call.take() {
            self.egress.add(call);
        }
    }
}

/// A connection that tells its [`Egress`] what happens.
pub struct Watched<S> {
    stream: S,
    egress: Arc<Egress>,
}

impl<S> Watched<S> {
    /// Watches `stream`.
    pub fn new(stream: S, egress: Arc<Egress>) -> Self {
        Self { stream, egress }
    }

    fn wrote(&self, written: Poll<io::Result<usize>>) -> Poll<io::Result<usize>> {
        match &written {
            Poll::Pending => self.egress.stalls(),
            Poll::Ready(Ok(_)) => self.egress.stalled.store(0, Relaxed),
            Poll::Ready(Err(_)) => {}
        }
        written
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Watched<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let read = Pin::new(&mut self.stream).poll_read(cx, buffer);
        self.egress.looking.store(read.is_pending(), Relaxed);
        read
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Watched<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.stream).poll_write(cx, bytes);
        self.wrote(written)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.stream).poll_write_vectored(cx, bytes);
        self.wrote(written)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let flushed = Pin::new(&mut self.stream).poll_flush(cx);
        match &flushed {
            Poll::Pending => self.egress.stalls(),
            Poll::Ready(Ok(())) => self.egress.flushed(),
            Poll::Ready(Err(_)) => {}
        }
        flushed
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}
