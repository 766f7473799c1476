//! What changed in the prefix index, for those who mirror it.

use crate::types::{BlockHash, KvEvent, StoredBlocks, Token};
use std::sync::Arc;

/// Whose blocks are stored, as far as events tell.
#[derive(Clone, Copy, Debug, Default)]
pub struct Owner<'a> {
    pub salt: Option<&'a Arc<str>>,
    pub session: Option<&'a Arc<str>>,
}

/// Whether stored blocks are news.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Since {
    Now,
    /// Another request stored them; this one wants it told that it uses them.
    Before,
}

/// Changes since they were last taken.
///
/// Removals come first: a block is reused for what is stored after it, and nothing that was stored
/// since can be gone again, for somebody holds it.
#[derive(Debug, Default)]
pub struct Changes {
    removed: Vec<BlockHash>,
    /// Stored and reused blocks.
    stored: Vec<KvEvent>,
}

impl Changes {
    /// No block holds this any more.
    pub fn removed(&mut self, hash: BlockHash) {
        self.removed.push(hash);
    }

    /// The blocks `hashes[from..to]` of a sequence can be hit, `since` now or before.
    pub fn stored(
        &mut self,
        hashes: &[BlockHash],
        (from, to): (usize, usize),
        tokens: &[Token],
        block_size: usize,
        owner: Owner<'_>,
        since: Since,
    ) {
        let blocks = StoredBlocks {
            parent: from.checked_sub(1).map(|before| hashes[before]),
            hashes: hashes[from..to].to_vec(),
            tokens: tokens[from * block_size..to * block_size].to_vec(),
            salt: owner.salt.filter(|salt| !salt.is_empty()).cloned(),
            lora: None,
            session: owner.session.cloned(),
        };
        self.stored.push(match since {
            Since::Now => KvEvent::Stored(blocks),
            Since::Before => KvEvent::Reused(blocks),
        });
    }

    /// Forgets what was not taken.
    pub fn clear(&mut self) {
        self.removed.clear();
        self.stored.clear();
    }

    /// Takes all of them as events; a removal each, as vLLM has it.
    pub fn take(&mut self) -> Vec<KvEvent> {
        let removed = self.removed.drain(..).map(|hash| KvEvent::Removed { hashes: vec![hash] });
        removed.chain(self.stored.drain(..)).collect()
    }
}
