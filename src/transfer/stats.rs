//! What transfers were like: the statistics of vLLM's NixlConnector.

use super::transport::ReadStats;
use crate::types::Histogram;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

/// vLLM's buckets of seconds; transfers begin with the second.
const SECONDS: [f64; 13] =
    [0.001, 0.005, 0.01, 0.025, 0.05, 0.075, 0.1, 0.2, 0.3, 0.5, 0.75, 1.0, 5.0];
const DESCRIPTORS: [f64; 14] = [
    10.0, 20.0, 30.0, 50.0, 75.0, 100.0, 200.0, 400.0, 1000.0, 2000.0, 4000.0, 10000.0, 20000.0,
    50000.0,
];

/// 2 KiB to 8 GiB, each four times the one before.
fn bytes() -> [f64; 12] {
    std::array::from_fn(|i| (1u64 << (11 + 2 * i)) as f64)
}

/// Anyone may add to it and read it at any time.
#[derive(Debug)]
pub struct TransferStats {
    /// Of each read, from its handing over to its end.
    pub transfer_time: Histogram,
    /// Spent on handing it over.
    pub post_time: Histogram,
    pub bytes: Histogram,
    pub descriptors: Histogram,
    failed_transfers: AtomicU64,
    failed_notifications: AtomicU64,
    expired: AtomicU64,
    late_notifications: AtomicU64,
}

/// The counters at one time.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct TransferCounts {
    /// Reads, handshakes and notifications that failed.
    pub failed_transfers: u64,
    /// The notifications among them.
    pub failed_notifications: u64,
    /// Requests whose lease ran out before a peer had read.
    pub expired: u64,
    /// Notifications of requests that are not known any more.
    pub late_notifications: u64,
}

impl Default for TransferStats {
    fn default() -> Self {
        Self {
            transfer_time: Histogram::of_seconds(&SECONDS[1..]),
            post_time: Histogram::of_seconds(&SECONDS),
            bytes: Histogram::of_counts(&bytes()),
            descriptors: Histogram::of_counts(&DESCRIPTORS),
            failed_transfers: AtomicU64::new(0),
            failed_notifications: AtomicU64::new(0),
            expired: AtomicU64::new(0),
            late_notifications: AtomicU64::new(0),
        }
    }
}

impl TransferStats {
    /// A read that succeeded.
    pub fn transferred(&self, read: &ReadStats) {
        self.transfer_time.observe_time(read.transfer);
        self.post_time.observe_time(read.post);
        self.bytes.observe(read.bytes);
        self.descriptors.observe(read.descriptors.into());
    }

    /// A read or a handshake that failed.
    pub fn failed_transfer(&self) {
        self.failed_transfers.fetch_add(1, Relaxed);
    }

    /// A notification that could not be sent.
    pub fn failed_notification(&self) {
        self.failed_notifications.fetch_add(1, Relaxed);
        self.failed_transfers.fetch_add(1, Relaxed);
    }

    /// A lease that ran out.
    pub fn expired(&self) {
        self.expired.fetch_add(1, Relaxed);
    }

    /// A notification that came too late.
    pub fn late(&self) {
        self.late_notifications.fetch_add(1, Relaxed);
    }

    /// The counters now.
    pub fn counts(&self) -> TransferCounts {
        TransferCounts {
            failed_transfers: self.failed_transfers.load(Relaxed),
            failed_notifications: self.failed_notifications.load(Relaxed),
            expired: self.expired.load(Relaxed),
            late_notifications: self.late_notifications.load(Relaxed),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    #[test]
    fn a_notification_that_failed_is_a_failed_transfer_too() {
        let stats = TransferStats::default();
        stats.failed_transfer();
        stats.failed_notification();
        stats.expired();
        stats.late();
        let wanted = TransferCounts {
            failed_transfers: 2,
            failed_notifications: 1,
            expired: 1,
            late_notifications: 1,
        };
        assert_eq!(stats.counts(), wanted);
    }

    #[test]
    fn a_read_is_observed_once_in_each_family() {
        let stats = TransferStats::default();
        let read = ReadStats {
            bytes: 8192,
            descriptors: 21,
            post: Duration::from_micros(900),
            transfer: Duration::from_millis(30),
        };
        stats.transferred(&read);
        for (histogram, bound, sum) in [
            (&stats.transfer_time, 0.05, 0.03),
            (&stats.post_time, 0.001, 0.0009),
            (&stats.bytes, 8192.0, 8192.0),
            (&stats.descriptors, 30.0, 21.0),
        ] {
            let first = histogram.buckets().find(|bucket| bucket.count > 0);
            assert_eq!(first.expect("an observation").bound, bound);
            assert_eq!(histogram.sum(), sum);
        }
    }
}
