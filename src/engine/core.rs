//! The loop: messages in, plan, step, samples out.

use super::ahead::Ahead;
use super::config::EngineConfig;
use super::control::Control;
use super::handle::{EngineHandle, NewRequest};
use super::inbox::Message;
use super::observe::StepObserver;
use super::request::Request;
use super::sampling::{RowResult, Sampling, count_sample, prepare_masks, take_sample};
use super::status::Status;
use super::transfer::Transfers;
use crate::kv::{BlockHasher, KvCache, Residency};
use crate::runner::{Backend, BackendError, StepBatch, StepTiming};
use crate::sampler::Sampler;
use crate::scheduler::{Scheduler, Sequence, Slot, StepPlan, Work};
use crate::types::{
    Clock, FinishReason, Generated, KvEvent, KvEventBatch, KvEventSink, Moment, RequestId,
    StepEvent, Waits,
};
use std::collections::{HashMap, VecDeque};
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::sync::mpsc::{Receiver, TryRecvError, channel};
use std::time::Duration;
use tokio::sync::mpsc::UnboundedSender;

/// What one turn of the loop came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Turn {
    /// A step ran.
    Stepped,
    /// There is nothing to do until a message comes.
    Idle,
    /// The engine was told to stop, or nobody can reach it any more.
    Stopped,
}

/// All state of the engine; owned by its thread (or by a simulation).
pub struct Core {
    pub(super) config: EngineConfig,
    pub(super) backend: Box<dyn Backend>,
    pub(super) inbox: Receiver<Message>,
    /// Messages that were taken from the inbox and not handled.
    pub(super) heard: VecDeque<Message>,
    pub(super) clock: Clock,
    /// What has held up the queue since the start.
    pub(super) waits: Waits,
    pub(super) status: Arc<Status>,
    pub(super) scheduler: Scheduler,
    pub(super) kv: KvCache,
    sampler: Sampler,
    kv_events: Option<Box<dyn KvEventSink>>,
    observer: Option<StepObserver>,
    /// By the scheduler's slots.
    pub(super) requests: Vec<Option<Request>>,
    pub(super) slots: HashMap<RequestId, Slot>,
    pub(super) plan: StepPlan,
    pub(super) batch: StepBatch,
    /// Whose work the step under way is, when it was submitted ahead: some may be gone. Empty when
    /// it was not.
    pub(super) owners: Vec<RequestId>,
    pub(super) ahead: Ahead,
    /// Results of the step, in the order of its rows.
    results: Vec<RowResult>,
    /// Slots of requests that ended with the step.
    over: Vec<Slot>,
    /// New requests end at once with `abort`.
    pub(super) aborting: bool,
    pub(super) stopping: bool,
    pub(super) control: Control,
    pub(super) transfers: Transfers,
    /// Nothing can be planned until something is heard: all blocks are with others.
    pub(super) starved: bool,
}

impl Core {
    /// An idle engine around a backend, and the way to reach it.
    pub fn new(
        config: EngineConfig,
        backend: Box<dyn Backend>,
        clock: Clock,
    ) -> (Self, EngineHandle) {
        let limits = *backend.limits();
        let (sender, inbox) = channel();
        let status = Arc::new(Status::new(&limits, &config, clock.clone()));
        let handle = EngineHandle::new(sender, status.clone(), &config);
        let hasher = config
            .prefix_caching
            .as_ref()
            .map(|caching| BlockHasher::new(caching.algo, caching.hash_seed.as_deref()));
        let mut kv = KvCache::new(limits.num_blocks, limits.block_size, hasher);
        let observation = &config.observation;
        if let Some((sample, histograms)) =
            observation.residency.as_ref().zip(status.residency.as_ref())
        {
            kv.measure_residency(Residency::new(sample.share, histograms.clone()));
        }
        let core = Self {
            backend,
            inbox,
            heard: VecDeque::new(),
            clock,
            waits: Waits::default(),
            status,
            scheduler: Scheduler::new(config.scheduler),
            kv,
            sampler: Sampler::new(limits.vocab_size).reporting(config.logprobs),
            kv_events: None,
            observer: StepObserver::new(observation.costs, observation.log_steps),
            requests: Vec::new(),
            slots: HashMap::new(),
            plan: StepPlan::default(),
            batch: StepBatch::new(&limits),
            owners: Vec::new(),
            ahead: Ahead::new(StepBatch::new(&limits)),
            results: Vec::with_capacity(limits.max_seqs),
            over: Vec::with_capacity(limits.max_seqs),
            aborting: false,
            stopping: false,
            control: Control::default(),
            transfers: Transfers::default(),
            starved: false,
            config,
        };
        (core, handle)
    }

    /// Tells `sink` of every change of the prefix cache from now on, once it is certain.
    pub fn tell_kv_events(&mut self, sink: Box<dyn KvEventSink>) {
        self.kv.note_changes();
        self.kv_events = Some(sink);
    }

