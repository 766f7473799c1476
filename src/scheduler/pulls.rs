//! Sequences whose KV comes from another server, from their turn in the queue to their first step.

use super::plan::{Scheduler, StepPlan};
use super::sequence::{RemoteKv, Slot};
use crate::kv::{KvCache, Owner};
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
        let (tokens, salt) = (&sequence.tokens, sequence.salt.as_deref());
        let limit = (tokens.len() - 1) / kv.block_size();
        let hits = match sequence.may_hit {
            true => kv.find_prefix(&mut sequence.blocks, tokens, salt, limit),
            false => 0,
        };
        let needed = kv.blocks_needed(&sequence.blocks, hits, tokens.len());
        if needed + watermark > kv.pool().num_free() {
            return Err(WaitReason::Blocks);
        }
        kv.take_prefix(&mut sequence.blocks, hits);
        if sequence.reports_prefix {
            let owner = Owner { salt: sequence.salt.as_ref(), session: sequence.session.as_ref() };
            kv.report_reuse(&sequence.blocks, tokens, owner, hits);
        }
        let grown = kv.grow(&mut sequence.blocks, tokens.len());
        assert!(grown, "the blocks were counted");
        sequence.cached = hits * kv.block_size();
        sequence.pulled = tokens.len() - sequence.cached;
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
        let owner = Owner { salt: sequence.salt.as_ref(), session: sequence.session.as_ref() };
        let all = sequence.tokens.len();
        kv.store_computed(&mut sequence.blocks, &sequence.tokens, owner, all);
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
