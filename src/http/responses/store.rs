//! Responses that clients may ask for again, within a bound of memory.
//!
//! vLLM keeps all of them until it ends. Here the oldest ones that have ended go when there is no
//! more room; a client that asks for one hears the same as for one that never was. Responses under
//! way stay: the engine bounds how many there are.

use super::super::reply::to_json;
use super::reply::{Outline, Status};
use crate::error::ApiError;
use crate::types::json::Json;
use bytes::Bytes;
use futures_util::{Stream, stream};
use std::collections::{BTreeMap, HashMap};
use std::convert::Infallible;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use tokio::sync::watch;
use tokio::task::AbortHandle;

/// The responses of a server.
pub struct Store {
    max_bytes: usize,
    inner: Mutex<Inner>,
}

#[derive(Default)]
struct Inner {
    entries: HashMap<String, Entry>,
    /// Ids by age.
    ages: BTreeMap<u64, String>,
    next_age: u64,
    bytes: usize,
}

struct Entry {
    age: u64,
    bytes: usize,
    phase: Phase,
    messages: Arc<[Json]>,
    events: Option<Arc<EventLog>>,
}

enum Phase {
    /// On its way in.
    Starting,
    /// In the background.
    Pending {
        outline: Arc<Outline>,
        task: Option<AbortHandle>,
    },
    Ended(Finished),
}

/// A response that has ended.
#[derive(Clone, Debug)]
pub struct Finished {
    pub status: Status,
    /// The object, as JSON.
    pub body: Bytes,
    /// What its messages say.
    pub said: Arc<[String]>,
}

/// The turn before: its messages and what its response said.
pub struct Past {
    pub messages: Arc<[Json]>,
    pub said: Arc<[String]>,
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// There is no such response.
pub fn not_found(id: &str) -> ApiError {
    let message = format!("Response with id '{id}' not found.");
    ApiError::invalid_request(404, message, "response_id")
}

/// About how much memory a value takes.
fn size(value: &Json) -> usize {
    let own = std::mem::size_of::<Json>();
    own + match value {
        Json::Str(text) => text.len(),
        Json::List(items) => items.iter().map(size).sum(),
        Json::Dict(entries) => {
            entries.iter().map(|(name, value)| name.len() + 2 * own + size(value)).sum()
        }
        _ => 0,
    }
}

impl Inner {
    /// Puts an entry in, in the place of an older one of its id.
    fn insert(&mut self, id: &str, phase: Phase, messages: Arc<[Json]>) -> &mut Entry {
        self.remove(id);
        let age = self.next_age;
        self.next_age += 1;
        self.ages.insert(age, id.to_owned());
        let bytes = id.len() + messages.iter().map(size).sum::<usize>();
        self.bytes += bytes;
        let entry = Entry { age, bytes, phase, messages, events: None };
        self.entries.entry(id.to_owned()).insert_entry(entry).into_mut()
    }

    fn remove(&mut self, id: &str) {
        if let Some(entry) = self.entries.remove(id) {
            self.ages.remove(&entry.age);
            self.bytes -= entry.bytes;
        }
    }

    fn end(&mut self, id: &str, finished: Finished) {
        let Some(entry) = self.entries.get_mut(id) else { return };
        let events = entry.events.as_ref().map_or(0, |events| events.end());
        let said: usize = finished.said.iter().map(String::len).sum();
        let bytes = finished.body.len() + said + events;
        entry.phase = Phase::Ended(finished);
        entry.bytes += bytes;
        self.bytes += bytes;
    }

    /// Lets the oldest go until there is no more than `max_bytes`.
    fn shrink(&mut self, max_bytes: usize) {
        if self.bytes <= max_bytes {
            return;
        }
        let is_ended = |id: &String| {
            self.entries.get(id).is_some_and(|entry| matches!(entry.phase, Phase::Ended(_)))
        };
        let ended: Vec<String> = self.ages.values().filter(|id| is_ended(id)).cloned().collect();
        for id in ended {
            if self.bytes <= max_bytes {
                break;
            }
            log::debug!("Forgetting response {id}: the store of responses is full.");
            self.remove(&id);
        }
    }
}

impl Store {
    pub fn new(max_bytes: usize) -> Self {
        Self { max_bytes, inner: Mutex::default() }
    }

    /// A response begins in the background; `events` if it is streamed.
    pub fn begin(
        &self,
        outline: &Arc<Outline>,
        messages: &Arc<[Json]>,
        events: Option<Arc<EventLog>>,
    ) {
        let phase = Phase::Pending { outline: outline.clone(), task: None };
        lock(&self.inner).insert(outline.id(), phase, messages.clone()).events = events;
    }

    /// Which task to end when the response is cancelled.
    pub fn runs_in(&self, id: &str, handle: AbortHandle) {
        let mut inner = lock(&self.inner);
        if let Some(Phase::Pending { task, .. }) = inner.entries.get_mut(id).map(|e| &mut e.phase) {
            *task = Some(handle);
        }
    }

