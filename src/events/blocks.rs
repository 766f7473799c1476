//! The resident blocks, as the events tell them, and the merging of events.

use crate::types::{BlockHash, KvEvent, LoraTag, StoredBlocks, Token};
use std::collections::{HashMap, HashSet};
use std::sync::Arc;

/// A block that can be hit.
#[derive(Debug)]
pub(super) struct Block {
    hash: BlockHash,
    parent: Option<BlockHash>,
    tokens: Box<[Token]>,
    salt: Option<Arc<str>>,
    lora: Option<Arc<LoraTag>>,
}

/// Blocks with the order in which they came.
#[derive(Debug, Default)]
pub(super) struct Blocks {
    by_hash: HashMap<BlockHash, (u64, Arc<Block>)>,
    count: u64,
}

impl Blocks {
    pub fn len(&self) -> usize {
        self.by_hash.len()
    }

    /// Follows an event.
    pub fn apply(&mut self, event: &KvEvent) {
        match event {
            KvEvent::Stored(run) => self.store(run),
            KvEvent::Reused(_) => {}
            KvEvent::Removed { hashes } => {
                for hash in hashes {
                    self.by_hash.remove(hash);
                }
            }
            KvEvent::Cleared => self.by_hash.clear(),
        }
    }

    fn store(&mut self, run: &StoredBlocks) {
        for block in split(run) {
            self.insert(block);
        }
    }

    fn insert(&mut self, block: Block) {
        self.by_hash.insert(block.hash, (self.count, Arc::new(block)));
        self.count += 1;
    }

    /// All blocks, parents before their children and else in the order in which they came. A block
    /// whose parent is gone counts as a beginning.
    pub fn parents_first(&self) -> Vec<Arc<Block>> {
        let mut by_age: Vec<&(u64, Arc<Block>)> = self.by_hash.values().collect();
        by_age.sort_unstable_by_key(|(age, _)| *age);
        let mut told = HashSet::with_capacity(by_age.len());
        let mut ordered = Vec::with_capacity(by_age.len());
        let mut chain = Vec::new();
        for (_, block) in by_age {
            let mut next = Some(block);
            while let Some(block) = next.filter(|block| told.insert(block.hash)) {
                chain.push(block);
                let parent = block.parent.and_then(|parent| self.by_hash.get(&parent));
                next = parent.map(|(_, parent)| parent);
            }
            ordered.extend(chain.drain(..).rev().map(Arc::clone));
        }
        ordered
    }
}

fn split(run: &StoredBlocks) -> impl Iterator<Item = Block> {
    let size = run.tokens.len() / run.hashes.len().max(1);
    run.hashes.iter().enumerate().map(move |(i, &hash)| Block {
        hash,
        parent: if i == 0 { run.parent } else { Some(run.hashes[i - 1]) },
        tokens: run.tokens[i * size..(i + 1) * size].into(),
        salt: run.salt.clone().filter(|_| i == 0 && run.parent.is_none()),
        lora: run.lora.clone(),
    })
}

/// Blocks as stores: those that continue each other in one.
pub(super) fn stores(blocks: &[Arc<Block>]) -> Vec<KvEvent> {
    let mut runs: Vec<StoredBlocks> = Vec::new();
    for block in blocks {
        match runs.last_mut() {
            Some(run) if run.hashes.last().copied() == block.parent && run.lora == block.lora => {
                run.hashes.push(block.hash);
                run.tokens.extend_from_slice(&block.tokens);
            }
            _ => runs.push(StoredBlocks {
                parent: block.parent,
                hashes: vec![block.hash],
                tokens: block.tokens.to_vec(),
                salt: block.salt.clone(),
                lora: block.lora.clone(),
                session: None,
            }),
        }
    }
    runs.into_iter().map(KvEvent::Stored).collect()
}

/// The net effect of events. Stores and removals of one hash alternate, so those that meet here
/// cancel, and no more remains than blocks came and went in all.
#[derive(Debug, Default)]
pub(super) struct Merged {
    cleared: bool,
    /// Resident before, and no more.
    removed: HashSet<BlockHash>,
    /// Resident now, and not before.
    stored: Blocks,
}

impl Merged {
    /// Takes one more event in.
    pub fn fold(&mut self, event: &KvEvent) {
        match event {
            KvEvent::Stored(run) => {
                for block in split(run) {
                    // What left and came back never left.
                    if !self.removed.remove(&block.hash) {
                        self.stored.insert(block);
                    }
                }
            }
            // Names nothing new.
            KvEvent::Reused(_) => {}
            KvEvent::Removed { hashes } => {
                for hash in hashes {
                    if self.stored.by_hash.remove(hash).is_none() && !self.cleared {
                        self.removed.insert(*hash);
                    }
                }
            }
            KvEvent::Cleared => *self = Self { cleared: true, ..Self::default() },
        }
    }

    /// The clear and the removals, and the blocks that came, parents first.
    pub fn into_parts(self) -> (Vec<KvEvent>, Vec<Arc<Block>>) {
        let mut gone = Vec::new();
        if self.cleared {
            gone.push(KvEvent::Cleared);
        }
        if !self.removed.is_empty() {
            let mut hashes: Vec<BlockHash> = self.removed.into_iter().collect();
            hashes.sort_unstable();
            gone.push(KvEvent::Removed { hashes });
        }
        (gone, self.stored.parents_first())
    }
}

#[cfg(test)]
mod tests;
