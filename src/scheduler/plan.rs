//! The scheduler: the sequences, the two queues, and the plan of the next step.

use super::SchedulerConfig;
use super::queue::WaitingQueue;
use super::sequence::{RemoteKv, Sequence, Slot};
use crate::kv::{KvCache, SequenceBlocks};
use crate::types::{RequestId, WaitReason};

/// One sequence's part in a step.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Work {
    pub slot: Slot,
    /// Position of the first token to compute.
    pub start: usize,
    /// How many.
    pub len: usize,
}

/// What one step computes.
#[derive(Debug, Default)]
pub struct StepPlan {
    pub work: Vec<Work>,
    /// Sequences that have a part in a step for the first time since they waited.
    pub admitted: Vec<Slot>,
    /// Sequences that got blocks to pull their prompt's KV into.
    pub pulls: Vec<Slot>,
    /// Sequences that lost their blocks and wait again.
    pub preempted: Vec<Slot>,
    /// Why those that still wait were not admitted.
    pub blocked: Option<WaitReason>,
}

impl StepPlan {
    /// Of nothing; keeps the memory.
    pub fn clear(&mut self) {
        self.work.clear();
        self.admitted.clear();
        self.pulls.clear();
        self.preempted.clear();
        self.blocked = None;
    }
}

/// All sequences of the engine, waiting and running.
pub struct Scheduler {
    pub(super) config: SchedulerConfig,
    pub(super) sequences: Vec<Option<Sequence>>,
    vacant: Vec<Slot>,
    /// In the order of admission.
    pub(super) running: Vec<Slot>,
    pub(super) waiting: WaitingQueue,
    /// Those whose KV is on its way. Each holds a place among those that run.
    pub(super) pulling: Vec<Slot>,
}

impl Scheduler {
    /// A scheduler without sequences.
    pub fn new(config: SchedulerConfig) -> Self {
        Self {
            config,
            sequences: Vec::new(),
            vacant: Vec::new(),
            running: Vec::with_capacity(config.max_num_seqs),
            waiting: WaitingQueue::default(),
            pulling: Vec::new(),
        }
    }

    /// Puts a sequence into the queue.
    pub fn add(&mut self, sequence: Sequence) -> Slot {
        let rank = self.config.policy.rank(&sequence);
        let slot = self.vacant.pop().unwrap_or(self.sequences.len());
        if slot == self.sequences.len() {
            self.sequences.push(None);
        }
        self.sequences[slot] = Some(sequence);
        self.waiting.insert(rank, slot);
        slot
    }

    /// Takes a sequence out, wherever it is, together with its blocks, which the caller answers
    /// for: those of one that is pulling are still written to.
    pub fn take(&mut self, slot: Slot) -> Sequence {
        let sequence = self.sequences[slot].take().expect("the slot is in use");
        let rank = self.config.policy.rank(&sequence);
        if !self.waiting.remove(rank, slot) {
            self.running.retain(|&running| running != slot);
            self.pulling.retain(|&pulling| pulling != slot);
        }
        self.vacant.push(slot);
        sequence
    }

    /// The sequence in a slot that is in use.
    pub fn sequence(&self, slot: Slot) -> &Sequence {
        self.sequences[slot].as_ref().expect("the slot is in use")
    }

    /// The same, to change it.
    pub fn sequence_mut(&mut self, slot: Slot) -> &mut Sequence {
        self.sequences[slot].as_mut().expect("the slot is in use")
    }

    /// Whether the slot is in use, by the sequence `id`.
    pub fn is_of(&self, slot: Slot, id: RequestId) -> bool {
        self.sequences[slot].as_ref().is_some_and(|sequence| sequence.id == id)
    }

    /// All sequences.
    pub fn sequences(&self) -> impl Iterator<Item = &Sequence> {
        self.sequences.iter().flatten()
    }

    pub fn num_running(&self) -> usize {
        self.running.len()
    }

    /// Those that wait for their turn or for their KV.
    pub fn num_waiting(&self) -> usize {
        self.waiting.len() + self.pulling.len()
    }

    /// Whether any waits for its turn.
    pub fn has_queued(&self) -> bool {
        !self.waiting.is_empty()
    }

