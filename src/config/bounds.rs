//! Bounds on requests that vLLM reads from the environment, for the whole process as that is.

use std::sync::OnceLock;

/// How much of something one request may ask for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RequestBounds {
    /// `VLLM_MAX_N_SEQUENCES`.
    pub n: usize,
    /// `VLLM_MAX_COMPLETION_PROMPTS`.
    pub prompts: usize,
    /// `VLLM_MAX_STOP_STRINGS`.
    pub stop_strings: usize,
    /// `VLLM_MAX_NUM_BAD_WORDS`, counted after tokenisation.
    pub bad_words: usize,
}

impl Default for RequestBounds {
    fn default() -> Self {
        Self { n: 16384, prompts: 1024, stop_strings: 4, bad_words: 128 }
    }
}

static BOUNDS: OnceLock<RequestBounds> = OnceLock::new();

impl RequestBounds {
    /// Makes these the bounds of the process, before the first request is read. The first call
    /// decides.
    pub fn install(self) {
        // Whoever comes second finds bounds that are in use already.
        let _ = BOUNDS.set(self);
    }

    /// The bounds of the process; vLLM's defaults when none were installed.
    pub fn get() -> Self {
        *BOUNDS.get_or_init(Self::default)
    }
}