    /// Runs until stopped. After an error every generation has been told and none is taken any
    /// more.
    pub fn run(&mut self) -> Result<(), BackendError> {
        loop {
            match self.turn()? {
                Turn::Stepped => {}
                Turn::Stopped => return Ok(()),
                Turn::Idle => match self.inbox.recv() {
                    Ok(message) => self.handle_message(message),
                    Err(_) => return Ok(()),
                },
            }
        }
    }

    /// Takes all messages that are there and runs one step, if there is work.
    pub fn turn(&mut self) -> Result<Turn, BackendError> {
        loop {
            match self.next_message() {
                Ok(message) => {
                    // A new request only joins the queue; anything else may touch what runs.
                    if !matches!(message, Message::New { .. }) {
                        self.settle()?;
                    }
                    self.handle_message(message);
                }
                Err(TryRecvError::Empty) => break,
                Err(TryRecvError::Disconnected) => {
                    self.stopping = true;
                    break;
                }
            }
        }
        if !self.has_work() {
            self.settle()?;
            self.publish();
            let is_over = self.stopping && self.scheduler.is_empty() && !self.control.holds_any();
            return Ok(if is_over { Turn::Stopped } else { Turn::Idle });
        }
        self.status.begin_work();
        self.step().inspect_err(|_| self.fail())?;
        self.end_pauses();
        Ok(Turn::Stepped)
    }

    pub(super) fn tell(&mut self, events: Vec<KvEvent>) {
        if let Some(sink) = self.kv_events.as_mut().filter(|_| !events.is_empty()) {
            sink.push(KvEventBatch { time: self.clock.now(), events });
        }
    }

    pub(super) fn add(
        &mut self,
        id: RequestId,
        mut new: NewRequest,
        events: UnboundedSender<Generated>,
    ) {
        let mut request = Request::new(id, &mut new, self.config.seed, events);
        request.queued(self.clock.now(), &self.waits);
        if self.aborting {
            self.status.counters.count_finish(FinishReason::Abort);
            self.discard(id, request.transfer());
            return request.send_end(FinishReason::Abort);
        }
        match self.control.is_paused() {
            true => self.control.hold(id, new, request),
            false => self.enqueue(id, new, request),
        }
    }

    /// Puts a request in the scheduler's queue.
    pub(super) fn enqueue(&mut self, id: RequestId, new: NewRequest, request: Request) {
        let mut sequence = Sequence::new(id, new.prompt, new.params.max_tokens as usize);
        sequence.priority = new.priority;
        sequence.salt = new.cache_salt;
        sequence.session = new.session;
        sequence.reports_prefix = new.reports_prefix;
        let reads_cache = new.params.reads_prefix_cache();
        sequence.may_hit = self.kv.shares_prefixes() && reads_cache;
        sequence.remote = self.announce(id, request.transfer(), reads_cache);
        let slot = self.scheduler.add(sequence);
        if slot == self.requests.len() {
            self.requests.push(None);
        }
        self.requests[slot] = Some(request);
        self.slots.insert(id, slot);
    }

    fn step(&mut self) -> Result<(), BackendError> {
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
            let draw = (rows > 0).then(|| request.draw(sequence.output().len())).flatten();
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

    pub(super) fn publish(&self) {
        let gauges = &self.status.gauges;
        gauges.running.store(self.scheduler.num_running() as u64, Relaxed);
        let waiting = self.scheduler.num_waiting() + self.control.num_held();
        gauges.waiting.store(waiting as u64, Relaxed);
        gauges.pulling.store(self.scheduler.num_pulling() as u64, Relaxed);
        gauges.wanted.store(self.transfers.wanted(), Relaxed);
        gauges.leased.store(self.transfers.leased(), Relaxed);
        let pool = self.kv.pool();
        gauges.kv_used_blocks.store((pool.num_blocks() - pool.num_free()) as u64, Relaxed);
        self.status.progress(self.has_work());
    }

    pub(super) fn end_all(&mut self, reason: FinishReason) {
        for slot in 0..self.requests.len() {
            if self.requests[slot].is_some() {
                self.end(slot, reason);
            }
        }
    }

    pub(super) fn end(&mut self, slot: Slot, reason: FinishReason) {
        self.remove(slot).send_end(reason);
        self.status.counters.count_finish(reason);
    }

    /// Tells everyone that the engine is gone.
    pub(super) fn fail(&mut self) {
        self.status.set_dead();
        self.end_all(FinishReason::Error);
        self.end_held(FinishReason::Error);
        self.publish();
    }

    /// Checks every invariant of the queues and the pool. For simulations.
    ///
    /// # Panics
    /// Saying what is broken.
    pub fn check(&self) {
        self.scheduler.check(&self.kv, self.transfers.held());
        assert_eq!(self.slots.len(), self.scheduler.sequences().count());
    }
}

/// The request in a slot of the plan.
pub(super) fn in_use(requests: &mut [Option<Request>], slot: Slot) -> &mut Request {
    requests[slot].as_mut().expect("planned slots are in use")
}
