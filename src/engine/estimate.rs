//! What a step costs by vLLM's formulas: operations, and bytes read and written, from the model's
//! numbers and the step's tokens alone. The unit of `--enable-mfu-metrics`.

use crate::model::Dims;

/// Bytes of a weight, an activation and a value of the KV cache: bfloat16.
const BYTES: u64 = 2;

/// The tokens of a step, as far as the formulas tell them apart.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct StepLoad {
    prefills: u64,
    prefill_tokens: u64,
    /// Tokens that prefills look back at, their own ones too.
    prefill_context: u64,
    decode_tokens: u64,
    decode_context: u64,
    /// Over all requests: tokens times the context at the step's end.
    attended: u64,
}

impl StepLoad {
    /// A request computes so many tokens, and then has this much context.
    pub fn add(&mut self, tokens: u64, context: u64, is_prefill: bool) {
        self.attended += tokens * context;
        if is_prefill {
            self.prefills += 1;
            self.prefill_tokens += tokens;
            self.prefill_context += context;
        } else {
            self.decode_tokens += tokens;
            self.decode_context += context;
        }
    }
}

/// What a step costs.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Estimate {
    pub flops: u64,
    pub read_bytes: u64,
    pub written_bytes: u64,
}

/// The numbers of a model that the formulas need.
#[derive(Clone, Copy, Debug)]
pub struct ModelCosts {
    layers: u64,
    hidden: u64,
    /// Width of all queries, and of all keys (or values), of a token.
    queries: u64,
    keys: u64,
    intermediate: u64,
    vocab: u64,
}

impl ModelCosts {
    /// Of a dense model.
    pub fn new(dims: &Dims) -> Self {
        let number = |n: usize| n as u64;
        Self {
            layers: number(dims.layers),
            hidden: number(dims.hidden),
            queries: number(dims.heads * dims.head_dim),
            keys: number(dims.kv_heads * dims.head_dim),
            intermediate: number(dims.intermediate),
            vocab: number(dims.vocab),
        }
    }

    /// A step's cost.
    pub fn of(&self, load: &StepLoad) -> Estimate {
        let Self { layers, hidden, queries, keys, intermediate, vocab } = *self;
        let tokens = load.prefill_tokens + load.decode_tokens;
        // Of a prefill, only the last token's logits are needed.
        let rows = load.prefills + load.decode_tokens;
        let projected = queries + 2 * keys;
        let attention = 2 * tokens * hidden * (projected + queries) + 4 * queries * load.attended;
        let mlp = 6 * hidden * intermediate * tokens;
        let context = load.prefill_context + load.decode_context;
        let weights = hidden * (projected + queries) + 3 * hidden * intermediate;
        // Inputs of: projections, attention, its output, gate and up, SiLU, down.
        let inputs = tokens * (2 * hidden + 2 * queries + 3 * intermediate) + 2 * context * keys;
        // Outputs of: projections, the cache, attention's output, gate and up, SiLU, down.
        let outputs = tokens * (projected + 2 * keys + 2 * hidden + 3 * intermediate);
        Estimate {
            flops: layers * (attention + mlp) + 2 * rows * hidden * vocab,
            read_bytes: BYTES * (layers * (weights + inputs) + rows * hidden + hidden * vocab),
            written_bytes: BYTES * (layers * outputs + rows * vocab),
        }
    }
}
