//! Collectors that are well.

use crate::collector::{Answer, Collector, Listen};
use crate::support::{PROTOCOLS, Tree, settings, start, tree, wait_for_counts, wait_for_lines};
use glassbox::telemetry::trace::{DropReason, Tracer};
use opentelemetry_proto::tonic::common::v1::any_value::Value;
use std::time::{Duration, Instant};

const MINUTE: Duration = Duration::from_secs(60);

fn plain(protocol: &str) -> Listen {
    match protocol {
        "grpc" => Listen::Grpc,
        _ => Listen::Http,
    }
}

fn url(collector: &Collector) -> String {
    format!("http://{}/v1/traces", collector.address)
}

#[test]
fn a_tree_arrives_as_it_was() {
    for protocol in PROTOCOLS {
        let collector = Collector::start(plain(protocol));
        let vars = [("OTEL_SERVICE_NAME", "vllm")];
        let (tracer, guard) = start(&url(&collector), protocol, &vars);
        let parent = b"00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
        let header = |name| match name {
            "traceparent" => Some(&parent[..]),
            _ => Some(&b"a=1,b=2"[..]),
        };
        let ids = tracer.begin(header).expect("sampled");
        tracer.submit(Box::new(Tree { ids: ids.clone(), children: 1 }));
        guard.shutdown(MINUTE);
        let batches = collector.batches();
        assert_eq!(batches.len(), 1);
        let resource = &batches[0].request.resource_spans[0];
        let attributes = &resource.resource.as_ref().expect("a resource").attributes;
        let service = attributes.iter().find(|attribute| attribute.key == "service.name");
        let service = service.and_then(|attribute| attribute.value.clone()?.value);
        assert_eq!(service, Some(Value::StringValue("vllm".to_owned())));
        let scope =
            |i: usize| resource.scope_spans[i].scope.as_ref().expect("a scope").name.clone();
        assert_eq!((scope(0), scope(1)), ("glassbox".to_owned(), "vllm.tracing.otel".to_owned()));
        let child = &resource.scope_spans[0].spans[0];
        let root = &resource.scope_spans[1].spans[0];
        assert_eq!(root.trace_id, ids.trace_id.to_bytes());
        assert_eq!(root.span_id, ids.span_id.to_bytes());
        assert_eq!(root.parent_span_id, ids.parent.expect("a parent").to_bytes());
        assert_eq!((root.trace_state.as_str(), root.flags), ("a=1,b=2", 0x301));
        assert_eq!((root.name.as_str(), root.kind), ("llm_request", 2));
        assert_eq!(root.start_time_unix_nano, 1_700_000_000_123_456_789);
        assert_eq!(root.end_time_unix_nano, 1_700_000_000_123_456_796);
        assert_eq!(root.attributes.len(), 2);
        let status = root.status.as_ref().expect("a status");
        assert_eq!((status.code, status.message.as_str()), (2, "why"));
        assert_eq!((&child.trace_id, &child.parent_span_id), (&root.trace_id, &root.span_id));
        assert_eq!((child.kind, child.flags), (1, 0x101));
        assert_eq!(tracer.stats().read().exported, 2);
    }
}

#[test]
fn the_collector_is_asked_at_start() {
    for protocol in PROTOCOLS {
        let collector = Collector::start(plain(protocol));
        let (_tracer, _guard) = start(&url(&collector), protocol, &[]);
        let lines = wait_for_lines(&url(&collector), 1);
        let wanted = format!("INFO Traces go to {} ({protocol}): it answers", url(&collector));
        assert_eq!(lines, [wanted]);
        assert!(collector.received()[0].spans().is_empty());
    }
}

#[test]
fn a_name_without_a_scheme_is_plain_grpc() {
    let collector = Collector::start(Listen::Grpc);
    let (tracer, guard) = start(&collector.address.to_string(), "grpc", &[]);
    tracer.submit(tree(&tracer, 0));
    guard.shutdown(MINUTE);
    assert_eq!(collector.spans().len(), 1);
}

#[test]
fn headers_travel_and_bodies_shrink() {
    for (protocol, compression) in
        [("grpc", "gzip"), ("http/protobuf", "gzip"), ("http/protobuf", "deflate")]
    {
        let collector = Collector::start(plain(protocol));
        let vars = [
            ("OTEL_EXPORTER_OTLP_TRACES_COMPRESSION", compression),
            ("OTEL_EXPORTER_OTLP_HEADERS", "API-Key=a%20b,authorization=Bearer x"),
        ];
        let (tracer, guard) = start(&url(&collector), protocol, &vars);
        tracer.submit(tree(&tracer, 7));
        guard.shutdown(MINUTE);
        let batch = &collector.batches()[0];
        assert_eq!(batch.spans().len(), 8);
        assert_eq!(batch.headers["api-key"], "a b");
        assert_eq!(batch.headers["authorization"], "Bearer x");
        assert!(batch.headers["user-agent"].starts_with("glassbox/"), "{batch:?}");
        if protocol == "grpc" {
            assert_eq!(batch.headers["grpc-encoding"], "gzip");
        } else {
            assert_eq!(batch.headers["content-encoding"], compression);
            assert_eq!(batch.headers["content-type"], "application/x-protobuf");
            assert_eq!(batch.path, "/v1/traces");
        }
    }
}

