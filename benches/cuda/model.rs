//! A backend with made-up weights, steps for it, and what they cost at the least.

use crate::report::Work;
use crate::sizes::Sizes;
use glassbox::config::GraphSettings;
use glassbox::model::{Dims, DummyWeights, ModelConfig, parameters};
use glassbox::runner::cuda::{Choices, CudaBackend, Gpu, Options};
use glassbox::runner::{Backend, RowSink, StepBatch};
use glassbox::sampler::Draw;
use glassbox::types::{BlockId, Token, TokenLogprobs};
use serde_json::Map;
use std::path::Path;
use std::time::{Duration, Instant};

/// As the nano-vllm benchmark samples.
pub const DRAW: Draw = Draw { temperature: 0.6, ..Draw::GREEDY };

/// Takes what was sampled.
#[derive(Default)]
pub struct Sampled(pub Vec<Token>);

impl RowSink for Sampled {
    fn logits(&mut self, _row: usize, _logits: &mut [f32]) {}

    fn sampled(&mut self, _row: usize, token: Token) {
        self.0.push(token);
    }

    fn reported(&mut self, row: usize, sampled: TokenLogprobs) {
        self.sampled(row, sampled.token);
    }
}

/// A backend under measurement.
pub struct Bench {
    pub backend: CudaBackend,
    pub dims: Dims,
    pub load_time: Duration,
    pub batch: StepBatch,
}

impl Bench {
    /// The model of the `config.json` in `folder`, its whole KV cache filled by prompts.
    pub fn open(gpu: &Gpu, folder: &Path, sizes: &Sizes) -> Result<Self, String> {
        let config = folder.join("config.json");
        let config = ModelConfig::load(&config, &Map::new()).map_err(|error| error.to_string())?;
        let dims = config.dims;
        let limits = sizes.limits(dims.vocab);
        let since = Instant::now();
        let weights = DummyWeights::new(&dims, 0);
        let graph_sizes = GraphSettings::default().sizes().expect("the usual sizes");
        let options = Options { graph_sizes, ..Options::default() };
        let backend = CudaBackend::new(gpu, &dims, &weights, limits, options);
        let backend = backend.map_err(|error| error.to_string())?;
        let load_time = since.elapsed();
        let mut bench = Self { backend, dims, load_time, batch: StepBatch::new(&limits) };
        bench.fill(sizes.context)?;
        Ok(bench)
    }

    /// Prompts of `len` tokens wherever there are blocks.
    fn fill(&mut self, len: usize) -> Result<(), String> {
        let limits = *self.backend.limits();
        let of_seq = len.div_ceil(limits.block_size);
        let together = (limits.max_tokens / len).min(limits.max_seqs).max(1);
        let tables: Vec<Vec<BlockId>> = (0..limits.num_blocks / of_seq)
            .map(|seq| (seq * of_seq..(seq + 1) * of_seq).map(|block| block as BlockId).collect())
            .collect();
        for tables in tables.chunks(together) {
            self.batch.clear();
            for (seq, table) in tables.iter().enumerate() {
                self.batch.push(&tokens(len, seq, self.dims.vocab), 0, table, 1, Some(DRAW));
            }
            self.step()?;
        }
        Ok(())
    }

    /// Puts `seqs` sequences into the batch that each compute `rows` tokens after `past`.
    pub fn put(&mut self, seqs: usize, past: usize, rows: usize) {
        self.batch.clear();
        for seq in 0..seqs {
            let table = self.table(seqs, seq, past + rows);
            self.batch.push(&tokens(rows, seq, self.dims.vocab), past, &table, 1, Some(DRAW));
        }
    }

    /// The blocks of sequence `seq` of `seqs`, which lie apart as they do in a server.
    pub fn table(&self, seqs: usize, seq: usize, len: usize) -> Vec<BlockId> {
        let blocks = len.div_ceil(self.backend.limits().block_size);
        (0..blocks).map(|block| (block * seqs + seq) as BlockId).collect()
    }

    /// Runs the next steps so.
    pub fn choose(&mut self, choices: Choices) -> Result<(), String> {
        self.backend.choose(choices).map_err(|error| error.to_string())
    }

    /// Runs the batch as a step; gives the time on the device and that until the results were here.
    pub fn step(&mut self) -> Result<(Duration, Duration), String> {
        let since = Instant::now();
        self.backend.submit(&self.batch).map_err(|error| error.to_string())?;
        let timing = self.backend.collect(&mut Sampled::default());
        let timing = timing.map_err(|error| error.to_string())?;
        Ok((timing.device, since.elapsed()))
    }

    /// Elements of the layers' matrices, and of the LM head.
    fn elements(&self) -> (usize, usize) {
        let head = self.dims.vocab * self.dims.hidden;
        (parameters(&self.dims) - head * if self.dims.tied { 1 } else { 2 }, head)
    }

    /// Bytes of the weights that every step reads.
    pub fn weight_bytes(&self) -> f64 {
        let (layers, head) = self.elements();
        2.0 * (layers + head) as f64
    }

    /// A step of single tokens of `seqs` sequences, each with `context` tokens.
    pub fn decode_work(&self, seqs: usize, context: usize) -> Work {
        let (layers, head) = self.elements();
        let keys = (seqs * context) as f64;
        let attention = 4.0 * (self.dims.heads * self.dims.head_dim * self.dims.layers) as f64;
        Work {
            bytes: self.weight_bytes() + keys * self.dims.kv_bytes_per_token() as f64,
            flops: 2.0 * (seqs * (layers + head)) as f64 + attention * keys,
        }
    }

    /// A step of a prompt of `len` tokens.
    pub fn prompt_work(&self, len: usize) -> Work {
        let (layers, head) = self.elements();
        let pairs = len as f64 * (len as f64 + 1.0) / 2.0;
        let attention = 4.0 * (self.dims.heads * self.dims.head_dim * self.dims.layers) as f64;
        Work {
            bytes: self.weight_bytes() + (len * self.dims.kv_bytes_per_token()) as f64,
            flops: 2.0 * (len as f64 * layers as f64 + head as f64) + attention * pairs,
        }
    }
}

/// Tokens that differ from sequence to sequence.
pub fn tokens(count: usize, seq: usize, vocab: usize) -> Vec<Token> {
    (0..count).map(|i| ((i * 31 + seq * 7919) % vocab) as Token).collect()
}
