//! KV transfer under the names of vLLM's NixlConnector.

use super::engine::EnginePage;
use super::text::Measured;
use crate::types::Histogram;

/// KV transfer at one moment.
#[derive(Clone, Copy, Debug)]
pub struct Transfers<'a> {
    /// Of each read, from its handing over to its end.
    pub transfer_time: &'a Histogram,
    /// Spent on handing it over.
    pub post_time: &'a Histogram,
    pub bytes: &'a Histogram,
    pub descriptors: &'a Histogram,
    /// Reads, handshakes and notifications that failed.
    pub failed_transfers: u64,
    /// The notifications among them.
    pub failed_notifications: u64,
    /// Requests whose lease ran out before a peer had read.
    pub expired: u64,
    /// Notifications of requests that are not known any more.
    pub late_notifications: u64,
    /// `None`: this server only computes for others.
    pub fetches: Option<Fetches>,
}

/// Requests that wait for KV, or have waited for it and do not run yet.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Fetches {
    pub waiting_to_start: u64,
    pub in_progress: u64,
    pub completed_waiting: u64,
}

/// The connector's families, which stand before all others of the engine.
pub(super) fn write_connector(engine: &mut EnginePage, transfers: &Transfers) {
    for (name, help, histogram) in [
        (
            "vllm:nixl_xfer_time_seconds",
            "How long reads of KV blocks took.",
            transfers.transfer_time,
        ),
        (
            "vllm:nixl_post_time_seconds",
            "How long it took to hand such a read over.",
            transfers.post_time,
        ),
        ("vllm:nixl_bytes_transferred", "Bytes of a read.", transfers.bytes),
        ("vllm:nixl_num_descriptors", "Pieces of memory in a read.", transfers.descriptors),
    ] {
        let series = Measured { labels: &engine.labels.all(), histogram, created: engine.created };
        engine.page.histogram(name, help, &[series]);
    }
    for (name, help, value) in [
        (
            "vllm:nixl_num_failed_transfers",
            "Reads, handshakes and notifications that failed.",
            transfers.failed_transfers,
        ),
        (
            "vllm:nixl_num_failed_notifications",
            "Notifications that failed; they count as failed transfers too.",
            transfers.failed_notifications,
        ),
        (
            "vllm:nixl_num_kv_expired_reqs",
            "Requests whose KV was given up before a peer had read it.",
            transfers.expired,
        ),
        (
            "vllm:nixl_num_notifications_after_expiry",
            "Notifications of requests whose KV was given up: what was read may be of others.",
            transfers.late_notifications,
        ),
    ] {
        engine.counter(name, help, value);
    }
}

/// Requests by how far the fetching of their KV is.
pub(super) fn write_fetches(engine: &mut EnginePage, fetches: Fetches) {
    let help = "Waiting requests by how far the fetching of their KV is.";
    let stages = [
        ("waiting_to_start", fetches.waiting_to_start as f64),
        ("in_progress", fetches.in_progress as f64),
        ("completed_waiting", fetches.completed_waiting as f64),
    ];
    engine.gauges_by("vllm:num_requests_kv_fetch_by_stage", help, "stage", &stages);
}
