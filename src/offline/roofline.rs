//! How long work must take on this machine at the least, and what share of that time it took.

use super::machine::Machine;
use crate::model::{Dims, parameters};
use crate::runner::cuda::Gpu;
use crate::serve::device::Device;
use std::fmt;

/// Generations that run at the same time.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Workload {
    /// Prompt tokens that are computed, of all generations.
    pub prompt_tokens: usize,
    pub output_tokens: usize,
    /// Tokens of the longest output: steps come one after the other.
    pub longest_output: usize,
    /// Keys and values that are read for all tokens: the sum of their positions.
    pub context_tokens: f64,
    /// Most tokens and most generations in one step.
    pub step_tokens: usize,
    pub step_seqs: usize,
}

impl Workload {
    /// `count` generations of `input` and `output` tokens each.
    pub fn uniform(count: usize, input: usize, output: usize, step: (usize, usize)) -> Self {
        let whole = |len: usize| len as f64 * (len as f64 + 1.0) / 2.0;
        Self {
            prompt_tokens: count * input,
            output_tokens: count * output,
            longest_output: output,
            context_tokens: count as f64 * whole(input + output - 1),
            step_tokens: step.0,
            step_seqs: step.1,
        }
    }

    /// Steps that cannot be avoided.
    fn steps(&self) -> usize {
        // The first output token comes with the last step of its prompt.
        let prefill = self.prompt_tokens.div_ceil(self.step_tokens);
        let decode = (self.longest_output.saturating_sub(1))
            .max(self.output_tokens.div_ceil(self.step_seqs).saturating_sub(1));
        prefill + decode
    }

    /// Bytes that must come from memory: weights once a step, keys and values once a decoded
    /// token.
    fn bytes(&self, dims: &Dims) -> f64 {
        let embedding = if dims.tied { 0 } else { dims.vocab * dims.hidden };
        let weights = (parameters(dims) - embedding) * 2;
        let decoded = self.output_tokens as f64 / (self.prompt_tokens + self.output_tokens) as f64;
        let cache = self.context_tokens * decoded * dims.kv_bytes_per_token() as f64;
        self.steps() as f64 * weights as f64 + cache
    }

    /// Operations of matrix products and of attention.
    fn operations(&self, dims: &Dims) -> f64 {
        let head = dims.vocab * dims.hidden;
        let layers = parameters(dims) - head * if dims.tied { 1 } else { 2 };
        let tokens = (self.prompt_tokens + self.output_tokens) as f64;
        let attention = 4.0 * (dims.heads * dims.head_dim * dims.layers) as f64;
        2.0 * (layers as f64 * tokens + (head * self.output_tokens) as f64)
            + attention * self.context_tokens
    }
}

/// What the work is held against, the best of each so far.
enum Limit {
    Cpu(Box<Machine>),
    /// Copies are what a GPU's memory is measured with; of products nothing is known.
    Cuda {
        gpu: Gpu,
        bandwidth: f64,
    },
}

/// Copies of one measurement.
const COPIES: usize = 5;

impl Limit {
    /// Measures once more. A GPU that fails then says so in its next step.
    fn measure(&mut self) {
        match self {
            Self::Cpu(machine) => machine.measure(),
            Self::Cuda { gpu, bandwidth } => {
                *bandwidth = bandwidth.max(gpu.copy_rate(COPIES).unwrap_or(0.0));
            }
        }
    }

    /// Bytes a second, and operations a second of products, or NaN.
    fn rates(&self) -> (f64, f64) {
        match self {
            Self::Cpu(machine) => (machine.bandwidth, machine.registers),
            Self::Cuda { bandwidth, .. } => (*bandwidth, f64::NAN),
        }
    }
}

/// What the machine can do, measured beside the work.
pub(super) struct Roofline {
    limit: Option<Limit>,
    dims: Dims,
}

/// The shortest possible time, and how far the work was from it.
pub(super) struct Share {
    pub bound: f64,
    pub percent: f64,
    bandwidth: f64,
    rate: f64,
}

impl Roofline {
    /// Measures once; nothing for a device whose limits it cannot measure.
    pub fn new(device: &Device, dims: &Dims, threads: usize) -> Self {
        let mut limit = match device {
            Device::Cpu => Some(Limit::Cpu(Box::new(Machine::new(threads, has_dot_products())))),
            Device::Cuda(gpu) => Some(Limit::Cuda { gpu: gpu.clone(), bandwidth: 0.0 }),
            Device::Sim => None,
        };
        if let Some(limit) = &mut limit {
            limit.measure();
        }
        Self { limit, dims: dims.clone() }
    }

    /// Measures once more and holds `seconds` of `work` against the best of all measurements.
    pub fn share(&mut self, work: &Workload, seconds: f64) -> Option<Share> {
        let limit = self.limit.as_mut()?;
        limit.measure();
        let (bandwidth, rate) = limit.rates();
        let memory = work.bytes(&self.dims) / bandwidth;
        // Without a rate of products only memory bounds the time; `max` passes over a NaN.
        let bound = memory.max(work.operations(&self.dims) / rate);
        Some(Share { bound, percent: bound / seconds * 100.0, bandwidth, rate })
    }
}

impl fmt::Display for Share {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (bound, percent) = (self.bound, self.percent);
        write!(out, "Roofline: {bound:.4} seconds at {:.1} GB/s", self.bandwidth / 1e9)?;
        if self.rate.is_finite() {
            write!(out, " and {:.0} GFLOP/s", self.rate / 1e9)?;
        }
        write!(out, ", measured in this run: {percent:.1} % of it reached")
    }
}

#[cfg(target_arch = "x86_64")]
fn has_dot_products() -> bool {
    std::arch::is_x86_feature_detected!("avx512bf16")
}

#[cfg(not(target_arch = "x86_64"))]
fn has_dot_products() -> bool {
    false
}

#[cfg(test)]
mod tests {
    use super::*;

    fn dims() -> Dims {
        Dims {
            hidden: 8,
            layers: 2,
            heads: 2,
            kv_heads: 1,
            head_dim: 4,
            intermediate: 16,
            vocab: 100,
            rms_eps: 1e-6,
            rope_theta: 1e4,
            rope_scaling: None,
            tied: true,
            max_positions: 64,
        }
    }

    #[test]
    fn work_is_counted() {
        let work = Workload::uniform(3, 10, 5, (16, 2));
        assert_eq!((work.prompt_tokens, work.output_tokens), (30, 15));
        // Two steps of prefill; then eight places of two, of which one came with the prefill.
        assert_eq!(work.steps(), 2 + 7);
        assert_eq!(Workload::uniform(1, 10, 5, (16, 2)).steps(), 1 + 4);
        // Positions 1 to 14: the last token is never read.
        assert_eq!(work.context_tokens, 3.0 * 105.0);
        let dims = dims();
        let weights = parameters(&dims) as f64 * 2.0;
        let cache = 315.0 / 3.0 * dims.kv_bytes_per_token() as f64;
        assert!((work.bytes(&dims) - (9.0 * weights + cache)).abs() < 1e-6);
        let layers = (parameters(&dims) - 800) as f64;
        let products = 2.0 * (layers * 45.0 + 800.0 * 15.0);
        assert!((work.operations(&dims) - (products + 4.0 * 16.0 * 315.0)).abs() < 1e-6);
    }
}
