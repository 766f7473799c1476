//! The free blocks in the order in which they will be handed out: a doubly linked list inside two
//! arrays, so that a cached block can be taken out of its middle in constant time.

use crate::types::BlockId;

const NONE: BlockId = BlockId::MAX;

/// The next one first.
#[derive(Debug)]
pub struct FreeList {
    next: Vec<BlockId>,
    prev: Vec<BlockId>,
    head: BlockId,
    tail: BlockId,
    len: usize,
}

impl FreeList {
    /// All of `0..num_blocks`, in order.
    pub fn full(num_blocks: usize) -> Self {
        let mut list = Self {
            next: vec![NONE; num_blocks],
            prev: vec![NONE; num_blocks],
            head: NONE,
            tail: NONE,
            len: 0,
        };
        (0..num_blocks as BlockId).for_each(|block| list.push_back(block));
        list
    }

    /// How many blocks are in it.
    pub fn len(&self) -> usize {
        self.len
    }

    /// Adds a block that is not in the list.
    pub fn push_back(&mut self, block: BlockId) {
        let at = block as usize;
        self.next[at] = NONE;
        self.prev[at] = self.tail;
        match self.tail {
            NONE => self.head = block,
            tail => self.next[tail as usize] = block,
        }
        self.tail = block;
        self.len += 1;
    }

    /// Adds a block that is not in the list, before all others.
    pub fn push_front(&mut self, block: BlockId) {
        let at = block as usize;
        self.next[at] = self.head;
        self.prev[at] = NONE;
        match self.head {
            NONE => self.tail = block,
            head => self.prev[head as usize] = block,
        }
        self.head = block;
        self.len += 1;
    }

    /// Takes the first block.
    pub fn pop_front(&mut self) -> Option<BlockId> {
        let block = (self.head != NONE).then_some(self.head)?;
        self.remove(block);
        Some(block)
    }

    /// Takes a block that is in the list out of it.
    pub fn remove(&mut self, block: BlockId) {
        let (prev, next) = (self.prev[block as usize], self.next[block as usize]);
        match prev {
            NONE => self.head = next,
            prev => self.next[prev as usize] = next,
        }
        match next {
            NONE => self.tail = prev,
            next => self.prev[next as usize] = prev,
        }
        self.len -= 1;
    }

    /// The blocks in order; for checks.
    pub fn iter(&self) -> impl Iterator<Item = BlockId> + '_ {
        let link = |block: BlockId| (block != NONE).then_some(block);
        std::iter::successors(link(self.head), move |&block| link(self.next[block as usize]))
    }
}
