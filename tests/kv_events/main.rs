//! KV cache events over real sockets: a consumer that only does what it is told is never wrong
//! about what is resident, whatever it missed.

mod index;
mod peer;
mod script;
mod sockets;

use glassbox::config::{EventAddress, EventEncoding, EventEndpoint, KvEventsSettings};
use glassbox::events::{EventSink, Publisher, Source};
use glassbox::types::{Clock, HashAlgo, KvEvent, KvEventBatch};
use index::Index;
use peer::Peer;
use std::net::TcpListener;
use std::time::Duration;

const BLOCK_SIZE: usize = 4;
const TOPIC: &str = "kv@10.0.0.7@m";

fn settings() -> KvEventsSettings {
    let any = || EventAddress::Tcp { host: "127.0.0.1".to_owned(), port: 0 };
    KvEventsSettings {
        endpoint: EventEndpoint::Bind(any()),
        replay_endpoint: Some(any()),
        buffer_steps: 10_000,
        hwm: 100_000,
        max_queue_size: 100_000,
        topic: TOPIC.to_owned(),
        encoding: EventEncoding::Map,
        int_hashes: true,
        rank: 0,
        first_wait: Duration::from_secs(3600),
        node_ip: None,
    }
}

fn start(settings: KvEventsSettings) -> Publisher {
    let source =
        Source { block_size: BLOCK_SIZE, hash_algo: HashAlgo::Sha256, clock: Clock::system() };
    Publisher::start(settings, source).expect("free ports")
}

fn push(sink: &EventSink, events: Vec<KvEvent>) {
    sink.push(KvEventBatch { time: Clock::system().now(), events });
}

fn subscriber(publisher: &Publisher) -> Peer {
    let mut peer = Peer::connect(publisher.endpoint(), "SUB");
    peer.subscribe("kv@");
    peer
}

/// The next batch: its number and its payload.
fn batch(peer: &mut Peer) -> (u64, Vec<u8>) {
    let mut frames = peer.receive().expect("a batch");
    assert_eq!(frames.len(), 3);
    assert_eq!(frames[0], TOPIC.as_bytes());
    let number = u64::from_be_bytes(frames[1][..].try_into().expect("8 bytes"));
    (number, frames.swap_remove(2))
}

/// The batches from `start` on, up to the end marker.
fn replay(peer: &mut Peer, start: u64) -> Vec<(u64, Vec<u8>)> {
    peer.send(&[b"", &start.to_be_bytes()]);
    let mut answer = Vec::new();
    loop {
        let frames = peer.receive().expect("an answer");
        let [empty, topic, number, payload] = frames.try_into().expect("four frames");
        assert!(empty.is_empty());
        if number == [0xff; 8] {
            assert!(topic.is_empty() && payload.is_empty());
            return answer;
        }
        assert_eq!(topic, TOPIC.as_bytes());
        answer.push((u64::from_be_bytes(number.try_into().expect("8 bytes")), payload));
    }
}

/// A random engine: chains of blocks come and go, and now and then everything is cleared.
struct Engine {
    dice: u64,
    /// Resident chains: the first block and how many follow it.
    chains: Vec<(u64, u64)>,
    next: u64,
}

impl Engine {
    fn new(seed: u64) -> Self {
        Self { dice: seed, chains: Vec::new(), next: 0 }
    }

    /// splitmix64.
    fn roll(&mut self, sides: u64) -> u64 {
        self.dice = self.dice.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.dice;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (z ^ (z >> 31)) % sides
    }

    fn step(&mut self) -> Vec<KvEvent> {
        if self.roll(200) == 0 {
            self.chains.clear();
            return vec![KvEvent::Cleared];
        }
        let mut events = Vec::new();
        if self.chains.len() > 20 {
            let at = self.roll(self.chains.len() as u64) as usize;
            let (first, count) = self.chains.swap_remove(at);
            // Children go before their parents.
            let blocks: Vec<u64> = (first..first + count).rev().collect();
            let kept = self.roll(count + 1) as usize;
            events.push(script::removed(&blocks[..blocks.len() - kept]));
            if kept > 0 {
                self.chains.push((first, kept as u64));
            }
            if kept == blocks.len() {
                events.pop();
            }
        }
        let count = 1 + self.roll(12);
        events.push(script::stored(None, self.next, count, BLOCK_SIZE));
        self.chains.push((self.next, count));
        self.next += 20;
        events
    }

