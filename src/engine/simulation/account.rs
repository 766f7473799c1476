//! What must hold of every timeline, however the generation went and whenever it is looked at.

use crate::types::{Interval, Moment, Phase, SharedTimeline, Timeline, WaitReason};

/// A generation's timeline and what its client saw of time.
pub struct Account {
    pub timeline: SharedTimeline,
    /// The ends of the steps that gave tokens.
    pub tokens: Vec<Moment>,
}

impl Account {
    /// Settles it: `cut` is the last token's moment, or when the client went away.
    pub fn check(&self, cut: Moment) {
        let timeline = self.timeline.take();
        check_sum(&timeline, cut);
        check_marks(&timeline, self.tokens.first(), cut);
        let intervals: Vec<Interval> = timeline.intervals(cut).collect();
        let is_whole = intervals.first().is_some_and(|first| first.phase == Phase::Queue);
        if is_whole && timeline.phase() != Phase::Queue {
            check_order(&timeline, &intervals);
        }
        let steps = timeline.decode_steps.seen();
        if steps > 0 && timeline.preemptions == 0 {
            assert_eq!(steps + 1, self.tokens.len() as u64, "a step of decode for each token");
        }
        assert!(timeline.prefill_steps.events().iter().all(|event| event.tokens > 0));
    }
}

/// Ingress and egress are what is left and right of it, so this is the whole identity.
fn check_sum(timeline: &Timeline, cut: Moment) {
    let times = timeline.times(cut);
    let phases = [Phase::Queue, Phase::Transfer, Phase::Prefill, Phase::Preempted, Phase::Decode];
    let sum: u64 = phases.iter().map(|&phase| times.of(phase)).sum();
    assert_eq!(sum, cut.nanos_since(timeline.handed_over), "phases add up to the nanosecond");
    if timeline.scheduled.is_none() {
        let waiting = times.of(Phase::Queue) + times.of(Phase::Transfer);
        assert_eq!(sum, waiting, "never scheduled: all of it is waiting");
    }
    if timeline.preemptions == 0 {
        assert_eq!(times.of(Phase::Preempted), 0);
    }
    let waits: u64 = WaitReason::ALL.iter().map(|&reason| timeline.waits.of(reason)).sum();
    assert!(waits <= times.of(Phase::Queue), "no longer than the queue itself");
}

/// The marks that vLLM's latencies are made of.
fn check_marks(timeline: &Timeline, first_token: Option<&Moment>, cut: Moment) {
    let marks = [Some(timeline.handed_over), timeline.queued, timeline.scheduled];
    let marks: Vec<Moment> = marks.into_iter().flatten().collect();
    assert!(marks.is_sorted() && marks.iter().all(|mark| *mark <= cut), "{marks:?}");
    if let Some(first) = first_token {
        assert_eq!(timeline.first_token, Some(*first));
        assert!(timeline.scheduled.is_some_and(|scheduled| scheduled <= *first));
        if timeline.preemptions == 0 {
            let scheduled = timeline.scheduled.expect("a token came");
            let times = timeline.times(cut);
            assert_eq!(times.of(Phase::Queue), scheduled.nanos_since(timeline.handed_over));
            assert_eq!(times.of(Phase::Prefill), first.nanos_since(scheduled));
            assert_eq!(times.of(Phase::Decode), cut.nanos_since(*first));
        }
    }
}

fn check_order(timeline: &Timeline, intervals: &[Interval]) {
    let allowed = |before: Phase, after: Phase| {
        use Phase::*;
        matches!(
            (before, after),
            (Queue | Preempted, Prefill) | (Prefill, Decode) | (Prefill | Decode, Preempted)
        )
    };
    for pair in intervals.windows(2) {
        assert_eq!(pair[0].end, pair[1].start);
        assert!(allowed(pair[0].phase, pair[1].phase), "{intervals:?}");
    }
    let lost = intervals.iter().filter(|interval| interval.phase == Phase::Preempted).count();
    assert!(lost as u32 <= timeline.preemptions);
}
