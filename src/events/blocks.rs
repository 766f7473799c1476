//! The resident blocks, as the events tell them, and the merging of events.

use crate::types::{BlockHash, KvEvent, LoraTag, StoredBlocks, Token};
use std::collections::{HashMap, HashSet};
use std::hash::{BuildHasher, RandomState};
use std::sync::Arc;
use tokio::task::yield_now;

/// A block that can be hit.
#[derive(Debug)]
pub(super) struct Block {
    hash: BlockHash,
    parent: Option<BlockHash>,
    tokens: Box<[Token]>,
    salt: Option<Arc<str>>,
    lora: Option<Arc<LoraTag>>,
}

/// Parts of the resident blocks. What is frozen shares them with what goes on, and a part is copied
/// before it changes: some hundred pointers of a million blocks.
const PARTS: usize = 4096;

type Part = HashMap<BlockHash, Arc<Block>>;

/// Blocks by their hashes. A clone costs the same whatever they are, and stays as they are now.
#[derive(Clone, Debug)]
pub(super) struct Blocks {
    parts: Vec<Arc<Part>>,
    len: usize,
    /// Finds the part of a hash. It is keyed, so nobody can make all blocks meet in one.
    hasher: RandomState,
}

impl Default for Blocks {
    fn default() -> Self {
        // They all start as the same empty one.
        let parts = vec![Arc::default(); PARTS];
        Self { parts, len: 0, hasher: RandomState::new() }
    }
}

impl Blocks {
    pub fn len(&self) -> usize {
        self.len
    }

    /// Follows an event.
    pub fn apply(&mut self, event: &KvEvent) {
        match event {
            KvEvent::Stored(run) => split(run).for_each(|block| self.insert(block)),
            KvEvent::Reused(_) => {}
            KvEvent::Removed { hashes } => {
                for hash in hashes {
                    self.remove(hash);
                }
            }
            KvEvent::Cleared => *self = Self::default(),
        }
    }

    fn part(&self, hash: &BlockHash) -> usize {
        self.hasher.hash_one(hash) as usize % PARTS
    }

    fn get(&self, hash: &BlockHash) -> Option<&Arc<Block>> {
        self.parts[self.part(hash)].get(hash)
    }

    fn insert(&mut self, block: Block) {
        let part = self.part(&block.hash);
        let before = Arc::make_mut(&mut self.parts[part]).insert(block.hash, Arc::new(block));
        self.len += usize::from(before.is_none());
    }

    /// Whether the block was there.
    fn remove(&mut self, hash: &BlockHash) -> bool {
        let part = self.part(hash);
        let is_there = self.parts[part].contains_key(hash);
        if is_there {
            Arc::make_mut(&mut self.parts[part]).remove(hash);
            self.len -= 1;
        }
        is_there
    }

    /// Frees them bit by bit, so that others have their turn: a million take a tenth of a second.
    pub async fn free(self) {
        for part in self.parts {
            drop(part);
            yield_now().await;
        }
    }

    /// All blocks of now, parents before their children. A block whose parent is gone counts as a
    /// beginning.
    pub fn parents_first(&self) -> ParentsFirst {
        ParentsFirst {
            blocks: self.clone(),
            part: 0,
            found: Vec::new(),
            told: HashSet::with_capacity(self.len),
            chain: Vec::new(),
        }
    }
}

/// A walk over blocks as they were when it began, one at a time.
pub(super) struct ParentsFirst {
    blocks: Blocks,
    /// The next part.
    part: usize,
    /// Blocks of the part before.
    found: Vec<Arc<Block>>,
    /// Each of them is in memory as long as this, so that its address is its name.
    told: HashSet<*const Block>,
    /// A block after those that must be told before it.
    chain: Vec<Arc<Block>>,
}

impl ParentsFirst {
    /// What it walked over.
    pub fn into_blocks(self) -> Blocks {
        self.blocks
    }

    /// A block, its parent, and so on, up to one that was told.
    fn climb(&mut self, block: Arc<Block>) {
        let mut next = Some(block);
        while let Some(block) = next.filter(|block| self.told.insert(Arc::as_ptr(block))) {
            next = block.parent.and_then(|parent| self.blocks.get(&parent).cloned());
            self.chain.push(block);
        }
    }
}

impl Iterator for ParentsFirst {
    type Item = Arc<Block>;

    fn next(&mut self) -> Option<Arc<Block>> {
        while self.chain.is_empty() {
            match self.found.pop() {
                Some(block) => self.climb(block),
                None => {
                    let part = self.blocks.parts.get(self.part)?;
                    self.found.extend(part.values().map(Arc::clone));
                    self.part += 1;
                }
            }
        }
        self.chain.pop()
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
                    if !self.stored.remove(hash) && !self.cleared {
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
        (gone, self.stored.parents_first().collect())
    }
}

#[cfg(test)]
mod tests;