    fn resident(&self) -> Index {
        let blocks = self.chains.iter().flat_map(|&(first, count)| first..first + count);
        Index::of(blocks, BLOCK_SIZE)
    }
}

#[test]
fn the_first_batches_wait_for_a_subscriber_and_arrive_in_order() {
    let publisher = start(settings());
    let sink = publisher.sink();
    push(&sink, vec![script::stored(None, 0, 2, BLOCK_SIZE)]);
    push(&sink, vec![script::removed(&[1])]);
    // ZMTP 3.1 subscribes by commands, and a topic of others is not ours.
    let mut peer = Peer::connect(publisher.endpoint(), "SUB");
    peer.command(b"\x09SUBSCRIBEother@");
    peer.command(b"\x09SUBSCRIBEkv@10.0.0.7");
    let mut index = Index::default();
    for wanted in 0..3 {
        let (number, payload) = batch(&mut peer);
        assert_eq!(number, wanted);
        index.take(&payload);
    }
    assert_eq!(index, Index::of([0], BLOCK_SIZE));
    peer.command(b"\x04PING\0\0abc");
    assert_eq!(peer.receive().expect("a pong"), [b"\x04PONGabc"]);
    let counts = publisher.stats().read();
    assert_eq!((counts.batches, counts.events, counts.subscribers), (3, 3, 1));
    assert_eq!((counts.dropped_unheard, counts.dropped_slow, counts.merged), (0, 0, 0));
}

#[test]
fn a_queue_that_nobody_empties_takes_everything_and_tells_it_merged() {
    let publisher = start(KvEventsSettings { max_queue_size: 3, ..settings() });
    let sink = publisher.sink();
    let mut engine = Engine::new(1);
    // Nothing is published before somebody subscribes, so the queue stays full.
    (0..2000).for_each(|_| push(&sink, engine.step()));
    assert_eq!(publisher.stats().read().merged, 1997);
    let mut peer = subscriber(&publisher);
    let mut index = Index::default();
    while index != engine.resident() {
        index.take(&batch(&mut peer).1);
    }
    assert!(publisher.stats().read().batches < 10);
}

#[test]
fn a_consumer_is_right_whatever_it_missed() {
    let (mut merged, mut gaps) = (0, 0);
    for seed in 0..6 {
        // A mark of 4 drops batches whenever the consumer is away.
        let publisher =
            start(KvEventsSettings { hwm: 4, max_queue_size: 8, buffer_steps: 5, ..settings() });
        let (sink, mut engine) = (publisher.sink(), Engine::new(seed));
        let (mut peer, mut index) = (subscriber(&publisher), Index::default());
        for _ in 0..30 {
            for _ in 0..1 + engine.roll(60) {
                push(&sink, engine.step());
            }
            match engine.roll(4) {
                0 => {
                    // It restarts and knows nothing.
                    peer = subscriber(&publisher);
                    index = Index::default();
                }
                // The connection is lost; it still knows what it knew.
                1 => peer = subscriber(&publisher),
                2 => index.take(&batch(&mut peer).1),
                _ => {}
            }
            // A block that never goes: once it is known, everything before is known too.
            let mark = 1 << 40 | engine.next;
            push(&sink, vec![script::stored(None, mark, 1, BLOCK_SIZE)]);
            while !index.has(mark) {
                index.take(&batch(&mut peer).1);
            }
            push(&sink, vec![script::removed(&[mark])]);
            while index.has(mark) {
                index.take(&batch(&mut peer).1);
            }
            assert_eq!(index, engine.resident(), "seed {seed}");
        }
        let mut asked = Peer::connect(publisher.replay_endpoint().expect("bound"), "DEALER");
        let newest = publisher.stats().read().batches;
        for start in [0, newest / 2, newest - 6, newest - 5, newest - 1, newest, newest + 9] {
            // Kept batches change what is known; older ones replace it.
            let mut told =
                if start + 5 < newest { Index::of([7], BLOCK_SIZE) } else { index.clone() };
            let answer = replay(&mut asked, start);
            let numbers: Vec<u64> = answer.iter().map(|(number, _)| *number).collect();
            assert_eq!(numbers, (start..newest).collect::<Vec<u64>>());
            answer
                .iter()
                .filter(|_| start + 5 < newest)
                .for_each(|(_, payload)| told.take(payload));
            assert_eq!(told, index, "seed {seed}, replay from {start}");
        }
        let counts = publisher.stats().read();
        merged += counts.merged;
        gaps += counts.announced_gap;
    }
    assert!(merged > 0 && gaps > 0, "{merged} batches were merged, {gaps} blocks told again");
}

