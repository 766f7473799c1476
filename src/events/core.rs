//! The publisher's state: numbers, kept batches, resident blocks and subscribers. All tasks of the
//! publisher's thread share it.

use super::blocks::{self, Block, Blocks, Merged, ParentsFirst};
use super::encode::{self, Encoder};
use super::stats::{self, EventStats};
use super::subscriber::Mailbox;
use crate::types::{Clock, KvEvent, Moment};
use bytes::Bytes;
use std::cell::RefCell;
use std::collections::VecDeque;
use std::mem::take;
use std::rc::Rc;
use std::sync::Arc;
use tokio::sync::Notify;
use tokio::task::spawn_local;

/// Most blocks in a batch of resident blocks, where their number is free.
pub(super) const BATCH_BLOCKS: usize = 512;
/// Most bytes of kept batches: what is older is answered with the resident blocks.
const KEPT_BYTES: usize = 256 << 20;

pub(super) struct Core {
    pub encoder: Encoder,
    pub topic: Bytes,
    /// Most batches that wait for one subscriber; 0 is no limit.
    pub hwm: usize,
    pub clock: Clock,
    pub stats: Arc<EventStats>,
    /// Somebody listens.
    pub heard: Notify,
    /// A subscriber has been sent all there was.
    pub drained: Notify,
    state: RefCell<State>,
}

struct State {
    /// The number of the next batch.
    next: u64,
    kept: Kept,
    blocks: Blocks,
    mailboxes: Vec<Rc<Mailbox>>,
}

/// The newest batches.
struct Kept {
    batches: VecDeque<Bytes>,
    bytes: usize,
    most: usize,
}

impl Kept {
    fn push(&mut self, payload: Bytes) {
        self.bytes += payload.len();
        self.batches.push_back(payload);
        while self.batches.len() > self.most || self.bytes > KEPT_BYTES {
            let Some(oldest) = self.batches.pop_front() else { return };
            self.bytes -= oldest.len();
        }
    }
}

impl Core {
    pub fn new(
        encoder: Encoder,
        topic: String,
        (hwm, buffer_steps): (usize, usize),
        clock: Clock,
        stats: Arc<EventStats>,
    ) -> Self {
        let kept = Kept { batches: VecDeque::new(), bytes: 0, most: buffer_steps };
        let blocks = Blocks::default();
        Self {
            encoder,
            topic: topic.into(),
            hwm,
            clock,
            stats,
            heard: Notify::new(),
            drained: Notify::new(),
            state: RefCell::new(State { next: 0, kept, blocks, mailboxes: Vec::new() }),
        }
    }

    /// Numbers a batch and sends it.
    pub fn publish(&self, time: Moment, events: &[KvEvent]) {
        let payload = self.encoder.batch(self.seconds(time), events);
        let mut state = self.state.borrow_mut();
        let number = state.next;
        state.next += 1;
        for event in events {
            match event {
                KvEvent::Cleared => drop(spawn_local(take(&mut state.blocks).free())),
                event => state.blocks.apply(event),
            }
        }
        state.kept.push(payload.clone());
        stats::add(&self.stats.batches, 1);
        stats::add(&self.stats.events, encode::wire_events(events) as u64);
        stats::set(&self.stats.resident, state.blocks.len() as u64);
        let mut heard = false;
        for mailbox in state.mailboxes.iter().filter(|mailbox| mailbox.listens()) {
            heard = true;
            if !mailbox.post(number, &payload, self.hwm) {
                stats::add(&self.stats.dropped_slow, 1);
            }
        }
        if !heard {
            stats::add(&self.stats.dropped_unheard, 1);
        }
    }

    /// Publishes what remains of merged batches.
    pub fn publish_merged(&self, time: Moment, merged: Merged) {
        let (mut events, blocks) = merged.into_parts();
        for blocks in blocks.chunks(BATCH_BLOCKS) {
            events.extend(blocks::stores(blocks));
            self.publish(time, &events);
            events.clear();
        }
        if !events.is_empty() {
            self.publish(time, &events);
        }
    }

    fn seconds(&self, time: Moment) -> f64 {
        self.clock.unix_nanos(time) as f64 / 1e9
    }

    /// The number of the next batch.
    pub fn next(&self) -> u64 {
        self.state.borrow().next
    }

    /// The kept batches from `start` on; `None` when some of them are no longer kept.
    pub fn kept_from(&self, start: u64) -> Option<Vec<Bytes>> {
        let state = self.state.borrow();
        let batches = &state.kept.batches;
        let first = state.next - batches.len() as u64;
        let skipped = usize::try_from(start.checked_sub(first)?).unwrap_or(usize::MAX);
        Some(batches.iter().skip(skipped).cloned().collect())
    }

    /// The resident blocks as of the newest batch.
    pub fn snapshot(&self) -> Snapshot {
        let state = self.state.borrow();
        Snapshot { walk: state.blocks.parents_first(), blocks: state.blocks.len(), begun: false }
    }

    pub fn add_mailbox(&self) -> Rc<Mailbox> {
        let mailbox = Rc::new(Mailbox::default());
        self.state.borrow_mut().mailboxes.push(Rc::clone(&mailbox));
        mailbox
    }

    pub fn remove_mailbox(&self, mailbox: &Rc<Mailbox>) {
        let mut state = self.state.borrow_mut();
        state.mailboxes.retain(|other| !Rc::ptr_eq(other, mailbox));
        drop(state);
        self.count_subscribers();
        self.drained.notify_one();
    }

    /// Notes that a mailbox listens or has stopped to.
    pub fn count_subscribers(&self) {
        let state = self.state.borrow();
        let count = state.mailboxes.iter().filter(|mailbox| mailbox.listens()).count();
        stats::set(&self.stats.subscribers, count as u64);
    }

    /// Waits until every subscriber has been sent all there is.
    pub async fn all_drained(&self) {
        while !self.state.borrow().mailboxes.iter().all(|mailbox| mailbox.is_drained()) {
            self.drained.notified().await;
        }
    }
}

/// Resident blocks on their way to one listener: a clear, then the blocks.
pub(super) struct Snapshot {
    walk: ParentsFirst,
    blocks: usize,
    begun: bool,
}

impl Snapshot {
    pub fn blocks(&self) -> usize {
        self.blocks
    }

    /// Frees what it held, beside all else.
    pub fn end(self) {
        drop(spawn_local(self.walk.into_blocks().free()));
    }

    /// The next batch, with at most `blocks` blocks; `None` when all was told.
    pub fn next(&mut self, core: &Core, blocks: usize) -> Option<Bytes> {
        let part: Vec<Arc<Block>> = self.walk.by_ref().take(blocks).collect();
        if self.begun && part.is_empty() {
            return None;
        }
        let mut events = blocks::stores(&part);
        if !self.begun {
            events.insert(0, KvEvent::Cleared);
        }
        self.begun = true;
        Some(core.encoder.batch(core.seconds(core.clock.now()), &events))
    }
}

impl Core {
    /// A batch in which nothing happened.
    pub fn empty_batch(&self) -> Bytes {
        self.encoder.batch(self.seconds(self.clock.now()), &[])
    }
}
