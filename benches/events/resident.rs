//! Live batches beside the telling of all resident blocks.

use crate::peer::Peer;
use crate::{BLOCK_SIZE, script, subscribed};
use glassbox::events::Publisher;
use glassbox::types::{Clock, KvEvent, KvEventBatch};
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::time::{Duration, Instant};

/// Blocks of one sequence.
const CHAIN: u64 = 64;
const PACE: Duration = Duration::from_millis(1);

/// How long live batches, sent every millisecond, are under way: while nothing else happens, while
/// a new subscriber is told of `blocks` blocks, while a replay begins with them, and while they are
/// forgotten.
pub fn beside(blocks: u64) {
    let (publisher, mut peer) = subscribed();
    let (sink, clock) = (publisher.sink(), Clock::system());
    let push = |events| sink.push(KvEventBatch { time: clock.now(), events });
    for chain in 0..blocks / CHAIN {
        push(vec![script::stored(None, chain * CHAIN, CHAIN, BLOCK_SIZE)]);
    }
    for _ in 0..blocks / CHAIN {
        peer.receive().expect("a batch");
    }
    assert_eq!(publisher.stats().read().resident, blocks / CHAIN * CHAIN);
    let mut live = Live { publisher: &publisher, peer, next: blocks / CHAIN + 1 };
    live.while_it("alone", || std::thread::sleep(Duration::from_secs(2)));
    live.while_it("beside a new subscriber", || {
        let mut late = Peer::connect(publisher.endpoint(), "SUB");
        late.subscribe("");
        let mut number = || late.receive().expect("a batch").swap_remove(1);
        // All of them have the number of the newest batch of then.
        let newest = number();
        while number() == newest {}
    });
    live.while_it("beside a replay from 0", || {
        let mut late = Peer::connect(publisher.replay_endpoint().expect("bound"), "DEALER");
        late.send(&[b"", &[0; 8]]);
        while late.receive().expect("an answer")[2] != [0xff; 8] {}
    });
    push(vec![KvEvent::Cleared]);
    live.peer.receive().expect("the clear");
    live.next += 1;
    live.while_it("after a clear", || std::thread::sleep(Duration::from_secs(1)));
}

struct Live<'a> {
    publisher: &'a Publisher,
    peer: Peer,
    /// The number of the next batch.
    next: u64,
}

impl Live<'_> {
    /// Sends a batch each [`PACE`] until `something` was done, and says how long they took.
    fn while_it(&mut self, what: &str, something: impl FnOnce() + Send) {
        let done = AtomicBool::new(false);
        let (sent, times) = std::sync::mpsc::channel();
        let (sink, clock) = (self.publisher.sink(), Clock::system());
        let began = Instant::now();
        let mut costs = Vec::new();
        std::thread::scope(|scope| {
            scope.spawn(|| {
                something();
                done.store(true, Relaxed);
            });
            let (done, first) = (&done, self.next);
            scope.spawn(move || {
                for n in 0.. {
                    let block = (1 << 40) + first + n;
                    let events = vec![script::stored(None, block, 1, BLOCK_SIZE)];
                    sent.send(Instant::now()).expect("the reader waits");
                    sink.push(KvEventBatch { time: clock.now(), events });
                    if done.load(Relaxed) {
                        return;
                    }
                    std::thread::sleep(PACE);
                }
            });
            for at in times {
                let number = self.peer.receive().expect("a batch").swap_remove(1);
                costs.push(at.elapsed());
                assert_eq!(number, self.next.to_be_bytes());
                self.next += 1;
            }
        });
        costs.sort_unstable();
        let at = |share: f64| costs[((costs.len() - 1) as f64 * share) as usize].as_micros();
        println!(
            "live batches {what} ({:.2} s): median {} us, p99 {} us, worst {} us",
            began.elapsed().as_secs_f64(),
            at(0.5),
            at(0.99),
            at(1.0)
        );
    }
}
