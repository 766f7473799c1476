//! A backend without a model: what it computes is a hash of the context, kept in KV slots.
//!
//! A slot holds the hash of all tokens up to its position, computed from the slot before it as the
//! block table names it. So a result depends on what really stands in the KV cache: a block that
//! was freed too early, shared wrongly or never computed gives another token than the same
//! sequence alone. It serves to test the engine and to measure all that is not the model.

use super::{Backend, BackendError, Limits, RowSink, StepBatch, StepTiming};
use crate::types::{BlockId, KvMemory, KvRegion, Token};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::{Duration, Instant};

/// How the simulated device behaves.
#[derive(Clone, Copy, Debug)]
pub struct SimConfig {
    pub limits: Limits,
    /// How long the device takes for a step.
    pub step_time: Duration,
    /// Deliver tokens instead of logits for rows that do not need logits.
    pub samples: bool,
    /// The step (counted from 1) at which the device fails.
    pub fails_at: Option<u64>,
}

/// The simulated device.
pub struct SimBackend {
    config: SimConfig,
    /// `[num_blocks][block_size]`: the hash of the context that ends at the slot.
    slots: Arc<[AtomicU64]>,
    /// The hash at each row that wants a result, and whether it needs logits.
    rows: Vec<(u64, bool)>,
    logits: Vec<f32>,
    steps: u64,
    started: Instant,
}

impl SimBackend {
    /// A device with memory for `config.limits`.
    pub fn new(config: SimConfig) -> Self {
        let Limits { num_blocks, block_size, vocab_size, max_tokens, .. } = config.limits;
        Self {
            slots: (0..num_blocks * block_size).map(|_| AtomicU64::new(0)).collect(),
            rows: Vec::with_capacity(max_tokens),
            logits: vec![0.0; vocab_size],
            steps: 0,
            started: Instant::now(),
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
        let region = KvRegion { address, block_len, stride: block_len, num_blocks };
        Some(KvMemory { regions: vec![region], owner: Arc::new(self.slots.clone()) })
    }

    fn submit(&mut self, batch: &StepBatch) -> Result<(), BackendError> {
        self.started = Instant::now();
        self.steps += 1;
        if self.config.fails_at == Some(self.steps) {
            return Err(BackendError { backend: "sim", reason: "told to fail".to_owned() });
        }
        let block_size = self.config.limits.block_size;
        for seq in 0..batch.num_seqs() {
            let table = batch.block_table(seq);
            let slot = |at: usize| table[at / block_size] as usize * block_size + at % block_size;
            for row in batch.rows_of(seq) {
                let at = batch.positions[row] as usize;
                let before = if at == 0 { 0 } else { self.slots[slot(at - 1)].load(Relaxed) };
                let context = context_hash(before, batch.tokens[row]);
                self.slots[slot(at)].store(context, Relaxed);
            }
        }
        let value = |row: &super::SampleRow| {
            let at = batch.positions[row.row as usize] as usize;
            let block = batch.block_table(row.seq as usize)[at / block_size] as usize;
            (self.slots[block * block_size + at % block_size].load(Relaxed), row.draw.is_none())
        };
        self.rows.clear();
        self.rows.extend(batch.rows.iter().map(value));
        Ok(())
    }

    fn collect(&mut self, sink: &mut dyn RowSink) -> Result<StepTiming, BackendError> {
        if let Some(left) = self.config.step_time.checked_sub(self.started.elapsed()) {
            std::thread::sleep(left);
        }
        for (row, &(context, needs_logits)) in self.rows.iter().enumerate() {
            if self.config.samples && !needs_logits {
                sink.sampled(row, (context % self.config.limits.vocab_size as u64) as Token);
            } else {
                fill_logits(context, &mut self.logits);
                sink.logits(row, &mut self.logits);
            }
        }
        Ok(StepTiming { device: self.started.elapsed() })
    }
}
