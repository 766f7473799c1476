use super::*;
use crate::config::memory::KvPlan;
use crate::config::{CacheSettings, KvMemory, MetricsSettings};
use crate::telemetry::metrics::{Fetches, Format, Health, Metrics, MetricsConfig};
use crate::transfer::transport::ReadStats;
use crate::types::{HashAlgo, Histogram};

/// The families of KV transfer of a vLLM 0.32 with a NixlConnector, and the two families before
/// which they stand, without help texts and values.
const RECORDED: &str = include_str!("../../../tests/data/recorded/metrics-nixl-vllm-0.32.txt");

fn metrics() -> Metrics {
    let cache = CacheSettings {
        block_size: 32,
        user_block_size: true,
        memory: KvMemory::Default,
        memory_utilization: 0.92,
        memory_bytes: None,
        num_blocks_override: None,
        prefix_caching: true,
        hash_algo: HashAlgo::Sha256Cbor,
        hash_seed: None,
    };
    Metrics::new(&MetricsConfig {
        model_name: "tiny",
        cache: &cache,
        plan: &KvPlan { num_blocks: 292, block_size: 32, block_bytes: 1, max_model_len: 4096 },
        settings: &MetricsSettings::default(),
        shows_engine: true,
        counts_tool_calls: false,
        paths: &[],
    })
}

/// The page of an idle engine with these transfers.
fn page(stats: &TransferStats, fetches: Option<Fetches>) -> String {
    let time = Histogram::of_seconds(&[1.0]);
    let steps = Steps { tokens: &time, time: &time, device_time: &time };
    let mut now = Snapshot::idle(steps);
    now.transfers = Some(transfers(stats, fetches));
    metrics().render(&now, &Health::default(), Format::Plain)
}

#[test]
fn families_of_kv_transfer_are_those_of_vllm_in_its_order() {
    let stats = TransferStats::default();
    let mut shape = String::new();
    for line in page(&stats, Some(Fetches::default())).lines() {
        let series = match line.starts_with('#') {
            true => line,
            false => line.rsplit_once(' ').expect("a value").0,
        };
        let wanted = ["nixl_", "kv_fetch", "estimated_flops", "engine_sleep_state"];
        if !line.starts_with("# HELP ") && wanted.iter().any(|name| series.contains(name)) {
            shape += &format!("{series}\n");
        }
    }
    assert_eq!(shape, RECORDED);
    assert!(!page(&stats, None).contains("kv_fetch"), "a producer fetches nothing");
}

#[test]
fn what_is_counted_is_shown() {
    let stats = TransferStats::default();
    stats.transferred(&ReadStats {
        bytes: 8192,
        descriptors: 21,
        post: Duration::from_micros(900),
        transfer: Duration::from_millis(30),
    });
    stats.failed_notification();
    stats.expired();
    let page = page(&stats, Some(Fetches { in_progress: 3, ..Fetches::default() }));
    for line in [
        "nixl_xfer_time_seconds_sum{engine=\"0\",model_name=\"tiny\"} 0.03",
        "nixl_post_time_seconds_bucket{engine=\"0\",le=\"0.001\",model_name=\"tiny\"} 1.0",
        "nixl_bytes_transferred_sum{engine=\"0\",model_name=\"tiny\"} 8192.0",
        "nixl_num_descriptors_bucket{engine=\"0\",le=\"20.0\",model_name=\"tiny\"} 0.0",
        "nixl_num_failed_transfers_total{engine=\"0\",model_name=\"tiny\"} 1.0",
        "nixl_num_failed_notifications_total{engine=\"0\",model_name=\"tiny\"} 1.0",
        "nixl_num_kv_expired_reqs_total{engine=\"0\",model_name=\"tiny\"} 1.0",
        "nixl_num_notifications_after_expiry_total{engine=\"0\",model_name=\"tiny\"} 0.0",
        "num_requests_kv_fetch_by_stage{engine=\"0\",model_name=\"tiny\",\
         stage=\"in_progress\"} 3.0",
    ] {
        assert!(page.contains(&format!("\nvllm:{line}\n")), "{line}\n{page}");
    }
}
