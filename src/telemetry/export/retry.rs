//! Several attempts within one timeout, as OpenTelemetry's Python exporters make them.

use super::Closing;
use super::transport::{Accepted, Refusal, Retry, Transport};
use crate::telemetry::trace::random;
use bytes::Bytes;
use std::time::Duration;
use tokio::time::{Instant, sleep, timeout_at};

const ATTEMPTS: u32 = 6;

/// The way to the collector, with patience.
pub(super) struct Retrying {
    transport: Transport,
    timeout: Duration,
    closing: Closing,
}

impl Retrying {
    pub fn new(transport: Transport, timeout: Duration, closing: Closing) -> Self {
        Self { transport, timeout, closing }
    }

    /// One attempt.
    pub async fn once(&mut self, body: Bytes) -> Result<Accepted, Refusal> {
        self.attempt(body, self.timeout).await
    }

    /// Up to six attempts within the timeout, one when the end is near.
    pub async fn deliver(&mut self, body: Bytes) -> Result<Accepted, Refusal> {
        let deadline = Instant::now() + self.timeout;
        let left = || deadline.saturating_duration_since(Instant::now());
        let mut attempt = 0;
        loop {
            let refusal = match self.attempt(body.clone(), left()).await {
                Ok(accepted) => return Ok(accepted),
                Err(refusal) => refusal,
            };
            let pause = match refusal.retry {
                Retry::Never => return Err(refusal),
                Retry::Backoff => backoff(attempt),
                Retry::After(pause) => pause,
            };
            attempt += 1;
            if attempt == ATTEMPTS || pause > left() || !self.rest(pause).await {
                return Err(refusal);
            }
        }
    }

    async fn attempt(&mut self, body: Bytes, within: Duration) -> Result<Accepted, Refusal> {
        let until = Instant::now() + within;
        let sent = timeout_at(until, self.transport.send(body, within)).await;
        match sent {
            Ok(Ok(accepted)) => Ok(accepted),
            // The transport may have noticed first, in words of its own.
            Ok(Err(refusal)) if Instant::now() < until => Err(refusal),
            _ => {
                self.transport.forget_connection();
                let reason = format!("no answer within {} s", self.timeout.as_secs_f64());
                Err(Refusal { reason, retry: Retry::Never })
            }
        }
    }

    /// False when the end came near.
    async fn rest(&mut self, pause: Duration) -> bool {
        tokio::select! {
            _ = self.closing.wait_for(Option::is_some) => false,
            () = sleep(pause) => true,
        }
    }
}

/// 1, 2, 4… seconds, a fifth more or less.
fn backoff(attempt: u32) -> Duration {
    let jitter = 0.8 + 0.4 * (random() >> 11) as f64 / (1u64 << 53) as f64;
    Duration::from_secs_f64(f64::from(1 << attempt) * jitter)
}
