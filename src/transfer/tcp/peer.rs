//! D's side of a peer: what waits to be read and said, and the threads that do it.
//!
//! A read has a connection to itself while it lasts: it can be given up by closing it, and others
//! go on. Notifications have one of their own, so that a long read does not hold up heartbeats,
//! and so that they arrive in the order in which they were said: those of reads after the reads.

use super::pool::Pool;
use super::wire::{LONGEST_NOTIFICATION, Metadata};
use crate::transfer::transport::{ReadId, ReadStats, TransportError, TransportEvent, Waker};
use crate::types::BlockId;
use socket2::Socket;
use std::collections::{HashMap, VecDeque};
use std::net::Shutdown;
use std::sync::mpsc::Sender;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

/// Notifications that may wait.
const MOST_MESSAGES: usize = 4096;
const MOST_MESSAGE_BYTES: usize = 64 * LONGEST_NOTIFICATION;

/// A read that is asked for.
#[derive(Debug)]
pub(super) struct Job {
    pub read: ReadId,
    pub request_id: String,
    pub local: Vec<BlockId>,
    pub remote: Vec<BlockId>,
    /// Said once all is read.
    pub notification: Vec<u8>,
    /// When it was asked for, and when it had been handed over.
    pub begun: Instant,
    pub posted: Instant,
}

/// What a transport gives to the threads of its peers.
#[derive(Clone)]
pub(super) struct Home {
    pub pool: Arc<Pool>,
    pub stall: Duration,
    pub events: Sender<TransportEvent>,
    pub waker: Waker,
}

/// What the threads of a peer share.
pub(super) struct Peer {
    pub home: Home,
    pub metadata: Metadata,
    state: Mutex<State>,
    /// There is something to read, or it is over.
    work: Condvar,
    /// There is something to say, or all is said, or it is over.
    speech: Condvar,
}

#[derive(Default)]
struct State {
    waiting: VecDeque<Job>,
    running: HashMap<ReadId, Running>,
    threads: Vec<JoinHandle<()>>,
    readers: usize,
    /// Readers without work.
    idle: usize,
    messages: VecDeque<Vec<u8>>,
    message_bytes: usize,
    /// What notifications go over.
    speaking: Option<Arc<Socket>>,
    /// Nothing more will be said: the speaker ends when all is.
    closing: bool,
    spoken: bool,
    /// Why it is over.
    ended: Option<TransportError>,
}

impl State {
    fn push(&mut self, message: Vec<u8>) {
        if self.ended.is_none() {
            self.message_bytes += message.len();
            self.messages.push_back(message);
        }
    }
}

#[derive(Default)]
struct Running {
    socket: Option<Arc<Socket>>,
    cancelled: bool,
}

fn given_up() -> TransportError {
    TransportError::Failed("the read was given up".to_owned())
}

/// Ends what waits on it.
fn shut(socket: &Option<Arc<Socket>>) {
    if let Some(socket) = socket {
        // Fails when it is not connected, and then nothing waits on it, or is over already.
        let _ = socket.shutdown(Shutdown::Both);
    }
}

