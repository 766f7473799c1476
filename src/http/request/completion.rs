//! The request of `/v1/completions`.

use super::super::json::{Dict, Int, Json};
use super::super::schema::{
    Errors, INT, INT64, ObjectKind, Path, Schema, best_choice, coerce, optional, validate,
};
use super::fields::Fields;
use super::generate::*;
use super::sampling::SamplingFields;
use super::structured::{
    RESPONSE_FORMAT, STRUCTURED_OUTPUTS, check_response_format, check_structured_count,
};
use crate::config::RequestBounds;
use crate::error::ApiError;

/// What `max_tokens` is when it is left out or null.
const DEFAULT_MAX_TOKENS: i64 = 16;

const TOKENS: Schema = Schema::List { item: &NATURAL, max: None };
const PROMPTS: &[(&str, &Schema)] = &[
    ("", &TOKENS),
    ("", &Schema::List { item: &TOKENS, max: None }),
    ("", &Schema::Str),
    ("", &STRINGS),
];
const EMBEDS: Schema = Schema::Nullable(&Schema::Union(&[
    ("", &Schema::Bytes),
    ("", &Schema::List { item: &Schema::Bytes, max: None }),
]));

/// The whole body.
pub const SCHEMA: Schema = Schema::Object {
    kind: ObjectKind::Model,
    fields: &[
        optional("model", &NULLABLE_STR),
        optional("prompt", &Schema::Nullable(&Schema::Union(PROMPTS))),
        optional("echo", &NULLABLE_BOOL),
        optional("frequency_penalty", &NULLABLE_FLOAT),
        optional("logit_bias", &LOGIT_BIAS),
        optional("logprobs", &NULLABLE_INT),
        optional("max_tokens", &NULLABLE_INT),
        optional("n", &INT),
        optional("presence_penalty", &NULLABLE_FLOAT),
        optional("seed", &NULLABLE_INT64),
        optional("stop", &STOP),
        optional("stream", &NULLABLE_BOOL),
        optional("stream_options", &STREAM_OPTIONS),
        optional("suffix", &NULLABLE_STR),
        optional("temperature", &NULLABLE_FLOAT),
        optional("top_p", &NULLABLE_FLOAT),
        optional("user", &NULLABLE_STR),
        optional("use_beam_search", &Schema::Bool),
        optional("top_k", &NULLABLE_INT),
        optional("min_p", &NULLABLE_FLOAT),
        optional("repetition_penalty", &NULLABLE_FLOAT),
        optional("watermarking", &NULLABLE_BOOL),
        optional("length_penalty", &Schema::Float),
        optional("stop_token_ids", &NULLABLE_INTS),
        optional("include_stop_str_in_output", &Schema::Bool),
        optional("ignore_eos", &Schema::Bool),
        optional("min_tokens", &INT),
        optional("skip_special_tokens", &Schema::Bool),
        optional("spaces_between_special_tokens", &Schema::Bool),
        optional("truncate_prompt_tokens", &TRUNCATE),
        optional("truncation_side", &TRUNCATION_SIDE),
        optional("allowed_token_ids", &NULLABLE_INTS),
        optional("prompt_logprobs", &NULLABLE_INT),
        optional("logprob_token_ids", &NULLABLE_INTS),
        optional("bad_words", &STRINGS),
        optional("prompt_embeds", &EMBEDS),
        optional("add_special_tokens", &Schema::Bool),
        optional("response_format", &Schema::Nullable(&RESPONSE_FORMAT)),
        optional("structured_outputs", &Schema::Nullable(&STRUCTURED_OUTPUTS)),
        optional("priority", &INT64),
        optional("request_id", &Schema::Str),
        optional("session_id", &NULLABLE_STR),
        optional("return_tokens_as_token_ids", &NULLABLE_BOOL),
        optional("return_token_ids", &NULLABLE_BOOL),
        optional("routed_experts_prompt_start", &NATURAL),
        optional("return_token_offsets", &NULLABLE_BOOL),
        optional("mm_payload", &MM_PAYLOAD),
        optional("return_mm_kwargs", &NULLABLE_BOOL),
        optional("cache_salt", &NULLABLE_STR),
        optional("kv_transfer_params", &NULLABLE_OBJECT),
        optional("ec_transfer_params", &NULLABLE_OBJECT),
        optional("vllm_xargs", &XARGS),
        optional("repetition_detection", &REPETITION),
        optional("thinking_token_budget", &THINKING_BUDGET),
        optional("stream_interval", &POSITIVE),
    ],
};

/// A whole request inside another body, with the hooks on it.
pub const REQUEST: Schema = Schema::Hooked(run_hooks, &SCHEMA);

/// One prompt of a request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Prompt {
    Text(String),
    Tokens(Vec<Int>),
}

/// A checked completion request.
#[derive(Clone, Debug)]
pub struct CompletionRequest {
    pub common: GenerateFields,
    pub prompts: Vec<Prompt>,
    pub prompt_embeds: bool,
    pub suffix: bool,
    pub max_tokens: Int,
    /// How many most likely tokens to list; -1 is all.
    pub logprobs: Option<i64>,
}

