//! Limits that depend on the model: the context length and the budget of one step.

use super::settings::{ContextRequest, SchedulerSettings};

const GIB: u64 = 1 << 30;

/// What a step may hold when nobody said: vLLM's defaults for a server, by what it runs on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StepDefaults {
    pub seqs: usize,
    pub tokens: usize,
}

impl StepDefaults {
    pub const CPU: Self = Self { seqs: 128, tokens: 2048 };

    /// For a GPU with so many bytes of memory.
    pub fn of_gpu(name: &str, bytes: u64) -> Self {
        let is_a100 = name.to_lowercase().contains("a100");
        match bytes {
            bytes if bytes >= 160 * GIB => Self { seqs: 1024, tokens: 16384 },
            bytes if bytes >= 70 * GIB && !is_a100 => Self { seqs: 1024, tokens: 8192 },
            _ => Self { seqs: 256, tokens: 2048 },
        }
    }
}

/// What one step may hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StepLimits {
    /// Memory is there for so many.
    pub max_num_seqs: usize,
    /// Memory is there for so many.
    pub max_num_batched_tokens: usize,
    /// So many are let in.
    pub max_num_active_seqs: usize,
    /// So many are planned.
    pub max_num_scheduled_tokens: usize,
}

/// The context length: `derived` positions that the model was made for, or what the user chose.
///
/// # Errors
/// When the user chose more than `derived` and did not insist.
pub fn max_model_len(request: ContextRequest, derived: usize) -> Result<usize, String> {
    match request {
        ContextRequest::Model | ContextRequest::Fit => Ok(derived),
        ContextRequest::Tokens { len, allow_long } if len <= derived || allow_long => Ok(len),
        ContextRequest::Tokens { len, .. } => Err(format!(
            "User-specified max_model_len ({len}) is greater than the derived max_model_len \
             (max_position_embeddings={derived} or model_max_length=None in model's config.json). \
             To allow overriding this maximum, set the env var VLLM_ALLOW_LONG_MAX_MODEL_LEN=1; \
             output is wrong beyond what the model was trained on."
        )),
    }
}

