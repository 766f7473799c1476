//! The KV cache as bookkeeping: which block holds what, who holds which block, and which blocks
//! can be shared because they hold the same prefix.
//!
//! A block is *free* when no sequence holds it. A free block may still be *cached*: its content is
//! known by a hash, and a later prompt with the same prefix takes it back. Free blocks are handed
//! out least recently used first, and lose their hash when they are.

mod cache;
mod changes;
mod encode;
mod free_list;
mod hash;
mod pool;
mod residency;

pub use cache::{KvCache, SequenceBlocks};
pub use changes::Owner;
pub use hash::BlockHasher;
pub use pool::BlockPool;
pub use residency::{Residency, ResidencyHistograms};