impl CompletionRequest {
    /// Checks a body.
    pub fn new(body: Json) -> Result<Self, ApiError> {
        if let Json::Dict(data) = &body {
            run_hooks(data)?;
        }
        validate(&SCHEMA, &body)?;
        let Json::Dict(mut data) = body else { return Err(ApiError::internal("no object")) };
        let prompts = data.swap_remove("prompt").map(prompts).unwrap_or_default();
        let fields = Fields(&data);
        let mut sampling = SamplingFields::from_fields(fields);
        let chosen = sampling.has_logprob_token_ids();
        if !chosen {
            sampling.logprobs = fields.int("logprobs");
        }
        if fields.flag("echo") && sampling.prompt_logprobs.is_none() {
            sampling.prompt_logprobs = fields.int("logprobs");
        }
        let mut common = GenerateFields::from_fields(fields, sampling);
        common.add_special_tokens = fields.bool("add_special_tokens").unwrap_or(true);
        Ok(Self {
            common,
            prompts,
            prompt_embeds: fields.get("prompt_embeds").is_some(),
            suffix: fields.get("suffix").is_some(),
            max_tokens: fields.int("max_tokens").unwrap_or(Int::Small(DEFAULT_MAX_TOKENS)),
            logprobs: fields.int("logprobs").map(|count| {
                // Chosen tokens are all shown.
                if chosen { -1 } else { count.saturate() }
            }),
        })
    }
}

/// The prompts of a checked field, by the form that fits it best.
fn prompts(value: Json) -> Vec<Prompt> {
    let tokens = |items: &[Json]| items.iter().filter_map(|id| coerce::int(id).ok()).collect();
    let root = Path::root("");
    let form = best_choice(PROMPTS, &value, &root, &mut Errors::default());
    match (value, form) {
        (Json::Str(text), _) => vec![Prompt::Text(text)],
        // An empty list is a list of no prompts, whatever they would be.
        (Json::List(items), _) if items.is_empty() => Vec::new(),
        (Json::List(items), Ok(Some(0))) => vec![Prompt::Tokens(tokens(&items))],
        (Json::List(items), _) => items
            .into_iter()
            .map(|item| match item {
                Json::Str(text) => Prompt::Text(text),
                Json::List(ids) => Prompt::Tokens(tokens(&ids)),
                _ => Prompt::Tokens(Vec::new()),
            })
            .collect(),
        _ => Vec::new(),
    }
}

/// vLLM's hooks on the raw body, in the order in which they run.
fn run_hooks(data: &Dict) -> Result<(), ApiError> {
    let fields = Fields(data);
    check_prompt_count(fields)?;
    check_prompt_given(fields)?;
    check_stream_options(fields)?;
    check_completion_logprobs(fields)?;
    check_structured_count(fields, false)?;
    check_response_format(fields)?;
    check_cache_salt(fields)
}

fn check_prompt_count(data: Fields<'_>) -> Result<(), ApiError> {
    let max = RequestBounds::get().prompts;
    let too_long = |name: &str| {
        let items = data.get(name).and_then(Json::as_list)?;
        let is_tokens = items.iter().all(|item| matches!(item, Json::Int(_) | Json::Bool(_)));
        (items.len() > max && !(name == "prompt" && is_tokens)).then_some(items.len())
    };
    for name in ["prompt", "prompt_embeds"] {
        if let Some(len) = too_long(name) {
            let message = format!(
                "{name} list length {len} exceeds the maximum allowed count of {max}. To \
                 increase this limit, set the VLLM_MAX_COMPLETION_PROMPTS environment variable."
            );
            return Err(ApiError::parameter(message, name, None));
        }
    }
    Ok(())
}

fn check_prompt_given(data: Fields<'_>) -> Result<(), ApiError> {
    let no_prompt = data.get("prompt").is_none_or(|prompt| prompt.as_str() == Some(""));
    let embeds = data.get("prompt_embeds");
    if no_prompt && embeds.is_none_or(|e| e.as_list().is_some_and(<[_]>::is_empty)) {
        let message = "Either prompt or prompt_embeds must be provided and non-empty.";
        return Err(ApiError::parameter(message, "prompt", None));
    }
    Ok(())
}

fn check_completion_logprobs(data: Fields<'_>) -> Result<(), ApiError> {
    check_logprob_ids_without_beam(data)?;
    let refuse = |message: &str, name: &str| Err(ApiError::parameter(message, name, None));
    let has_logprobs = data.get("logprobs").is_some();
    if data.truthy("use_beam_search") && data.truthy("echo") && has_logprobs {
        let message = "`echo` with `logprobs` is not supported with beam search because beam \
                       search does not compute prompt logprobs.";
        return refuse(message, "echo");
    }
    let no_tokens = data.0.get("max_tokens").is_some_and(|max| !max.truthy() && !max.is_null());
    let ids = data.truthy("logprob_token_ids");
    if ids && data.truthy("echo") && no_tokens {
        let message = "`logprob_token_ids` is not supported when `echo=True` and `max_tokens=0` \
                       because no output tokens are generated.";
        return refuse(message, "logprob_token_ids");
    }
    if ids && !has_logprobs {
        let message = "when using `logprob_token_ids`, `logprobs` must be set.";
        return refuse(message, "logprob_token_ids");
    }
    check_logprob_counts(data, "logprobs")
}
