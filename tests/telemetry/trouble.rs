//! Collectors that are gone, slow or unwilling.

use crate::collector::{Answer, Collector, Listen, PATIENCE, free_address};
use crate::support::{PROTOCOLS, start, tree, wait_for_counts, wait_for_lines};
use glassbox::telemetry::trace::DropReason;
use prost::Message;
use std::time::{Duration, Instant};
use tonic::Code;

const MINUTE: Duration = Duration::from_secs(60);
/// No second attempt fits in it.
const SHORT: (&str, &str) = ("OTEL_EXPORTER_OTLP_TIMEOUT", "0.4");
/// Every span is a batch.
const SINGLE: (&str, &str) = ("OTEL_BSP_MAX_EXPORT_BATCH_SIZE", "1");

fn listen(protocol: &str) -> Listen {
    match protocol {
        "grpc" => Listen::Grpc,
        _ => Listen::Http,
    }
}

/// A refusal that asks to come again after `millis`, in gRPC's standard form or by HTTP.
fn later(protocol: &str, millis: i32) -> Answer {
    #[derive(Clone, PartialEq, Message)]
    struct Info {
        #[prost(message, optional, tag = "1")]
        delay: Option<prost_types::Duration>,
    }
    #[derive(Clone, PartialEq, Message)]
    struct Details {
        #[prost(message, repeated, tag = "3")]
        details: Vec<prost_types::Any>,
    }
    if protocol != "grpc" {
        return Answer::Status(503, Some(if millis == 0 { "0" } else { "0.02" }));
    }
    let delay = Some(prost_types::Duration { seconds: 0, nanos: millis * 1_000_000 });
    let info = prost_types::Any {
        type_url: "type.googleapis.com/google.rpc.RetryInfo".to_owned(),
        value: Info { delay }.encode_to_vec(),
    };
    Answer::Code(Code::Unavailable, Details { details: vec![info] }.encode_to_vec())
}

/// A refusal for good.
fn never(protocol: &str) -> Answer {
    match protocol {
        "grpc" => Answer::Code(Code::InvalidArgument, Vec::new()),
        _ => Answer::Status(400, None),
    }
}

#[test]
fn a_dead_collector_is_said_once_and_heals() {
    for protocol in PROTOCOLS {
        let address = free_address();
        let url = format!("http://{address}/v1/traces");
        let (tracer, guard) = start(&url, protocol, &[SHORT]);
        let lines = wait_for_lines(&url, 1);
        let begin = format!("WARN Traces to {url} ({protocol}): it takes no spans: ");
        assert!(lines[0].starts_with(&begin), "{lines:?}");
        assert!(lines[0].to_lowercase().contains("refused"), "the reason: {lines:?}");
        for lost in 1..=3 {
            tracer.submit(tree(&tracer, 1));
            wait_for_counts(&tracer, |counts| counts.dropped(DropReason::ExportFailed) == 2 * lost);
        }
        assert_eq!(wait_for_lines(&url, 1).len(), 1, "said once");
        let collector = Collector::at(address, listen(protocol), [], Answer::Accept);
        wait_for_counts(&tracer, |counts| {
            if counts.exported == 0 && counts.queued == 0 {
                tracer.submit(tree(&tracer, 0));
            }
            counts.exported > 0
        });
        let lines = wait_for_lines(&url, 2);
        let lost = tracer.stats().read().dropped_total();
        let wanted = format!("spans flow again; {lost} were dropped");
        assert!(lines[1].ends_with(&wanted), "{lines:?}");
        guard.shutdown(MINUTE);
        let counts = tracer.stats().read();
        assert_eq!(collector.spans().len() as u64, counts.exported);
        assert_eq!(counts.submitted, counts.exported + counts.dropped_total());
    }
}

#[test]
fn a_collector_that_restarts_is_found_again() {
    let collector = Collector::start(Listen::Grpc);
    let address = collector.address;
    let (tracer, guard) = start(&format!("http://{address}"), "grpc", &[SHORT]);
    tracer.submit(tree(&tracer, 0));
    wait_for_counts(&tracer, |counts| counts.exported == 1);
    drop(collector);
    let collector = Collector::at(address, Listen::Grpc, [], Answer::Accept);
    wait_for_counts(&tracer, |counts| {
        if counts.queued == 0 {
            tracer.submit(tree(&tracer, 0));
        }
        counts.exported > 1
    });
    guard.shutdown(MINUTE);
    assert!(!collector.spans().is_empty());
}