    /// Those whose KV is on its way.
    pub fn num_pulling(&self) -> usize {
        self.pulling.len()
    }

    pub fn is_empty(&self) -> bool {
        self.running.is_empty() && self.num_waiting() == 0
    }

    /// Whether a plan may find something to do, whatever is being pulled.
    pub fn may_step(&self) -> bool {
        !self.running.is_empty() || !self.waiting.is_empty()
    }

    /// Plans the next step into `plan`, whose memory is reused. Blocks for all planned tokens are
    /// held when it returns.
    pub fn plan(&mut self, kv: &mut KvCache, plan: &mut StepPlan) {
        plan.clear();
        let budget = self.plan_running(kv, plan);
        // From here on nothing planned is taken back.
        plan.work.iter().for_each(|work| self.store(work, kv));
        // Blocks are short: what was just taken from one sequence is not given to a new one.
        plan.blocked = match plan.preempted.is_empty() {
            true => self.admit(kv, plan, budget),
            false => Some(WaitReason::Blocks),
        };
    }

    /// Gives every running sequence its share; returns what is left of the budget.
    fn plan_running(&mut self, kv: &mut KvCache, plan: &mut StepPlan) -> usize {
        let mut cursor = Cursor { at: 0, budget: self.config.max_num_batched_tokens };
        while cursor.at < self.running.len() && cursor.budget > 0 {
            let slot = self.running[cursor.at];
            let sequence = self.sequence(slot);
            let len = self.chunk(sequence.pending(), cursor.budget);
            let start = sequence.computed;
            if self.make_room(slot, start + len, kv, plan, &mut cursor) {
                plan.work.push(Work { slot, start, len });
                self.note_first_step(slot, plan);
                cursor.budget -= len;
                cursor.at += 1;
            }
        }
        cursor.budget
    }

    /// Grows a running sequence's block table, preempting others until it fits. False when the
    /// sequence itself had to give way.
    fn make_room(
        &mut self,
        slot: Slot,
        tokens: usize,
        kv: &mut KvCache,
        plan: &mut StepPlan,
        cursor: &mut Cursor,
    ) -> bool {
        while !kv.grow(&mut self.sequence_mut(slot).blocks, tokens) {
            let rank = |at: usize| self.config.policy.rank(self.sequence(self.running[at]));
            let at = (0..self.running.len()).max_by_key(|&at| rank(at)).expect("one runs");
            let victim = self.running.remove(at);
            // A victim that has its share of this step already gives that back too.
            if let Some(work) = plan.work.iter().position(|work| work.slot == victim) {
                cursor.budget += plan.work.remove(work).len;
                cursor.at -= 1;
                plan.admitted.retain(|&admitted| admitted != victim);
            }
            self.preempt(victim, kv);
            plan.preempted.push(victim);
            if victim == slot {
                return false;
            }
        }
        true
    }

    /// Lets every running sequence wait again. Between plans.
    pub fn preempt_all(&mut self, kv: &mut KvCache, plan: &mut StepPlan) {
        while let Some(slot) = self.running.pop() {
            self.preempt(slot, kv);
            plan.preempted.push(slot);
        }
    }

    /// Takes the blocks of a sequence that ran and lets it wait again.
    fn preempt(&mut self, slot: Slot, kv: &mut KvCache) {
        let sequence = self.sequences[slot].as_mut().expect("a running slot is in use");
        kv.release(&mut sequence.blocks);
        sequence.computed = 0;
        sequence.remote = RemoteKv::None;
        sequence.preemptions += 1;
        self.waiting.insert(self.config.policy.rank(sequence), slot);
    }

    /// Admits waiting sequences, first to last, until one does not fit; says why it does not.
    fn admit(
        &mut self,
        kv: &mut KvCache,
        plan: &mut StepPlan,
        mut budget: usize,
    ) -> Option<WaitReason> {
        while let Some(slot) = self.waiting.first() {
            if self.sequence(slot).remote == RemoteKv::Wanted {
                if let Err(reason) = self.try_pull(slot, kv) {
                    return Some(reason);
                }
                plan.pulls.push(slot);
                continue;
            }
            let work = match self.try_admit(slot, kv, budget) {
                Ok(work) => work,
                Err(reason) => return Some(reason),
            };
            self.waiting.remove(self.config.policy.rank(self.sequence(slot)), slot);
            self.running.push(slot);
            budget -= work.len;
            self.store(&work, kv);
            plan.work.push(work);
            plan.admitted.push(slot);
        }
        None
    }

