//! Sampling parameters: from the fields of a request to numbers within their ranges.

mod beam;
mod describe;
mod finish;
mod rendered;

pub use beam::BeamParams;
pub use describe::Described;
pub use finish::{checked_label_ids, label_params};

use super::super::json::{Int, Json, repr};
use super::fields::Fields;
use super::kv_transfer::KvTransfer;
use super::ranges::{
    check_penalties, check_temperature, check_truncation, clamp_bias, python_int, to_token,
};
use super::structured::Constraints;
use crate::config::RequestBounds;
use crate::error::ApiError;
use crate::grammar::GrammarSpec;
use crate::model::GenerationDefaults;
use crate::text::StopTexts;
use crate::types::{ReasoningMarks, Repetition, SamplingParams, Token};
use indexmap::{IndexMap, IndexSet};
use rendered::extra_args;
use serde_json::{Map, Value};
use std::hash::Hash;
use std::sync::Arc;

/// Positive temperatures below are raised to it.
const MIN_TEMPERATURE: f64 = 0.01;

/// What bounds the parameters of every request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Limits {
    pub max_model_len: u32,
    /// Logits in a row.
    pub vocab_size: u32,
    /// `--max-logprobs`; -1 is the whole vocabulary.
    pub max_logprobs: i64,
    /// What starts and ends reasoning; `None` when nobody has said.
    pub reasoning: Option<Arc<ReasoningMarks>>,
    /// Without one, no output can keep to a grammar.
    pub has_tokenizer: bool,
}

/// The sampling fields of a request, each as given.
#[derive(Clone, Debug)]
pub struct SamplingFields {
    n: Option<Int>,
    length_penalty: f64,
    presence_penalty: Option<f64>,
    frequency_penalty: Option<f64>,
    repetition_penalty: Option<f64>,
    temperature: Option<f64>,
    top_p: Option<f64>,
    top_k: Option<Int>,
    min_p: Option<f64>,
    seed: Option<i64>,
    stop: Vec<String>,
    stop_token_ids: Vec<Int>,
    include_stop_str_in_output: bool,
    ignore_eos: bool,
    min_tokens: Int,
    /// The output is not what is wanted: a proxy has cut `max_tokens` to 1, and old ones leave
    /// `min_tokens` as the client set it.
    pub(super) is_prefill_leg: bool,
    skip_special_tokens: bool,
    spaces_between_special_tokens: bool,
    /// Log-probabilities of output tokens, and of prompt tokens; set by the API.
    pub logprobs: Option<Int>,
    pub prompt_logprobs: Option<Int>,
    logprob_token_ids: Option<Vec<Int>>,
    /// Whether cached blocks may not stand in for computing; only `/inference/v1/generate` says.
    pub skip_reading_prefix_cache: Option<bool>,
    logit_bias: Option<Vec<(String, f64)>>,
    allowed_token_ids: Option<Vec<Int>>,
    bad_words: Vec<String>,
    stream_interval: Option<Int>,
    routed_experts_prompt_start: Int,
    thinking_token_budget: Option<u32>,
    repetition: Option<Repetition>,
    /// What goes to vLLM's engine as it is; `/render` hands it on.
    extra_args: Map<String, Value>,
    pub constraints: Result<Constraints, ApiError>,
}

/// What a request asks of the engine and of the text that comes back. Clones share what is long.
#[derive(Clone, Debug)]
pub struct Sampling {
    pub n: usize,
    /// For the first of the `n`; `bad_words` are still missing.
    pub params: SamplingParams,
    pub stop: Arc<[String]>,
    /// The same, ready to be looked for.
    pub stop_texts: StopTexts,
    pub include_stop_str_in_output: bool,
    pub skip_special_tokens: bool,
    pub spaces_between_special_tokens: bool,
    pub bad_words: Arc<[String]>,
    pub stream_interval: usize,
    /// What the output has to keep to; set before [`SamplingFields::finish`], it wins.
    pub grammar: Option<GrammarSpec>,
    /// The template's `enable_thinking`, and whether reasoning is wanted at all.
    pub thinking: bool,
    pub include_reasoning: bool,
}

