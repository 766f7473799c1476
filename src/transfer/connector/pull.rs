//! One pull, from the request's arrival to the end of its read.

use crate::transfer::transport::{BlockPair, ReadId};
use crate::types::{Moment, Pull, RemoteBlocks};
use std::sync::Arc;
use std::time::Duration;

/// How far it is.
#[derive(Debug)]
pub enum Stage {
    /// The request waits for blocks of this side.
    Announced,
    /// It has them, and the peer is not known yet.
    Meeting(Pull),
    Reading {
        pull: Pull,
        read: ReadId,
        /// It was given up because the lease ran out.
        is_late: bool,
    },
    /// The same, but nobody wants it any more.
    GivenUp,
}

/// One request's pull.
#[derive(Debug)]
pub struct Pulling {
    pub remote: Arc<RemoteBlocks>,
    pub stage: Stage,
    pub announced: Moment,
    /// How long it waited for the peer to be known.
    pub handshake: Duration,
    /// When the peer may have given the blocks to somebody else.
    pub deadline: Moment,
    /// The deadline counts the peer's own word, not only ours.
    pub is_exact: bool,
}

impl Pulling {
    /// Whether it reads what may still be used.
    pub fn is_timely(&self) -> bool {
        matches!(self.stage, Stage::Reading { is_late: false, .. })
    }

    /// Counts a heartbeat that was sent at `now` and extends the lease `by` so much. There is no
    /// answer to heartbeats, so one counts only if it may take `slack` to arrive in time.
    pub fn extend(&mut self, now: Moment, by: Duration, slack: Duration) {
        if now + slack < self.deadline {
            self.deadline = self.deadline.max(now + by);
        }
    }
}

/// The blocks to read for a pull, or why they cannot be what the prompt needs.
pub fn pairs(pull: &Pull, num_blocks: usize) -> Result<Vec<BlockPair>, String> {
    let remote = &pull.remote;
    let (there, here) = (remote.blocks.len(), pull.skipped + pull.local.len());
    if there != here {
        return Err(format!("the peer keeps {there} blocks for a prompt of {here}"));
    }
    if let Some(tokens) = remote.num_tokens.filter(|tokens| *tokens < pull.tokens) {
        return Err(format!("the peer computed {tokens} tokens of {} needed", pull.tokens));
    }
    if let Some(block) = remote.blocks.iter().find(|block| **block as usize >= num_blocks) {
        return Err(format!("the peer names block {block} of its {num_blocks}"));
    }
    let wanted = remote.blocks[pull.skipped..].iter();
    Ok(wanted.zip(&pull.local).map(|(&remote, &local)| BlockPair { local, remote }).collect())
}