#[test]
fn a_full_batch_does_not_wait_and_none_is_too_large() {
    let collector = Collector::start(Listen::Grpc);
    let vars = [("OTEL_BSP_MAX_EXPORT_BATCH_SIZE", "10"), ("OTEL_BSP_SCHEDULE_DELAY", "3600000")];
    let (tracer, guard) = start(&url(&collector), "grpc", &vars);
    for _ in 0..5 {
        tracer.submit(tree(&tracer, 3));
    }
    // Two trees of four fit in a batch of ten; eight spans are not a batch, and wait for the end.
    collector.wait_for_batches(2);
    wait_for_counts(&tracer, |counts| counts.exported == 16);
    assert_eq!(tracer.stats().read().queued, 4);
    // A tree that is too large for a batch travels in several.
    tracer.submit(tree(&tracer, 24));
    collector.wait_for_batches(6);
    guard.shutdown(MINUTE);
    let sizes: Vec<_> = collector.batches().iter().map(|batch| batch.spans().len()).collect();
    assert_eq!(sizes, [8, 8, 4, 10, 10, 5]);
    assert_eq!(tracer.stats().read().batches_exported, 6);
}

#[test]
fn a_lonely_span_leaves_after_the_delay() {
    let collector = Collector::start(Listen::Http);
    let vars = [("OTEL_BSP_SCHEDULE_DELAY", "20")];
    let (tracer, _guard) = start(&url(&collector), "http/protobuf", &vars);
    tracer.submit(tree(&tracer, 0));
    collector.wait_for_batches(1);
    wait_for_counts(&tracer, |counts| counts.exported == 1 && counts.queued == 0);
}

#[test]
fn limits_apply_on_the_way_out() {
    let collector = Collector::start(Listen::Grpc);
    let vars = [("OTEL_SPAN_ATTRIBUTE_COUNT_LIMIT", "1")];
    let (tracer, guard) = start(&url(&collector), "grpc", &vars);
    tracer.submit(tree(&tracer, 0));
    guard.shutdown(MINUTE);
    let span = &collector.spans()[0];
    assert_eq!((span.attributes.len(), span.dropped_attributes_count), (1, 1));
}

#[test]
fn what_the_collector_rejects_is_counted() {
    for protocol in PROTOCOLS {
        let script = [Answer::Reject(3)];
        let collector = Collector::answering(plain(protocol), script, Answer::Accept);
        let vars = [("OTEL_BSP_MAX_EXPORT_BATCH_SIZE", "1")];
        let (tracer, guard) = start(&url(&collector), protocol, &vars);
        wait_for_lines(&url(&collector), 1);
        tracer.submit(tree(&tracer, 0));
        let lines = wait_for_lines(&url(&collector), 2);
        assert!(lines[1].contains("it rejected 3 spans of a batch: too odd"), "{lines:?}");
        // One span was sent, so one was rejected.
        let counts = tracer.stats().read();
        assert_eq!((counts.exported, counts.dropped(DropReason::Rejected)), (0, 1));
        tracer.submit(tree(&tracer, 0));
        let lines = wait_for_lines(&url(&collector), 3);
        assert!(lines[2].ends_with("spans flow again; 1 were dropped"), "{lines:?}");
        guard.shutdown(MINUTE);
    }
}

#[test]
fn shutdown_sends_what_waits() {
    for protocol in PROTOCOLS {
        let collector = Collector::start(plain(protocol));
        let vars =
            [("OTEL_BSP_SCHEDULE_DELAY", "3600000"), ("OTEL_BSP_MAX_EXPORT_BATCH_SIZE", "100")];
        let (tracer, guard) = start(&url(&collector), protocol, &vars);
        let begin = Instant::now();
        (0..333).for_each(|_| tracer.submit(tree(&tracer, 2)));
        guard.shutdown(MINUTE);
        assert!(begin.elapsed() < MINUTE);
        let counts = tracer.stats().read();
        assert_eq!((counts.exported, counts.dropped_total(), counts.queued), (999, 0, 0));
        assert_eq!(collector.spans().len(), 999);
        tracer.submit(tree(&tracer, 0));
        assert_eq!(tracer.stats().read().dropped(DropReason::Shutdown), 1);
    }
}

#[test]
fn what_cannot_work_refuses_to_start() {
    let http = ("OTEL_EXPORTER_OTLP_TRACES_PROTOCOL", "http/protobuf");
    let ca = |path| ("OTEL_EXPORTER_OTLP_CERTIFICATE", path);
    for (endpoint, vars, start) in [
        ("collector:4318", &[http][..], "--otlp-traces-endpoint: collector:4318 is no http"),
        ("ftp://collector", &[http], "--otlp-traces-endpoint: ftp://collector is no http"),
        ("http://", &[], "--otlp-traces-endpoint: http:// has no host"),
        ("https://c", &[ca("/nowhere/ca.pem")], "the certificate of OTEL_EXPORTER_OTLP_*, /now"),
        ("https://c", &[ca("Cargo.toml")], "Cargo.toml holds no certificate in PEM form"),
        ("https://c", &[ca("Cargo.toml"), http], "Cargo.toml holds no certificate in PEM form"),
        (
            "https://c",
            &[("OTEL_EXPORTER_OTLP_CLIENT_KEY", "x")],
            "OTEL_EXPORTER_OTLP_CLIENT_KEY needs",
        ),
        ("c:1", &[("OTEL_EXPORTER_OTLP_HEADERS", "a=%0a1%0a2")], "OTEL_EXPORTER_OTLP_HEADERS: a"),
        (
            "http://c",
            &[("OTEL_EXPORTER_OTLP_HEADERS", "a=%0a1%0a2"), http],
            "OTEL_EXPORTER_OTLP_HEADERS: a",
        ),
    ] {
        let error = Tracer::start(&settings(endpoint, vars)).expect_err(endpoint);
        assert!(error.starts_with(start), "{error}");
        assert!(!error.contains('\n'), "{error}");
    }
}
