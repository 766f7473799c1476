//! The PUB side of one connection: what the peer wants to hear, and what waits for it.

use super::core::{BATCH_BLOCKS, Core, Snapshot};
use super::stats;
use crate::zmq::{Frame, Role, Violation, WRITE, zmtp};
use bytes::{Bytes, BytesMut};
use std::cell::RefCell;
use std::collections::VecDeque;
use std::rc::Rc;
use tokio::sync::Notify;

/// Most subscriptions of one peer.
const MOST_TOPICS: usize = 1024;

/// What waits for one subscriber.
#[derive(Default)]
pub(super) struct Mailbox {
    state: RefCell<State>,
    posted: Notify,
}

#[derive(Default)]
struct State {
    /// Whether it subscribed to our topic.
    listens: bool,
    /// Resident blocks, to be sent before the batches, under this number.
    snapshot: Option<(u64, Snapshot)>,
    batches: VecDeque<(u64, Bytes)>,
    /// Batches were dropped; the resident blocks make up for them once the rest is sent.
    behind: bool,
    /// Some of what was taken out is not written yet.
    writing: bool,
}

impl Mailbox {
    pub fn listens(&self) -> bool {
        self.state.borrow().listens
    }

    /// Puts a batch in. False: it was dropped.
    pub fn post(&self, number: u64, payload: &Bytes, hwm: usize) -> bool {
        let mut state = self.state.borrow_mut();
        if state.behind || (hwm > 0 && state.batches.len() >= hwm) {
            if !state.behind {
                log::warn!(
                    "KV events: a subscriber does not keep up and misses batches from {number} on; \
                     it will be told what is resident when it reads again"
                );
            }
            state.behind = true;
            return false;
        }
        state.batches.push_back((number, payload.clone()));
        drop(state);
        self.posted.notify_one();
        true
    }

    pub fn is_drained(&self) -> bool {
        let state = self.state.borrow();
        !state.listens || (state.snapshot.is_none() && state.batches.is_empty() && !state.writing)
    }
}

/// A connection of the PUB socket.
pub(super) struct Subscriber {
    core: Rc<Core>,
    mailbox: Rc<Mailbox>,
    topics: Vec<Bytes>,
}

impl Subscriber {
    pub fn new(core: Rc<Core>) -> Self {
        let mailbox = core.add_mailbox();
        Self { core, mailbox, topics: Vec::new() }
    }

    fn subscribe(&mut self, topic: Bytes) -> Result<(), Violation> {
        if self.topics.len() >= MOST_TOPICS {
            return Err(Violation::Command);
        }
        self.topics.push(topic);
        self.follow();
        Ok(())
    }

    /// One subscription of several to the same topic ends.
    fn cancel(&mut self, topic: &[u8]) {
        if let Some(at) = self.topics.iter().position(|own| own == topic) {
            self.topics.swap_remove(at);
            self.follow();
        }
    }

    /// Starts or stops to listen as the topics say. A new listener is told what is resident, as of
    /// the newest batch.
    fn follow(&mut self) {
        let listens = self.topics.iter().any(|topic| self.core.topic.starts_with(topic));
        let mut state = self.mailbox.state.borrow_mut();
        if listens == state.listens {
            return;
        }
        *state = State { listens, ..State::default() };
        if let Some(newest) = self.core.next().checked_sub(1).filter(|_| listens) {
            let snapshot = self.core.snapshot();
            stats::add(&self.core.stats.announced_new, snapshot.blocks() as u64);
            state.snapshot = Some((newest, snapshot));
        }
        drop(state);
        self.core.count_subscribers();
        if listens {
            self.core.heard.notify_one();
        }
    }

    /// The next batch to send.
    fn next(&self) -> Option<(u64, Bytes)> {
        let mut state = self.mailbox.state.borrow_mut();
        if state.snapshot.is_none() && state.batches.is_empty() && state.behind {
            let snapshot = self.core.snapshot();
            stats::add(&self.core.stats.announced_gap, snapshot.blocks() as u64);
            state.snapshot = self.core.next().checked_sub(1).map(|newest| (newest, snapshot));
            state.behind = false;
        }
        if let Some((number, snapshot)) = &mut state.snapshot {
            if let Some(payload) = snapshot.next(&self.core, BATCH_BLOCKS) {
                return Some((*number, payload));
            }
            state.snapshot.take().into_iter().for_each(|(_, snapshot)| snapshot.end());
        }
        state.batches.pop_front()
    }
}

impl Drop for Subscriber {
    fn drop(&mut self) {
        self.core.remove_mailbox(&self.mailbox);
    }
}

impl Role for Subscriber {
    const SOCKET: &'static str = "PUB";
    const PEERS: &'static [&'static str] = &["SUB", "XSUB"];

    /// ZMTP 3.0 and XSUB subscribe by messages.
    fn message_frame(&mut self, frame: Frame) -> Result<(), Violation> {
        match frame.body.first() {
            Some(1) => self.subscribe(frame.body.slice(1..)),
            Some(0) => {
                self.cancel(&frame.body[1..]);
                Ok(())
            }
            // Messages of an XSUB that are no subscriptions mean nothing here.
            _ => Ok(()),
        }
    }

    /// ZMTP 3.1 subscribes by commands.
    fn command(&mut self, name: &[u8], data: &[u8]) -> Result<(), Violation> {
        match name {
            b"SUBSCRIBE" => self.subscribe(Bytes::copy_from_slice(data)),
            b"CANCEL" => {
                self.cancel(data);
                Ok(())
            }
            _ => Ok(()),
        }
    }

    fn listens(&self) -> bool {
        true
    }

    fn fill(&mut self, out: &mut BytesMut) {
        while out.len() < WRITE
            && let Some((number, payload)) = self.next()
        {
            zmtp::put_message(out, &[&self.core.topic, &number.to_be_bytes(), &payload]);
        }
        self.mailbox.state.borrow_mut().writing = !out.is_empty();
        if out.is_empty() {
            self.core.drained.notify_one();
        }
    }

    async fn woken(&self) {
        self.mailbox.posted.notified().await;
    }
}
