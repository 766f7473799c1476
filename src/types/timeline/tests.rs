use super::*;
use proptest::prelude::*;

const ALL: [Phase; PHASES] =
    [Phase::Queue, Phase::Transfer, Phase::Prefill, Phase::Preempted, Phase::Decode];

fn at(nanos: u64) -> Moment {
    Moment::from_nanos(nanos)
}

proptest! {
    /// Whatever happened, with whatever room, cut wherever: the phases add up to the whole.
    #[test]
    fn phases_add_up(
        room in 0usize..20,
        start in 0u64..100,
        changes in prop::collection::vec((0usize..PHASES, 0u64..50), 0..60),
        cut in 0u64..4000,
    ) {
        let room = TimelineRoom { intervals: room, ..TimelineRoom::default() };
        let mut timeline = Timeline::new(at(start), room);
        let mut now = start;
        let mut exact = [0; PHASES];
        for (phase, wait) in changes {
            exact[timeline.phase() as usize] += wait;
            now += wait;
            timeline.enter(ALL[phase], at(now));
        }
        let times = timeline.times(at(cut));
        let sum: u64 = ALL.iter().map(|&phase| times.of(phase)).sum();
        prop_assert_eq!(sum, cut.saturating_sub(start));
        let times = timeline.times(at(now + 5));
        exact[timeline.phase() as usize] += 5;
        prop_assert_eq!(times, PhaseTimes(exact));
    }

    #[test]
    fn intervals_follow_each_other(
        changes in prop::collection::vec((0usize..PHASES, 0u64..50), 0..20),
        lag in 0u64..50,
    ) {
        let room = TimelineRoom { intervals: 32, ..TimelineRoom::default() };
        let mut timeline = Timeline::new(at(10), room);
        let mut now = 10;
        for (phase, wait) in changes {
            now += wait;
            timeline.enter(ALL[phase], at(now));
        }
        let cut = at(now.saturating_sub(lag));
        let mut end = at(10);
        for interval in timeline.intervals(cut) {
            prop_assert_eq!(interval.start, end);
            end = interval.end;
        }
        prop_assert_eq!(end, cut.max(at(10)));
    }

    /// A log keeps evenly spaced events, the first among them, within its room.
    #[test]
    fn a_full_log_is_thinned_out(capacity in 1usize..20, count in 0u64..500) {
        let mut log = StepLog::with_capacity(capacity);
        let room = log.events.capacity();
        for i in 0..count {
            let device = Duration::ZERO;
            log.push(StepEvent { at: at(i), tokens: 1, batch_size: 1, batch_tokens: 1, device });
        }
        prop_assert_eq!(log.events.capacity(), room);
        prop_assert_eq!(log.seen(), count);
        let kept: Vec<u64> = log.events().iter().map(|event| event.at.nanos()).collect();
        let wanted: Vec<u64> = (0..count).step_by(log.stride() as usize).collect();
        prop_assert_eq!(kept, wanted);
    }
}

#[test]
fn clocks_of_two_threads_may_disagree() {
    let mut timeline = Timeline::new(at(100), TimelineRoom::default());
    timeline.enter(Phase::Prefill, at(90));
    timeline.enter(Phase::Decode, at(120));
    let times = timeline.times(at(130));
    assert_eq!((times.of(Phase::Queue), times.of(Phase::Prefill)), (0, 20));
    assert_eq!(times.of(Phase::Decode), 10);
}

#[test]
fn what_is_taken_stays_as_it_was() {
    let room = TimelineRoom { intervals: 4, prefill_steps: 2, decode_steps: 0 };
    let shared = SharedTimeline::new(at(1), room);
    shared.write(|timeline| timeline.enter(Phase::Prefill, at(5)));
    let taken = shared.take();
    shared.write(|timeline| timeline.enter(Phase::Decode, at(9)));
    assert_eq!(taken.phase(), Phase::Prefill);
    assert_eq!(taken.times(at(7)).of(Phase::Queue), 4);
}

#[test]
fn waits_are_differences() {
    let mut waits = Waits::default();
    waits.add(WaitReason::Blocks, 5);
    let earlier = waits;
    waits.add(WaitReason::Blocks, 2);
    waits.add(WaitReason::Seqs, 3);
    let since = waits.since(&earlier);
    assert_eq!(WaitReason::ALL.map(|reason| since.of(reason)), [2, 0, 3]);
}
