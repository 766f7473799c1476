//! One step of the loop: plan, submit, collect, hand out.

use super::core::{Core, in_use};
use super::sampling::{RowResult, Sampling, count_sample, prepare_masks, take_sample};
use crate::runner::{BackendError, StepTiming};
use crate::scheduler::Work;
use crate::types::{Moment, StepEvent};
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

impl Core {
    /// Makes one step: plans it, unless it is under way already, and takes its results.
    pub(super) fn step(&mut self) -> Result<(), BackendError> {
        let begin = self.clock.now();
        self.kv.begin_step(begin);
        if self.ahead.submitted {
            self.take_ahead();
        } else if !self.submit_planned(begin)? {
            return Ok(());
        }
        self.run_ahead()?;
        self.finish_step(begin)
    }

    /// Plans a step and submits it; false when there is none to make.
    fn submit_planned(&mut self, begin: Moment) -> Result<bool, BackendError> {
        self.owners.clear();
        self.scheduler.plan(&mut self.kv, &mut self.plan);
        self.count_plan(begin);
        self.start_pulls(begin);
        if self.plan.work.is_empty() {
            self.wait_for_blocks();
            return Ok(false);
        }
        self.build_batch();
        self.backend.submit(&self.batch)?;
        prepare_masks(&self.plan.work, &self.scheduler, &mut self.requests);
        Ok(true)
    }

    /// Waits for the step under way, which began at `begin`, and takes its results.
    pub(super) fn finish_step(&mut self, begin: Moment) -> Result<(), BackendError> {
        self.observe_plan();
        self.results.clear();
        let mut sink = Sampling {
            batch: &self.batch,
            work: &self.plan.work,
            scheduler: &self.scheduler,
            requests: &self.requests,
            sampler: &mut self.sampler,
            results: &mut self.results,
            status: &self.status,
        };
        let timing = self.backend.collect(&mut sink)?;
        assert_eq!(self.results.len(), self.batch.rows.len(), "every row has a result");
        let end = self.clock.now();
        if let Some(reason) = self.plan.blocked {
            self.waits.add(reason, end.nanos_since(begin));
        }
        // Only now is it certain that the blocks of this step hold what was planned.
        let changes = self.kv.take_changes();
        self.tell(changes);
        let tokens = self.take_results(StepEvent {
            at: end,
            tokens: 0,
            batch_size: self.plan.work.len() as u32,
            batch_tokens: self.batch.tokens.len() as u32,
            device: timing.device,
        });
        self.count_step(tokens, end.since(begin), timing);
        self.publish();
        if let Some(observer) = &mut self.observer {
            observer.ended(&self.status, end.since(begin));
        }
        Ok(())
    }

    /// Notes what the step under way computes, where somebody asked for it.
    fn observe_plan(&mut self) {
        let Some(mut observer) = self.observer.take() else { return };
        let present = (0..self.plan.work.len()).filter(|&i| self.is_present(i));
        let work = present.map(|i| &self.plan.work[i]);
        observer.planned(work, &self.scheduler, &self.status);
        self.observer = Some(observer);
    }

    /// There is no step to make before somebody else gives blocks back or fills some.
    fn wait_for_blocks(&mut self) {
        let with_others = self.scheduler.num_pulling() > 0 || self.transfers.holds_any();
        assert!(with_others, "the pool holds at least one sequence of full length");
        self.starved = true;
        let changes = self.kv.take_changes();
        self.tell(changes);
        self.publish();
    }

    /// Notes who lost and who got a place in the step that begins.
    fn count_plan(&mut self, begin: Moment) {
        let vocab = self.backend.limits().vocab_size;
        let counters = &self.status.counters;
        counters.preemptions.fetch_add(self.plan.preempted.len() as u64, Relaxed);
        for &slot in &self.plan.preempted {
            in_use(&mut self.requests, slot).preempted(begin);
        }
        for &slot in &self.plan.admitted {
            let sequence = self.scheduler.sequence(slot);
            let request = in_use(&mut self.requests, slot);
            request.admitted(begin, sequence.prompt(), (vocab, sequence.cached), &self.waits);
            if sequence.may_hit && sequence.preemptions == 0 {
                counters.prefix_cache_queries.fetch_add(sequence.tokens.len() as u64, Relaxed);
                counters.prefix_cache_hits.fetch_add(sequence.cached as u64, Relaxed);
            }
        }
    }

    fn build_batch(&mut self) {
        self.batch.clear();
        for &Work { slot, start, len } in &self.plan.work {
            let sequence = self.scheduler.sequence(slot);
            let request = self.requests[slot].as_ref().expect("planned slots are in use");
            let rows = request.rows_wanted(start, start + len, sequence.tokens.len());
            let tokens = &sequence.tokens[start..start + len];
            let draw = || request.draw(sequence.output().len(), self.config.logprobs);
            let draw = (rows > 0).then(draw).flatten();
            self.batch.push(tokens, start, sequence.blocks.table(), rows, draw);
        }
    }

    fn count_step(&self, tokens: u64, time: Duration, timing: StepTiming) {
        self.status.counters.steps.fetch_add(1, Relaxed);
        let steps = &self.status.steps;
        if tokens > 0 {
            steps.iteration_tokens.observe(tokens);
        }
        steps.time.observe_time(time);
        steps.device_time.observe_time(timing.device);
    }

    /// Advances every sequence of the step `event` and sends what was sampled. Returns the tokens
    /// that this counts for.
    fn take_results(&mut self, event: StepEvent) -> u64 {
        let mut tokens = 0;
        let mut results = std::mem::take(&mut self.results);
        let mut row_results = results.drain(..).zip(&self.batch.rows).peekable();
        for seq in 0..self.plan.work.len() {
            let Work { slot, start, len } = self.plan.work[seq];
            if !self.is_present(seq) {
                while row_results.next_if(|(_, row)| row.seq == seq as u32).is_some() {}
                continue;
            }
            let sequence = self.scheduler.sequence_mut(slot);
            let request = in_use(&mut self.requests, slot);
            sequence.computed = start + len;
            let samples = sequence.pending() == 0;
            request.stepped(StepEvent { tokens: len as u32, ..event }, samples);
            let mut over = false;
            while let Some((result, _)) = row_results.next_if(|(_, row)| row.seq == seq as u32) {
                match result {
                    RowResult::Scored(logprobs) => {
                        request.add_prompt_logprobs(logprobs, sequence.prompt_len);
                    }
                    RowResult::Sampled(sampled) => {
                        let max_len = self.config.max_model_len;
                        tokens += count_sample(&self.status.counters, sequence);
                        let counters = &self.status.counters;
                        over = take_sample(counters, sequence, request, sampled, event.at, max_len);
                    }
                }
            }
            if over {
                self.over.push(slot);
            }
        }
        drop(row_results);
        self.results = results;
        for i in 0..self.over.len() {
            self.complete(self.over[i]);
        }
        self.over.clear();
        tokens
    }
}
