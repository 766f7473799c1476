use super::*;
use crate::kv::{BlockHasher, KvCache};
use crate::types::{HashAlgo, RequestId};

const BLOCK: usize = 4;

fn config() -> SchedulerConfig {
    SchedulerConfig {
        max_num_batched_tokens: 16,
        max_num_seqs: 4,
        policy: Policy::Fcfs,
        chunked_prefill: true,
        long_prefill_token_threshold: 0,
        adaptive_long_prefill: false,
        reserve_full_prompt: true,
        watermark: 0.0,
    }
}

/// A scheduler with its blocks, driven by hand.
struct Bench {
    scheduler: Scheduler,
    kv: KvCache,
    plan: StepPlan,
    next_id: u64,
}

impl Bench {
    fn new(config: SchedulerConfig, num_blocks: usize) -> Self {
        let hasher = BlockHasher::new(HashAlgo::Xxhash, Some(""));
        let kv = KvCache::new(num_blocks, BLOCK, Some(hasher));
        Self { scheduler: Scheduler::new(config), kv, plan: StepPlan::default(), next_id: 0 }
    }

    fn add(&mut self, prompt: std::ops::Range<u32>, priority: i64) -> Slot {
        let prompt: Vec<u32> = prompt.collect();
        let mut sequence = Sequence::new(RequestId(self.next_id), prompt.into(), 8);
        sequence.priority = priority;
        self.next_id += 1;
        self.scheduler.add(sequence)
    }

    /// Runs one step: all planned tokens are computed, finished contexts sample token 9.
    fn step(&mut self) -> Vec<(Slot, usize, usize)> {
        self.scheduler.plan(&mut self.kv, &mut self.plan);
        for &Work { slot, start, len } in &self.plan.work {
            let sequence = self.scheduler.sequence_mut(slot);
            sequence.computed = start + len;
            if sequence.computed == sequence.tokens.len() {
                sequence.tokens.push(9);
            }
        }
        self.scheduler.check(&self.kv, std::iter::empty());
        self.plan.work.iter().map(|work| (work.slot, work.start, work.len)).collect()
    }

    /// Takes a sequence out and frees its blocks.
    fn remove(&mut self, slot: Slot) {
        let mut sequence = self.scheduler.take(slot);
        self.kv.release(&mut sequence.blocks);
    }
}

#[test]
fn decodes_first_then_a_chunk_of_the_next_prompt() {
    let mut bench = Bench::new(config(), 16);
    let a = bench.add(0..5, 0);
    assert_eq!(bench.step(), [(a, 0, 5)]);
    let b = bench.add(100..120, 0);
    assert_eq!(bench.step(), [(a, 5, 1), (b, 0, 15)]);
    assert_eq!(bench.step(), [(a, 6, 1), (b, 15, 5)]);
    assert_eq!(bench.step(), [(a, 7, 1), (b, 20, 1)]);
}

#[test]
fn a_prompt_waits_whole_without_chunking() {
    let mut bench = Bench::new(SchedulerConfig { chunked_prefill: false, ..config() }, 16);
    let a = bench.add(0..10, 0);
    let b = bench.add(100..110, 0);
    assert_eq!(bench.step(), [(a, 0, 10)]);
    assert_eq!(bench.step(), [(a, 10, 1), (b, 0, 10)]);
}

#[test]
fn the_threshold_caps_a_chunk_unless_it_is_alone() {
    let config = SchedulerConfig { long_prefill_token_threshold: 3, ..config() };
    let mut bench = Bench::new(config, 16);
    let a = bench.add(0..10, 0);
    let b = bench.add(100..110, 0);
    assert_eq!(bench.step(), [(a, 0, 3), (b, 0, 3)]);
    bench.remove(b);
    assert_eq!(bench.step(), [(a, 3, 7)]);
}

#[test]
fn an_adaptive_threshold_is_no_less_than_a_fair_share() {
    let config = SchedulerConfig {
        long_prefill_token_threshold: 3,
        adaptive_long_prefill: true,
        ..config()
    };
    let mut bench = Bench::new(config, 16);
    let a = bench.add(0..10, 0);
    let b = bench.add(100..110, 0);
    assert_eq!(bench.step(), [(a, 0, 8), (b, 0, 8)]);
    assert_eq!(bench.step(), [(a, 8, 2), (b, 8, 2)]);
}

#[test]
fn a_shared_prefix_is_not_computed_again_but_the_last_token_is() {
    let mut bench = Bench::new(config(), 16);
    let a = bench.add(0..8, 0);
    assert_eq!(bench.step(), [(a, 0, 8)]);
    let (b, c) = (bench.add(0..8, 0), bench.add(0..10, 0));
    assert_eq!(bench.step(), [(a, 8, 1), (b, 4, 4), (c, 8, 2)]);
    assert_eq!(bench.scheduler.sequence(c).cached, 8);
}

#[test]
fn prompts_of_one_step_share_what_the_first_of_them_computes() {
    let mut bench = Bench::new(config(), 16);
    let (a, b, c) = (bench.add(0..10, 0), bench.add(0..10, 0), bench.add(0..10, 0));
    assert_eq!(bench.step(), [(a, 0, 10), (b, 8, 2), (c, 8, 2)]);
}

#[test]
fn the_last_admitted_gives_way_and_comes_back_first() {
    let mut bench = Bench::new(config(), 4);
    let (a, b) = (bench.add(0..8, 0), bench.add(100..108, 0));
    let c = bench.add(200..204, 0);
    assert_eq!(bench.step(), [(a, 0, 8), (b, 0, 8)]);
    // Both need a third block; there is none left.
    assert_eq!(bench.step(), [(a, 8, 1)]);
    assert_eq!(bench.plan.preempted, [b]);
    bench.remove(a);
    // Only the last block of its prefix was reused; c still waits behind it.
    assert_eq!(bench.step(), [(b, 4, 5), (c, 0, 4)]);
    assert_eq!(bench.plan.admitted, [b, c]);
}

#[test]
fn priority_decides_who_enters_and_who_gives_way() {
    let mut bench = Bench::new(SchedulerConfig { policy: Policy::Priority, ..config() }, 4);
    let low = bench.add(0..8, 5);
    let high = bench.add(100..108, 1);
    assert_eq!(bench.step(), [(high, 0, 8), (low, 0, 8)]);
    assert_eq!(bench.step(), [(high, 8, 1)]);
    assert_eq!(bench.plan.preempted, [low]);
}

#[test]
fn admission_reserves_the_whole_prompt() {
    let mut bench = Bench::new(config(), 6);
    let a = bench.add(0..4, 0);
    assert_eq!(bench.step(), [(a, 0, 4)]);
    let big = bench.add(100..121, 0);
    assert_eq!(bench.step(), [(a, 4, 1)], "21 tokens need 6 blocks, 4 are free");
    bench.remove(a);
    assert_eq!(bench.step(), [(big, 0, 16)]);
}
