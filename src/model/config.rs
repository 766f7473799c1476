//! The numbers of a dense Qwen3, from Hugging Face's `config.json`.

mod parse;
#[cfg(test)]
pub(super) mod tests;

/// What `config.json` says.
#[derive(Clone, Debug, PartialEq)]
pub struct ModelConfig {
    pub dims: Dims,
    /// The longest sequence that vLLM allows by default: `max_position_embeddings`, or
    /// `model_max_length` where that is smaller. YaRN does not stretch it: vLLM 0.32 takes
    /// `max_position_embeddings` as already scaled.
    pub max_model_len: usize,
    /// The dtype that the file names (`dtype` or `torch_dtype`), such as `bfloat16`.
    pub dtype: Option<String>,
}

/// The shape of the model and the constants of its arithmetic.
#[derive(Clone, Debug, PartialEq)]
pub struct Dims {
    pub hidden: usize,
    pub layers: usize,
    /// Query heads.
    pub heads: usize,
    /// Key/value heads; divides `heads`.
    pub kv_heads: usize,
    /// Width of one head; independent of `hidden / heads` in Qwen3.
    pub head_dim: usize,
    /// Width of the SwiGLU.
    pub intermediate: usize,
    pub vocab: usize,
    pub rms_eps: f32,
    pub rope_theta: f64,
    pub rope_scaling: Option<RopeScaling>,
    /// The LM head is the embedding table.
    pub tied: bool,
    /// Positions the model was made for, scaling included.
    pub max_positions: usize,
}

/// YaRN, as Hugging Face computes it: per-frequency interpolation and a factor on cos and sin.
#[derive(Clone, Debug, PartialEq)]
pub struct RopeScaling {
    pub factor: f64,
    pub original_max_positions: usize,
    pub beta_fast: f64,
    pub beta_slow: f64,
    /// The factor on cos and sin; already resolved (`0.1 ln(factor) + 1` unless given).
    pub attention_factor: f64,
    /// Whether the correction range is rounded to whole dimensions (Hugging Face's `truncate`).
    pub truncate: bool,
}

impl Dims {
    /// Bytes of KV cache that one token takes: K and V of every layer in bf16.
    pub fn kv_bytes_per_token(&self) -> usize {
        self.layers * self.kv_heads * self.head_dim * 2 * size_of::<u16>()
    }

    /// `[head_dim / 2]`: the angle that one position turns each pair of dimensions by.
    pub fn inverse_frequencies(&self) -> Vec<f64> {
        let half = self.head_dim / 2;
        let base = |i: usize| self.rope_theta.powf(-(i as f64) / half as f64);
        let Some(yarn) = &self.rope_scaling else {
            return (0..half).map(base).collect();
        };
        // The dimension whose wave turns `turns` times over the original context.
        let dimension = |turns: f64| {
            let wave = yarn.original_max_positions as f64 / (turns * std::f64::consts::TAU);
            self.head_dim as f64 * wave.ln() / (2.0 * self.rope_theta.ln())
        };
        let (mut low, mut high) = (dimension(yarn.beta_fast), dimension(yarn.beta_slow));
        if yarn.truncate {
            (low, high) = (low.floor(), high.ceil());
        }
        let (low, mut high) = (low.max(0.0), high.min(self.head_dim as f64 - 1.0));
        if low == high {
            high += 0.001;
        }
        (0..half)
            .map(|i| {
                let interpolated = ((i as f64 - low) / (high - low)).clamp(0.0, 1.0);
                base(i) / yarn.factor * interpolated + base(i) * (1.0 - interpolated)
            })
            .collect()
    }

    /// The factor on cos and sin.
    pub fn rope_factor(&self) -> f32 {
        self.rope_scaling.as_ref().map_or(1.0, |yarn| yarn.attention_factor as f32)
    }
}
