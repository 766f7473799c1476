//! One step's work as flat arrays of fixed capacity: what a backend reads, and what a device gets
//! in one copy.

use super::Limits;
use crate::sampler::Draw;
use crate::types::{BlockId, Token};

/// A row of the step whose logits are wanted.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct SampleRow {
    /// Index into [`StepBatch::tokens`].
    pub row: u32,
    /// Index of the sequence in this batch.
    pub seq: u32,
    /// How a backend that can samples the token; `None`: the logits themselves are wanted.
    pub draw: Option<Draw>,
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
    /// `[tokens]` when the step before has not been collected: which of its wanted rows samples the
    /// token that stands in the place of `tokens`. Empty when all are known.
    pub feed: Vec<u32>,
    /// `[seqs + 1]`: where each sequence's rows start.
    pub query_start: Vec<u32>,
    /// `[seqs]`: how many tokens of the sequence are in the KV cache when the step is done.
    pub context_len: Vec<u32>,
    /// `[seqs][max_blocks_per_seq]`, row-major: the block tables. Behind a sequence's own blocks,
    /// and behind the last sequence, lies what other steps left.
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
            feed: Vec::with_capacity(limits.max_seqs),
            query_start,
            context_len: Vec::with_capacity(limits.max_seqs),
            block_tables: vec![0; limits.max_seqs * limits.max_blocks_per_seq],
            rows: Vec::with_capacity(limits.max_tokens),
            width: limits.max_blocks_per_seq,
        }
    }

    /// Forgets the last step; keeps the memory.
    pub fn clear(&mut self) {
        self.tokens.clear();
        self.positions.clear();
        self.feed.clear();
        self.query_start.truncate(1);
        self.context_len.clear();
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
        draw: Option<Draw>,
    ) {
        assert!(!tokens.is_empty() && rows <= tokens.len() && blocks.len() <= self.width);
        let seq = self.context_len.len() as u32;
        self.tokens.extend_from_slice(tokens);
        let end = start + tokens.len();
        self.positions.extend(start as u32..end as u32);
        self.context_len.push(end as u32);
        let table = seq as usize * self.width;
        if self.block_tables.len() < table + self.width {
            self.block_tables.resize(table + self.width, 0);
        }
        self.block_tables[table..][..blocks.len()].copy_from_slice(blocks);
        let last = self.tokens.len() as u32;
        self.query_start.push(last);
        let wanted = last - rows as u32..last;
        self.rows.extend(wanted.map(|row| SampleRow { row, seq, draw }));
    }

    /// Adds one row at `position`, whose token is the one that wanted row `from` of the step before
    /// samples.
    pub fn push_fed(&mut self, from: u32, position: usize, blocks: &[BlockId], draw: Draw) {
        self.push(&[0], position, blocks, 1, Some(draw));
        self.feed.push(from);
    }

    /// How many sequences take part.
    pub fn num_seqs(&self) -> usize {
        self.context_len.len()
    }

    /// How many rows there are.
    pub fn num_tokens(&self) -> usize {
        self.tokens.len()
    }

    /// The block table of sequence `seq`, of full width: only the blocks of its context mean
    /// anything.
    pub fn block_table(&self, seq: usize) -> &[BlockId] {
        &self.block_tables[seq * self.width..][..self.width]
    }

    /// The rows of sequence `seq`.
    pub fn rows_of(&self, seq: usize) -> std::ops::Range<usize> {
        self.query_start[seq] as usize..self.query_start[seq + 1] as usize
    }

    /// Checks that a backend which indexes memory by what stands in this batch stays inside what
    /// was allocated for `limits`.
    ///
    /// # Errors
    /// What is out of bounds.
    pub fn check(&self, limits: &Limits) -> Result<(), String> {
        let (tokens, seqs) = (self.num_tokens(), self.num_seqs());
        if tokens > limits.max_tokens || seqs > limits.max_seqs {
            return Err(format!("{tokens} tokens of {seqs} sequences exceed {limits:?}"));
        }
        if let Some(token) = self.tokens.iter().find(|&&t| t as usize >= limits.vocab_size) {
            return Err(format!("token {token} is not in the vocabulary of {}", limits.vocab_size));
        }
        let mut next = 0;
        for seq in 0..seqs {
            self.check_sequence(seq, next, limits)?;
            next = self.rows_of(seq).end;
        }
        if next != tokens {
            return Err(format!("{tokens} tokens, of which sequences own {next}"));
        }
        let ascending = self.rows.is_sorted_by(|a, b| a.row < b.row);
        if !ascending || self.rows.last().is_some_and(|row| row.row as usize >= tokens) {
            return Err("the wanted rows are not ascending rows of the batch".to_owned());
        }
        Ok(())
    }

    /// Checks one sequence, whose rows must start at `first`.
    fn check_sequence(&self, seq: usize, first: usize, limits: &Limits) -> Result<(), String> {
        let rows = self.rows_of(seq);
        let context = self.context_len[seq] as usize;
        let (table, blocks) = (self.block_table(seq), context.div_ceil(limits.block_size));
        let consecutive = rows.start == first
            && rows.end <= self.num_tokens()
            && rows.clone().all(|r| self.positions[r] as usize + rows.end == context + r);
        if rows.is_empty() || !consecutive {
            return Err(format!("rows {rows:?} of sequence {seq} do not end at {context}"));
        }
        if blocks > table.len() {
            return Err(format!("sequence {seq} has a context of {context}: too long"));
        }
        let in_pool = |block: &BlockId| (*block as usize) < limits.num_blocks;
        match table[..blocks].iter().find(|block| !in_pool(block)) {
            Some(block) => {
                Err(format!("block {block} is not in the pool of {}", limits.num_blocks))
            }
            None => Ok(()),
        }
    }
}
