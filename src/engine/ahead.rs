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
    /// The row of the step under way that samples the token of each, and how the next is drawn.
    fed: Vec<(u32, Draw)>,
}

impl Ahead {
    pub fn new(batch: StepBatch) -> Self {
        Self { submitted: false, batch, work: Vec::new(), owners: Vec::new(), fed: Vec::new() }
    }

    fn clear(&mut self) {
        self.batch.clear();
        self.work.clear();
        self.owners.clear();
        self.fed.clear();
    }
}

impl Core {
    /// Submits the step after the one that was just submitted, if it is certain what it does.
    pub(super) fn run_ahead(&mut self) -> Result<(), BackendError> {
        if !self.backend.runs_ahead() || !self.plan_ahead() {
            return Ok(());
        }
        self.build_ahead();
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
        if self.batch.rows.len() != self.plan.work.len() {
            return false;
        }
        self.ahead.clear();
        let (mut present, mut blocks, mut ends) = (0, 0, false);
        for i in 0..self.plan.work.len() {
            if !self.is_present(i) {
                continue;
            }
            present += 1;
            let Work { slot, start, len } = self.plan.work[i];
            let sequence = self.scheduler.sequence(slot);
            let known = sequence.tokens.len();
            if start + len != known || self.batch.rows[i].draw.is_none() {
                return false;
            }
            if self.is_last_token(slot) {
                ends = true;
                continue;
            }
            let work = Work { slot, start: known, len: 1 };
            let Some(draw) = self.draw_ahead(&work) else { return false };
            let table = sequence.blocks.table().len();
            blocks += usize::from(known + 1 > table * self.kv.block_size());
            self.ahead.owners.push(sequence.id);
            self.ahead.work.push(work);
            self.ahead.fed.push((i as u32, draw));
        }
        // Who runs and has no part in this step must have one in the next, and a place that falls
        // free belongs to whoever waits for it.
        let leaves_nobody_out = present == self.scheduler.num_running() && !(full && ends);
        let has_room = blocks <= self.kv.pool().num_free();
        leaves_nobody_out && has_room && !self.ahead.work.is_empty()
    }

    /// Whether a message has come that may change what the next step does.
    fn hears_something(&mut self) -> bool {
        if self.heard.is_none() {
            self.heard = self.inbox.try_recv().ok();
        }
        self.heard.is_some()
    }

    /// Whether the token that the step under way samples for a sequence is its last one, whatever
    /// it is.
    fn is_last_token(&self, slot: usize) -> bool {
        let sequence = self.scheduler.sequence(slot);
        let request = self.requests[slot].as_ref().expect("planned slots are in use");
        let (generated, len) = (sequence.output().len() + 1, sequence.tokens.len() + 1);
        request.is_full_after(generated, len, self.config.max_model_len)
    }

    /// Takes the blocks for the next step and puts its batch together.
    fn build_ahead(&mut self) {
        for (work, &(from, draw)) in self.ahead.work.iter().zip(&self.ahead.fed) {
            let sequence = self.scheduler.sequence_mut(work.slot);
            let grown = self.kv.grow(&mut sequence.blocks, work.start + 1);
            assert!(grown, "the blocks were counted");
            self.ahead.batch.push_fed(from, work.start, sequence.blocks.table(), draw);
        }
    }

    /// How the token is drawn that work of the next step samples; `None`: not without the host.
    fn draw_ahead(&self, work: &Work) -> Option<Draw> {
        let request = self.requests[work.slot].as_ref().expect("planned slots are in use");
        let generated = work.start + 1 - self.scheduler.sequence(work.slot).prompt_len;
        request.draw_ahead(generated, self.config.logprobs)
    }

    /// Makes the step that was submitted ahead the one under way.
    pub(super) fn take_ahead(&mut self) {
        self.ahead.submitted = false;
        std::mem::swap(&mut self.batch, &mut self.ahead.batch);
        self.plan.clear();
        std::mem::swap(&mut self.plan.work, &mut self.ahead.work);
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
        owner.is_none_or(|&owner| self.scheduler.is_of(self.plan.work[i].slot, owner))
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
        self.heard.take().map_or_else(|| self.inbox.try_recv(), Ok)
    }
}