    /// Puts the blocks that planned work fills into the prefix index. A prompt admitted later in
    /// the same plan may already share them: a backend writes the KV of earlier work of a step
    /// before later work reads it. That makes the `n` replies of one prompt cost one prefill.
    pub fn store(&mut self, work: &Work, kv: &mut KvCache) {
        self.sequence_mut(work.slot).store(kv, work.start + work.len);
    }

    /// Takes the blocks for the first chunk of a waiting sequence, if the rules allow it.
    fn try_admit(
        &mut self,
        slot: Slot,
        kv: &mut KvCache,
        budget: usize,
    ) -> Result<Work, WaitReason> {
        let config = self.config;
        if self.is_full() {
            return Err(WaitReason::Seqs);
        }
        if budget == 0 {
            return Err(WaitReason::Budget);
        }
        let watermark = self.watermark(kv);
        let sequence = self.sequences[slot].as_mut().expect("a waiting slot is in use");
        let hits = sequence.find_prefix(kv);
        let start = hits * kv.block_size();
        let pending = sequence.tokens.len() - start;
        if !config.chunked_prefill && pending > budget {
            return Err(WaitReason::Budget);
        }
        let others = self.running.len() + self.waiting.len() - 1;
        let len = chunk(&config, pending, budget, others);
        let reserved = match config.reserve_full_prompt {
            true => sequence.tokens.len(),
            false => start + len,
        };
        if kv.blocks_needed(&sequence.blocks, hits, reserved) + watermark > kv.pool().num_free() {
            return Err(WaitReason::Blocks);
        }
        sequence.take_blocks(kv, hits, start + len);
        sequence.computed = start;
        Ok(Work { slot, start, len })
    }

    /// Whether all places are taken.
    pub fn is_full(&self) -> bool {
        self.running.len() + self.pulling.len() >= self.config.max_num_seqs
    }

    /// Blocks that must stay free when a sequence is admitted.
    pub(super) fn watermark(&self, kv: &KvCache) -> usize {
        match self.running.is_empty() {
            true => 0,
            false => (self.config.watermark * kv.pool().num_blocks() as f64) as usize,
        }
    }

    /// How many of a running sequence's pending tokens the next step computes.
    fn chunk(&self, pending: usize, budget: usize) -> usize {
        chunk(&self.config, pending, budget, self.running.len() + self.waiting.len() - 1)
    }

    /// Checks the queues and the block pool, of which others hold `beside`. For simulations.
    ///
    /// # Panics
    /// Saying what is broken.
    pub fn check<'a>(&'a self, kv: &KvCache, beside: impl Iterator<Item = &'a SequenceBlocks>) {
        let count = self.running.len() + self.num_waiting();
        assert_eq!(count, self.sequences().count(), "every sequence runs or waits");
        assert_eq!(count + self.vacant.len(), self.sequences.len(), "every slot is used or vacant");
        assert!(self.running.len() + self.pulling.len() <= self.config.max_num_seqs);
        for &slot in &self.running {
            let sequence = self.sequence(slot);
            assert!(sequence.blocks.table().len() * kv.block_size() >= sequence.computed);
        }
        kv.check(self.sequences().map(|sequence| &sequence.blocks).chain(beside));
    }
}

/// Where planning is in the list of running sequences; all before `at` have their share.
struct Cursor {
    at: usize,
    budget: usize,
}

/// The part of `pending` tokens that a step computes beside `others` that run or wait.
fn chunk(config: &SchedulerConfig, pending: usize, budget: usize, others: usize) -> usize {
    let threshold = config.long_prefill_token_threshold;
    if threshold == 0 || others == 0 {
        return pending.min(budget);
    }
    let fair = match config.adaptive_long_prefill {
        true => config.max_num_batched_tokens / (others + 1),
        false => 0,
    };
    pending.min(threshold.max(fair)).min(budget)
}
