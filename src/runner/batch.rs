//! One step's work as flat arrays of fixed capacity: what a backend reads, and what a device gets
//! in one copy.

use super::Limits;
use crate::types::{BlockId, Token};

/// A row of the step whose logits are wanted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SampleRow {
    /// Index into [`StepBatch::tokens`].
    pub row: u32,
    /// Index of the sequence in this batch.
    pub seq: u32,
    /// The logits themselves are wanted; otherwise a backend that can may sample the token.
    pub needs_logits: bool,
}

/// One step for all sequences that take part in it.
///
/// Sequence `i` owns the rows `query_start[i]..query_start[i + 1]`; its rows are consecutive
/// positions and end at position `context_len[i] - 1`. Its KV lives in the first
/// `ceil(context_len[i] / block_size)` entries of its block table.
#[derive(Debug)]
pub struct StepBatch {
    /// `[tokens]`: the token of each row.
    pub tokens: Vec<Token>,
    /// `[tokens]`: its position in its sequence.
    pub positions: Vec<u32>,
    /// `[seqs + 1]`: where each sequence's rows start.
    pub query_start: Vec<u32>,
    /// `[seqs]`: how many tokens of the sequence are in the KV cache when the step is done.
    pub context_len: Vec<u32>,
    /// `[seqs][max_blocks_per_seq]`, row-major: the block tables.
    block_tables: Vec<BlockId>,
    /// Rows whose logits are wanted, ascending by `row`.
    pub rows: Vec<SampleRow>,
    width: usize,
}

impl StepBatch {
    /// An empty batch with room for all that `limits` allow.
    pub fn new(limits: &Limits) -> Self {
        let mut query_start = Vec::with_capacity(limits.max_seqs + 1);
        query_start.push(0);
        Self {
            tokens: Vec::with_capacity(limits.max_tokens),
            positions: Vec::with_capacity(limits.max_tokens),
            query_start,
            context_len: Vec::with_capacity(limits.max_seqs),
            block_tables: Vec::with_capacity(limits.max_seqs * limits.max_blocks_per_seq),
            rows: Vec::with_capacity(limits.max_tokens),
            width: limits.max_blocks_per_seq,
        }
    }

    /// Forgets the last step; keeps the memory.
    pub fn clear(&mut self) {
        self.tokens.clear();
        self.positions.clear();
        self.query_start.truncate(1);
        self.context_len.clear();
        self.block_tables.clear();
        self.rows.clear();
    }

    /// Adds a sequence that computes `tokens` from position `start` on, with the blocks that hold
    /// its whole context. Its last `rows` rows have a result.
    pub fn push(
        &mut self,
        tokens: &[Token],
        start: usize,
        blocks: &[BlockId],
        rows: usize,
        needs_logits: bool,
    ) {
        assert!(!tokens.is_empty() && rows <= tokens.len() && blocks.len() <= self.width);
        let seq = self.context_len.len() as u32;
        self.tokens.extend_from_slice(tokens);
        let end = start + tokens.len();
        self.positions.extend(start as u32..end as u32);
        self.context_len.push(end as u32);
        let table = self.block_tables.len();
        self.block_tables.extend_from_slice(blocks);
        self.block_tables.resize(table + self.width, 0);
        let last = self.tokens.len() as u32;
        self.query_start.push(last);
        let wanted = last - rows as u32..last;
        self.rows.extend(wanted.map(|row| SampleRow { row, seq, needs_logits }));
    }

    /// How many sequences take part.
    pub fn num_seqs(&self) -> usize {
        self.context_len.len()
    }

    /// How many rows there are.
    pub fn num_tokens(&self) -> usize {
        self.tokens.len()
    }

    /// The block table of sequence `seq`, padded to its full width.
    pub fn block_table(&self, seq: usize) -> &[BlockId] {
        &self.block_tables[seq * self.width..][..self.width]
    }

    /// The rows of sequence `seq`.
    pub fn rows_of(&self, seq: usize) -> std::ops::Range<usize> {
        self.query_start[seq] as usize..self.query_start[seq + 1] as usize
    }
}
