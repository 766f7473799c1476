//! When the last byte of a reply goes to the socket.
//!
//! A reply's body ends when the server has taken its last piece, not when that is sent. The socket
//! is wrapped, so that a call is over when all that was written has been flushed, or when the
//! connection is gone.

use super::call::Call;
use std::io::{self, IoSlice};
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// The calls of one connection whose last bytes are on their way; mostly one at most.
#[derive(Default)]
pub struct Egress {
    waiting: AtomicBool,
    calls: Mutex<Vec<Call>>,
}

impl Egress {
    fn add(&self, call: Call) {
        self.calls.lock().unwrap_or_else(PoisonError::into_inner).push(call);
        self.waiting.store(true, Relaxed);
    }

    /// All that was written is out.
    fn flushed(&self) {
        if self.waiting.swap(false, Relaxed) {
            let mut calls = self.calls.lock().unwrap_or_else(PoisonError::into_inner);
            calls.drain(..).for_each(|call| call.delivered());
        }
    }
}

/// Held by the body of a reply: passes the call on when the body has ended.
pub struct Sending {
    call: Option<Call>,
    egress: Arc<Egress>,
}

impl Sending {
    /// For the reply to `call`, which leaves by `egress`.
    pub fn new(call: Call, egress: Arc<Egress>) -> Self {
        Self { call: Some(call), egress }
    }
}

impl Drop for Sending {
    fn drop(&mut self) {
        if let Some(call) = self.call.take() {
            self.egress.add(call);
        }
    }
}

/// A connection that tells its [`Egress`] of each flush.
pub struct Watched<S> {
    stream: S,
    egress: Arc<Egress>,
}

impl<S> Watched<S> {
    /// Watches `stream`.
    pub fn new(stream: S, egress: Arc<Egress>) -> Self {
        Self { stream, egress }
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Watched<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(cx, buffer)
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Watched<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(cx, bytes)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write_vectored(cx, bytes)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let flushed = std::task::ready!(Pin::new(&mut self.stream).poll_flush(cx));
        if flushed.is_ok() {
            self.egress.flushed();
        }
        Poll::Ready(flushed)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}
