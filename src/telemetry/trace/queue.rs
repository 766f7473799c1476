//! From where requests end to the export thread: bounded in spans, without a lock.

use super::stats::{DropReason, ExportStats, Ticket};
use opentelemetry_sdk::trace::SpanData;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, Sender, channel};
use tokio::sync::Notify;

/// Finished spans that are still to be written down: a tree, taken whole or dropped whole.
pub trait Spans: Send {
    /// How many [`build`](Self::build) will give, exactly.
    fn count(&self) -> usize;
    /// Writes them down; called on the export thread.
    fn build(self: Box<Self>, out: &mut Vec<SpanData>);
}

/// A tree in the queue.
pub(in crate::telemetry) struct Queued {
    pub spans: Box<dyn Spans>,
    pub ticket: Ticket,
}

/// The end that submits.
#[derive(Debug)]
pub(in crate::telemetry) struct Queue {
    sender: Sender<Queued>,
    stats: Arc<ExportStats>,
    /// Most spans that wait.
    capacity: u64,
    /// So many are worth waking the export thread.
    batch: u64,
    wake: Notify,
    closed: AtomicBool,
}

impl Queue {
    pub fn new(capacity: usize, batch: usize) -> (Self, Receiver<Queued>) {
        let (sender, receiver) = channel();
        let queue = Self {
            sender,
            stats: Arc::default(),
            capacity: capacity as u64,
            batch: batch as u64,
            wake: Notify::new(),
            closed: AtomicBool::new(false),
        };
        (queue, receiver)
    }

    pub fn stats(&self) -> &Arc<ExportStats> {
        &self.stats
    }

    /// Takes the tree, or drops it and counts why. Never waits.
    pub fn submit(&self, spans: Box<dyn Spans>) {
        let count = spans.count() as u64;
        self.stats.submit(count);
        if self.closed.load(Ordering::Acquire) {
            return self.stats.lose(count, DropReason::Shutdown);
        }
        let room = |waiting: u64| Some(waiting + count).filter(|sum| *sum <= self.capacity);
        let waiting = &self.stats.waiting;
        let Ok(before) = waiting.fetch_update(Ordering::AcqRel, Ordering::Relaxed, room) else {
            return self.stats.lose(count, DropReason::QueueFull);
        };
        let ticket = Ticket::new(count, Arc::clone(&self.stats));
        // Without a receiver it comes back, and its ticket counts it.
        if self.sender.send(Queued { spans, ticket }).is_err() {
            return;
        }
        if before < self.batch && before + count >= self.batch {
            self.wake.notify_one();
        }
    }

    /// From now on nothing is taken.
    pub fn close(&self) {
        self.closed.store(true, Ordering::Release);
    }

    /// Takes note that a tree of `spans` left the queue.
    pub fn left(&self, spans: u64) {
        self.stats.waiting.fetch_sub(spans, Ordering::AcqRel);
    }

    /// Whether a full batch waits.
    pub fn has_batch(&self) -> bool {
        self.stats.waiting.load(Ordering::Acquire) >= self.batch
    }

    /// Returns when a full batch waits, at least if none did before.
    pub async fn full_batch(&self) {
        if !self.has_batch() {
            self.wake.notified().await;
        }
    }
}