impl Peer {
    pub fn new(home: Home, metadata: Metadata) -> Self {
        let (work, speech) = (Condvar::new(), Condvar::new());
        Self { home, metadata, state: Mutex::default(), work, speech }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Starts the thread that says notifications.
    pub fn start(self: &Arc<Self>, speak: fn(Arc<Self>)) -> Result<(), TransportError> {
        let thread = self.thread("kv-say", speak)?;
        self.state().threads.push(thread);
        Ok(())
    }

    fn thread(
        self: &Arc<Self>,
        name: &str,
        body: fn(Arc<Self>),
    ) -> Result<JoinHandle<()>, TransportError> {
        let (peer, builder) = (self.clone(), std::thread::Builder::new().name(name.to_owned()));
        let thread = builder.spawn(move || body(peer));
        thread.map_err(|e| TransportError::Failed(format!("no thread: {e}")))
    }

    /// Waits for the threads, which end once the peer has.
    pub fn join(&self) {
        let threads = std::mem::take(&mut self.state().threads);
        threads.into_iter().for_each(|thread| drop(thread.join()));
    }

    /// Whether [`Peer::join`] would not wait.
    pub fn is_finished(&self) -> bool {
        self.state().threads.iter().all(JoinHandle::is_finished)
    }

    /// Queues a read, and starts a thread for it, as long as there are fewer than `most`.
    pub fn read(
        self: &Arc<Self>,
        job: Job,
        most: usize,
        read: fn(Arc<Self>),
    ) -> Result<(), TransportError> {
        let mut state = self.state();
        if let Some(why) = &state.ended {
            return Err(why.clone());
        }
        if state.idle <= state.waiting.len() && state.readers < most {
            match self.thread("kv-read", read) {
                Ok(thread) => {
                    state.threads.push(thread);
                    state.readers += 1;
                }
                // The others do it, if there are any.
                Err(why) if state.readers == 0 => return Err(why),
                Err(_) => {}
            }
        }
        state.waiting.push_back(job);
        drop(state);
        self.work.notify_one();
        Ok(())
    }

    /// The next read, to whoever is free. `None` when it is over.
    pub fn next_job(&self) -> Option<Job> {
        let mut state = self.state();
        state.idle += 1;
        loop {
            if state.ended.is_some() {
                return None;
            }
            if let Some(job) = state.waiting.pop_front() {
                state.idle -= 1;
                state.running.insert(job.read, Running::default());
                return Some(job);
            }
            state = self.work.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
    }

    /// A read goes over `socket` from here on, unless it was given up.
    pub fn enter(&self, read: ReadId, socket: &Arc<Socket>) -> Result<(), TransportError> {
        let mut state = self.state();
        if let Some(why) = &state.ended {
            return Err(why.clone());
        }
        match state.running.get_mut(&read) {
            Some(running) if !running.cancelled => {
                running.socket = Some(socket.clone());
                Ok(())
            }
            _ => Err(given_up()),
        }
    }

    /// A read is over, and its blocks are left alone. Whether its connection is still good.
    pub fn finish(&self, job: Job, result: Result<(), TransportError>) -> bool {
        let mut state = self.state();
        let running = state.running.remove(&job.read);
        let cancelled = running.is_some_and(|running| running.cancelled);
        let ended = state.ended.clone();
        drop(state);
        // What this thread sees of an end that came from elsewhere says less.
        let result = match (result, ended) {
            (Err(_), Some(why)) => Err(why),
            (Err(_), None) if cancelled => Err(given_up()),
            (result, _) => result,
        };
        let good = !cancelled && matches!(result, Ok(()) | Err(TransportError::Refused(_)));
        match &result {
            // What is left on the connection is of no use, but the peer is.
            Err(TransportError::Copy(_)) => {}
            Err(why) if !good && !cancelled => self.end(why.clone()),
            _ => {}
        }
        self.tell(job, result);
        good
    }

    /// The end of a read, and what is said for it.
    fn tell(&self, job: Job, result: Result<(), TransportError>) {
        let pool = &self.home.pool;
        let regions = pool.geometry().regions;
        let result = result.map(|()| ReadStats {
            bytes: pool.bytes(job.local.len()),
            descriptors: regions.saturating_mul(job.local.len() as u32),
            post: job.posted - job.begun,
            transfer: job.posted.elapsed(),
        });
        if result.is_ok() {
            // As many as there are reads: these need no bound. A peer that ended is met with at
            // the next call.
            self.state().push(job.notification);
            self.speech.notify_all();
        }
        // Nobody takes events any more when the transport is being dropped.
        let _ = self.home.events.send(TransportEvent::Read { read: job.read, result });
        (self.home.waker)();
    }

    /// Gives a read up, if it is not over.
    pub fn cancel(&self, read: ReadId) {
        let mut state = self.state();
        if let Some(running) = state.running.get_mut(&read) {
            running.cancelled = true;
            shut(&running.socket);
        } else if let Some(at) = state.waiting.iter().position(|job| job.read == read) {
            let job = state.waiting.remove(at);
            drop(state);
            job.into_iter().for_each(|job| self.tell(job, Err(given_up())));
        }
    }

    /// Queues a notification.
    pub fn say(&self, message: Vec<u8>) -> Result<(), TransportError> {
        let mut state = self.state();
        if let Some(why) = &state.ended {
            return Err(why.clone());
        }
        let bytes = state.message_bytes + message.len();
        if state.messages.len() >= MOST_MESSAGES || bytes > MOST_MESSAGE_BYTES {
            return Err(TransportError::Failed("too many notifications wait".to_owned()));
        }
        state.push(message);
        drop(state);
        self.speech.notify_all();
        Ok(())
    }

    /// Waits for notifications and takes them, in order; none when it is over. Those before are
    /// with the peer.
    pub fn next_messages(&self, most: usize) -> Vec<Vec<u8>> {
        let mut state = self.state();
        loop {
            if state.ended.is_some() {
                return Vec::new();
            }
            if !state.messages.is_empty() {
                let most = most.min(state.messages.len());
                let messages: Vec<_> = state.messages.drain(..most).collect();
                state.message_bytes -= messages.iter().map(Vec::len).sum::<usize>();
                return messages;
            }
            if state.closing {
                state.spoken = true;
                self.speech.notify_all();
                return Vec::new();
            }
            state = self.speech.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
    }

    /// Notifications go over `socket` from here on.
    pub fn enter_speaker(&self, socket: &Arc<Socket>) -> Result<(), TransportError> {
        let mut state = self.state();
        if let Some(why) = &state.ended {
            return Err(why.clone());
        }
        state.speaking = Some(socket.clone());
        Ok(())
    }

    /// Lets what is queued be said, and nothing more.
    pub fn close(&self) {
        self.state().closing = true;
        self.speech.notify_all();
    }

    /// Waits until all is said, at most until `end`.
    pub fn wait_spoken(&self, end: Instant) {
        let left = end.saturating_duration_since(Instant::now());
        let talks = |state: &mut State| !state.spoken && state.ended.is_none();
        drop(self.speech.wait_timeout_while(self.state(), left, talks));
    }

    /// Ends everything with this peer; the first reason counts.
    pub fn end(&self, why: TransportError) {
        let mut state = self.state();
        let why = state.ended.get_or_insert(why).clone();
        let waiting = std::mem::take(&mut state.waiting);
        state.messages.clear();
        state.message_bytes = 0;
        state.running.values().for_each(|running| shut(&running.socket));
        shut(&state.speaking);
        drop(state);
        self.work.notify_all();
        self.speech.notify_all();
        waiting.into_iter().for_each(|job| self.tell(job, Err(why.clone())));
        // The next call says it.
        (self.home.waker)();
    }
}
