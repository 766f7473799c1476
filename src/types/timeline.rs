//! Where the time of one generation went, as the engine writes it down.
//!
//! From the moment it is handed over, a generation is in exactly one [`Phase`]. The timeline keeps
//! the intervals, so that their lengths add up to the whole by construction. Its memory is given
//! when it is made, by whoever asks; the engine, which writes to it, allocates nothing. What finds
//! no room is folded into sums (intervals) or thinned out (steps), never lost from the account.

use super::clock::Moment;
use super::transfer::PullStats;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

/// What a generation is doing, or waiting for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Phase {
    /// Waits to take part in a step for the first time.
    Queue,
    /// Its KV comes from another server.
    Transfer,
    /// Its known tokens are computed: the prompt, or after a preemption all so far.
    Prefill,
    /// It lost its blocks and waits to start again.
    Preempted,
    /// Every step gives a token.
    Decode,
}

/// How many phases there are.
pub const PHASES: usize = 5;

/// Why a generation waits in the queue.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WaitReason {
    /// Too few KV blocks are free.
    Blocks,
    /// The token budget of the step is used up.
    Budget,
    /// As many generations run as may (`--max-num-seqs`).
    Seqs,
}

impl WaitReason {
    /// All of them, in the order of [`Waits`].
    pub const ALL: [Self; 3] = [Self::Blocks, Self::Budget, Self::Seqs];

    /// The word in spans.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Blocks => "blocks",
            Self::Budget => "budget",
            Self::Seqs => "seqs",
        }
    }
}

/// Nanoseconds of waiting by [`WaitReason`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Waits([u64; WaitReason::ALL.len()]);

impl Waits {
    /// Counts a step of `nanos` in which the queue was held up for `reason`.
    pub fn add(&mut self, reason: WaitReason, nanos: u64) {
        self.0[reason as usize] += nanos;
    }

    /// What was added since `earlier`.
    pub fn since(&self, earlier: &Self) -> Self {
        Self(std::array::from_fn(|i| self.0[i].saturating_sub(earlier.0[i])))
    }

    /// The waiting for one reason.
    pub fn of(&self, reason: WaitReason) -> u64 {
        self.0[reason as usize]
    }
}

/// A phase from its start to its end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Interval {
    pub phase: Phase,
    pub start: Moment,
    pub end: Moment,
}

/// One step's part for one generation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StepEvent {
    /// When the step ended.
    pub at: Moment,
    /// Tokens that it computed for this generation.
    pub tokens: u32,
    /// Generations that took part in it.
    pub batch_size: u32,
    /// Tokens that it computed for all of them.
    pub batch_tokens: u32,
    /// How long the device worked.
    pub device: Duration,
}

/// Step events at a stride that doubles whenever the room is used up.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct StepLog {
    events: Vec<StepEvent>,
    stride: u64,
    seen: u64,
}

impl StepLog {
    /// With room for `capacity` events, and for two at least; none keeps nothing.
    pub fn with_capacity(capacity: usize) -> Self {
        let capacity = if capacity == 1 { 2 } else { capacity };
        Self { events: Vec::with_capacity(capacity), stride: 1, seen: 0 }
    }

    /// Takes the event, unless it lies between two strides.
    pub fn push(&mut self, event: StepEvent) {
        let at = self.seen;
        self.seen += 1;
        if !self.has_room() || !at.is_multiple_of(self.stride) {
            return;
        }
        if self.events.len() == self.events.capacity() {
            let mut index = 0;
            self.events.retain(|_| {
                index += 1;
                index % 2 == 1
            });
            self.stride *= 2;
            if !at.is_multiple_of(self.stride) {
                return;
            }
        }
        self.events.push(event);
    }

    /// Whether it keeps events at all.
    pub fn has_room(&self) -> bool {
        self.events.capacity() > 0
    }

    /// Every `stride`-th event, oldest first.
    pub fn events(&self) -> &[StepEvent] {
        &self.events
    }

    /// 1 when nothing was left out.
    pub fn stride(&self) -> u64 {
        self.stride.max(1)
    }

    /// Events that there were, kept or not.
    pub fn seen(&self) -> u64 {
        self.seen
    }
}

/// How much a timeline can hold; decided when the request comes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct TimelineRoom {
    pub intervals: usize,
    pub prefill_steps: usize,
    pub decode_steps: usize,
}

