//! What comes out of the engine for one generation.

use super::{LeasedBlocks, Moment, Token};

/// Why a generation ended; the names are the API's.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum FinishReason {
    /// An end token or a stop string.
    Stop,
    /// `max_tokens` or the context is used up.
    Length,
    /// Ended by the server: shutdown, or an abort call.
    Abort,
    /// The engine failed; clients get an HTTP 500.
    Error,
    /// The output repeats itself, as the request said it must not.
    Repetition,
}

impl FinishReason {
    /// Whether the generation came to its own end, with all that it was to say.
    pub fn is_own_end(self) -> bool {
        matches!(self, Self::Stop | Self::Length | Self::Repetition)
    }

    /// The API's word for it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Stop => "stop",
            Self::Length => "length",
            Self::Abort => "abort",
            Self::Error => "error",
            Self::Repetition => "repetition",
        }
    }
}

/// What a generation stopped at, beside the primary end token.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum StopReason {
    /// A stop token id, or a secondary end token of the model.
    Token(Token),
    /// A stop string.
    Text(String),
}

/// The end of a generation.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finish {
    pub reason: FinishReason,
    /// `None` for the primary end token and where the reason says all.
    pub stop: Option<StopReason>,
}

/// The log-probabilities of one position, or logits in their place: see
/// [`LogprobsMode`](super::LogprobsMode).
#[derive(Clone, Debug, PartialEq)]
pub struct TokenLogprobs {
    /// The token that stands at this position, with its log-probability and its rank (1 is best).
    pub token: Token,
    pub logprob: f32,
    pub rank: u32,
    /// The most likely tokens, best first (ties: lower id first), as many as were asked for.
    pub top: Vec<(Token, f32)>,
}

/// Log-probabilities of prompt tokens `1..`, in order; the first token has none.
pub type PromptLogprobs = Vec<TokenLogprobs>;

/// What the engine sends for one generation: one message a step that touched it.
#[derive(Clone, Debug, PartialEq)]
pub enum Generated {
    /// Sent once, before the first token. `cached` prompt tokens came from the prefix cache.
    Prompt { cached: u32, logprobs: Option<PromptLogprobs> },
    /// One sampled token; `finish` is set on the last one.
    Token {
        token: Token,
        logprobs: Option<Box<TokenLogprobs>>,
        /// The end of the step that gave it.
        at: Moment,
        finish: Option<Finish>,
    },
    /// The blocks of the prompt are kept for a peer. Sent just before the last token.
    Leased(Box<LeasedBlocks>),
    /// The end without a token: aborted, or the engine failed.
    End(Finish),
}
