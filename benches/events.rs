//! What KV cache events cost: a push on the engine's thread, the way to a subscriber, and what it
//! costs the others to tell one of a million resident blocks.
//!
//! `--serve JSON` instead runs a publisher with this `--kv-events-config`, which does what it reads
//! from standard input: the other end of `tests/peers/kv_events_wire.py`.

#[path = "../tests/kv_events/peer.rs"]
mod peer;
#[path = "events/resident.rs"]
mod resident;
#[path = "../tests/kv_events/script.rs"]
mod script;

use glassbox::config::{Env, EventAddress, EventEndpoint, KvEventsSettings, parse_serve};
use glassbox::events::{Publisher, Source};
use glassbox::types::{Clock, HashAlgo, KvEvent, KvEventBatch};
use peer::Peer;
use std::io::BufRead;
use std::time::{Duration, Instant};

const BLOCK_SIZE: usize = 16;

fn settings(more: &[String]) -> KvEventsSettings {
    let args = ["vllm", "serve", "model"].map(str::to_owned);
    let args: Vec<String> = args.into_iter().chain(more.iter().cloned()).collect();
    let settings = parse_serve(&args, Env::of_process()).unwrap_or_else(|exit| {
        eprint!("{}", exit.stderr);
        std::process::exit(exit.code.into())
    });
    settings.kv_events.expect("enable_kv_cache_events is set")
}

fn start(settings: KvEventsSettings) -> Publisher {
    let source =
        Source { block_size: BLOCK_SIZE, hash_algo: HashAlgo::Sha256, clock: Clock::system() };
    Publisher::start(settings, source).expect("a free address")
}

fn serve(args: &[String]) {
    let mut flags = vec!["--kv-events-config".to_owned()];
    flags.extend_from_slice(args);
    let publisher = start(settings(&flags));
    let replay = publisher.replay_endpoint().unwrap_or("-");
    println!("ready {} {replay}", publisher.endpoint());
    let (sink, clock) = (publisher.sink(), Clock::system());
    for line in std::io::stdin().lock().lines() {
        let line = line.expect("text");
        if line == "stats" {
            println!("{:?}", publisher.stats().read());
            continue;
        }
        let events = script::events(&line, BLOCK_SIZE).unwrap_or_else(|| panic!("what is {line}?"));
        sink.push(KvEventBatch { time: clock.now(), events });
        println!("ok");
    }
}

/// A batch as a decode step of many sequences makes it: some blocks go, some come.
fn step(n: u64) -> Vec<KvEvent> {
    let removed = n.checked_sub(64).map(|old| script::removed(&[old * 4, old * 4 + 1]));
    let stored = script::stored(None, n * 4, 2, BLOCK_SIZE);
    removed.into_iter().chain([stored]).collect()
}

/// A publisher with one subscriber that has heard batch 0. It keeps few batches.
fn subscribed() -> (Publisher, Peer) {
    let mut settings = settings(&[
        "--kv-events-config".to_owned(),
        r#"{"enable_kv_cache_events": true, "hwm": 0, "buffer_steps": 64}"#.to_owned(),
    ]);
    let any = || EventAddress::Tcp { host: "127.0.0.1".to_owned(), port: 0 };
    settings.endpoint = EventEndpoint::Bind(any());
    settings.replay_endpoint = Some(any());
    let publisher = start(settings);
    let mut peer = Peer::connect(publisher.endpoint(), "SUB");
    peer.subscribe("");
    assert_eq!(peer.receive().expect("batch 0")[1], 0u64.to_be_bytes());
    (publisher, peer)
}

fn batches(count: u64) -> Vec<KvEventBatch> {
    let clock = Clock::system();
    (0..count).map(|n| KvEventBatch { time: clock.now(), events: step(n) }).collect()
}

/// What a push costs the engine when steps are `pace` apart.
fn paced(steps: u64, pace: Duration) {
    let (publisher, mut peer) = subscribed();
    let (sink, batches) = (publisher.sink(), batches(steps));
    let reader = std::thread::spawn(move || {
        let mut last = Vec::new();
        while last != steps.to_be_bytes() {
            last = peer.receive().expect("a batch").swap_remove(1);
        }
    });
    let mut costs = Vec::with_capacity(batches.len());
    for batch in batches {
        let before = Instant::now();
        sink.push(batch);
        costs.push(before.elapsed());
        std::thread::sleep(pace);
    }
    reader.join().expect("the reader ends");
    let counts = publisher.stats().read();
    assert_eq!((counts.batches, counts.dropped_slow, counts.merged), (steps + 1, 0, 0));
    costs.sort_unstable();
    let at = |share: f64| costs[((costs.len() - 1) as f64 * share) as usize].as_nanos();
    let ends = (at(0.5), at(0.99), at(1.0));
    println!(
        "push, steps {pace:?} apart: median {} ns, p99 {} ns, worst {} ns",
        ends.0, ends.1, ends.2
    );
}

/// As fast as the publisher can.
fn burst(steps: u64) {
    let (publisher, mut peer) = subscribed();
    let (sink, batches) = (publisher.sink(), batches(steps));
    let begin = Instant::now();
    batches.into_iter().for_each(|batch| sink.push(batch));
    let pushed = begin.elapsed();
    let mut bytes = 0;
    loop {
        let message = peer.receive().expect("a batch");
        bytes += message[2].len();
        if message[1] == steps.to_be_bytes() {
            break;
        }
    }
    let seconds = begin.elapsed().as_secs_f64();
    let events = publisher.stats().read().events;
    println!(
        "burst: pushed in {:.0} ns each; {:.0} batches/s, {:.0} events/s, {:.0} MB/s arrive",
        pushed.as_nanos() as f64 / steps as f64,
        steps as f64 / seconds,
        events as f64 / seconds,
        bytes as f64 / seconds / 1e6,
    );
}

fn main() {
    let args: Vec<String> = std::env::args().collect();
    match args.iter().position(|arg| arg == "--serve") {
        Some(at) => serve(&args[at + 1..]),
        None => {
            paced(2000, Duration::from_millis(1));
            paced(20_000, Duration::ZERO);
            burst(90_000);
            resident::beside(1_000_000);
        }
    }
}
