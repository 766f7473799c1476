//! Who waits, and who goes first.

use super::sequence::{Sequence, Slot};
use crate::types::RequestId;
use std::collections::BTreeSet;

/// vLLM's `--scheduling-policy`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Policy {
    /// First come, first served. A preempted sequence came before all that were never admitted,
    /// so its id alone puts it in front of them.
    Fcfs,
    /// Lower priority values first, then first come.
    Priority,
}

/// Sorts sequences: smaller goes first, the largest is preempted first.
pub type Rank = (i64, RequestId);

impl Policy {
    /// The place of a sequence.
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
