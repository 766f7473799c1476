use super::*;
use crate::config::{RootSampler, SamplerSettings};
use opentelemetry_sdk::trace::SpanData;
use proptest::prelude::*;
use std::sync::mpsc::Receiver;

const PARENT: &str = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
const UNSAMPLED: &str = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-00";
const OWN: &str = "00-11111111111111111111111111111111-2222222222222222-01";

/// A tracer whose spans stay in the queue.
fn tracer(root: RootSampler, own: Option<&str>, read_parent: bool) -> Tracer {
    let own = own.and_then(|header| context::traceparent(header.as_bytes()));
    let (queue, _) = Queue::new(1, 1);
    let inner = Inner {
        level: TraceLevel::Phases,
        sampler: Sampler::new(SamplerSettings { parent_based: true, root }),
        read_parent,
        process_parent: own.map(|parent| (parent, context::tracestate(b"own=1"))),
        queue: Arc::new(queue),
    };
    Tracer { inner: Arc::new(inner) }
}

/// Trace id, parent and state of a request with these headers.
fn begin(tracer: &Tracer, headers: &[(&str, &str)]) -> Option<(String, String, String)> {
    let find = |name: &str| headers.iter().find(|(key, _)| *key == name);
    let ids = tracer.begin(|name| find(name).map(|(_, value)| value.as_bytes()))?;
    assert_ne!(ids.span_id, SpanId::INVALID);
    assert_ne!(Some(ids.span_id), ids.parent);
    assert_eq!(ids.parent_is_remote, ids.parent.is_some());
    let context = ids.context();
    assert!(context.is_valid() && context.is_sampled() && !context.is_remote());
    let parent = ids.parent.map(|id| id.to_string()).unwrap_or_default();
    Some((ids.trace_id.to_string(), parent, ids.state.header()))
}

#[test]
fn headers_give_the_parent() {
    let tracer = tracer(RootSampler::AlwaysOff, None, true);
    let trace = "0af7651916cd43dd8448eb211c80319c";
    let parent = "b7ad6b7169203331";
    let wanted = |state: &str| Some((trace.to_owned(), parent.to_owned(), state.to_owned()));
    assert_eq!(begin(&tracer, &[("traceparent", PARENT)]), wanted(""));
    let with_state = [("traceparent", PARENT), ("tracestate", "a=1,b=2")];
    assert_eq!(begin(&tracer, &with_state), wanted("a=1,b=2"));
    let bad_state = [("traceparent", PARENT), ("tracestate", "a=1,B")];
    assert_eq!(begin(&tracer, &bad_state), wanted(""));
    assert_eq!(begin(&tracer, &[("traceparent", UNSAMPLED)]), None);
    assert_eq!(begin(&tracer, &[("traceparent", "garbage")]), None);
}

#[test]
fn without_a_parent_a_trace_begins() {
    let tracer = tracer(RootSampler::AlwaysOn, None, true);
    for headers in [&[][..], &[("traceparent", "bad")], &[("tracestate", "a=1")]] {
        let (first, parent, state) = begin(&tracer, headers).expect("sampled");
        assert_eq!((parent.as_str(), state.as_str()), ("", ""));
        assert_ne!(first, begin(&tracer, headers).expect("sampled").0);
    }
    assert_eq!(begin(&tracer, &[("traceparent", UNSAMPLED)]), None);
}

#[test]
fn the_parent_of_the_process_is_for_requests_that_bring_no_context() {
    let tracer = tracer(RootSampler::AlwaysOn, Some(OWN), true);
    let own = begin(&tracer, &[]).expect("sampled");
    let wanted = ("1".repeat(32), "2".repeat(16), "own=1".to_owned());
    assert_eq!(own, wanted);
    // A context that is there and bad is no context, and not none.
    for headers in [[("traceparent", "bad")], [("tracestate", "a=1")]] {
        let (trace, parent, _) = begin(&tracer, &headers).expect("sampled");
        assert!(parent.is_empty() && trace != wanted.0);
    }
    assert_eq!(begin(&tracer, &[("traceparent", PARENT)]).expect("sampled").2, "");
}

#[test]
fn without_a_propagator_nobody_has_a_parent() {
    let tracer = tracer(RootSampler::AlwaysOn, Some(OWN), false);
    for headers in [&[][..], &[("traceparent", PARENT)], &[("traceparent", UNSAMPLED)]] {
        assert_eq!(begin(&tracer, headers).expect("sampled").1, "");
    }
}

