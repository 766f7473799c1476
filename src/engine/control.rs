//! What operators do to a running engine: pause it, put it to sleep, abort, forget the cache.
//!
//! While the engine is paused, requests that come are held and nothing is planned for them; what
//! was in flight has been aborted, goes on to its end, or stands still, by the pause's mode. An
//! engine that sleeps is paused and has given memory back: the KV pool's at level 1, the weights'
//! too at level 2. It wakes part by part, and goes on once all parts are back.

use super::core::{Core, in_use};
use super::handle::{NewRequest, Transfer};
use super::inbox::Message;
use super::request::Request;
use crate::runner::Parts;
use crate::types::{FinishReason, KvEvent, RequestId};
use std::collections::VecDeque;
use tokio::sync::oneshot::Sender as Reply;

/// What a pause does to requests in flight.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PauseMode {
    /// They end with finish reason `abort`.
    Abort,
    /// They end by themselves; the pause is there when they have.
    Wait,
    /// They stand still.
    Keep,
}

/// One command. Replies come when it is done; their errors are vLLM's words.
#[derive(Debug)]
pub enum Command {
    Pause {
        mode: PauseMode,
        clear_cache: bool,
        reply: Reply<()>,
    },
    Resume {
        reply: Reply<()>,
    },
    Sleep {
        level: u8,
        mode: PauseMode,
        reply: Reply<()>,
    },
    /// `None` wakes all parts; answers whether the engine is fully awake.
    WakeUp {
        tags: Option<Vec<String>>,
        reply: Reply<Result<bool, String>>,
    },
    ReleaseKvCache {
        reply: Reply<Result<(), String>>,
    },
}

/// What is done when a pause is complete.
#[derive(Debug)]
struct Pausing {
    clear_cache: bool,
    /// The level of sleep that follows, if any.
    level: Option<u8>,
    reply: Reply<()>,
}

/// A request that came during a pause.
struct Held {
    id: RequestId,
    new: NewRequest,
    request: Request,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum State {
    #[default]
    Running,
    /// What is in flight goes on.
    HoldsNew,
    /// Nothing goes on.
    HoldsAll,
}

/// Pauses and sleep of one engine.
#[derive(Default)]
pub struct Control {
    state: State,
    held: VecDeque<Held>,
    /// Pauses that wait for what is in flight.
    pausing: Vec<Pausing>,
    /// Parts whose memory is given back.
    asleep: Parts,
}

impl Control {
    /// Whether requests that come are held.
    pub fn is_paused(&self) -> bool {
        self.state != State::Running
    }

    /// How many are.
    pub fn num_held(&self) -> usize {
        self.held.len()
    }

    /// Whether any is.
    pub fn holds_any(&self) -> bool {
        !self.held.is_empty()
    }

    /// Holds a request until the engine goes on.
    pub fn hold(&mut self, id: RequestId, new: NewRequest, request: Request) {
        self.held.push_back(Held { id, new, request });
    }

    fn forget(&mut self, id: RequestId) -> Option<Request> {
        let at = self.held.iter().position(|held| held.id == id)?;
        self.held.remove(at).map(|held| held.request)
    }
}

impl Core {
    /// Whether there is a step to make.
    pub(super) fn has_work(&self) -> bool {
        self.control.state != State::HoldsAll && self.scheduler.may_step() && !self.starved
    }

    pub(super) fn handle_message(&mut self, message: Message) {
        self.starved = false;
        match message {
            Message::New { id, request, events } => self.add(id, *request, events),
            Message::Cancel(id) => {
                self.take(id);
            }
            Message::AbortAll => {
                self.aborting = true;
                self.end_all(FinishReason::Abort);
                self.end_held(FinishReason::Abort);
            }
            Message::RefuseNew => self.aborting = true,
            Message::ResetPrefixCache { preempt, reply } => {
                let _ = reply.send(self.reset_prefix_cache(preempt));
            }
            Message::Abort(ids) => {
                for id in ids {
                    if let Some(request) = self.take(id) {
                        request.send_end(FinishReason::Abort);
                        self.status.counters.count_finish(FinishReason::Abort);
                    }
                }
            }
            Message::Discard(id, remote) => self.discard(id, &Transfer::Pull(remote)),
            Message::Transferred(event) => self.transferred(event),
            Message::Control(command) => self.command(command),
            Message::Stop => self.stopping = true,
        }
        // What waited for others to end may go on now.
        self.end_pauses();
    }

    /// Takes a request out of the engine, wherever it is.
    fn take(&mut self, id: RequestId) -> Option<Request> {
        match self.slots.get(&id) {
            Some(&slot) => Some(self.remove(slot)),
            None => {
                let request = self.control.forget(id)?;
                self.discard(id, request.transfer());
                Some(request)
            }
        }
    }

    pub(super) fn end_held(&mut self, reason: FinishReason) {
        for held in std::mem::take(&mut self.control.held) {
            self.discard(held.id, held.request.transfer());
            held.request.send_end(reason);
            self.status.counters.count_finish(reason);
        }
    }

    fn command(&mut self, command: Command) {
        match command {
            Command::Pause { mode, clear_cache, reply } => {
                self.pause(mode, Pausing { clear_cache, level: None, reply });
            }
            Command::Sleep { level, mode, reply } => {
                self.pause(mode, Pausing { clear_cache: level > 0, level: Some(level), reply });
            }
            Command::Resume { reply } => {
                self.resume();
                let _ = reply.send(());
            }
            Command::WakeUp { tags, reply } => {
                let _ = reply.send(self.wake_up(tags));
            }
            Command::ReleaseKvCache { reply } => {
                let _ = reply.send(self.release_kv_cache());
            }
        }
    }

