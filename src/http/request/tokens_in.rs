//! The request of `/inference/v1/generate`: tokens, and vLLM's own sampling parameters.

use super::super::json::{Dict, Int, Json};
use super::super::schema::{
    Errors, INT, INT64, INTS, OBJECT, ObjectKind, Path, STRS, Schema, check, coerce, optional,
    required,
};
use super::fields::Fields;
use super::generate::*;
use super::kv_transfer::KvTransfer;
use super::ranges::checked_tokens;
use super::sampling::{Limits, Sampling, SamplingFields};
use super::structured::STRUCTURED_OUTPUTS;
use crate::error::ApiError;
use crate::model::GenerationDefaults;

/// What `max_tokens` is checked as when it is left out.
const DEFAULT_MAX_TOKENS: i64 = 16;

const FLAG: Schema = Schema::Bool;
const PLACEHOLDER: Schema = Schema::Object {
    kind: ObjectKind::Model,
    fields: &[
        required("offset", &NATURAL),
        required("length", &Schema::Int { ge: Some(1), le: None }),
    ],
};
const ITEMS: Schema =
    Schema::Nullable(&Schema::Map(&Schema::List { item: &NULLABLE_STR, max: None }));
const FEATURES: Schema = Schema::Nullable(&Schema::Object {
    kind: ObjectKind::Model,
    fields: &[
        required("mm_hashes", &Schema::Map(&STRS)),
        required("mm_placeholders", &Schema::Map(&Schema::List { item: &PLACEHOLDER, max: None })),
        optional("kwargs_data", &ITEMS),
        optional("mm_metadata", &ITEMS),
    ],
});

/// vLLM's `SamplingParams`, in its order.
const PARAMS: Schema = Schema::Object {
    kind: ObjectKind::TypedDict,
    fields: &[
        optional("n", &INT),
        optional("presence_penalty", &Schema::Float),
        optional("frequency_penalty", &Schema::Float),
        optional("repetition_penalty", &Schema::Float),
        optional("temperature", &Schema::Float),
        optional("watermarking", &NULLABLE_BOOL),
        optional("top_p", &Schema::Float),
        optional("top_k", &INT),
        optional("min_p", &Schema::Float),
        optional("seed", &NULLABLE_INT),
        optional("stop", &Schema::Nullable(&Schema::Union(&[("", &Schema::Str), ("", &STRS)]))),
        optional("stop_token_ids", &NULLABLE_INTS),
        optional("ignore_eos", &FLAG),
        optional("max_tokens", &NULLABLE_INT),
        optional("min_tokens", &INT),
        optional("logprobs", &NULLABLE_INT),
        optional("prompt_logprobs", &NULLABLE_INT),
        optional(
            "prompt_logprob_token_ids",
            &Schema::Nullable(&Schema::List { item: &INTS, max: None }),
        ),
        optional("prompt_logprob_start", &NULLABLE_INT),
        optional("logprob_token_ids", &NULLABLE_INTS),
        optional("flat_logprobs", &FLAG),
        optional("detokenize", &FLAG),
        optional("skip_special_tokens", &FLAG),
        optional("spaces_between_special_tokens", &FLAG),
        optional("include_stop_str_in_output", &FLAG),
        optional("output_kind", &Schema::Enum { values: &[0, 1, 2], expected: "0, 1 or 2" }),
        optional("stream_interval", &NULLABLE_INT),
        optional("skip_clone", &FLAG),
        optional("output_text_buffer_length", &INT),
        optional("structured_outputs", &Schema::Nullable(&STRUCTURED_OUTPUTS)),
        optional("logit_bias", &Schema::Nullable(&Schema::IntMap(&Schema::Float))),
        optional("allowed_token_ids", &NULLABLE_INTS),
        optional("extra_args", &NULLABLE_OBJECT),
        optional("bad_words", &Schema::Nullable(&STRS)),
        optional("skip_reading_prefix_cache", &NULLABLE_BOOL),
        optional("thinking_token_budget", &NULLABLE_INT),
        optional("repetition_detection", &REPETITION),
        optional("routed_experts_prompt_start", &INT),
        optional("trace_decode_token_ids", &NULLABLE_INTS),
    ],
};

