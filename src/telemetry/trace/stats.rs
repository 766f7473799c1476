//! What became of every span: submitted = exported + dropped + queued, always.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

/// Why spans are lost.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DropReason {
    /// `OTEL_BSP_MAX_QUEUE_SIZE` spans were waiting already.
    QueueFull,
    /// The collector could not be reached, or refused the batch, until the timeout.
    ExportFailed,
    /// The collector took the batch and said that it left these out.
    Rejected,
    /// The process ended before they could be sent.
    Shutdown,
}

impl DropReason {
    /// Every reason.
    pub const ALL: [Self; 4] =
        [Self::QueueFull, Self::ExportFailed, Self::Rejected, Self::Shutdown];

    /// As a metric's label.
    pub fn name(self) -> &'static str {
        match self {
            Self::QueueFull => "queue_full",
            Self::ExportFailed => "export_failed",
            Self::Rejected => "rejected",
            Self::Shutdown => "shutdown",
        }
    }
}

/// Counts since the start. Written by whoever submits and by the export thread, read by anyone.
#[derive(Debug, Default)]
pub struct ExportStats {
    submitted: AtomicU64,
    exported: AtomicU64,
    dropped: [AtomicU64; DropReason::ALL.len()],
    batches_exported: AtomicU64,
    batches_failed: AtomicU64,
    /// In the queue, without the batch on its way.
    pub(super) waiting: AtomicU64,
}

/// The counts at one moment.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ExportCounts {
    pub submitted: u64,
    pub exported: u64,
    dropped: [u64; DropReason::ALL.len()],
    /// In the queue or on their way.
    pub queued: u64,
    pub batches_exported: u64,
    pub batches_failed: u64,
}

impl ExportCounts {
    /// Spans lost for this reason.
    pub fn dropped(&self, reason: DropReason) -> u64 {
        self.dropped[reason as usize]
    }

    /// Spans lost for any reason.
    pub fn dropped_total(&self) -> u64 {
        self.dropped.iter().sum()
    }
}

impl ExportStats {
    /// A consistent reading, without stopping anyone.
    pub fn read(&self) -> ExportCounts {
        // What is settled first, what was submitted last: a span is counted as submitted before
        // it is settled, so that the difference is never negative.
        let exported = self.exported.load(Ordering::Acquire);
        let dropped = std::array::from_fn(|i| self.dropped[i].load(Ordering::Acquire));
        let submitted = self.submitted.load(Ordering::Acquire);
        ExportCounts {
            submitted,
            exported,
            dropped,
            queued: submitted - exported - dropped.iter().sum::<u64>(),
            batches_exported: self.batches_exported.load(Ordering::Relaxed),
            batches_failed: self.batches_failed.load(Ordering::Relaxed),
        }
    }

    /// Spans lost for this reason.
    pub fn dropped(&self, reason: DropReason) -> u64 {
        self.dropped[reason as usize].load(Ordering::Acquire)
    }

    pub(super) fn submit(&self, spans: u64) {
        self.submitted.fetch_add(spans, Ordering::Release);
    }

    pub(super) fn lose(&self, spans: u64, reason: DropReason) {
        self.dropped[reason as usize].fetch_add(spans, Ordering::Release);
    }
}

/// Spans that were submitted and whose fate is open. Whatever happens to the holder, they are
/// settled once: forgotten means lost with the process.
#[derive(Debug)]
pub(in crate::telemetry) struct Ticket {
    spans: u64,
    stats: Arc<ExportStats>,
}

impl Ticket {
    pub fn new(spans: u64, stats: Arc<ExportStats>) -> Self {
        Self { spans, stats }
    }

    pub fn spans(&self) -> u64 {
        self.spans
    }

    /// Takes over what `other` holds.
    pub fn absorb(&mut self, mut other: Self) {
        self.spans += std::mem::take(&mut other.spans);
    }

    /// A batch of `spans` of these was taken by the collector, `rejected` of them not.
    pub fn exported(&mut self, spans: u64, rejected: u64) {
        let spans = spans.min(self.spans);
        let rejected = rejected.min(spans);
        self.spans -= spans;
        self.stats.exported.fetch_add(spans - rejected, Ordering::Release);
        self.stats.lose(rejected, DropReason::Rejected);
        self.stats.batches_exported.fetch_add(1, Ordering::Relaxed);
    }

    /// A batch of `spans` of these was lost on the way.
    pub fn failed(&mut self, spans: u64) {
        let spans = spans.min(self.spans);
        self.spans -= spans;
        self.stats.lose(spans, DropReason::ExportFailed);
        self.stats.batches_failed.fetch_add(1, Ordering::Relaxed);
    }
}

impl Drop for Ticket {
    fn drop(&mut self) {
        if self.spans > 0 {
            self.stats.lose(self.spans, DropReason::Shutdown);
        }
    }
}
