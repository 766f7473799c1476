//! How long operators' commands took: vLLM's families, which are there once one was given.

use super::text::{Measured, Page};
use crate::types::Histogram;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicI64, Ordering::Relaxed};
use std::time::{Instant, SystemTime, UNIX_EPOCH};

/// vLLM's bounds, seconds.
const SECONDS: [f64; 9] = [0.01, 0.1, 1.0, 10.0, 30.0, 60.0, 120.0, 300.0, 600.0];

/// A command about sleep.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SleepOperation {
    ReleaseKvCacheMemory,
    Sleep,
    Wake,
}

/// In the order of the names.
const SLEEP: [&str; 3] = ["release_kv_cache_memory", "sleep", "wake"];

/// The commands and how long they took.
#[derive(Debug, Default)]
pub struct OperationMetrics {
    sleep: [OnceLock<Operation>; SLEEP.len()],
}

#[derive(Debug)]
struct Operation {
    took: Histogram,
    in_flight: AtomicI64,
    created: f64,
}

impl Operation {
    fn new() -> Self {
        let created = SystemTime::now().duration_since(UNIX_EPOCH);
        Self {
            took: Histogram::of_seconds(&SECONDS),
            in_flight: AtomicI64::new(0),
            created: created.map_or(0.0, |since| since.as_secs_f64()),
        }
    }
}

/// A command under way; measured when this is dropped.
#[derive(Debug)]
pub struct Measuring<'a> {
    operation: &'a Operation,
    since: Instant,
}

impl Drop for Measuring<'_> {
    fn drop(&mut self) {
        self.operation.in_flight.fetch_sub(1, Relaxed);
        self.operation.took.observe_time(self.since.elapsed());
    }
}

impl OperationMetrics {
    /// Begins to measure a command about sleep.
    pub fn sleep(&self, operation: SleepOperation) -> Measuring<'_> {
        let operation = self.sleep[operation as usize].get_or_init(Operation::new);
        operation.in_flight.fetch_add(1, Relaxed);
        Measuring { operation, since: Instant::now() }
    }

    pub(super) fn write(&self, page: &mut Page) {
        let labels = SLEEP.map(|name| [("operation", name)]);
        let used: Vec<_> = self
            .sleep
            .iter()
            .zip(&labels)
            .filter_map(|(one, label)| Some((one.get()?, label)))
            .collect();
        if used.is_empty() {
            return;
        }
        let took = used.iter().map(|(operation, labels)| Measured {
            labels: &labels[..],
            histogram: &operation.took,
            created: operation.created,
        });
        let name = "vllm:sleep_mode_operation_duration_seconds";
        page.histogram(name, "How long a command about sleep took.", &took.collect::<Vec<_>>());
        let in_flight: Vec<_> = used
            .iter()
            .map(|(one, labels)| (&labels[..], one.in_flight.load(Relaxed) as f64))
            .collect();
        let name = "vllm:sleep_mode_operations_in_flight";
        page.gauge(name, "Commands about sleep that are under way.", &in_flight);
    }
}
