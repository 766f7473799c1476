//! What happens to the prefix cache, as the engine tells it to those who mirror the cache.

use super::{Moment, Token};
use std::fmt;
use std::sync::Arc;

/// The full digest of a block; XXH3 digests fill the first 16 bytes.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct BlockHash([u8; 32]);

impl BlockHash {
    /// A digest of 32 bytes, or of 16 with zeros after them.
    pub const fn new(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }

    /// The digest, and zeros after one of 16 bytes.
    pub const fn bytes(&self) -> &[u8; 32] {
        &self.0
    }
}

impl fmt::Debug for BlockHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0[..8].iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

/// Blocks that entered the prefix cache together: a piece of one sequence, in its order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StoredBlocks {
    /// The block before the first one; `None` when the piece starts the sequence.
    pub parent: Option<BlockHash>,
    /// At least one.
    pub hashes: Vec<BlockHash>,
    /// Of all the blocks, block size of each.
    pub tokens: Vec<Token>,
    /// The request's cache salt, when that is not empty. It is part of the first block of a
    /// sequence, so without a parent it counts and with one it is ignored.
    pub salt: Option<Arc<str>>,
    /// The adapter that computed them.
    pub lora: Option<Arc<LoraTag>>,
    /// The session of the request that stored them.
    pub session: Option<Arc<str>>,
}

/// A LoRA adapter as events name it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LoraTag {
    pub id: u32,
    pub name: String,
}

/// A change of the prefix cache, or a report of what it holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum KvEvent {
    /// The blocks can be hit from now on. No block held these hashes before.
    Stored(StoredBlocks),
    /// A request reuses these blocks, which are stored already, and asked for them to be named.
    Reused(StoredBlocks),
    /// No block holds these hashes any more.
    Removed { hashes: Vec<BlockHash> },
    /// Nothing is cached any more.
    Cleared,
}

/// Who is told of changes. Called on the engine thread: it must not wait.
pub trait KvEventSink: Send {
    /// Takes the changes of one step.
    fn push(&mut self, batch: KvEventBatch);
}

/// The changes of one step, in order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KvEventBatch {
    pub time: Moment,
    pub events: Vec<KvEvent>,
}
