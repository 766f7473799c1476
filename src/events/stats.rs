//! What the publisher counts.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

macro_rules! counters {
    ($($(#[doc = $doc:literal])* $name:ident,)*) => {
        /// Counters of the publisher. Anyone may read them at any time.
        #[derive(Debug, Default)]
        pub struct EventStats {
            $(pub(super) $name: AtomicU64,)*
        }

        /// Their values at one time.
        #[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
        pub struct EventCounts {
            $($(#[doc = $doc])* pub $name: u64,)*
        }

        impl EventStats {
            /// The values now.
            pub fn read(&self) -> EventCounts {
                EventCounts { $($name: self.$name.load(Relaxed),)* }
            }
        }
    };
}

counters! {
    /// Batches that were numbered and sent to whoever listened.
    batches,
    /// Events in them: one for each store and for each removed hash.
    events,
    /// Batches dropped because nobody was subscribed.
    dropped_unheard,
    /// Batches dropped for a subscriber that did not keep up, counted for each subscriber.
    dropped_slow,
    /// Batches that were merged because the publisher did not keep up with the engine.
    merged,
    /// Subscribers now.
    subscribers,
    /// Resident blocks told to a new subscriber.
    announced_new,
    /// Resident blocks told again to a subscriber that had missed batches.
    announced_gap,
    /// Replays answered from kept batches.
    replays_kept,
    /// Replays that began before the oldest kept batch, answered with the resident blocks.
    replays_snapshot,
    /// Messages on the replay socket that were no request.
    replays_invalid,
    /// Blocks resident now, as told.
    resident,
}

pub(super) fn add(counter: &AtomicU64, by: u64) {
    counter.fetch_add(by, Relaxed);
}

pub(super) fn set(gauge: &AtomicU64, to: u64) {
    gauge.store(to, Relaxed);
}