struct Tree(usize);

impl Spans for Tree {
    fn count(&self) -> usize {
        self.0
    }

    fn build(self: Box<Self>, _: &mut Vec<SpanData>) {}
}

/// Takes one tree as the export thread does.
fn take(queue: &Queue, receiver: &Receiver<Queued>) -> Option<Ticket> {
    let queued = receiver.try_recv().ok()?;
    queue.left(queued.ticket.spans());
    Some(queued.ticket)
}

#[test]
fn a_tree_is_taken_whole_or_dropped_whole() {
    let (queue, receiver) = Queue::new(10, 5);
    for count in [4, 4, 4, 2, 1] {
        queue.submit(Box::new(Tree(count)));
    }
    let counts = queue.stats().read();
    assert_eq!((counts.submitted, counts.queued), (15, 10));
    assert_eq!(counts.dropped(DropReason::QueueFull), 5);
    let mut ticket = take(&queue, &receiver).expect("the first");
    assert_eq!(ticket.spans(), 4);
    ticket.exported(4, 1);
    let counts = queue.stats().read();
    assert_eq!((counts.exported, counts.dropped(DropReason::Rejected), counts.queued), (3, 1, 6));
    queue.submit(Box::new(Tree(11)));
    assert_eq!(queue.stats().dropped(DropReason::QueueFull), 16);
    queue.close();
    queue.submit(Box::new(Tree(1)));
    drop(receiver);
    let counts = queue.stats().read();
    assert_eq!((counts.dropped(DropReason::Shutdown), counts.queued), (7, 0));
    // A reader that is gone leaves no hole either.
    queue.submit(Box::new(Tree(2)));
    assert_eq!(queue.stats().read().dropped(DropReason::Shutdown), 9);
}

#[test]
fn counts_hold_at_any_moment() {
    const THREADS: usize = 4;
    const TREES: usize = 5_000;
    let (queue, receiver) = Queue::new(64, 16);
    let queue = Arc::new(queue);
    let submitters: Vec<_> = (0..THREADS)
        .map(|thread| {
            let queue = Arc::clone(&queue);
            std::thread::spawn(move || {
                for tree in 0..TREES {
                    queue.submit(Box::new(Tree(1 + (tree * 7 + thread) % 9)));
                    let counts = queue.stats().read();
                    let settled = counts.exported + counts.dropped_total();
                    assert_eq!(counts.submitted, settled + counts.queued);
                }
            })
        })
        .collect();
    let mut taken = 0;
    let mut ended = false;
    // Once more after the last submission: what is left then is enough for each fate.
    while !ended {
        ended = submitters.iter().all(std::thread::JoinHandle::is_finished);
        while let Some(mut ticket) = take(&queue, &receiver) {
            let spans = ticket.spans();
            match taken % 3 {
                0 => ticket.failed(spans),
                // Forgotten: lost with the process.
                1 => {}
                _ => ticket.exported(spans, spans / 2),
            }
            taken += 1;
        }
    }
    drop(receiver);
    submitters.into_iter().for_each(|thread| thread.join().expect("no panic"));
    let wanted: usize = (0..THREADS)
        .flat_map(|thread| (0..TREES).map(move |tree| 1 + (tree * 7 + thread) % 9))
        .sum();
    let counts = queue.stats().read();
    assert_eq!((counts.submitted, counts.queued), (wanted as u64, 0));
    assert!(counts.exported > 0 && counts.dropped(DropReason::Shutdown) > 0);
}

proptest! {
    #[test]
    fn every_span_is_settled_once(
        steps in prop::collection::vec((0usize..6, 0usize..12), 1..60),
    ) {
        let (queue, receiver) = Queue::new(20, 8);
        let mut held = Vec::new();
        for (step, size) in steps {
            match step {
                0..=2 => queue.submit(Box::new(Tree(size))),
                3 => held.extend(take(&queue, &receiver)),
                4 => {
                    if let Some(mut ticket) = held.pop() {
                        ticket.exported(size as u64, size as u64 / 2);
                    }
                }
                _ => {
                    if let Some(mut ticket) = held.pop() {
                        ticket.failed(size as u64);
                    }
                }
            }
            let counts = queue.stats().read();
            let waiting = queue.stats().waiting.load(std::sync::atomic::Ordering::Relaxed);
            let held: u64 = held.iter().map(Ticket::spans).sum();
            prop_assert!(waiting <= 20);
            prop_assert_eq!(counts.queued, waiting + held);
        }
    }
}
