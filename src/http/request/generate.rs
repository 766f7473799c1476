//! What chat and completion requests have in common.

use super::super::json::{Dict, Int, Json, to_str};
use super::super::kv_transfer::Share;
use super::super::schema::{INT, INT64, INTS, OBJECT, ObjectKind, STRS, Schema, coerce, optional};
use super::fields::Fields;
use super::kv_transfer::KvTransfer;
use super::sampling::SamplingFields;
use crate::config::RequestBounds;
use crate::error::ApiError;
use std::sync::Arc;

/// The name of a hook's parameter and what it says.
fn refuse(message: &str, name: &str, value: Option<&Json>) -> ApiError {
    ApiError::parameter(message, name, value.map(to_str).as_deref())
}

// --- Schemas of shared fields.

pub const NULLABLE_STR: Schema = Schema::Nullable(&Schema::Str);
pub const NULLABLE_INT: Schema = Schema::Nullable(&INT);
pub const NULLABLE_INTS: Schema = Schema::Nullable(&INTS);
pub const NULLABLE_FLOAT: Schema = Schema::Nullable(&Schema::Float);
pub const NULLABLE_BOOL: Schema = Schema::Nullable(&Schema::Bool);
pub const NULLABLE_INT64: Schema = Schema::Nullable(&INT64);
pub const NULLABLE_OBJECT: Schema = Schema::Nullable(&OBJECT);
pub const LOGIT_BIAS: Schema = Schema::Nullable(&Schema::Map(&Schema::Float));
pub const POSITIVE: Schema = Schema::Nullable(&Schema::Int { ge: Some(1), le: None });
pub const NATURAL: Schema = Schema::Int { ge: Some(0), le: None };
pub const TRUNCATE: Schema = Schema::Nullable(&Schema::Int { ge: Some(-1), le: Some(i64::MAX) });
pub const TRUNCATION_SIDE: Schema = Schema::Nullable(&Schema::Literal(&["left", "right"]));
pub const MM_PAYLOAD: Schema = Schema::Literal(&["tensors", "none"]);
pub const STOP: Schema = Schema::Nullable(&Schema::Union(&[
    ("", &Schema::Str),
    ("", &Schema::List { item: &Schema::Str, max: Some(|| RequestBounds::get().stop_strings) }),
]));
pub const STREAM_OPTIONS: Schema = Schema::Nullable(&Schema::Object {
    kind: ObjectKind::Model,
    fields: &[
        optional("include_usage", &NULLABLE_BOOL),
        optional("continuous_usage_stats", &NULLABLE_BOOL),
    ],
});
pub const XARGS: Schema = Schema::Nullable(&Schema::Map(&Schema::Union(&[
    ("", &Schema::Str),
    ("", &INT),
    ("", &Schema::Float),
    (
        "",
        &Schema::List {
            item: &Schema::Union(&[("", &Schema::Str), ("", &INT), ("", &Schema::Float)]),
            max: None,
        },
    ),
])));
pub const THINKING_BUDGET: Schema = Schema::Hook(check_thinking_budget);
pub const REPETITION: Schema = Schema::Nullable(&Schema::Object {
    kind: ObjectKind::Dataclass("RepetitionDetectionParams", check_repetition),
    fields: &[
        optional("max_pattern_size", &INT),
        optional("min_pattern_size", &INT),
        optional("min_count", &INT),
    ],
});
pub const STRINGS: Schema = STRS;

pub fn check_thinking_budget(value: &Json) -> Result<(), ApiError> {
    let fits = match value {
        Json::Null => true,
        Json::Int(budget) => *budget >= -1,
        _ => false,
    };
    let message = "`thinking_token_budget` must be a non-negative integer or -1 for unlimited.";
    if fits { Ok(()) } else { Err(refuse(message, "thinking_token_budget", Some(value))) }
}

fn check_repetition(entries: &Dict) -> Result<(), ApiError> {
    let size = |name: &str| Fields(entries).int(name).map_or(0, |size| size.saturate());
    let (max, min, count) = (size("max_pattern_size"), size("min_pattern_size"), size("min_count"));
    if max < 0 || min < 0 || min > max {
        return Err(ApiError::bad_request(
            "max_pattern_size, min_pattern_size must be >=0, with min_pattern_size <= \
             max_pattern_size. Set both to 0 to disable repetitive pattern detection.",
        ));
    }
    if max > 0 && count < 2 {
        return Err(ApiError::bad_request(
            "min_count must be >= 2 to detect repetitive patterns in engine output. If you do \
             not wish to detect repetitive patterns, set max_pattern_size to 0.",
        ));
    }
    Ok(())
}

// --- Hooks on the raw body.

/// The hook on `cache_salt`.
pub fn check_cache_salt(data: Fields<'_>) -> Result<(), ApiError> {
    let Some(salt) = data.get("cache_salt") else { return Ok(()) };
    let Some(salt) = salt.as_str().filter(|salt| !salt.is_empty()) else {
        let message = "Parameter 'cache_salt' must be a non-empty string if provided.";
        return Err(refuse(message, "cache_salt", None));
    };
    if salt.chars().count() > 128 || salt.contains(['@', '/', '\\', '\0']) {
        let message = "Parameter 'cache_salt' must be at most 128 characters and must not \
                       contain '@', '/', '\\\\', or NUL.";
        return Err(refuse(message, "cache_salt", None));
    }
    Ok(())
}

/// The hook on `stream_options`.
pub fn check_stream_options(data: Fields<'_>) -> Result<(), ApiError> {
    if data.truthy("stream_options") && !data.truthy("stream") {
        let message = "Stream options can only be defined when `stream=True`.";
        return Err(refuse(message, "stream_options", None));
    }
    Ok(())
}

