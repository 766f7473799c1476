//! Trace and span ids: random, without a lock or a system call for each.

use opentelemetry::trace::{SpanId, TraceId};
use std::cell::Cell;
use std::hash::{BuildHasher, RandomState};

thread_local! {
    static STATE: Cell<[u64; 2]> = Cell::new(seed());
}

/// `RandomState` is keyed by the operating system once a thread, and differently each time.
fn seed() -> [u64; 2] {
    let word = || RandomState::new().hash_one(0u8);
    [word(), word() | 1]
}

/// xoroshiro128++: 2^128 - 1 steps, each of a few instructions.
pub(crate) fn random() -> u64 {
    let [a, b] = STATE.get();
    let value = a.wrapping_add(b).rotate_left(17).wrapping_add(a);
    let mixed = a ^ b;
    STATE.set([a.rotate_left(49) ^ mixed ^ (mixed << 21), mixed.rotate_left(28)]);
    value
}

/// Never the invalid id.
pub fn span_id() -> SpanId {
    loop {
        let value = random();
        if value != 0 {
            return SpanId::from(value);
        }
    }
}

/// Never the invalid id.
pub fn trace_id() -> TraceId {
    loop {
        let value = u128::from(random()) << 64 | u128::from(random());
        if value != 0 {
            return TraceId::from(value);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashSet;

    #[test]
    fn ids_differ_on_and_across_threads() {
        let ids = || {
            let ids: Vec<TraceId> = (0..10_000).map(|_| trace_id()).collect();
            ids
        };
        let threads: Vec<_> = (0..4).map(|_| std::thread::spawn(ids)).collect();
        let mut seen: HashSet<TraceId> = ids().into_iter().collect();
        for thread in threads {
            seen.extend(thread.join().expect("no panic"));
        }
        assert_eq!(seen.len(), 50_000);
    }

    #[test]
    fn every_bit_is_fair() {
        const DRAWS: u32 = 20_000;
        let mut ones = [0u32; 64];
        for _ in 0..DRAWS {
            let id = u64::from_be_bytes(span_id().to_bytes());
            (0..64).for_each(|bit| ones[bit] += (id >> bit & 1) as u32);
        }
        // Seven standard deviations.
        let slack = (f64::from(DRAWS).sqrt() * 3.5) as u32;
        for count in ones {
            assert!(count.abs_diff(DRAWS / 2) < slack, "{ones:?}");
        }
    }
}