#[test]
fn a_slow_collector_delays_nobody() {
    for protocol in PROTOCOLS {
        let collector = Collector::answering(listen(protocol), [], Answer::Hang);
        let url = format!("http://{}", collector.address);
        let vars = [("OTEL_BSP_MAX_QUEUE_SIZE", "1000")];
        let (tracer, guard) = start(&url, protocol, &vars);
        let begin = Instant::now();
        (0..10_000).for_each(|_| tracer.submit(tree(&tracer, 1)));
        // The timeout is ten seconds, and no submission took part in it.
        assert!(begin.elapsed() < Duration::from_secs(5), "{:?}", begin.elapsed());
        let counts = tracer.stats().read();
        let full = counts.dropped(DropReason::QueueFull);
        assert_eq!((counts.submitted, full + counts.queued), (20_000, 20_000));
        assert!(counts.queued <= 1000 + 512, "{counts:?}");
        let begin = Instant::now();
        guard.shutdown(Duration::from_millis(50));
        assert!(begin.elapsed() < Duration::from_secs(5), "the bound holds");
        let counts = tracer.stats().read();
        assert_eq!(counts.queued, 0);
        assert_eq!(counts.dropped(DropReason::Shutdown) + full, 20_000);
    }
}

#[test]
fn a_batch_that_hangs_is_lost_after_the_timeout() {
    for protocol in PROTOCOLS {
        let collector = Collector::answering(listen(protocol), [Answer::Hang], Answer::Accept);
        let url = format!("http://{}", collector.address);
        let (tracer, guard) = start(&url, protocol, &[SHORT]);
        wait_for_lines(&url, 1);
        tracer.submit(tree(&tracer, 4));
        let lines = wait_for_lines(&url, 2);
        assert!(lines[1].contains("no answer within 0.4 s"), "{lines:?}");
        assert_eq!(tracer.stats().read().dropped(DropReason::ExportFailed), 5);
        tracer.submit(tree(&tracer, 0));
        wait_for_counts(&tracer, |counts| counts.exported == 1);
        guard.shutdown(MINUTE);
        let batches = collector.batches();
        let same = batches[0].peer == batches[1].peer;
        assert_eq!(same, protocol != "grpc", "a silent connection is given up");
    }
}

#[test]
fn what_may_pass_is_tried_again() {
    for protocol in PROTOCOLS {
        let script = [later(protocol, 0), later(protocol, 20)];
        let collector = Collector::answering(listen(protocol), script, Answer::Accept);
        let (tracer, guard) = start(&format!("http://{}", collector.address), protocol, &[]);
        tracer.submit(tree(&tracer, 2));
        collector.wait_for_batches(3);
        guard.shutdown(MINUTE);
        let batches = collector.batches();
        assert!(batches.iter().all(|batch| batch.request == batches[0].request));
        let counts = tracer.stats().read();
        assert_eq!((counts.exported, counts.dropped_total(), counts.batches_failed), (3, 0, 0));
    }
}

#[test]
fn six_attempts_are_made_and_no_more() {
    for protocol in PROTOCOLS {
        let collector = Collector::answering(listen(protocol), [], later(protocol, 0));
        let (tracer, guard) = start(&format!("http://{}", collector.address), protocol, &[]);
        tracer.submit(tree(&tracer, 0));
        wait_for_counts(&tracer, |counts| counts.dropped(DropReason::ExportFailed) == 1);
        assert_eq!(collector.batches().len(), 6);
        guard.shutdown(MINUTE);
    }
}

#[test]
fn what_will_never_pass_is_not_tried_again() {
    for protocol in PROTOCOLS {
        let script = [never(protocol)];
        let collector = Collector::answering(listen(protocol), script, Answer::Accept);
        let url = format!("http://{}", collector.address);
        let (tracer, guard) = start(&url, protocol, &[SINGLE]);
        wait_for_lines(&url, 1);
        tracer.submit(tree(&tracer, 0));
        wait_for_counts(&tracer, |counts| counts.dropped(DropReason::ExportFailed) == 1);
        assert_eq!(collector.batches().len(), 1);
        let reason =
            if protocol == "grpc" { "gRPC InvalidArgument: not today" } else { "HTTP 400" };
        let lines = wait_for_lines(&url, 2);
        assert!(lines[1].contains(reason), "{lines:?}");
        guard.shutdown(MINUTE);
    }
}

