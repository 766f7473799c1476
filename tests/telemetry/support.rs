//! Settings, trees and what was logged.

use crate::collector::PATIENCE;
use glassbox::config::{self, Env, TracingSettings};
use glassbox::telemetry::trace::{ExportCounts, SpanIds, Spans, Tracer, TracerGuard};
use opentelemetry::trace::{SpanKind, Status};
use opentelemetry::{InstrumentationScope, KeyValue};
use opentelemetry_sdk::trace::SpanData;
use std::sync::{Mutex, Once};
use std::time::{Duration, Instant, SystemTime};

/// The protocols, as their variable spells them.
pub const PROTOCOLS: [&str; 2] = ["grpc", "http/protobuf"];

/// As a user would get them from the command line and the environment.
pub fn settings(endpoint: &str, vars: &[(&str, &str)]) -> TracingSettings {
    let args = ["vllm", "serve", "m", "--otlp-traces-endpoint", endpoint].map(str::to_owned);
    let find = |name: &str| vars.iter().find(|(key, _)| *key == name);
    let env = Env::read(|name| find(name).map(|(_, value)| (*value).to_owned()));
    let settings = config::parse_serve(&args, env).unwrap_or_else(|exit| panic!("{exit:?}"));
    settings.tracing.expect("tracing is on")
}

/// A tracer for an endpoint, that sends at once unless `vars` say otherwise.
pub fn start(endpoint: &str, protocol: &str, vars: &[(&str, &str)]) -> (Tracer, TracerGuard) {
    record_logs();
    let usual =
        [("OTEL_EXPORTER_OTLP_TRACES_PROTOCOL", protocol), ("OTEL_BSP_SCHEDULE_DELAY", "1")];
    let settings = settings(endpoint, &[vars, &usual].concat());
    Tracer::start(&settings).unwrap_or_else(|error| panic!("{endpoint}: {error}"))
}

/// A root and its children.
pub struct Tree {
    pub ids: SpanIds,
    pub children: usize,
}

impl Spans for Tree {
    fn count(&self) -> usize {
        1 + self.children
    }

    fn build(self: Box<Self>, out: &mut Vec<SpanData>) {
        let at = SystemTime::UNIX_EPOCH + Duration::from_nanos(1_700_000_000_123_456_789);
        let root = SpanData {
            span_context: self.ids.context(),
            parent_span_id: self.ids.parent.unwrap_or(opentelemetry::trace::SpanId::INVALID),
            parent_span_is_remote: self.ids.parent_is_remote,
            span_kind: SpanKind::Server,
            name: "llm_request".into(),
            start_time: at,
            end_time: at + Duration::from_nanos(7),
            attributes: vec![KeyValue::new("a", 1.5), KeyValue::new("b", "text")],
            dropped_attributes_count: 0,
            events: Default::default(),
            links: Default::default(),
            status: Status::error("why"),
            instrumentation_scope: InstrumentationScope::builder("vllm.tracing.otel").build(),
        };
        let parent = self.ids.span_id;
        for child in 1..=self.children {
            let id = opentelemetry::trace::SpanId::from(child as u64);
            out.push(SpanData {
                span_context: self.ids.child(id),
                parent_span_id: parent,
                parent_span_is_remote: false,
                span_kind: SpanKind::Internal,
                name: "phase".into(),
                status: Status::Unset,
                instrumentation_scope: InstrumentationScope::builder("glassbox").build(),
                ..root.clone()
            });
        }
        out.push(root);
    }
}

/// A root and `children` of a new trace.
pub fn tree(tracer: &Tracer, children: usize) -> Box<Tree> {
    let ids = tracer.begin(|_| None).expect("sampled");
    Box::new(Tree { ids, children })
}

/// Until `done` holds of the counts.
pub fn wait_for_counts(tracer: &Tracer, done: impl Fn(&ExportCounts) -> bool) -> ExportCounts {
    let until = Instant::now() + PATIENCE;
    loop {
        let counts = tracer.stats().read();
        if done(&counts) {
            return counts;
        }
        assert!(Instant::now() < until, "still {counts:?}");
        std::thread::sleep(Duration::from_millis(1));
    }
}

static LOGGED: Mutex<Vec<String>> = Mutex::new(Vec::new());

struct Recorder;

impl log::Log for Recorder {
    fn enabled(&self, metadata: &log::Metadata<'_>) -> bool {
        metadata.target().starts_with("glassbox")
    }

    fn log(&self, record: &log::Record<'_>) {
        if self.enabled(record.metadata()) {
            let line = format!("{} {}", record.level(), record.args());
            LOGGED.lock().expect("not poisoned").push(line);
        }
    }

    fn flush(&self) {}
}

fn record_logs() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        log::set_logger(&Recorder).expect("the only logger");
        log::set_max_level(log::LevelFilter::Info);
    });
}

/// Lines about this endpoint.
pub fn logged(endpoint: &str) -> Vec<String> {
    let lines = LOGGED.lock().expect("not poisoned");
    lines.iter().filter(|line| line.contains(endpoint)).cloned().collect()
}

/// Until there are this many lines about an endpoint.
pub fn wait_for_lines(endpoint: &str, count: usize) -> Vec<String> {
    let until = Instant::now() + PATIENCE;
    loop {
        let lines = logged(endpoint);
        if lines.len() >= count {
            return lines;
        }
        assert!(Instant::now() < until, "only {lines:?}");
        std::thread::sleep(Duration::from_millis(1));
    }
}
