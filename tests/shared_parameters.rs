//! What a client can make long is held once, however many generations it asks for.

// The HTTP tests use more of these.
#[allow(dead_code)]
#[path = "http_api/scripted.rs"]
mod scripted;
#[allow(dead_code)]
#[path = "http_api/support.rs"]
mod support;

use serde_json::json;
use std::alloc::{GlobalAlloc, Layout, System};
use std::io::Write;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::time::{Duration, Instant};
use support::{PATIENCE, Setup, start};

static HELD: AtomicUsize = AtomicUsize::new(0);

/// The system's allocator, counting the bytes that are held.
struct Counting;

// SAFETY: the system's allocator does all the work.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        HELD.fetch_add(layout.size(), Relaxed);
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, at: *mut u8, layout: Layout) {
        HELD.fetch_sub(layout.size(), Relaxed);
        unsafe { System.dealloc(at, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

const GENERATIONS: usize = 16_384;
/// What one generation may hold of its own while it waits.
const OWN_BYTES: usize = 4 << 10;
/// What all of them share, the body of the request included, several times over.
const SHARED_BYTES: usize = 64 << 20;

#[test]
fn generations_share_prompts_and_parameters() {
    // So slow that nothing ends before everything is there.
    let server = start(Setup { step_time: Duration::from_millis(500), ..Setup::default() });
    let before = HELD.load(Relaxed);
    let ids = |count: usize| (0..count).map(|i| i % 2048).collect::<Vec<_>>();
    let bias: serde_json::Map<_, _> = (0..2048).map(|i| (i.to_string(), json!(0.5))).collect();
    let stop: Vec<String> = (0..4).map(|i| format!("{i}").repeat(50_000)).collect();
    let body = json!({
        "prompt": ids(4000), "n": GENERATIONS, "temperature": 1, "max_tokens": 16, "stop": stop,
        "allowed_token_ids": ids(150_000), "stop_token_ids": ids(1000), "logit_bias": bias,
        "bad_words": ["a", "b", "c"], "repetition_penalty": 1.1, "min_tokens": 16
    });
    let body = body.to_string();
    let mut stream = server.connect();
    let head = server.head("POST", "/v1/completions", &[("content-type", "application/json")]);
    let head = head + &format!("content-length: {}\r\n\r\n", body.len());
    stream.write_all((head + &body).as_bytes()).unwrap();
    let begin = Instant::now();
    let gauges = &server.engine.status().gauges;
    while gauges.waiting.load(Relaxed) + gauges.running.load(Relaxed) < GENERATIONS as u64 {
        assert!(begin.elapsed() < PATIENCE, "{} wait", gauges.waiting.load(Relaxed));
        std::thread::yield_now();
    }
    let held = HELD.load(Relaxed) - before;
    drop(stream);
    server.wait_until_idle();
    let bound = GENERATIONS * OWN_BYTES + SHARED_BYTES;
    assert!(held < bound, "{held} bytes are held, more than {bound}");
}
