//! Who waits, and who goes first.

use super::sequence::{Sequence, Slot};
use crate::types::{Policy, RequestId};
use std::collections::BTreeSet;

/// Sorts sequences: smaller goes first, the largest is preempted first.
pub type Rank = (i64, RequestId);

impl Policy {
    /// The place of a sequence. Under FCFS a preempted sequence comes before all that were never
    /// admitted: its id is lower than theirs.
    pub fn rank(self, sequence: &Sequence) -> Rank {
        match self {
            Self::Fcfs => (0, sequence.id),
            Self::Priority => (sequence.priority, sequence.id),
        }
    }
}

/// The sequences that wait to be admitted.
#[derive(Debug, Default)]
pub struct WaitingQueue(BTreeSet<(Rank, Slot)>);

impl WaitingQueue {
    pub fn insert(&mut self, rank: Rank, slot: Slot) {
        self.0.insert((rank, slot));
    }

    pub fn remove(&mut self, rank: Rank, slot: Slot) -> bool {
        self.0.remove(&(rank, slot))
    }

    /// The next to be admitted.
    pub fn first(&self) -> Option<Slot> {
        self.0.first().map(|&(_, slot)| slot)
    }

    pub fn len(&self) -> usize {
        self.0.len()
    }

    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}
