//! What a request's own thread allocates for tracing: nothing when it is not sampled.

use glassbox::config::{self, Env};
use glassbox::telemetry::trace::{Spans, Tracer};
use opentelemetry_sdk::trace::SpanData;
use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;
use std::hint::black_box;
use std::time::Duration;

thread_local! {
    static ALLOCATIONS: Cell<usize> = const { Cell::new(0) };
}

/// The system's allocator, counting for each thread: the export thread allocates as it likes.
struct Counting;

// SAFETY: the system's allocator does all the work.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        ALLOCATIONS.set(ALLOCATIONS.get() + 1);
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, at: *mut u8, layout: Layout) {
        unsafe { System.dealloc(at, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

fn allocations(run: impl FnOnce()) -> usize {
    let before = ALLOCATIONS.get();
    run();
    ALLOCATIONS.get() - before
}

/// A tracer whose export thread sleeps. Nobody listens at the endpoint.
fn tracer(sampler: &str, ratio: &str) -> (Tracer, glassbox::telemetry::trace::TracerGuard) {
    let endpoint = "http://127.0.0.1:1";
    let args = ["vllm", "serve", "m", "--otlp-traces-endpoint", endpoint].map(str::to_owned);
    let env = Env::read(|name| {
        let value = match name {
            "OTEL_TRACES_SAMPLER" => sampler,
            "OTEL_TRACES_SAMPLER_ARG" => ratio,
            "OTEL_BSP_SCHEDULE_DELAY" => "3600000",
            _ => return None,
        };
        Some(value.to_owned())
    });
    let settings = config::parse_serve(&args, env).expect("good settings").tracing;
    Tracer::start(&settings.expect("tracing is on")).expect("a tracer")
}

struct Tree;

impl Spans for Tree {
    fn count(&self) -> usize {
        1
    }

    fn build(self: Box<Self>, _: &mut Vec<SpanData>) {}
}

/// Without the test harness, for the same reasons as `cpu_allocations`.
fn main() {
    let begin = |tracer: &Tracer, parent: Option<&'static [u8]>| {
        let header = |name| match name {
            "traceparent" => parent,
            _ => parent.map(|_| &b"a=1,b=2"[..]),
        };
        black_box(tracer.begin(header).is_some())
    };
    let (never, never_guard) = tracer("parentbased_traceidratio", "0");
    let (rarely, rarely_guard) = tracer("parentbased_traceidratio", "1e-18");
    let (always, always_guard) = tracer("parentbased_always_on", "");
    let unsampled = &b"00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-00"[..];
    for (tracer, parent) in
        [(&never, None), (&rarely, None), (&always, Some(unsampled)), (&never, Some(&b"bad"[..]))]
    {
        let count = allocations(|| (0..1000).for_each(|_| assert!(!begin(tracer, parent))));
        assert_eq!(count, 0, "a request that is not sampled");
    }
    let count = allocations(|| (0..1000).for_each(|_| assert!(begin(&always, None))));
    assert_eq!(count, 0, "the ids of a request without a tracestate");
    let trees: Vec<Box<Tree>> = (0..500).map(|_| Box::new(Tree)).collect();
    let count = allocations(|| trees.into_iter().for_each(|tree| always.submit(tree)));
    assert!(count <= 500 / 16, "the queue grows in blocks, and grew {count} times");
    for guard in [never_guard, rarely_guard, always_guard] {
        guard.shutdown(Duration::ZERO);
    }
    println!("test unsampled_requests_do_not_allocate ... ok");
}