/// A number as Python compares it; booleans are numbers there.
fn number(value: &Json) -> Option<f64> {
    match value {
        Json::Bool(_) | Json::Int(_) | Json::Float(_) => coerce::float(value).ok().or(Some(1e308)),
        _ => None,
    }
}

/// The hooks on the two counts of log-probabilities, of which the second one's name differs.
pub fn check_logprob_counts(data: Fields<'_>, second: &str) -> Result<(), ApiError> {
    for name in ["prompt_logprobs", second] {
        if let Some(value) = data.get(name).filter(|value| number(value).is_none()) {
            return Err(refuse(&format!("`{name}` must be an integer."), name, Some(value)));
        }
    }
    let count = |name: &str| data.get(name).and_then(number);
    if count("prompt_logprobs").is_some_and(|n| n > 0.0 || n == -1.0) && data.truthy("stream") {
        let message = "`prompt_logprobs` are not available when `stream=True`.";
        return Err(refuse(message, "prompt_logprobs", None));
    }
    for name in ["prompt_logprobs", second] {
        if count(name).is_some_and(|n| n < 0.0 && n != -1.0) {
            let message = format!("`{name}` must be a positive value or -1.");
            return Err(refuse(&message, name, data.get(name)));
        }
    }
    Ok(())
}

/// The hook on `logprob_token_ids` together with beam search.
pub fn check_logprob_ids_without_beam(data: Fields<'_>) -> Result<(), ApiError> {
    if data.truthy("logprob_token_ids") && data.truthy("use_beam_search") {
        let message = "`logprob_token_ids` is not supported with beam search.";
        return Err(refuse(message, "logprob_token_ids", None));
    }
    Ok(())
}

// --- Values.

/// Which end of a prompt goes away when it is truncated.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Side {
    Left,
    Right,
}

/// When a stream reports token counts.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct StreamOptions {
    /// In a last chunk of its own.
    pub include_usage: bool,
    /// In every chunk.
    pub continuous: bool,
}

/// The fields that chat and completion requests share.
#[derive(Clone, Debug)]
pub struct GenerateFields {
    pub model: Option<String>,
    pub stream: bool,
    pub stream_options: StreamOptions,
    pub has_stream_options: bool,
    pub sampling: SamplingFields,
    pub echo: bool,
    pub add_special_tokens: bool,
    pub truncate_prompt_tokens: Option<Int>,
    pub truncation_side: Option<Side>,
    pub use_beam_search: bool,
    pub priority: i64,
    pub request_id: Option<String>,
    pub return_tokens_as_token_ids: Option<bool>,
    pub return_token_ids: bool,
    pub cache_salt: Option<String>,
    /// The body's `session_id`, and the one in `vllm_xargs`, which counts last.
    pub session_id: Option<String>,
    pub xargs_session_id: Option<String>,
    /// KV events tell of the whole cached prefix: `kv_cache_report_mode` is `full`.
    pub reports_prefix: bool,
    /// Some integer in `vllm_xargs` or the transfer parameters is beyond 64 bits.
    pub big_extra_arg: bool,
    /// Its part in KV transfer.
    pub transfer: Arc<Share>,
}

impl GenerateFields {
    /// Reads the shared fields of a checked body.
    pub fn from_fields(data: Fields<'_>, sampling: SamplingFields) -> Self {
        let options = data.dict("stream_options").map(Fields);
        let option = |name: &str| options.is_some_and(|options| options.flag(name));
        let xargs = data.dict("vllm_xargs").map(Fields);
        let xarg = |name: &str| xargs.and_then(|xargs| xargs.str(name));
        let extra = ["vllm_xargs", "kv_transfer_params", "ec_transfer_params"];
        Self {
            model: data.string("model"),
            stream: data.flag("stream"),
            has_stream_options: options.is_some(),
            stream_options: StreamOptions {
                include_usage: option("include_usage"),
                continuous: option("include_usage") && option("continuous_usage_stats"),
            },
            sampling,
            echo: data.flag("echo"),
            add_special_tokens: data.flag("add_special_tokens"),
            truncate_prompt_tokens: data.int("truncate_prompt_tokens"),
            truncation_side: match data.str("truncation_side") {
                Some("left") => Some(Side::Left),
                Some(_) => Some(Side::Right),
                None => None,
            },
            use_beam_search: data.flag("use_beam_search"),
            priority: data.int("priority").map_or(0, |priority| priority.saturate()),
            request_id: data.string("request_id"),
            return_tokens_as_token_ids: data.bool("return_tokens_as_token_ids"),
            return_token_ids: data.flag("return_token_ids"),
            cache_salt: data.string("cache_salt"),
            session_id: data.string("session_id").filter(|id| !id.is_empty()),
            xargs_session_id: xarg("session_id").filter(|id| !id.is_empty()).map(str::to_owned),
            reports_prefix: xarg("kv_cache_report_mode") == Some("full"),
            transfer: Arc::new(Share::new(KvTransfer::read(data))),
            big_extra_arg: extra.iter().filter_map(|name| data.get(name)).any(holds_big_int),
        }
    }
}

/// Whether an integer somewhere inside fits neither 64 bits with nor without sign.
pub fn holds_big_int(value: &Json) -> bool {
    match value {
        Json::Int(int) => int.as_i64().is_none() && int.to_string().parse::<u64>().is_err(),
        Json::List(items) => items.iter().any(holds_big_int),
        Json::Dict(entries) => entries.values().any(holds_big_int),
        _ => false,
    }
}