impl SamplingFields {
    /// Reads the fields of a checked body.
    pub fn from_fields(data: Fields<'_>) -> Self {
        let zero = Int::Small(0);
        Self {
            n: data.int("n"),
            length_penalty: data.float("length_penalty").unwrap_or(1.0),
            presence_penalty: data.float("presence_penalty"),
            frequency_penalty: data.float("frequency_penalty"),
            repetition_penalty: data.float("repetition_penalty"),
            temperature: data.float("temperature"),
            top_p: data.float("top_p"),
            top_k: data.int("top_k"),
            min_p: data.float("min_p"),
            seed: data.int("seed").and_then(|seed| bits(&seed)).filter(|seed| *seed != -1),
            stop: match data.str("stop") {
                Some(stop) => vec![stop.to_owned()],
                None => data.strings("stop").unwrap_or_default(),
            },
            stop_token_ids: data.ints("stop_token_ids").unwrap_or_default(),
            include_stop_str_in_output: data.flag("include_stop_str_in_output"),
            ignore_eos: data.flag("ignore_eos"),
            min_tokens: data.int("min_tokens").unwrap_or(zero.clone()),
            is_prefill_leg: KvTransfer::is_lease(data),
            skip_special_tokens: data.bool("skip_special_tokens").unwrap_or(true),
            spaces_between_special_tokens: data
                .bool("spaces_between_special_tokens")
                .unwrap_or(true),
            logprobs: None,
            skip_reading_prefix_cache: None,
            prompt_logprobs: data.int("prompt_logprobs"),
            logprob_token_ids: data.ints("logprob_token_ids").filter(|ids| !ids.is_empty()),
            logit_bias: data.dict("logit_bias").map(|entries| {
                let fields = Fields(entries);
                entries.keys().filter_map(|k| Some((k.clone(), fields.float(k)?))).collect()
            }),
            allowed_token_ids: data.ints("allowed_token_ids"),
            bad_words: data.strings("bad_words").unwrap_or_default(),
            stream_interval: data.int("stream_interval"),
            routed_experts_prompt_start: data.int("routed_experts_prompt_start").unwrap_or(zero),
            thinking_token_budget: data
                .int("thinking_token_budget")
                .and_then(|budget| u32::try_from(budget.saturate().min(i64::from(u32::MAX))).ok()),
            repetition: data.dict("repetition_detection").map(Fields).and_then(repetition),
            extra_args: extra_args(data),
            constraints: Constraints::from_fields(data),
        }
    }

    /// Whether chosen tokens' log-probabilities were asked for, which replaces the most likely.
    pub fn has_logprob_token_ids(&self) -> bool {
        self.logprob_token_ids.is_some()
    }

    /// How many replies are wanted, as far as admission cares.
    pub fn reserve_n(&self) -> usize {
        let max = RequestBounds::get().n as i64;
        self.n.as_ref().map_or(1, |n| n.saturate().clamp(1, max.max(1)) as usize)
    }

    /// Applies defaults and checks ranges, in vLLM's order. `max_tokens` is already bounded by
    /// the context; it may be out of range at the lower end.
    pub fn resolve(
        &self,
        max_tokens: i64,
        big_extra_arg: bool,
        defaults: &GenerationDefaults,
    ) -> Result<Sampling, ApiError> {
        self.constraints.clone()?;
        let logit_bias = self.logit_bias()?;
        let n = check_count(self.n.as_ref().unwrap_or(&Int::Small(1)), "n")?;
        if big_extra_arg {
            let message = "extra_args integers must be between -2**63 and 2**64 - 1.";
            return Err(ApiError::parameter(message, "extra_args", None));
        }
        let or = |given: Option<f64>, default: Option<f32>, neutral: f64| {
            given.unwrap_or_else(|| default.map_or(neutral, f64::from))
        };
        let presence_penalty = or(self.presence_penalty, defaults.presence_penalty, 0.0);
        let frequency_penalty = or(self.frequency_penalty, defaults.frequency_penalty, 0.0);
        let repetition_penalty = or(self.repetition_penalty, defaults.repetition_penalty, 1.0);
        let temperature = match or(self.temperature, defaults.temperature, 1.0) {
            t if t > 0.0 && t < MIN_TEMPERATURE => MIN_TEMPERATURE,
            t => t,
        };
        let top_p = or(self.top_p, defaults.top_p, 1.0);
        let min_p = or(self.min_p, defaults.min_p, 0.0);
        let default_top_k = Int::Small(defaults.top_k.unwrap_or(0));
        let top_k = self.top_k.as_ref().unwrap_or(&default_top_k);
        check_penalties(presence_penalty, frequency_penalty, repetition_penalty)?;
        check_temperature(temperature)?;
        check_truncation(top_p, top_k, min_p)?;
        self.check_lengths(max_tokens)?;
        self.check_words()?;
        let greedy = temperature == 0.0;
        if greedy && n > 1 {
            let message = format!("n must be 1 when using greedy sampling, got {n}.");
            return Err(ApiError::bad_request(message));
        }
        let params = SamplingParams {
            temperature: temperature as f32,
            top_p: if greedy { 1.0 } else { top_p as f32 },
            top_k: if greedy { 0 } else { top_k.saturate().clamp(0, i64::from(u32::MAX)) as u32 },
            min_p: if greedy { 0.0 } else { min_p as f32 },
            repetition_penalty: repetition_penalty as f32,
            presence_penalty: presence_penalty as f32,
            frequency_penalty: frequency_penalty as f32,
            logit_bias,
            min_tokens: self.min_tokens.saturate().min(max_tokens) as u32,
            seed: self.seed,
            skip_reading_prefix_cache: self.skip_reading_prefix_cache == Some(true),
            ..SamplingParams::greedy(max_tokens as u32)
        };
        Ok(Sampling {
            n,
            params,
            stop: self.stop.as_slice().into(),
            stop_texts: StopTexts::new(&self.stop),
            include_stop_str_in_output: self.include_stop_str_in_output,
            skip_special_tokens: self.skip_special_tokens,
            spaces_between_special_tokens: self.spaces_between_special_tokens,
            bad_words: dedup(&self.bad_words).into(),
            stream_interval: self.stream_interval.as_ref().map_or(1, |i| i.saturate() as usize),
            grammar: None,
            thinking: true,
            include_reasoning: true,
        })
    }

