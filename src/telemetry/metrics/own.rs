//! `glassbox_*`: what vLLM has no name for.

use super::engine::EnginePage;
use super::text::{Counted, Measured, Page};
use crate::config::VLLM_VERSION;
use crate::telemetry::trace::{DropReason, ExportCounts};

/// How telemetry itself is doing.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Health {
    /// What became of spans.
    pub spans: ExportCounts,
    /// Log lines that were lost because output was too slow.
    pub log_lines_dropped: u64,
    /// `None` when no KV events are published.
    pub kv_events: Option<KvEventHealth>,
}

/// How the publisher of KV events is doing.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct KvEventHealth {
    pub batches: u64,
    pub events: u64,
    /// Batches that nobody heard, and that a subscriber was too slow for.
    pub dropped_unheard: u64,
    pub dropped_slow: u64,
    /// Batches put together because the publisher was too slow.
    pub merged: u64,
    pub subscribers: u64,
    /// Resident blocks told to subscribers that were new or had missed some.
    pub announced: u64,
    pub replays: u64,
    /// Blocks that are cached, as told.
    pub resident: u64,
}

/// What concerns the engine.
pub(super) fn write_engine(engine: &mut EnginePage) {
    let steps = engine.now.step_histograms;
    engine.counter("glassbox_steps", "Steps that the engine has made.", engine.now.steps);
    for (name, help, histogram) in [
        ("glassbox_step_seconds", "A step's time, from the plan to the last result.", steps.time),
        ("glassbox_step_device_seconds", "A step's time on the device.", steps.device_time),
    ] {
        let series = Measured { labels: &engine.labels.all(), histogram, created: engine.created };
        engine.page.histogram(name, help, &[series]);
    }
}

/// What concerns the process.
pub(super) fn write_process(page: &mut Page, health: &Health, startup: Option<f64>, created: f64) {
    let version = [("version", env!("CARGO_PKG_VERSION")), ("vllm_version", VLLM_VERSION)];
    page.gauge("glassbox_build_info", "What runs, and as which vLLM.", &[(&version, 1.0)]);
    if let Some(seconds) = startup {
        let help = "From the start of the process until it could answer requests.";
        page.gauge("glassbox_startup_seconds", help, &[(&[], seconds)]);
    }
    let spans = &health.spans;
    let counted = |labels, value| Counted { labels, value: value as f64, created };
    let help = "Spans that wait to be sent or are on their way.";
    page.gauge("glassbox_telemetry_spans_queued", help, &[(&[], spans.queued as f64)]);
    let help = "Spans that the collector has taken.";
    page.counter("glassbox_telemetry_spans_exported", help, &[counted(&[], spans.exported)]);
    let reasons = DropReason::ALL.map(|reason| [("reason", reason.name())]);
    let lost = std::array::from_fn::<_, { DropReason::ALL.len() }, _>(|i| {
        counted(&reasons[i], spans.dropped(DropReason::ALL[i]))
    });
    page.counter("glassbox_telemetry_spans_dropped", "Spans that were lost, by reason.", &lost);
    let help = "Log lines lost because output was too slow.";
    page.counter("glassbox_log_lines_dropped", help, &[counted(&[], health.log_lines_dropped)]);
    if let Some(events) = &health.kv_events {
        write_kv_events(page, events, created);
    }
}

fn write_kv_events(page: &mut Page, events: &KvEventHealth, created: f64) {
    let counted = |labels, value| Counted { labels, value: value as f64, created };
    for (name, help, value) in [
        ("batches", "Batches of KV events that were numbered and sent.", events.batches),
        ("sent", "KV events in these batches.", events.events),
        ("merged", "Batches merged because the publisher was too slow.", events.merged),
        ("announced_blocks", "Blocks told again to new or late subscribers.", events.announced),
        ("replays", "Replays answered.", events.replays),
    ] {
        page.counter(&format!("glassbox_kv_events_{name}"), help, &[counted(&[], value)]);
    }
    let help = "Batches that did not reach a subscriber, by reason.";
    let dropped = [
        counted(&[("reason", "no_subscriber")], events.dropped_unheard),
        counted(&[("reason", "slow_subscriber")], events.dropped_slow),
    ];
    page.counter("glassbox_kv_events_dropped_batches", help, &dropped);
    for (name, help, value) in [
        ("subscribers", "Subscribers of KV events.", events.subscribers),
        ("resident_blocks", "Cached blocks, as KV events tell it.", events.resident),
    ] {
        page.gauge(&format!("glassbox_kv_events_{name}"), help, &[(&[], value as f64)]);
    }
}
