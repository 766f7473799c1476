//! The way into the engine from other threads.

use super::config::EngineConfig;
use super::control::{Command, PauseMode};
use super::inbox::Message;
use super::status::Status;
use crate::types::{
    Clock, FinishReason, Generated, RemoteBlocks, RequestId, SamplingParams, SharedTimeline, Token,
    TokenConstraint, TransferEvent,
};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering::Relaxed};
use std::sync::mpsc::{Sender, channel};
use std::task::{Context, Poll};
use tokio::sync::mpsc::{UnboundedReceiver, unbounded_channel};
use tokio::sync::oneshot;

/// A prompt and what to do with it. `prompt` is not empty, shorter than the context, and holds
/// only ids of the vocabulary.
pub struct NewRequest {
    pub prompt: Arc<[Token]>,
    pub params: Arc<SamplingParams>,
    /// Which of the generations of one prompt it is: each adds its number to the seed.
    pub number: u32,
    /// Lower is sooner; only the priority policy looks at it.
    pub priority: i64,
    /// Mixed into the first block's hash, so that only requests with the same salt share blocks.
    pub cache_salt: Option<Arc<str>>,
    /// Named in the KV events of the blocks that it stores.
    pub session: Option<Arc<str>>,
    /// KV events tell of the blocks too that it finds in the cache.
    pub reports_prefix: bool,
    /// What is to be done with KV beyond this server.
    pub transfer: Transfer,
    /// Keeps the output within a grammar.
    pub constraint: Option<Box<dyn TokenConstraint>>,
    /// Begins when the request is handed over; the engine writes on.
    pub timeline: SharedTimeline,
}

/// A request's part in moving KV between servers.
#[derive(Clone, Debug, Default)]
pub enum Transfer {
    /// None.
    #[default]
    None,
    /// The prompt's blocks are kept for a peer under this name, if the request ends by itself.
    Lease(Arc<str>),
    /// The prompt's KV is there, on another server.
    Pull(Arc<RemoteBlocks>),
}

/// Why the engine does not take a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refused {
    #[error("as many requests are in flight as --max-num-queued-reqs allows")]
    Full,
    #[error("as many prompt tokens wait as --max-num-queued-tokens allows")]
    Backlog,
    #[error("the engine has failed")]
    Dead,
}

/// A cheap, clonable way to speak to the engine thread.
#[derive(Clone)]
pub struct EngineHandle {
    inbox: Sender<Message>,
    shared: Arc<Shared>,
}

struct Shared {
    status: Arc<Status>,
    next_id: AtomicU64,
    in_flight: AtomicUsize,
    max_in_flight: usize,
    /// Prompt tokens of generations before their first token.
    queued_tokens: AtomicUsize,
    max_queued_tokens: usize,
}

impl EngineHandle {
    pub(super) fn new(inbox: Sender<Message>, status: Arc<Status>, config: &EngineConfig) -> Self {
        let shared = Shared {
            status,
            next_id: AtomicU64::new(0),
            in_flight: AtomicUsize::new(0),
            max_in_flight: config.max_in_flight,
            queued_tokens: AtomicUsize::new(0),
            max_queued_tokens: config.max_queued_tokens,
        };
        Self { inbox, shared: Arc::new(shared) }
    }

    /// Takes room for `n` generations, before the work of rendering and tokenising is done.
    pub fn reserve(&self, n: usize) -> Result<Reservation, Refused> {
        if self.shared.status.is_dead() {
            return Err(Refused::Dead);
        }
        let take = |now: usize| (now + n <= self.shared.max_in_flight).then_some(now + n);
        let counters = &self.shared.status.counters;
        if self.shared.in_flight.fetch_update(Relaxed, Relaxed, take).is_err() {
            counters.rejected.fetch_add(1, Relaxed);
            return Err(Refused::Full);
        }
        let reservation = Reservation { left: n, handle: self.clone() };
        if self.shared.queued_tokens.load(Relaxed) >= self.shared.max_queued_tokens {
            counters.rejected_tokens.fetch_add(1, Relaxed);
            return Err(Refused::Backlog);
        }
        Ok(reservation)
    }