#[test]
fn the_end_does_not_wait_for_another_attempt() {
    // The first pause is about a second, and the bound a minute.
    let usual = Answer::Code(Code::Unavailable, Vec::new());
    let collector = Collector::answering(Listen::Grpc, [], usual);
    let (tracer, guard) = start(&format!("http://{}", collector.address), "grpc", &[SINGLE]);
    (0..100).for_each(|_| tracer.submit(tree(&tracer, 0)));
    collector.wait_for_batches(1);
    guard.shutdown(MINUTE);
    assert!(collector.batches().len() < 5, "after a failure nothing is sent any more");
    let counts = tracer.stats().read();
    assert_eq!((counts.dropped_total(), counts.queued), (100, 0));
}

#[test]
fn a_queue_that_overflows_is_said_once() {
    let collector = Collector::start(Listen::Grpc);
    let url = format!("http://{}", collector.address);
    let vars = [("OTEL_BSP_MAX_QUEUE_SIZE", "8"), ("OTEL_BSP_MAX_EXPORT_BATCH_SIZE", "8")];
    let (tracer, guard) = start(&url, "grpc", &vars);
    wait_for_lines(&url, 1);
    tracer.submit(tree(&tracer, 8));
    let lines = wait_for_lines(&url, 2);
    assert!(lines[1].contains("the queue of 8 (OTEL_BSP_MAX_QUEUE_SIZE) is full"), "{lines:?}");
    tracer.submit(tree(&tracer, 7));
    let lines = wait_for_lines(&url, 3);
    assert!(lines[2].ends_with("spans flow again; 9 were dropped"), "{lines:?}");
    guard.shutdown(MINUTE);
}

#[test]
fn without_a_shutdown_spans_are_lost_and_counted() {
    let collector = Collector::start(Listen::Grpc);
    let vars = [("OTEL_BSP_SCHEDULE_DELAY", "3600000")];
    let (tracer, guard) = start(&format!("http://{}", collector.address), "grpc", &vars);
    tracer.submit(tree(&tracer, 3));
    drop(guard);
    let counts = wait_for_counts(&tracer, |counts| counts.queued == 0);
    assert_eq!(counts.exported + counts.dropped(DropReason::Shutdown), 4);
}

/// Many submitters, a collector of changing moods, an end in the middle: every span is accounted
/// for, and what was counted as exported is what arrived.
#[test]
fn counts_are_exact_under_stress() {
    for protocol in PROTOCOLS {
        let moods = [Answer::Accept, later(protocol, 0), Answer::Reject(1), never(protocol)];
        let script = moods.into_iter().cycle().take(400);
        let collector = Collector::answering(listen(protocol), script, Answer::Accept);
        let vars = [("OTEL_BSP_MAX_QUEUE_SIZE", "256"), ("OTEL_BSP_MAX_EXPORT_BATCH_SIZE", "32")];
        let (tracer, guard) = start(&format!("http://{}", collector.address), protocol, &vars);
        let submitters: Vec<_> = (0..4)
            .map(|thread| {
                let tracer = tracer.clone();
                std::thread::spawn(move || {
                    for i in 0..2_000 {
                        tracer.submit(tree(&tracer, (i + thread) % 8));
                        let counts = tracer.stats().read();
                        let settled = counts.exported + counts.dropped_total();
                        assert_eq!(counts.submitted, settled + counts.queued);
                        if i % 64 == 0 {
                            wait_for_counts(&tracer, |counts| counts.queued < 128);
                        }
                    }
                })
            })
            .collect();
        submitters.into_iter().for_each(|thread| thread.join().expect("no panic"));
        guard.shutdown(PATIENCE);
        let counts = tracer.stats().read();
        assert_eq!((counts.submitted, counts.queued), (4 * 2_000 * 9 / 2, 0));
        assert_eq!(counts.submitted, counts.exported + counts.dropped_total());
        for reason in [DropReason::Rejected, DropReason::ExportFailed] {
            assert!(counts.dropped(reason) > 0, "{reason:?}: {counts:?}");
        }
        // Failed batches arrived too, and some twice.
        let arrived = collector.spans().len() as u64;
        assert!(counts.exported + counts.dropped(DropReason::Rejected) <= arrived);
    }
}
