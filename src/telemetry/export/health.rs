//! What the user hears of the way to the collector: once when spans begin to be lost, once when
//! they flow again.

use super::transport::{Accepted, Refusal};
use crate::config::ExporterSettings;
use crate::telemetry::trace::{DropReason, ExportStats};

pub(super) struct Health {
    /// Endpoint and protocol.
    whereto: String,
    queue_size: usize,
    /// Something is wrong and was said.
    troubled: bool,
    /// Spans lost when all was well last.
    lost_before: u64,
    /// Spans that found the queue full when it was looked at last.
    overflowed: u64,
}

impl Health {
    pub fn new(settings: &ExporterSettings, queue_size: usize) -> Self {
        let whereto = format!("{} ({})", settings.endpoint, settings.protocol.name());
        Self { whereto, queue_size, troubled: false, lost_before: 0, overflowed: 0 }
    }

    /// The answer at start.
    pub fn probed(&mut self, answer: Result<Accepted, Refusal>) {
        match answer {
            Ok(_) => log::info!("Traces go to {}: it answers", self.whereto),
            Err(refusal) => self.failed(&refusal.reason),
        }
    }

    /// A batch was lost, or the collector does not answer.
    pub fn failed(&mut self, reason: &str) {
        self.trouble(&format!("it takes no spans: {reason}"));
    }

    /// A batch arrived, at least in part.
    pub fn delivered(&mut self, accepted: Accepted, stats: &ExportStats) {
        if accepted.rejected > 0 {
            self.trouble(&format!(
                "it rejected {} spans of a batch: {}",
                accepted.rejected, accepted.message
            ));
        } else if self.overflow(stats) == 0 {
            self.fine(stats);
        }
    }

    /// Spans that nobody could take since the last look are worth a word too.
    pub fn watch_queue(&mut self, stats: &ExportStats) {
        let new = self.overflow(stats);
        if new > 0 {
            self.overflowed += new;
            self.trouble(&format!(
                "it takes spans more slowly than they come, and the queue of {} \
                 (OTEL_BSP_MAX_QUEUE_SIZE) is full",
                self.queue_size
            ));
        }
    }

    fn overflow(&self, stats: &ExportStats) -> u64 {
        stats.dropped(DropReason::QueueFull) - self.overflowed
    }

    fn trouble(&mut self, what: &str) {
        if !self.troubled {
            log::warn!(
                "Traces to {}: {what}. Requests are served as usual; spans that cannot be sent \
                 are dropped and counted, and this is said once",
                self.whereto
            );
        }
        self.troubled = true;
    }

    fn fine(&mut self, stats: &ExportStats) {
        let lost = stats.read().dropped_total();
        if self.troubled {
            let new = lost - self.lost_before;
            log::info!("Traces to {}: spans flow again; {new} were dropped", self.whereto);
        }
        self.troubled = false;
        self.lost_before = lost;
    }
}
