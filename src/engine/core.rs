//! The loop: messages in, plan, step, samples out.

use super::ahead::Ahead;
use super::config::EngineConfig;
use super::control::Control;
use super::handle::{EngineHandle, NewRequest};
use super::inbox::Message;
use super::observe::StepObserver;
use super::request::Request;
use super::sampling::RowResult;
use super::status::Status;
use super::transfer::Transfers;
use crate::kv::{BlockHasher, KvCache, Residency};
use crate::runner::{Backend, BackendError, StepBatch};
use crate::sampler::Sampler;
use crate::scheduler::{Scheduler, Sequence, Slot, StepPlan};
use crate::types::{
    Clock, FinishReason, Generated, KvEvent, KvEventBatch, KvEventSink, RequestId, Waits,
};
use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::sync::mpsc::{Receiver, TryRecvError, channel};
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
    /// A message that was taken from the inbox and not handled.
    pub(super) heard: Option<Message>,
    pub(super) clock: Clock,
    /// What has held up the queue since the start.
    pub(super) waits: Waits,
    pub(super) status: Arc<Status>,
    pub(super) scheduler: Scheduler,
    pub(super) kv: KvCache,
    pub(super) sampler: Sampler,
    kv_events: Option<Box<dyn KvEventSink>>,
    pub(super) observer: Option<StepObserver>,
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
    pub(super) results: Vec<RowResult>,
    /// Slots of requests that ended with the step.
    pub(super) over: Vec<Slot>,
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
            heard: None,
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
