//! Blocks that are kept for peers, and until when.

use crate::types::Moment;
use std::collections::{BTreeSet, HashMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;

/// Ended leases whose names are remembered, to know a late peer from a strange one.
const REMEMBERED: usize = 1024;

/// What a notification came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Consumed {
    /// All readers have read: the lease is over.
    Over,
    /// Others are still to come.
    Partly,
    /// The lease had run out before: what was read may have been something else.
    Late,
    /// Nobody by this name.
    Unknown,
}

struct Lease {
    deadline: Moment,
    /// Readers that are done.
    seen: u32,
}

/// All leases of this side.
pub struct Leases {
    duration: Duration,
    current: HashMap<Arc<str>, Lease>,
    by_deadline: BTreeSet<(Moment, Arc<str>)>,
    expired: VecDeque<Arc<str>>,
}

impl Leases {
    /// Leases of `duration` each; a heartbeat gives two thirds of that from when it comes.
    pub fn new(duration: Duration) -> Self {
        let (current, by_deadline) = (HashMap::new(), BTreeSet::new());
        Self { duration, current, by_deadline, expired: VecDeque::new() }
    }

    /// Begins one; returns when it ends unless it is extended.
    pub fn begin(&mut self, request_id: Arc<str>, now: Moment) -> Moment {
        let deadline = now + self.duration;
        self.by_deadline.insert((deadline, request_id.clone()));
        self.current.insert(request_id, Lease { deadline, seen: 0 });
        deadline
    }

    /// A peer still wants the blocks. False when there is no such lease.
    pub fn extend(&mut self, request_id: &str, now: Moment) -> bool {
        let Some((name, lease)) = self.current.get_key_value(request_id) else { return false };
        let deadline = lease.deadline.max(now + self.duration * 2 / 3);
        let name = name.clone();
        self.by_deadline.remove(&(lease.deadline, name.clone()));
        self.by_deadline.insert((deadline, name));
        self.current.get_mut(request_id).expect("just seen").deadline = deadline;
        true
    }

    /// One of `readers` peers has read all it wants.
    pub fn consumed(&mut self, request_id: &str, readers: u32) -> Consumed {
        let Some(lease) = self.current.get_mut(request_id) else {
            let is_late = self.expired.iter().any(|expired| **expired == *request_id);
            return if is_late { Consumed::Late } else { Consumed::Unknown };
        };
        lease.seen += 1;
        if lease.seen < readers {
            return Consumed::Partly;
        }
        self.end(request_id);
        Consumed::Over
    }

    /// Takes a lease that has run out by `now`.
    pub fn expire(&mut self, now: Moment) -> Option<Arc<str>> {
        let (deadline, request_id) = self.by_deadline.first()?;
        if *deadline > now {
            return None;
        }
        let request_id = request_id.clone();
        self.end(&request_id);
        if self.expired.len() == REMEMBERED {
            self.expired.pop_front();
        }
        self.expired.push_back(request_id.clone());
        Some(request_id)
    }

    /// Ends one before its time.
    ///
    /// # Panics
    /// When there is none.
    pub fn end(&mut self, request_id: &str) {
        let (name, lease) = self.current.remove_entry(request_id).expect("a lease ends once");
        self.by_deadline.remove(&(lease.deadline, name));
    }

    /// The next that runs out.
    pub fn next_deadline(&self) -> Option<Moment> {
        self.by_deadline.first().map(|(deadline, _)| *deadline)
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.current.is_empty()
    }
}