    /// What [`Self::resolve`] gives for a further prompt of the request: it shares with the first
    /// all but its length.
    pub fn resolve_again(&self, first: &Sampling, max_tokens: i64) -> Result<Sampling, ApiError> {
        self.check_lengths(max_tokens)?;
        let mut sampling = first.clone();
        sampling.params.max_tokens = max_tokens as u32;
        Ok(sampling)
    }

    /// `(token, bias)` with biases in [-100, 100]. Keys are whatever Python's `int` reads; tokens
    /// that no vocabulary holds become the largest id, which the later check refuses.
    fn logit_bias(&self) -> Result<Arc<[(Token, f32)]>, ApiError> {
        let Some(entries) = &self.logit_bias else { return Ok(Arc::default()) };
        let invalid: Vec<Json> = entries
            .iter()
            .filter(|(key, _)| python_int(key).is_none())
            .map(|(key, _)| Json::Str(key.clone()))
            .collect();
        if !invalid.is_empty() {
            let keys = repr(&Json::List(invalid));
            let message = format!(
                "logit_bias contains key(s) that cannot be converted to integer token IDs: {keys}"
            );
            return Err(ApiError::parameter(message, "logit_bias", Some(&keys)));
        }
        // Several spellings of one token: the last one counts.
        let biases: IndexMap<Token, f32> = entries
            .iter()
            .filter_map(|(key, bias)| Some((to_token(&python_int(key)?), *bias)))
            .map(|(token, bias)| (token, clamp_bias(bias)))
            .collect();
        Ok(biases.into_iter().collect())
    }

    fn check_lengths(&self, max_tokens: i64) -> Result<(), ApiError> {
        let min_tokens = &self.min_tokens;
        if max_tokens < 1 {
            let message = format!("max_tokens must be at least 1, got {max_tokens}.");
            let value = max_tokens.to_string();
            return Err(ApiError::parameter(message, "max_tokens", Some(&value)));
        }
        if *min_tokens < 0 {
            return Err(ApiError::bad_request(format!(
                "min_tokens must be greater than or equal to 0, got {min_tokens}."
            )));
        }
        if *min_tokens > max_tokens && !self.is_prefill_leg {
            return Err(ApiError::bad_request(format!(
                "min_tokens must be less than or equal to max_tokens={max_tokens}, got \
                 {min_tokens}."
            )));
        }
        Ok(())
    }

    fn check_words(&self) -> Result<(), ApiError> {
        if self.stop.iter().any(String::is_empty) {
            return Err(ApiError::bad_request("stop cannot contain an empty string."));
        }
        if self.bad_words.iter().any(String::is_empty) {
            let words = repr(&strings(&dedup(&self.bad_words)));
            return Err(ApiError::bad_request(format!(
                "bad_words cannot contain an empty string. Got bad_words={words}"
            )));
        }
        Ok(())
    }
}

/// The bits of an integer of 64 bits, with or without sign.
fn bits(int: &Int) -> Option<i64> {
    int.as_i64().or_else(|| Some(int.to_string().parse::<u64>().ok()? as i64))
}

/// A number of replies, under the name that it goes by.
fn check_count(n: &Int, name: &str) -> Result<usize, ApiError> {
    let max = RequestBounds::get().n as i64;
    let message = if *n < 1 {
        format!("{name} must be at least 1, got {n}.")
    } else if *n > max {
        format!(
            "{name} must be at most {max}, got {n}. To increase this limit, set the \
             VLLM_MAX_N_SEQUENCES environment variable."
        )
    } else {
        return Ok(n.saturate() as usize);
    };
    Err(ApiError::bad_request(message))
}

/// The rule of a checked `repetition_detection`; `None` when it switches itself off.
fn repetition(fields: Fields<'_>) -> Option<Repetition> {
    let size = |name: &str| {
        fields.int(name).map_or(0, |size| usize::try_from(size.saturate()).unwrap_or(0))
    };
    let rule = Repetition {
        min_pattern: size("min_pattern_size").max(1),
        max_pattern: size("max_pattern_size"),
        min_count: size("min_count"),
    };
    (rule.max_pattern > 0).then_some(rule)
}

fn dedup<T: Clone + Eq + Hash>(items: &[T]) -> Vec<T> {
    let unique: IndexSet<&T> = items.iter().collect();
    unique.into_iter().cloned().collect()
}

/// A list of strings as a value, for messages.
pub(super) fn strings(words: &[String]) -> Json {
    Json::List(words.iter().cloned().map(Json::Str).collect())
}

impl Sampling {
    /// `bad_words` as Python prints the list.
    pub fn bad_words_repr(&self) -> String {
        repr(&strings(&self.bad_words))
    }
}
