//! What a generation asks of the sampler and of the engine, validated and resolved to numbers.

use super::Token;

/// Sampling parameters after defaults (request, then generation_config.json, then neutral) have
/// been applied. Ranges are checked before this is built; see `http` for the messages.
#[derive(Clone, Debug, PartialEq)]
pub struct SamplingParams {
    /// 0 is greedy. Otherwise at least 0.01: vLLM raises smaller values to that.
    pub temperature: f32,
    /// In (0, 1]; 1 is off.
    pub top_p: f32,
    /// 0 is off.
    pub top_k: u32,
    /// In [0, 1], relative to the most likely token; 0 is off.
    pub min_p: f32,
    /// Greater than 0; 1 is off. Over tokens seen in prompt and output.
    pub repetition_penalty: f32,
    /// In [-2, 2]; over output tokens.
    pub presence_penalty: f32,
    /// In [-2, 2]; over output tokens.
    pub frequency_penalty: f32,
    /// Added to the logits of these tokens; values in [-100, 100].
    pub logit_bias: Vec<(Token, f32)>,
    /// When set, all other tokens are impossible. Never empty.
    pub allowed_token_ids: Option<Vec<Token>>,
    /// Token sequences whose last token is masked when the rest has just been generated.
    pub bad_words: Vec<Vec<Token>>,
    /// `eos`, `ignored_eos` and `stop_token_ids` are impossible until so many tokens were
    /// generated.
    pub min_tokens: u32,
    /// Ends reasoning that grows longer.
    pub thinking_budget: Option<ThinkingBudget>,
    /// At least 1; already clamped to what fits in the context.
    pub max_tokens: u32,
    /// The tokenizer's end token; `None` with `ignore_eos`. Reported without a stop reason.
    pub eos: Option<Token>,
    /// End tokens of the model that `ignore_eos` has switched off; `min_tokens` masks them still.
    pub ignored_eos: Vec<Token>,
    /// Further end tokens (generation_config.json and the request), reported as stop reasons.
    pub stop_token_ids: Vec<Token>,
    /// Same seed, same text. `None` draws one.
    pub seed: Option<i64>,
    /// How many most likely tokens to report beside the sampled one; -1 is the whole vocabulary.
    pub logprobs: Option<i32>,
    /// The same for every prompt token but the first.
    pub prompt_logprobs: Option<i32>,
}

/// How many tokens of reasoning there may be between the tokens that start and end it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ThinkingBudget {
    pub tokens: u32,
    pub start: Token,
    pub end: Token,
}

impl SamplingParams {
    /// Greedy decoding of at most `max_tokens` tokens with everything else neutral.
    pub fn greedy(max_tokens: u32) -> Self {
        Self {
            temperature: 0.0,
            top_p: 1.0,
            top_k: 0,
            min_p: 0.0,
            repetition_penalty: 1.0,
            presence_penalty: 0.0,
            frequency_penalty: 0.0,
            logit_bias: Vec::new(),
            allowed_token_ids: None,
            bad_words: Vec::new(),
            min_tokens: 0,
            thinking_budget: None,
            max_tokens,
            eos: None,
            ignored_eos: Vec::new(),
            stop_token_ids: Vec::new(),
            seed: None,
            logprobs: None,
            prompt_logprobs: None,
        }
    }

    /// Whether the most likely token is always taken.
    pub fn is_greedy(&self) -> bool {
        self.temperature == 0.0
    }
}