    /// Generations in flight or reserved.
    pub fn in_flight(&self) -> usize {
        self.shared.in_flight.load(Relaxed)
    }

    /// Gauges, counters and health.
    pub fn status(&self) -> &Status {
        &self.shared.status
    }

    /// The same, to keep.
    pub fn shared_status(&self) -> Arc<Status> {
        self.shared.status.clone()
    }

    /// The clock of the engine's moments.
    pub fn clock(&self) -> &Clock {
        self.shared.status.clock()
    }

    /// Ends some generations with finish reason `abort`; their readers hear of it.
    pub fn abort(&self, ids: Vec<RequestId>) {
        let _ = self.inbox.send(Message::Abort(ids));
    }

    /// Ends everything in flight with finish reason `abort`, as vLLM does when it shuts down;
    /// requests that come later end the same way.
    pub fn abort_all(&self) {
        let _ = self.inbox.send(Message::AbortAll);
    }

    /// Ends requests that come from here on with finish reason `abort`; what runs goes on.
    pub fn refuse_new(&self) {
        let _ = self.inbox.send(Message::RefuseNew);
    }

    /// A request was refused that would have pulled these blocks: they may be freed.
    pub fn discard(&self, remote: Arc<RemoteBlocks>) {
        let id = RequestId(self.shared.next_id.fetch_add(1, Relaxed));
        let _ = self.inbox.send(Message::Discard(id, remote));
    }

    /// Tells what came of a transfer.
    pub fn transferred(&self, event: TransferEvent) {
        let _ = self.inbox.send(Message::Transferred(event));
    }

    /// Lets the engine thread end once nothing is in flight.
    pub fn stop(&self) {
        let _ = self.inbox.send(Message::Stop);
    }

    /// Holds requests that come; done when those in flight are treated as `mode` says, and the
    /// prefix cache is forgotten if `clear_cache`.
    pub async fn pause(&self, mode: PauseMode, clear_cache: bool) -> Result<(), Refused> {
        self.command(|reply| Command::Pause { mode, clear_cache, reply }).await
    }

    /// Goes on after a pause.
    pub async fn resume(&self) -> Result<(), Refused> {
        self.command(|reply| Command::Resume { reply }).await
    }

    /// Pauses, then gives memory back: nothing at level 0, the KV cache's at 1, all at 2.
    pub async fn sleep(&self, level: u8, mode: PauseMode) -> Result<(), Refused> {
        self.command(|reply| Command::Sleep { level, mode, reply }).await
    }

    /// Wakes the parts that vLLM gives these tags, or all; tells whether none sleeps any more, or
    /// why it could not be woken.
    pub async fn wake_up(
        &self,
        tags: Option<Vec<String>>,
    ) -> Result<Result<bool, String>, Refused> {
        self.command(|reply| Command::WakeUp { tags, reply }).await
    }

    /// Gives the KV cache's memory back, in a pause; vLLM's words when that cannot be.
    pub async fn release_kv_cache(&self) -> Result<Result<(), String>, Refused> {
        self.command(|reply| Command::ReleaseKvCache { reply }).await
    }

    async fn command<T>(
        &self,
        command: impl FnOnce(oneshot::Sender<T>) -> Command,
    ) -> Result<T, Refused> {
        let (reply, answer) = oneshot::channel();
        self.inbox.send(Message::Control(command(reply))).map_err(|_| Refused::Dead)?;
        answer.await.map_err(|_| Refused::Dead)
    }

    /// Forgets all cached blocks. False while a request holds any, or when the engine is dead. With
    /// `preempt` those that run give theirs up first and start again.
    /// Waits for the step under way: not for async threads.
    pub fn reset_prefix_cache(&self, preempt: bool) -> bool {
        let (reply, answer) = channel();
        let message = Message::ResetPrefixCache { preempt, reply };
        self.inbox.send(message).is_ok() && answer.recv().unwrap_or(false)
    }
}

