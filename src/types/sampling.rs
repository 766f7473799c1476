//! What a generation asks of the sampler and of the engine, validated and resolved to numbers.

use super::Token;
use std::sync::Arc;

/// What the log-probabilities of generated tokens are (`--logprobs-mode`). Nothing is processed for
/// prompt tokens: they are shown raw in each mode.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum LogprobsMode {
    /// Of the model's own logits.
    #[default]
    RawLogprobs,
    /// These logits themselves.
    RawLogits,
    /// Of the logits that a token is drawn from: after masks, penalties, temperature and filters.
    ProcessedLogprobs,
    /// These logits themselves.
    ProcessedLogits,
}

impl LogprobsMode {
    /// The mode of this name.
    pub fn named(name: &str) -> Option<Self> {
        Some(match name {
            "raw_logprobs" => Self::RawLogprobs,
            "raw_logits" => Self::RawLogits,
            "processed_logprobs" => Self::ProcessedLogprobs,
            "processed_logits" => Self::ProcessedLogits,
            _ => return None,
        })
    }

    /// Whether logits are shown as they are drawn from.
    pub fn is_processed(self) -> bool {
        matches!(self, Self::ProcessedLogprobs | Self::ProcessedLogits)
    }

    /// Whether logits are shown in place of log-probabilities.
    pub fn shows_logits(self) -> bool {
        matches!(self, Self::RawLogits | Self::ProcessedLogits)
    }
}

/// Which repetition at the end of an output ends a generation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Repetition {
    /// Tokens of the pattern; at least 1.
    pub min_pattern: usize,
    pub max_pattern: usize,
    /// How often it has to stand there; at least 2.
    pub min_count: usize,
}

impl Repetition {
    /// Whether `output` ends in some pattern, often enough.
    pub fn is_at_end_of(&self, output: &[Token]) -> bool {
        let longest = self.max_pattern.min(output.len() / self.min_count);
        (self.min_pattern..=longest).any(|length| {
            let start = output.len() - length * self.min_count;
            // A pattern repeats where each token equals the one a pattern later.
            let tail = &output[start..];
            tail[..tail.len() - length] == tail[length..]
        })
    }
}

/// Sampling parameters after defaults (request, then generation_config.json, then neutral) have
/// been applied. Ranges are checked before this is built; see `http` for the messages. What a
/// client can make long is shared by all generations of a request.
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
    pub logit_bias: Arc<[(Token, f32)]>,
    /// When set, all other tokens are impossible. Ascending, without duplicates, never empty.
    pub allowed_token_ids: Option<Arc<[Token]>>,
    /// Token sequences whose last token is masked when the rest has just been generated.
    pub bad_words: Arc<[Vec<Token>]>,
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
    pub stop_token_ids: Arc<[Token]>,
    pub repetition: Option<Repetition>,
    /// Same seed, same text. `None` draws one.
    pub seed: Option<i64>,
    /// How many most likely tokens to report beside the sampled one; -1 is the whole vocabulary.
    pub logprobs: Option<i32>,
    /// With `logprobs`, report these tokens instead of the most likely ones.
    pub logprob_token_ids: Option<Arc<[Token]>>,
    /// The same as `logprobs` for every prompt token but the first.
    pub prompt_logprobs: Option<i32>,
    /// Cached blocks may not stand in for computing the prompt.
    pub skip_reading_prefix_cache: bool,
}

/// How many tokens of reasoning there may be between what starts and what ends it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ThinkingBudget {
    pub tokens: u32,
    pub marks: Arc<ReasoningMarks>,
}

/// What starts reasoning, what ends it, and what is forced on it when it has to end. None is empty.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ReasoningMarks {
    pub start: Vec<Token>,
    pub end: Vec<Token>,
    pub forced: Vec<Token>,
}

impl ReasoningMarks {
    /// Tokens of the longest one.
    pub fn longest(&self) -> usize {
        self.start.len().max(self.end.len()).max(self.forced.len())
    }
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
            logit_bias: Arc::default(),
            allowed_token_ids: None,
            bad_words: Arc::default(),
            min_tokens: 0,
            thinking_budget: None,
            max_tokens,
            eos: None,
            ignored_eos: Vec::new(),
            stop_token_ids: Arc::default(),
            repetition: None,
            seed: None,
            logprobs: None,
            logprob_token_ids: None,
            prompt_logprobs: None,
            skip_reading_prefix_cache: false,
        }
    }

    /// Whether cached blocks may stand in for computing the prompt: not when its logits are wanted.
    pub fn reads_prefix_cache(&self) -> bool {
        self.prompt_logprobs.is_none() && !self.skip_reading_prefix_cache
    }

    /// Whether the most likely token is always taken.
    pub fn is_greedy(&self) -> bool {
        self.temperature == 0.0
    }
}