/// The time of one generation inside the engine.
#[derive(Clone, Debug, PartialEq)]
pub struct Timeline {
    /// When it was handed to the engine: the start of the first interval.
    pub handed_over: Moment,
    /// When the engine took it from its inbox: vLLM's `queued`.
    pub queued: Option<Moment>,
    /// The start of the step that first had a place for it: vLLM's `scheduled`.
    pub scheduled: Option<Moment>,
    /// The end of the step that gave the first token.
    pub first_token: Option<Moment>,
    /// What held up the queue before it was first scheduled.
    pub waits: Waits,
    /// Prompt tokens found in the prefix cache when it was first scheduled.
    pub cached: u32,
    /// What was pulled from another server.
    pub pull: Option<PullStats>,
    pub preemptions: u32,
    pub prefill_steps: StepLog,
    pub decode_steps: StepLog,
    phase: Phase,
    since: Moment,
    past: Vec<Interval>,
    folded: [u64; PHASES],
}

/// The lengths of all phases, nanoseconds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct PhaseTimes([u64; PHASES]);

impl PhaseTimes {
    /// One phase's length.
    pub fn of(&self, phase: Phase) -> u64 {
        self.0[phase as usize]
    }
}

/// The newest intervals, of which a reader that lags may have to cut some.
const KEPT_WHOLE: usize = 8;

impl Timeline {
    /// Handed over at `at`, with room as given.
    pub fn new(at: Moment, room: TimelineRoom) -> Self {
        Self {
            handed_over: at,
            queued: None,
            scheduled: None,
            first_token: None,
            waits: Waits::default(),
            cached: 0,
            pull: None,
            preemptions: 0,
            prefill_steps: StepLog::with_capacity(room.prefill_steps),
            decode_steps: StepLog::with_capacity(room.decode_steps),
            phase: Phase::Queue,
            since: at,
            past: Vec::with_capacity(room.intervals),
            folded: [0; PHASES],
        }
    }

    /// Ends the phase it is in and begins another.
    pub fn enter(&mut self, phase: Phase, at: Moment) {
        // Readings of one clock by two threads may be a few nanoseconds out of order.
        let end = at.max(self.since);
        let ended = Interval { phase: self.phase, start: self.since, end };
        (self.phase, self.since) = (phase, end);
        if self.past.len() == self.past.capacity() {
            let oldest = self.past.len().saturating_sub(KEPT_WHOLE);
            let folded = match self.past.is_empty() {
                true => ended,
                false => self.past.remove(oldest),
            };
            self.folded[folded.phase as usize] += folded.end.nanos_since(folded.start);
        }
        if self.past.len() < self.past.capacity() {
            self.past.push(ended);
        }
    }

    /// The phase it is in.
    pub fn phase(&self) -> Phase {
        self.phase
    }

    /// The intervals up to `cut`, oldest first, but for those that found no room.
    pub fn intervals(&self, cut: Moment) -> impl Iterator<Item = Interval> {
        let current = Interval { phase: self.phase, start: self.since, end: cut };
        let ended = self.past.iter().copied().chain([current]);
        ended
            .filter(move |interval| interval.start < cut)
            .map(move |interval| Interval { end: interval.end.min(cut), ..interval })
    }

    /// How long it was in each phase until `cut`. The sum is the time from the hand-over to `cut`.
    pub fn times(&self, cut: Moment) -> PhaseTimes {
        let mut times = self.folded;
        for interval in self.intervals(cut) {
            times[interval.phase as usize] += interval.end.nanos_since(interval.start);
        }
        // A cut before the end of a folded interval: what is too much goes from the longest.
        let whole = cut.nanos_since(self.handed_over);
        let mut excess = times.iter().sum::<u64>().saturating_sub(whole);
        while excess > 0 {
            let longest = times.iter_mut().max().expect("there are phases");
            let less = excess.min(*longest);
            *longest -= less;
            excess -= less;
        }
        PhaseTimes(times)
    }
}

/// A timeline that the engine writes and the request's reader takes. It is locked when a phase
/// changes and when a step is noted: never for every token.
#[derive(Clone, Debug)]
pub struct SharedTimeline(Arc<Mutex<Timeline>>);

impl SharedTimeline {
    /// Of a generation that is handed over at `at`.
    pub fn new(at: Moment, room: TimelineRoom) -> Self {
        Self(Arc::new(Mutex::new(Timeline::new(at, room))))
    }

    /// Lets `write` change it.
    pub fn write<R>(&self, write: impl FnOnce(&mut Timeline) -> R) -> R {
        write(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// What there is so far. The engine may go on writing, to a timeline without room.
    pub fn take(&self) -> Timeline {
        self.write(|timeline| {
            let empty = Timeline::new(timeline.handed_over, TimelineRoom::default());
            std::mem::replace(timeline, empty)
        })
    }
}

#[cfg(test)]
mod tests;