/// Room for generations that have not started yet; given back when dropped.
pub struct Reservation {
    left: usize,
    handle: EngineHandle,
}

impl Reservation {
    /// Hands one request to the engine, using up one of the reserved places.
    ///
    /// # Panics
    /// When more are started than were reserved.
    pub fn start(&mut self, request: NewRequest) -> Result<Generation, Refused> {
        assert!(self.left > 0, "no reserved place is left");
        let (sender, events) = unbounded_channel();
        let queued = request.prompt.len();
        let id = RequestId(self.handle.shared.next_id.fetch_add(1, Relaxed));
        let message = Message::New { id, request: Box::new(request), events: sender };
        self.handle.inbox.send(message).map_err(|_| Refused::Dead)?;
        self.left -= 1;
        self.handle.shared.queued_tokens.fetch_add(queued, Relaxed);
        let handle = self.handle.clone();
        Ok(Generation { id, events, ended: false, aborted: false, queued, handle })
    }
}

impl Drop for Reservation {
    fn drop(&mut self) {
        self.handle.shared.in_flight.fetch_sub(self.left, Relaxed);
    }
}

/// The output of one generation. Dropping it before its end tells the engine to forget it.
pub struct Generation {
    id: RequestId,
    events: UnboundedReceiver<Generated>,
    ended: bool,
    /// Ended by the engine without a token, and counted by it.
    aborted: bool,
    /// Its share of the prompt tokens that wait: until its first token.
    queued: usize,
    handle: EngineHandle,
}

impl Generation {
    /// The id inside the engine.
    pub fn id(&self) -> RequestId {
        self.id
    }

    /// The next event: first `Prompt`, then `Token`s; the last one carries a `Finish`. `None`
    /// after that, or when the engine died.
    pub async fn next(&mut self) -> Option<Generated> {
        let event = self.events.recv().await;
        self.note(event.as_ref());
        event
    }

    /// The same for hand-written futures and streams.
    pub fn poll_next(&mut self, cx: &mut Context<'_>) -> Poll<Option<Generated>> {
        let event = std::task::ready!(self.events.poll_recv(cx));
        self.note(event.as_ref());
        Poll::Ready(event)
    }

    /// An event that is already there; `None` when there is none (yet).
    pub fn try_next(&mut self) -> Option<Generated> {
        let event = self.events.try_recv().ok()?;
        self.note(Some(&event));
        Some(event)
    }

    /// Ends it for `reason`, which counts: the reader decides, since a stop string may end what
    /// the engine would go on with. Without this, a dropped generation counts as nothing.
    pub fn finish(self, reason: FinishReason) {
        if !self.aborted {
            self.handle.shared.status.counters.count_finish(reason);
        }
    }

    fn note(&mut self, event: Option<&Generated>) {
        if let Some(Generated::Token { .. }) = event {
            self.handle.shared.status.counters.generation_tokens.fetch_add(1, Relaxed);
            self.leave_queue();
        }
        self.aborted |= matches!(event, Some(Generated::End(_)));
        self.ended |= match event {
            None | Some(Generated::End(_)) => true,
            Some(Generated::Token { finish, .. }) => finish.is_some(),
            Some(Generated::Prompt { .. } | Generated::Leased(_)) => false,
        };
    }
}

impl Generation {
    fn leave_queue(&mut self) {
        if self.queued > 0 {
            self.handle.shared.queued_tokens.fetch_sub(std::mem::take(&mut self.queued), Relaxed);
        }
    }
}

impl Drop for Generation {
    fn drop(&mut self) {
        self.leave_queue();
        if !self.ended {
            let _ = self.handle.inbox.send(Message::Cancel(self.id));
        }
        self.handle.shared.in_flight.fetch_sub(1, Relaxed);
    }
}
