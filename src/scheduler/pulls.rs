//! Sequences whose KV comes from another server, from their turn in the queue to their first step.

use super::plan::{Scheduler, StepPlan};
use super::sequence::{RemoteKv, Slot};
use crate::kv::KvCache;
use crate::types::WaitReason;

impl Scheduler {
    /// Gives a waiting sequence a place and blocks for all of its prompt, if the rules allow it.
    /// What is cached here need not be pulled; the last token never is.
    pub(super) fn try_pull(&mut self, slot: Slot, kv: &mut KvCache) -> Result<(), WaitReason> {
        if self.is_full() {
            return Err(WaitReason::Seqs);
        }
        let watermark = self.watermark(kv);
        let sequence = self.sequences[slot].as_mut().expect("a waiting slot is in use");
        let (hits, len) = (sequence.find_prefix(kv), sequence.tokens.len());
        let needed = kv.blocks_needed(&sequence.blocks, hits, len);
        if needed + watermark > kv.pool().num_free() {
            return Err(WaitReason::Blocks);
        }
        sequence.take_blocks(kv, hits, len);
        sequence.pulled = len - sequence.cached;
        sequence.remote = RemoteKv::Pulling;
        let rank = self.config.policy.rank(sequence);
        self.waiting.remove(rank, slot);
        self.pulling.push(slot);
        Ok(())
    }

    /// A sequence's KV is there: its blocks can be shared, and it runs from the next plan on. The
    /// last prompt token is computed all the same, since its logits are what a step is for.
    pub fn pulled(&mut self, slot: Slot, kv: &mut KvCache) {
        self.pulling.retain(|&pulling| pulling != slot);
        let sequence = self.sequences[slot].as_mut().expect("a pulling slot is in use");
        debug_assert_eq!(sequence.remote, RemoteKv::Pulling);
        sequence.remote = RemoteKv::Pulled;
        sequence.computed = sequence.tokens.len() - 1;
        sequence.store(kv, sequence.tokens.len());
        self.running.push(slot);
    }

    /// A sequence's KV does not come: it waits again, to be computed here.
    pub fn pull_failed(&mut self, slot: Slot, kv: &mut KvCache) {
        self.pulling.retain(|&pulling| pulling != slot);
        let sequence = self.sequences[slot].as_mut().expect("a pulling slot is in use");
        kv.release(&mut sequence.blocks);
        sequence.remote = RemoteKv::None;
        (sequence.cached, sequence.pulled) = (0, 0);
        self.waiting.insert(self.config.policy.rank(sequence), slot);
    }

    /// A sequence that pulled has its first step: that counts as its admission.
    pub(super) fn note_first_step(&mut self, slot: Slot, plan: &mut StepPlan) {
        let sequence = self.sequence_mut(slot);
        if sequence.remote == RemoteKv::Pulled {
            sequence.remote = RemoteKv::None;
            plan.admitted.push(slot);
        }
    }
}