    fn pause(&mut self, mode: PauseMode, pausing: Pausing) {
        if mode == PauseMode::Abort {
            self.end_all(FinishReason::Abort);
            self.end_held(FinishReason::Abort);
        }
        self.control.state = match mode {
            PauseMode::Keep => State::HoldsAll,
            PauseMode::Abort | PauseMode::Wait => State::HoldsNew,
        };
        self.status.set_paused(true);
        self.control.pausing.push(pausing);
    }

    /// Whether nothing moves: no step is to be made, and what waits for blocks or for KV stands
    /// still by order. Memory that is to be given back is nobody else's.
    fn is_still(&self) -> bool {
        let in_flight = match self.control.state {
            State::HoldsAll => self.scheduler.num_pulling() > 0,
            State::Running | State::HoldsNew => !self.scheduler.is_empty(),
        };
        let gives_back = self.control.pausing.iter().any(|pausing| pausing.clear_cache);
        let held = gives_back && self.transfers.holds_any();
        !in_flight && !held
    }

    /// Completes pauses when nothing moves any more.
    pub(super) fn end_pauses(&mut self) {
        if self.control.pausing.is_empty() || self.ahead.submitted || !self.is_still() {
            return;
        }
        for Pausing { clear_cache, level, reply } in std::mem::take(&mut self.control.pausing) {
            if clear_cache {
                self.reset_prefix_cache(true);
            }
            let deep = level.filter(|level| *level > 0);
            if let Some(level) = deep.filter(|_| !self.control.asleep.weights) {
                // In memory of the processor's is where level 1 wants the weights to be.
                let parts = Parts { weights: level > 1, kv_cache: true };
                self.backend.release(parts);
                self.control.asleep = Parts { weights: true, kv_cache: true };
            }
            self.status.set_asleep(self.control.asleep.any());
            if level.is_some() {
                self.status.set_sleep_level(level);
            }
            let _ = reply.send(());
        }
        self.publish();
    }

    fn resume(&mut self) {
        self.control.state = State::Running;
        self.status.set_paused(false);
        if self.control.asleep.any() {
            // As in vLLM, requests are let in again; but nothing can be computed for them yet.
            self.control.state = State::HoldsAll;
        }
        self.let_in();
    }

    fn let_in(&mut self) {
        if self.control.state == State::Running {
            for Held { id, new, request } in std::mem::take(&mut self.control.held) {
                self.enqueue(id, new, request);
            }
        }
    }

    fn wake_up(&mut self, tags: Option<Vec<String>>) -> Result<bool, String> {
        let asleep = self.control.asleep;
        let parts = match tags {
            None => asleep,
            Some(tags) => {
                let named = |name: &str| tags.iter().any(|tag| tag == name);
                let parts = Parts { weights: named("weights"), kv_cache: named("kv_cache") };
                let known = tags.iter().all(|tag| {
                    let is_asleep = match tag.as_str() {
                        "scheduling" => true,
                        "weights" => asleep.weights,
                        "kv_cache" => asleep.kv_cache,
                        _ => false,
                    };
                    if !is_asleep {
                        log::warn!("Tag {tag} is not in sleeping tags {asleep:?}");
                    }
                    is_asleep
                });
                if known { parts } else { Parts::default() }
            }
        };
        if parts.any() {
            self.backend.restore(parts).map_err(|error| error.to_string())?;
            self.control.asleep = asleep.without(parts);
        }
        let is_awake = !self.control.asleep.any();
        self.status.set_asleep(!is_awake);
        if is_awake {
            self.status.set_sleep_level(None);
            self.resume();
        }
        Ok(is_awake)
    }

    fn release_kv_cache(&mut self) -> Result<(), String> {
        let is_idle = self.scheduler.is_empty() && !self.control.holds_any();
        if !self.control.is_paused() || !is_idle {
            return Err("release_kv_cache_memory() requires a completed pause first".to_owned());
        }
        if self.control.asleep.any() {
            let reason = "release_kv_cache_memory() requires all executor memory to be resident";
            return Err(reason.to_owned());
        }
        if !self.backend.can_release() {
            let reason = "Worker failed with error 'Selective discard is not supported on CPU.', \
                          please check the stack trace above for the root cause";
            return Err(reason.to_owned());
        }
        self.reset_prefix_cache(true);
        let parts = Parts { weights: false, kv_cache: true };
        self.backend.release(parts);
        self.control.asleep = parts;
        self.status.set_asleep(true);
        self.status.set_sleep_level(Some(0));
        Ok(())
    }

    /// Forgets all that is cached, unless a block is held; mirrors hear of it at once.
    pub(super) fn reset_prefix_cache(&mut self, preempt: bool) -> bool {
        if preempt {
            let now = self.clock.now();
            self.plan.preempted.clear();
            self.scheduler.preempt_all(&mut self.kv, &mut self.plan);
            for &slot in &self.plan.preempted {
                in_use(&mut self.requests, slot).preempted(now);
            }
        }
        let is_empty = self.kv.reset();
        if is_empty {
            self.tell(vec![KvEvent::Cleared]);
        }
        is_empty
    }
}