impl SchedulerSettings {
    /// The step's limits for a context of `max_model_len` tokens.
    ///
    /// # Errors
    /// One sentence, when the settings contradict each other.
    pub fn step_limits(
        &self,
        max_model_len: usize,
        defaults: StepDefaults,
    ) -> Result<StepLimits, String> {
        let factor = if self.favors_throughput { 2 } else { 1 };
        let seqs = self.max_num_seqs.unwrap_or(factor * defaults.seqs);
        let tokens = self.max_num_batched_tokens.unwrap_or_else(|| {
            let usual = factor * defaults.tokens;
            let usual = if self.chunked_prefill { usual } else { usual.max(max_model_len) };
            usual.min(seqs.saturating_mul(max_model_len))
        });
        let seqs = self.max_num_seqs.unwrap_or(seqs.min(tokens));
        if !self.chunked_prefill && tokens < max_model_len {
            return Err(format!(
                "max_num_batched_tokens ({tokens}) is smaller than max_model_len \
                 ({max_model_len}), and without chunked prefill no longer prompt could run. \
                 Increase max_num_batched_tokens or decrease max_model_len."
            ));
        }
        if tokens < seqs {
            return Err(format!(
                "max_num_batched_tokens ({tokens}) must be greater than or equal to max_num_seqs \
                 ({seqs})."
            ));
        }
        let threshold = self.long_prefill_token_threshold;
        if threshold > max_model_len {
            return Err(format!(
                "long_prefill_token_threshold ({threshold}) cannot be greater than the \
                 max_model_len ({max_model_len})."
            ));
        }
        let active = self.max_num_active_seqs.unwrap_or(seqs);
        if active > seqs {
            return Err(format!(
                "max_num_active_seqs ({active}) cannot be greater than max_num_seqs ({seqs})."
            ));
        }
        Ok(StepLimits {
            max_num_seqs: seqs,
            max_num_batched_tokens: tokens,
            max_num_active_seqs: active,
            max_num_scheduled_tokens: self.max_num_scheduled_tokens.unwrap_or(tokens).min(tokens),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::types::Policy;

    fn settings(seqs: Option<usize>, tokens: Option<usize>) -> SchedulerSettings {
        SchedulerSettings {
            max_num_seqs: seqs,
            max_num_batched_tokens: tokens,
            favors_throughput: false,
            max_num_active_seqs: None,
            max_num_scheduled_tokens: None,
            max_num_queued_reqs: None,
            max_num_queued_tokens: None,
            chunked_prefill: true,
            long_prefill_token_threshold: 0,
            adaptive_long_prefill: false,
            policy: Policy::Fcfs,
            reserve_full_isl: true,
            watermark: 0.0,
        }
    }

    fn limits(settings: SchedulerSettings, max_model_len: usize) -> Result<(usize, usize), String> {
        let limits = settings.step_limits(max_model_len, StepDefaults::CPU)?;
        Ok((limits.max_num_seqs, limits.max_num_batched_tokens))
    }

    #[test]
    fn defaults_are_those_of_vllm_on_a_cpu() {
        assert_eq!(limits(settings(None, None), 4096), Ok((128, 2048)));
        assert_eq!(limits(settings(None, None), 8), Ok((128, 1024)));
        assert_eq!(limits(settings(None, Some(64)), 4096), Ok((64, 64)));
        assert_eq!(limits(settings(Some(1), None), 512), Ok((1, 512)));
        let whole = SchedulerSettings { chunked_prefill: false, ..settings(None, None) };
        assert_eq!(limits(whole, 4096), Ok((128, 4096)));
        let fast = SchedulerSettings { favors_throughput: true, ..settings(None, None) };
        assert_eq!(limits(fast, 4096), Ok((256, 4096)));
        let fast = SchedulerSettings { favors_throughput: true, ..settings(Some(8), None) };
        assert_eq!(limits(fast, 4096), Ok((8, 4096)));
    }

    #[test]
    fn a_gpu_has_defaults_of_its_own() {
        for (name, gib, wanted) in [
            ("NVIDIA B200", 180, (1024, 16384)),
            ("NVIDIA H200", 139, (1024, 8192)),
            ("NVIDIA A100-SXM4-80GB", 80, (256, 2048)),
            ("NVIDIA L4", 22, (256, 2048)),
        ] {
            let defaults = StepDefaults::of_gpu(name, gib * GIB);
            let limits = settings(None, None).step_limits(40960, defaults).expect("good limits");
            assert_eq!((limits.max_num_seqs, limits.max_num_batched_tokens), wanted, "{name}");
        }
    }

    #[test]
    fn fewer_may_be_let_in_than_there_is_memory_for() {
        let fewer = SchedulerSettings {
            max_num_active_seqs: Some(3),
            max_num_scheduled_tokens: Some(100),
            ..settings(Some(4), None)
        };
        let limits = fewer.step_limits(4096, StepDefaults::CPU).expect("good limits");
        assert_eq!((limits.max_num_seqs, limits.max_num_active_seqs), (4, 3));
        assert_eq!((limits.max_num_batched_tokens, limits.max_num_scheduled_tokens), (2048, 100));
        let more = SchedulerSettings { max_num_active_seqs: Some(5), ..fewer };
        let error = more.step_limits(4096, StepDefaults::CPU).expect_err("too many");
        assert_eq!(error, "max_num_active_seqs (5) cannot be greater than max_num_seqs (4).");
    }

    #[test]
    fn contradictions_are_said() {
        let starts = |settings, with: &str| {
            let error = limits(settings, 4096).expect_err(with);
            assert!(error.starts_with(with), "{error}");
        };
        starts(settings(Some(8), Some(4)), "max_num_batched_tokens (4) must be greater than");
        let whole = SchedulerSettings { chunked_prefill: false, ..settings(None, Some(64)) };
        starts(whole, "max_num_batched_tokens (64) is smaller than max_model_len (4096)");
        let long = SchedulerSettings { long_prefill_token_threshold: 5000, ..settings(None, None) };
        starts(long, "long_prefill_token_threshold (5000) cannot be greater");
    }

    #[test]
    fn context_lengths() {
        let tokens = |len, allow_long| ContextRequest::Tokens { len, allow_long };
        assert_eq!(max_model_len(ContextRequest::Model, 40_960), Ok(40_960));
        assert_eq!(max_model_len(ContextRequest::Fit, 40_960), Ok(40_960));
        assert_eq!(max_model_len(tokens(100, false), 40_960), Ok(100));
        assert_eq!(max_model_len(tokens(50_000, true), 40_960), Ok(50_000));
        let error = max_model_len(tokens(50_000, false), 40_960).expect_err("too long");
        let start = "User-specified max_model_len (50000) is greater than the derived \
                     max_model_len (max_position_embeddings=40960 or model_max_length=None in \
                     model's config.json).";
        assert!(error.starts_with(start), "{error}");
    }
}
