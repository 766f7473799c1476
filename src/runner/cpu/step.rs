//! One step as the backend keeps it between `submit` and `collect`, and how a pass cuts it up.

use super::kernels::{SCORE_ROWS, Slot};
use crate::runner::{Limits, StepBatch};
use crate::types::{BlockId, Token};
use std::ops::Range;

/// A copy of a [`StepBatch`], in memory allocated once.
pub(super) struct Step {
    pub tokens: Vec<Token>,
    positions: Vec<u32>,
    query_start: Vec<u32>,
    tables: Vec<BlockId>,
    /// Rows whose logits are wanted, ascending.
    pub wanted: Vec<u32>,
    width: usize,
    block_size: usize,
}

/// Some tokens of one sequence whose attention is one piece of work.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct TilePlan {
    pub seq: usize,
    /// The first row, counted from the start of the pass.
    pub row: usize,
    pub tokens: usize,
    pub position: usize,
}

impl Step {
    pub fn new(limits: &Limits) -> Self {
        Self {
            tokens: Vec::with_capacity(limits.max_tokens),
            positions: Vec::with_capacity(limits.max_tokens),
            query_start: Vec::with_capacity(limits.max_seqs + 1),
            tables: Vec::with_capacity(limits.max_seqs * limits.max_blocks_per_seq),
            wanted: Vec::with_capacity(limits.max_tokens),
            width: limits.max_blocks_per_seq,
            block_size: limits.block_size,
        }
    }

    /// Takes over `batch`, after checking it: the kernels index memory by what stands in it.
    ///
    /// # Errors
    /// What is out of bounds.
    pub fn copy(&mut self, batch: &StepBatch, limits: &Limits) -> Result<(), String> {
        // A step that is refused must not leave half of itself behind.
        self.tables.clear();
        self.tokens.clear();
        self.wanted.clear();
        batch.check(limits)?;
        for seq in 0..batch.num_seqs() {
            self.tables.extend_from_slice(batch.block_table(seq));
        }
        self.tokens.clone_from(&batch.tokens);
        self.positions.clone_from(&batch.positions);
        self.query_start.clone_from(&batch.query_start);
        self.wanted.extend(batch.rows.iter().map(|row| row.row));
        Ok(())
    }

    /// The blocks of sequence `seq`.
    pub fn table(&self, seq: usize) -> &[BlockId] {
        &self.tables[seq * self.width..][..self.width]
    }

    /// The position of row `row`.
    pub fn position(&self, row: usize) -> usize {
        self.positions[row] as usize
    }

    /// Cuts the attention of `rows` into tiles for heads in groups of `group`, and finds every
    /// row's place in the KV pool.
    pub fn plan(
        &self,
        rows: &Range<usize>,
        group: usize,
        tiles: &mut Vec<TilePlan>,
        slots: &mut Vec<Slot>,
    ) {
        tiles.clear();
        slots.clear();
        let height = (SCORE_ROWS / group).max(1);
        for seq in 0..self.query_start.len() - 1 {
            let start = (self.query_start[seq] as usize).max(rows.start);
            let end = (self.query_start[seq + 1] as usize).min(rows.end);
            for row in (start..end).step_by(height) {
                let (tokens, position) = (height.min(end - row), self.position(row));
                tiles.push(TilePlan { seq, row: row - rows.start, tokens, position });
            }
            let table = self.table(seq);
            slots.extend((start..end).map(|row| {
                let position = self.position(row);
                Slot {
                    block: table[position / self.block_size] as usize,
                    offset: position % self.block_size,
                }
            }));
        }
        // Longest contexts first, so that no thread starts a long one last.
        tiles.sort_unstable_by_key(|tile| std::cmp::Reverse(tile.position + tile.tokens));
    }
}