    /// A response has ended. One that was cancelled stays so.
    pub fn finish(&self, id: &str, finished: Finished, messages: &Arc<[Json]>) {
        let mut inner = lock(&self.inner);
        match inner.entries.get(id).map(|entry| &entry.phase) {
            Some(Phase::Pending { .. }) => {}
            Some(Phase::Ended(old)) if old.status == Status::Cancelled => return,
            _ => drop(inner.insert(id, Phase::Starting, messages.clone())),
        }
        inner.end(id, finished);
        inner.shrink(self.max_bytes);
    }

    /// A response in the background has failed.
    pub fn fail(&self, id: &str) {
        self.end_pending(id, Status::Failed);
    }

    /// Ends a response in the background without output, and gives its object.
    fn end_pending(&self, id: &str, status: Status) -> Option<Bytes> {
        let mut inner = lock(&self.inner);
        let Phase::Pending { outline, task } = &inner.entries.get(id)?.phase else { return None };
        let (outline, task) = (outline.clone(), task.clone());
        let body: Bytes = to_json(&outline.bare(status)).into();
        inner.end(id, Finished { status, body: body.clone(), said: Arc::default() });
        inner.shrink(self.max_bytes);
        drop(inner);
        if let Some(task) = task.filter(|_| status == Status::Cancelled) {
            task.abort();
        }
        Some(body)
    }

    /// The object of a response.
    pub fn get(&self, id: &str) -> Result<Bytes, ApiError> {
        let inner = lock(&self.inner);
        match &inner.entries.get(id).ok_or_else(|| not_found(id))?.phase {
            Phase::Ended(finished) => Ok(finished.body.clone()),
            Phase::Pending { outline, .. } => Ok(to_json(&outline.bare(Status::Queued)).into()),
            Phase::Starting => Err(not_found(id)),
        }
    }

    /// The events of a response that is streamed in the background.
    pub fn events(&self, id: &str) -> Result<Option<Arc<EventLog>>, ApiError> {
        let inner = lock(&self.inner);
        Ok(inner.entries.get(id).ok_or_else(|| not_found(id))?.events.clone())
    }

    /// What a response that follows on another starts from.
    pub fn past(&self, id: &str) -> Result<Past, ApiError> {
        let inner = lock(&self.inner);
        let entry = inner.entries.get(id).ok_or_else(|| not_found(id))?;
        let said = match &entry.phase {
            Phase::Ended(finished) => finished.said.clone(),
            Phase::Pending { .. } | Phase::Starting => Arc::default(),
        };
        Ok(Past { messages: entry.messages.clone(), said })
    }

    /// Ends a response in the background, and gives its object.
    pub fn cancel(&self, id: &str) -> Result<Bytes, ApiError> {
        if let Some(body) = self.end_pending(id, Status::Cancelled) {
            return Ok(body);
        }
        self.get(id)?;
        let message = "Cannot cancel a synchronous response.";
        Err(ApiError::invalid_request(400, message, "response_id"))
    }
}

/// The events of one stream, for whoever follows it, and however late.
pub struct EventLog {
    events: Mutex<Events>,
    changed: watch::Sender<()>,
}

#[derive(Default)]
struct Events {
    written: Vec<Bytes>,
    bytes: usize,
    is_over: bool,
}

impl Default for EventLog {
    fn default() -> Self {
        Self { events: Mutex::default(), changed: watch::Sender::new(()) }
    }
}

impl EventLog {
    /// Adds the events in `text`, each of which ends in an empty line.
    pub fn add(&self, mut text: Bytes) {
        let mut events = lock(&self.events);
        while let Some(end) = text.windows(2).position(|pair| pair == b"\n\n") {
            let event = text.split_to(end + 2);
            events.bytes += event.len() + std::mem::size_of::<Bytes>();
            events.written.push(event);
        }
        drop(events);
        self.changed.send_replace(());
    }

    /// Nothing more will come. Gives the size of all events.
    pub fn end(&self) -> usize {
        let mut events = lock(&self.events);
        events.is_over = true;
        let bytes = events.bytes;
        drop(events);
        self.changed.send_replace(());
        bytes
    }

    /// The events behind the one with the number `starting_after`; a negative number counts from
    /// the end, as an index of Python's does.
    pub fn follow(
        self: Arc<Self>,
        starting_after: Option<i64>,
    ) -> impl Stream<Item = Result<Bytes, Infallible>> + use<> {
        let start = starting_after.map_or(0, |number| number.saturating_add(1));
        let len = lock(&self.events).written.len();
        let back = usize::try_from(start.unsigned_abs()).unwrap_or(usize::MAX);
        let next = if start < 0 { len.saturating_sub(back) } else { back };
        let changes = self.changed.subscribe();
        stream::unfold((self, changes, next), |(log, mut changes, next)| async move {
            loop {
                // What changes from here on wakes the wait below.
                changes.mark_unchanged();
                let (event, is_over) = {
                    let events = lock(&log.events);
                    (events.written.get(next).cloned(), events.is_over)
                };
                if let Some(event) = event {
                    return Some((Ok(event), (log, changes, next + 1)));
                }
                if is_over || changes.changed().await.is_err() {
                    return None;
                }
            }
        })
    }
}