pub const SCHEMA: Schema = Schema::Object {
    kind: ObjectKind::Model,
    fields: &[
        optional("request_id", &Schema::Str),
        required("token_ids", &Schema::Valid(&Schema::NonEmpty(&INTS), no_negatives)),
        optional("token_offsets", &Schema::Nullable(&Schema::List { item: &INTS, max: None })),
        optional("features", &FEATURES),
        optional("content_parts", &Schema::Nullable(&Schema::List { item: &OBJECT, max: None })),
        required(
            "sampling_params",
            &Schema::Union(&[("", &Schema::InstanceOf("SamplingParams")), ("", &PARAMS)]),
        ),
        optional("model", &NULLABLE_STR),
        optional("reasoning_ended", &NULLABLE_BOOL),
        optional(
            "reasoning_parser_kwargs",
            &Schema::Nullable(&Schema::Object {
                kind: ObjectKind::Closed,
                fields: &[optional("chat_template_kwargs", &OBJECT)],
            }),
        ),
        optional("return_token_ids", &NULLABLE_BOOL),
        optional("output_mode", &Schema::Literal(&["tokens", "text"])),
        optional("stream", &NULLABLE_BOOL),
        optional("stream_options", &STREAM_OPTIONS),
        optional("cache_salt", &NULLABLE_STR),
        optional("priority", &INT64),
        optional("kv_transfer_params", &NULLABLE_OBJECT),
        optional("ec_transfer_params", &NULLABLE_OBJECT),
    ],
};

/// What a validator says about token ids.
pub fn no_negatives(ids: &Json) -> Option<String> {
    let is_negative = |id: &Json| coerce::int(id).is_ok_and(|id| id < 0);
    let any = ids.as_list().is_some_and(|ids| ids.iter().any(is_negative));
    any.then(|| "token_ids must not contain negative values".to_owned())
}

/// A checked request.
#[derive(Clone, Debug)]
pub struct GenerateRequest {
    pub common: GenerateFields,
    pub token_ids: Vec<Int>,
    pub max_tokens: MaxTokens,
    /// The parameters of one generation, of a length that is still open.
    pub sampling: Sampling,
    /// Text comes back beside the tokens.
    pub text_mode: bool,
    /// How many most likely tokens to show, if log-probabilities are shown at all.
    pub logprobs: Option<i32>,
    /// What only other models or other engines take; refused after the checks on the request.
    pub beyond: Beyond,
}

/// How long an output may get.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum MaxTokens {
    /// Not said: the server's default.
    Default,
    /// As long as the context is.
    Unbounded,
    Given(Int),
}

/// What a text model, or an engine on a CPU, cannot do.
#[derive(Clone, Debug, Default)]
pub struct Beyond {
    pub content_parts: bool,
    /// The kind of the first item, and its tokens.
    pub feature: Option<(String, Int)>,
    /// Scores of given tokens at the prompt's positions.
    pub prompt_scores: bool,
    pub prompt_scores_start: Option<Int>,
    pub trace: Option<Vec<Int>>,
    /// Some integer is too big for the way to vLLM's engine.
    pub big_int: bool,
}

impl GenerateRequest {
    /// Checks a body.
    pub fn new(body: Json) -> Result<Self, ApiError> {
        if let Json::Dict(data) = &body {
            check_cache_salt(Fields(data))?;
        }
        let (root, mut errors) = (Path::root("body"), Errors::default());
        if check(&SCHEMA, &body, &root, &mut errors)?.is_none() {
            return Err(errors.into_api_error());
        }
        let Json::Dict(data) = &body else { return Err(ApiError::internal("no object")) };
        let (fields, empty) = (Fields(data), Dict::new());
        let params = Fields(fields.dict("sampling_params").unwrap_or(&empty));
        let request = Self::from_fields(fields, params)?;
        if request.text_mode && params.bool("detokenize") == Some(false) {
            let message = "output_mode='text' requires sampling_params.detokenize to be true";
            errors.push_value_error(&root, &body, message);
            return Err(errors.into_api_error());
        }
        Ok(request)
    }

    fn from_fields(fields: Fields<'_>, params: Fields<'_>) -> Result<Self, ApiError> {
        let mut sampling = SamplingFields::from_fields(params);
        sampling.is_prefill_leg = KvTransfer::is_lease(fields);
        sampling.logprobs = params.int("logprobs");
        sampling.skip_reading_prefix_cache = params.bool("skip_reading_prefix_cache");
        let logprobs = sampling.logprobs.as_ref().map(|count| count.saturate() as i32);
        let extra = params.get("extra_args");
        let max_tokens = match (params.has("max_tokens"), params.int("max_tokens")) {
            (false, _) => MaxTokens::Default,
            (true, None) => MaxTokens::Unbounded,
            (true, Some(wanted)) => MaxTokens::Given(wanted),
        };
        let length = match &max_tokens {
            MaxTokens::Default => DEFAULT_MAX_TOKENS,
            MaxTokens::Unbounded => i64::MAX,
            MaxTokens::Given(wanted) => wanted.saturate(),
        };
        if params.int("thinking_token_budget").is_some_and(|budget| budget < -1) {
            check_thinking_budget(params.get("thinking_token_budget").unwrap_or(&Json::Null))?;
        }
        let big_extra = extra.is_some_and(holds_big_int);
        let resolved = sampling.resolve(length, big_extra, &GenerationDefaults::default())?;
        check_counts(params)?;
        let mut common = GenerateFields::from_fields(fields, sampling);
        (common.session_id, common.xargs_session_id) = (None, None);
        common.reports_prefix =
            extra.and_then(|e| e.get("kv_cache_report_mode")?.as_str()) == Some("full");
        Ok(Self {
            common,
            token_ids: fields.ints("token_ids").unwrap_or_default(),
            max_tokens,
            sampling: resolved,
            text_mode: fields.str("output_mode") == Some("text"),
            logprobs,
            beyond: Beyond::from_fields(fields, params),
        })
    }
}

