//! A backend without a model: what it computes is a hash of the context, kept in KV slots.
//!
//! A slot holds the hash of all tokens up to its position, computed from the slot before it as the
//! block table names it. So a result depends on what really stands in the KV cache: a block that
//! was freed too early, shared wrongly or never computed gives another token than the same
//! sequence alone. It serves to test the engine and to measure all that is not the model.

use super::{Backend, BackendError, Limits, RowSink, StepBatch, StepTiming};
use crate::sampler::{Draw, Sampler};
use crate::types::{BlockId, KvMemory, KvPlace, KvRegion, Token, TokenLogprobs};
use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::{Duration, Instant};

/// What the simulated device does with rows that a device may sample.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Samples {
    /// Nothing: it always gives logits.
    No,
    /// It makes a token up, which costs nothing.
    Cheaply,
    /// It draws as the host would, and takes a second step while the first one's results wait.
    Ahead,
}

/// How the simulated device behaves.
#[derive(Clone, Copy, Debug)]
pub struct SimConfig {
    pub limits: Limits,
    /// How long the device takes for a step.
    pub step_time: Duration,
    pub samples: Samples,
    /// The step (counted from 1) at which the device fails.
    pub fails_at: Option<u64>,
}

/// A step whose results were not collected.
#[derive(Debug)]
struct Step {
    started: Instant,
    rows: Vec<Row>,
}

/// A row that wants a result.
#[derive(Debug)]
enum Row {
    Sampled(Token),
    Reported(TokenLogprobs),
    /// The logits that follow this context.
    Logits(u64),
}

/// The simulated device.
pub struct SimBackend {
    config: SimConfig,
    /// `[num_blocks][block_size]`: the hash of the context that ends at the slot.
    slots: Arc<[AtomicU64]>,
    /// In the order of submission: one, or two when one is ahead.
    steps: VecDeque<Step>,
    /// The rows of a step that is over, for the next one.
    spare: Vec<Row>,
    logits: Vec<f32>,
    sampler: Sampler,
    submitted: u64,
}

impl SimBackend {
    /// A device with memory for `config.limits`.
    pub fn new(config: SimConfig) -> Self {
        let Limits { num_blocks, block_size, vocab_size, max_tokens, .. } = config.limits;
        Self {
            slots: (0..num_blocks * block_size).map(|_| AtomicU64::new(0)).collect(),
            steps: VecDeque::with_capacity(2),
            spare: Vec::with_capacity(max_tokens),
            logits: vec![0.0; vocab_size],
            sampler: Sampler::new(vocab_size),
            submitted: 0,
            config,
        }
    }

    /// The hash of the context that ends with the last slot of `block`: what the KV of a full
    /// block stands for.
    pub fn context_at_end(&self, block: BlockId) -> u64 {
        self.slots[(block as usize + 1) * self.config.limits.block_size - 1].load(Relaxed)
    }
}

/// The hash of a context, from the hash of all but its last token.
pub fn context_hash(before: u64, token: Token) -> u64 {
    mix(before ^ mix(u64::from(token) + 1))
}

/// The logits that follow a context, each in [0, 8).
pub fn fill_logits(context: u64, logits: &mut [f32]) {
    for (i, logit) in logits.iter_mut().enumerate() {
        *logit = (mix(context ^ i as u64) >> 40) as f32 * (8.0 / (1u64 << 24) as f32);
    }
}

fn mix(x: u64) -> u64 {
    let x = (x ^ (x >> 32)).wrapping_mul(0xd6e8_feb8_6659_fd93);
    let x = (x ^ (x >> 32)).wrapping_mul(0xd6e8_feb8_6659_fd93);
    x ^ (x >> 32)
}

impl Backend for SimBackend {
    fn limits(&self) -> &Limits {
        &self.config.limits
    }

    /// One region: what stands for the KV of all layers.
    fn kv_memory(&self) -> Option<KvMemory> {
        let Limits { num_blocks, block_size, .. } = self.config.limits;
        let block_len = block_size * size_of::<u64>();
        let address = self.slots.as_ptr() as u64;
        let place = KvPlace::Main;
        let region = KvRegion { place, address, block_len, stride: block_len, num_blocks };
        Some(KvMemory::of_host(vec![region], Arc::new(self.slots.clone())))
    }

    fn runs_ahead(&self) -> bool {
        self.config.samples == Samples::Ahead
    }

    fn submit(&mut self, batch: &StepBatch) -> Result<(), BackendError> {
        let started = Instant::now();
        self.submitted += 1;
        if self.config.fails_at == Some(self.submitted) {
            return Err(BackendError { backend: "sim", reason: "told to fail".to_owned() });
        }
        let block_size = self.config.limits.block_size;
        for seq in 0..batch.num_seqs() {
            let table = batch.block_table(seq);
            let slot = |at: usize| table[at / block_size] as usize * block_size + at % block_size;
            for row in batch.rows_of(seq) {
                let at = batch.positions[row] as usize;
                let before = if at == 0 { 0 } else { self.slots[slot(at - 1)].load(Relaxed) };
                let context = context_hash(before, self.token(batch, row));
                self.slots[slot(at)].store(context, Relaxed);
            }
        }
        let mut rows = std::mem::take(&mut self.spare);
        for row in &batch.rows {
            let at = batch.positions[row.row as usize] as usize;
            let block = batch.block_table(row.seq as usize)[at / block_size] as usize;
            let context = self.slots[block * block_size + at % block_size].load(Relaxed);
            rows.push(self.result(context, row.draw.as_ref()));
        }
        self.steps.push_back(Step { started, rows });
        Ok(())
    }

    fn collect(&mut self, sink: &mut dyn RowSink) -> Result<StepTiming, BackendError> {
        let Some(Step { started, mut rows }) = self.steps.pop_front() else {
            return Ok(StepTiming::default());
        };
        if let Some(left) = self.config.step_time.checked_sub(started.elapsed()) {
            std::thread::sleep(left);
        }
        for (i, row) in rows.drain(..).enumerate() {
            match row {
                Row::Sampled(token) => sink.sampled(i, token),
                Row::Reported(sampled) => sink.reported(i, sampled),
                Row::Logits(context) => {
                    fill_logits(context, &mut self.logits);
                    sink.logits(i, &mut self.logits);
                }
            }
        }
        self.spare = rows;
        Ok(StepTiming { device: started.elapsed() })
    }
}

impl SimBackend {
    /// The token of a row, which may be one that the step before sampled.
    fn token(&self, batch: &StepBatch, row: usize) -> Token {
        let Some(&from) = batch.feed.get(row) else { return batch.tokens[row] };
        match self.steps.back().and_then(|step| step.rows.get(from as usize)) {
            Some(Row::Sampled(token) | Row::Reported(TokenLogprobs { token, .. })) => *token,
            other => panic!("row {row} is fed by {other:?}"),
        }
    }

    fn result(&mut self, context: u64, draw: Option<&Draw>) -> Row {
        match (self.config.samples, draw) {
            (Samples::Cheaply, Some(Draw { report: None, .. })) => {
                Row::Sampled((context % self.config.limits.vocab_size as u64) as Token)
            }
            (Samples::Ahead, Some(draw)) => {
                fill_logits(context, &mut self.logits);
                let token = self.sampler.draw(draw, &self.logits);
                match draw.report {
                    Some(top) => Row::Reported(self.sampler.score(token, top as i32, &self.logits)),
                    None => Row::Sampled(token),
                }
            }
            _ => Row::Logits(context),
        }
    }
}
