//! One step ahead: the device starts on the next tokens while the host still handles the last ones.
//!
//! Once a step is submitted in which every sequence samples, what the next one does is known but
//! for the tokens, which the device has: each sequence goes on by one. So it is submitted before
//! the first one's results are taken. Whatever is not that simple waits for a plan: a request that
//! waits for its turn, blocks that would have to be taken from somebody, a row that the host must
//! look at. A sequence that turns out to have ended with the first step has a row in the second
//! one, which nobody looks at; its blocks are free meanwhile, since the device works in order.
//! What does not keep to that order never meets such a row: pulls begin with a plan, when nothing
//! is under way, and a sequence whose blocks a peer will read does not run ahead.

use super::core::Core;
use super::inbox::Message;
use crate::runner::{BackendError, StepBatch};
use crate::sampler::Draw;
use crate::scheduler::Work;
use crate::types::RequestId;

/// A step that was submitted before the results of the one ahead of it.
pub(super) struct Ahead {
    /// Whether there is one.
    pub submitted: bool,
    pub batch: StepBatch,
    pub work: Vec<Work>,
    /// Whose work it is: a slot may be another's by the time of its results.
    pub owners: Vec<RequestId>,
}

impl Ahead {
    pub fn new(batch: StepBatch) -> Self {
        Self { submitted: false, batch, work: Vec::new(), owners: Vec::new() }
    }
}

impl Core {
    /// Submits the step after the one that was just submitted, if it is certain what it does.
    pub(super) fn run_ahead(&mut self) -> Result<(), BackendError> {
        if !self.backend.runs_ahead() || !self.plan_ahead() {
            return Ok(());
        }
        self.backend.submit(&self.ahead.batch)?;
        self.ahead.submitted = true;
        Ok(())
    }

    /// Works out the next step; false when it cannot be known, or is none.
    fn plan_ahead(&mut self) -> bool {
        let full = self.scheduler.is_full();
        if self.scheduler.has_queued() && !full || self.hears_something() {
            return false;
        }
        // Who runs and has no part in this step must have one in the next.
        let present = (0..self.plan.work.len()).filter(|&i| self.is_present(i)).count();
        if present != self.scheduler.num_running() {
            return false;
        }
        self.ahead.work.clear();
        self.ahead.owners.clear();
        self.ahead.batch.clear();
        let (mut blocks, mut ends) = (0, false);
        for i in 0..self.plan.work.len() {
            let Work { slot, start, len } = self.plan.work[i];
            if !self.is_present(i) {
                continue;
            }
            let sequence = self.scheduler.sequence(slot);
            let known = sequence.tokens.len();
            if start + len != known || self.batch.rows.get(i).is_none_or(|row| row.draw.is_none()) {
                return false;
            }
            if self.is_last_token(slot) {
                ends = true;
                continue;
            }
            let table = sequence.blocks.table().len();
            blocks += usize::from(known + 1 > table * self.kv.block_size());
            self.ahead.work.push(Work { slot, start: known, len: 1 });
            self.ahead.owners.push(sequence.id);
        }
        // A place that falls free belongs to whoever waits for it.
        let has_room = blocks <= self.kv.pool().num_free();
        has_room && !(full && ends) && self.batch.rows.len() == self.plan.work.len() && self.fill()
    }

    /// Whether a message has come that may change what the next step does.
    fn hears_something(&mut self) -> bool {
        if self.heard.is_empty() {
            self.heard.extend(self.inbox.try_recv().ok());
        }
        !self.heard.is_empty()
    }

    /// Whether the token that the step under way samples for a sequence is its last one, whatever
    /// it is.
    fn is_last_token(&self, slot: usize) -> bool {
        let sequence = self.scheduler.sequence(slot);
        let request = self.requests[slot].as_ref().expect("planned slots are in use");
        let (generated, len) = (sequence.output().len() + 1, sequence.tokens.len() + 1);
        request.is_full_after(generated, len, self.config.max_model_len)
    }

    /// Takes the blocks for the next step and puts its batch together; false when a row cannot be
    /// drawn without the host, or there is none.
    fn fill(&mut self) -> bool {
        for work in &self.ahead.work {
            if self.draw_ahead(work).is_none() {
                return false;
            }
        }
        let mut at = 0;
        for i in 0..self.ahead.work.len() {
            let work = self.ahead.work[i];
            let draw = self.draw_ahead(&work).expect("looked at above");
            let from = self.plan.work[at..].iter().position(|before| before.slot == work.slot);
            at += from.expect("it is in the step under way");
            let sequence = self.scheduler.sequence_mut(work.slot);
            let grown = self.kv.grow(&mut sequence.blocks, work.start + 1);
            assert!(grown, "the blocks were counted");
            let table = sequence.blocks.table();
            self.ahead.batch.push_fed(at as u32, work.start, table, draw);
        }
        !self.ahead.work.is_empty()
    }

    fn draw_ahead(&self, work: &Work) -> Option<Draw> {
        let request = self.requests[work.slot].as_ref().expect("planned slots are in use");
        let generated = work.start + 1 - self.scheduler.sequence(work.slot).prompt_len;
        request.draw_ahead(generated, self.config.logprobs)
    }

    /// Makes the step that was submitted ahead the one under way.
    pub(super) fn take_ahead(&mut self) {
        self.ahead.submitted = false;
        std::mem::swap(&mut self.batch, &mut self.ahead.batch);
        std::mem::swap(&mut self.plan.work, &mut self.ahead.work);
        self.plan.admitted.clear();
        self.plan.pulls.clear();
        self.plan.preempted.clear();
        self.plan.blocked = None;
        self.owners.clear();
        self.owners.append(&mut self.ahead.owners);
        // Now that the tokens are known, the blocks that they fill are too.
        for i in 0..self.plan.work.len() {
            if self.is_present(i) {
                self.scheduler.store(&self.plan.work[i], &mut self.kv);
            }
        }
    }

    /// Whether the request of work `i` of the step under way is still there.
    pub(super) fn is_present(&self, i: usize) -> bool {
        let owner = self.owners.get(i);
        owner.is_none_or(|owner| self.slots.get(owner) == Some(&self.plan.work[i].slot))
    }

    /// Takes the results of a step that was submitted ahead, and submits no other: what comes now
    /// must find nothing under way.
    pub(super) fn settle(&mut self) -> Result<(), BackendError> {
        if !self.ahead.submitted {
            return Ok(());
        }
        let begin = self.clock.now();
        self.take_ahead();
        self.finish_step(begin).inspect_err(|_| self.fail())?;
        self.end_pauses();
        Ok(())
    }

    /// The next message that has come.
    pub(super) fn next_message(&mut self) -> Result<Message, std::sync::mpsc::TryRecvError> {
        self.heard.pop_front().map_or_else(|| self.inbox.try_recv(), Ok)
    }
}