#[test]
fn a_replay_is_what_was_sent() {
    let publisher = start(settings());
    let (sink, mut engine) = (publisher.sink(), Engine::new(9));
    (0..50).for_each(|_| push(&sink, engine.step()));
    let mut peer = subscriber(&publisher);
    let live: Vec<(u64, Vec<u8>)> = (0..51).map(|_| batch(&mut peer)).collect();
    let mut asked = Peer::connect(publisher.replay_endpoint().expect("bound"), "REQ");
    assert_eq!(replay(&mut asked, 0), live);
    assert_eq!(replay(&mut asked, 40), live[40..]);
    // Other numbers of frames are not answered; the next request is.
    asked.send(&[b"", b"\0", b""]);
    assert_eq!(replay(&mut asked, 51), []);
    // vLLM reads a number of any length.
    asked.send(&[b"anything", b"\x32"]);
    assert_eq!(asked.receive().expect("the last batch")[2], 50u64.to_be_bytes());
    let counts = publisher.stats().read();
    assert_eq!((counts.replays_kept, counts.replays_invalid), (4, 1));
}

#[test]
fn it_connects_and_connects_again() {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let port = listener.local_addr().expect("an address").port();
    let address = EventAddress::Tcp { host: "localhost".to_owned(), port };
    let endpoint = EventEndpoint::Connect(address);
    let publisher = start(KvEventsSettings { endpoint, ..settings() });
    let (sink, mut engine) = (publisher.sink(), Engine::new(4));
    for _ in 0..3 {
        (0..20).for_each(|_| push(&sink, engine.step()));
        let mut peer = Peer::accept(&listener, "SUB");
        peer.subscribe("");
        let mut index = Index::default();
        while index != engine.resident() {
            index.take(&batch(&mut peer).1);
        }
    }
}

#[test]
fn what_was_pushed_before_the_end_arrives() {
    let publisher = start(settings());
    let (sink, mut engine) = (publisher.sink(), Engine::new(5));
    let mut peer = subscriber(&publisher);
    let mut index = Index::default();
    index.take(&batch(&mut peer).1);
    (0..500).for_each(|_| push(&sink, engine.step()));
    drop(publisher);
    push(&sink, vec![KvEvent::Cleared]);
    while let Ok(frames) = peer.receive() {
        index.take(&frames[2]);
    }
    assert_eq!(index, engine.resident());
}

#[test]
fn wrong_peers_are_sent_away_and_others_are_served() {
    use std::io::{Read, Write};
    let publisher = start(settings());
    let address = publisher.endpoint().strip_prefix("tcp://").expect("TCP");
    for words in
        [&b"GET / HTTP/1.1\r\nHost: here\r\n\r\n"[..], &[0xff, 0, 0, 0, 0, 0, 0, 0, 1, 0x7f, 1]]
    {
        let mut stream = std::net::TcpStream::connect(address).expect("a listener");
        stream.write_all(words).expect("it is read");
        let mut rest = Vec::new();
        // The greeting, and then the end; the system may also reset the connection.
        let _ = stream.read_to_end(&mut rest);
        assert!(rest.len() <= 64);
    }
    let mut dealer = Peer::connect(publisher.endpoint(), "DEALER");
    dealer.receive().expect_err("a PUB socket is not for a DEALER");
    let mut peer = subscriber(&publisher);
    assert_eq!(batch(&mut peer).0, 0);
}

#[test]
fn a_taken_port_is_named() {
    let taken = TcpListener::bind("127.0.0.1:0").expect("a port");
    let port = taken.local_addr().expect("an address").port();
    let address = EventAddress::Tcp { host: "127.0.0.1".to_owned(), port };
    let source =
        Source { block_size: BLOCK_SIZE, hash_algo: HashAlgo::Sha256, clock: Clock::system() };
    let settings = KvEventsSettings { endpoint: EventEndpoint::Bind(address), ..settings() };
    let error = Publisher::start(settings, source).expect_err("taken").to_string();
    assert!(error.contains(&format!("cannot bind tcp://127.0.0.1:{port}")), "{error}");
}