/// The checks of vLLM's `SamplingParams` that the OpenAI requests make by their schemas.
fn check_counts(params: Fields<'_>) -> Result<(), ApiError> {
    let refuse = |name: &str, rule: &str, value: &Int| {
        let message = format!("{name} must be {rule}, got {value}.");
        Err(ApiError::parameter(message, name, Some(&value.to_string())))
    };
    if let Some(interval) = params.int("stream_interval").filter(|interval| *interval < 1) {
        return refuse("stream_interval", "at least 1", &interval);
    }
    for name in ["logprobs", "prompt_logprobs"] {
        if let Some(count) = params.int(name).filter(|count| *count < -1) {
            return refuse(name, "non-negative or -1", &count);
        }
    }
    if params.bool("detokenize") == Some(false) && params.truthy("stop") {
        return Err(ApiError::bad_request(
            "stop strings are only supported when detokenize is True. Set detokenize=True to use \
             stop.",
        ));
    }
    Ok(())
}

impl Beyond {
    fn from_fields(fields: Fields<'_>, params: Fields<'_>) -> Self {
        let transfers = ["kv_transfer_params", "ec_transfer_params"];
        let transfers = transfers.iter().filter_map(|name| fields.get(name));
        Self {
            content_parts: fields.truthy("content_parts"),
            feature: fields.dict("features").and_then(first_feature),
            prompt_scores: params.get("prompt_logprob_token_ids").is_some(),
            prompt_scores_start: params.int("prompt_logprob_start"),
            trace: params.ints("trace_decode_token_ids"),
            big_int: params.0.values().chain(transfers).any(holds_big_int),
        }
    }

    /// Refuses before anything is started.
    pub fn check(&self, stream: bool, model: &str) -> Result<(), ApiError> {
        let refuse = |message: &str| Err(ApiError::bad_request(message));
        if stream && self.prompt_scores {
            return refuse("prompt_logprob_token_ids are not available when stream=true.");
        }
        if self.big_int {
            return refuse("can't serialize ints < -2**63 or > 2**64 - 1");
        }
        if self.content_parts {
            return refuse(&format!("{model} is not a multimodal model"));
        }
        Ok(())
    }

    /// Refuses where vLLM's engine does: in a stream, its response has started.
    pub fn check_late(&self, limits: &Limits) -> Result<(), ApiError> {
        if let Some(ids) = &self.trace {
            if ids.is_empty() {
                let message = "trace_decode_token_ids must be a non-empty list.";
                return Err(ApiError::bad_request(message));
            }
            checked_tokens(ids, "trace_decode_token_ids", limits)?;
            return Err(ApiError::bad_request(
                "trace_decode_token_ids is set but trace replay is not enabled. Start the engine \
                 with --enable-trace-replay to use it.",
            ));
        }
        if self.prompt_scores {
            let message = "prompt_logprob_token_ids requires the V2 model runner \
                           (VLLM_USE_V2_MODEL_RUNNER=1).";
            return Err(ApiError::parameter(message, "prompt_logprob_token_ids", None));
        }
        if let Some(start) = &self.prompt_scores_start {
            let message = "prompt_logprob_start requires prompt_logprob_token_ids.";
            let value = start.to_string();
            return Err(ApiError::parameter(message, "prompt_logprob_start", Some(&value)));
        }
        match &self.feature {
            Some((kind, tokens)) => Err(ApiError::bad_request(format!(
                "The decoder prompt contains a(n) {kind} item with {tokens} embedding tokens, \
                 which exceeds the pre-allocated encoder cache size 0. Please reduce the input \
                 size or increase the encoder cache size by setting --limit-mm-per-prompt at \
                 startup."
            ))),
            None => Ok(()),
        }
    }
}

/// The kind and the length of the first item that is not text.
fn first_feature(features: &Dict) -> Option<(String, Int)> {
    let kinds = Fields(features).dict("mm_placeholders")?;
    kinds.iter().find_map(|(kind, places)| {
        let place = places.as_list()?.first()?.as_dict()?;
        Some((kind.clone(), Fields(place).int("length")?))
    })
}
