//! From the engine to the publisher, without ever making the engine wait.

use super::blocks::Merged;
use super::stats::{self, EventStats};
use crate::types::{KvEventBatch, KvEventSink, Moment};
use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use tokio::sync::Notify;

/// Where the engine puts what each step changed.
#[derive(Clone, Debug)]
pub struct EventSink(Arc<Queue>);

impl EventSink {
    /// Takes a batch. Never blocks: the lock is only held to move a batch in or all batches out.
    /// Allocates nothing but the queue's room when that grows. When the queue is full, batches are
    /// merged, which costs the engine some time, and none is lost.
    pub fn push(&self, batch: KvEventBatch) {
        if batch.events.is_empty() {
            return;
        }
        self.0.push(batch);
    }
}

impl KvEventSink for EventSink {
    fn push(&mut self, batch: KvEventBatch) {
        Self::push(self, batch);
    }
}

/// A bounded queue that merges what exceeds it.
#[derive(Debug)]
pub(super) struct Queue {
    inner: Mutex<Inner>,
    limit: usize,
    filled: Notify,
    closing: Notify,
    stats: Arc<EventStats>,
}

#[derive(Debug, Default)]
pub(super) struct Inner {
    pub batches: VecDeque<KvEventBatch>,
    /// What came after the queue was full, as of this moment.
    pub merged: Option<(Moment, Merged)>,
    pub closed: bool,
}

/// Room that is made at once; the rest of a larger limit grows when it is needed.
const ROOM: usize = 4096;

impl Queue {
    pub fn new(limit: usize, stats: Arc<EventStats>) -> Self {
        let batches = VecDeque::with_capacity(limit.min(ROOM));
        let inner = Mutex::new(Inner { batches, ..Inner::default() });
        Self { inner, limit, filled: Notify::new(), closing: Notify::new(), stats }
    }

    pub fn sink(self: &Arc<Self>) -> EventSink {
        EventSink(Arc::clone(self))
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn push(&self, batch: KvEventBatch) {
        let mut inner = self.lock();
        if inner.closed {
            return;
        }
        let full = inner.batches.len() >= self.limit;
        if inner.merged.is_none() && !full {
            inner.batches.push_back(batch);
        } else {
            stats::add(&self.stats.merged, 1);
            let empty = || (batch.time, Merged::default());
            let (last, merged) = inner.merged.get_or_insert_with(empty);
            *last = batch.time;
            batch.events.iter().for_each(|event| merged.fold(event));
        }
        drop(inner);
        self.filled.notify_one();
    }

    /// Swaps out everything. `spare` is empty and takes the place of the queue.
    pub fn take(&self, spare: VecDeque<KvEventBatch>) -> Inner {
        let mut inner = self.lock();
        let merged = inner.merged.take();
        let batches = std::mem::replace(&mut inner.batches, spare);
        Inner { batches, merged, closed: inner.closed }
    }

    /// Waits until something was pushed since the last wait.
    pub async fn filled(&self) {
        self.filled.notified().await;
    }

    /// Takes nothing any more.
    pub fn close(&self) {
        self.lock().closed = true;
        self.closing.notify_one();
        self.filled.notify_one();
    }

    /// Waits until the queue is closed.
    pub async fn closed(&self) {
        self.closing.notified().await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::types::{BlockHash, KvEvent};

    fn batch(n: u8) -> KvEventBatch {
        let hashes = vec![BlockHash::new([n; 32])];
        KvEventBatch {
            time: Moment::from_nanos(n.into()),
            events: vec![KvEvent::Removed { hashes }],
        }
    }

    #[test]
    fn a_full_queue_merges_and_keeps_the_order() {
        let stats = Arc::new(EventStats::default());
        let queue = Arc::new(Queue::new(2, Arc::clone(&stats)));
        let sink = queue.sink();
        (0..100).for_each(|n| sink.push(batch(n)));
        sink.push(KvEventBatch { time: Moment::default(), events: Vec::new() });
        assert_eq!(stats.read().merged, 98);
        let taken = queue.take(VecDeque::new());
        assert_eq!(taken.batches, [batch(0), batch(1)]);
        let (time, merged) = taken.merged.expect("the rest was merged");
        assert_eq!(time, Moment::from_nanos(99));
        let (gone, blocks) = merged.into_parts();
        let hashes = (2..100).map(|n| BlockHash::new([n; 32])).collect();
        assert_eq!(gone, [KvEvent::Removed { hashes }]);
        assert!(blocks.is_empty());
        sink.push(batch(7));
        assert_eq!(queue.take(VecDeque::new()).batches, [batch(7)]);
        queue.close();
        sink.push(batch(8));
        let last = queue.take(VecDeque::new());
        assert!(last.closed && last.batches.is_empty() && last.merged.is_none());
    }
}
