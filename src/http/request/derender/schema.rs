//! What bodies of `/derender` may hold.

use super::super::super::json::Json;
use super::super::super::schema::{Field, INT, INTS, ObjectKind, STRS, Schema, optional, required};
use super::super::fields::Fields;
use super::super::generate::*;
use super::super::tokens_in::no_negatives;
use super::super::{chat, completion};

const fn model(fields: &'static [Field]) -> Schema {
    Schema::Object { kind: ObjectKind::Model, fields }
}

const NULLABLE_NATURALS: Schema = Schema::Nullable(&Schema::List { item: &NATURAL, max: None });
const ENTRY: Schema = model(&[
    required("token_id", &INT),
    required("logprob", &Schema::Float),
    optional("rank", &NULLABLE_INT),
]);
const POSITION: Schema = model(&[
    required("token_id", &INT),
    required("logprob", &Schema::Float),
    optional("rank", &NULLABLE_INT),
    optional("top_logprobs", &Schema::List { item: &ENTRY, max: None }),
]);
const LOGPROBS: Schema = Schema::Nullable(&model(&[optional(
    "content",
    &Schema::Nullable(&Schema::List { item: &POSITION, max: None }),
)]));
const WEIGHTS: Schema = Schema::Nullable(&Schema::List {
    item: &model(&[
        required("version", &Schema::Str),
        required("start", &INT),
        required("end", &INT),
    ]),
    max: None,
});
const STOP_REASON: Schema = Schema::Nullable(&Schema::Union(&[("", &INT), ("", &Schema::Str)]));
const MASK: Schema = Schema::Nullable(&Schema::List { item: &INTS, max: None });
const IDS: Schema = Schema::Nullable(&Schema::Valid(&INTS, no_negatives));
const CHOICE: Schema = model(&choice(&IDS));
const CHUNK_CHOICE: Schema = model(&choice(&NULLABLE_INTS));

/// What was generated for one reply, or for a piece of it.
const fn choice(token_ids: &'static Schema) -> [Field; 8] {
    [
        required("index", &INT),
        optional("finish_reason", &NULLABLE_STR),
        optional("stop_reason", &STOP_REASON),
        optional("token_ids", token_ids),
        optional("routed_experts", &NULLABLE_STR),
        optional("sampling_mask", &MASK),
        optional("weight_versions", &WEIGHTS),
        optional("logprobs", &LOGPROBS),
    ]
}

const USAGE: Schema = Schema::Nullable(&model(&[
    optional("prompt_tokens", &INT),
    optional("total_tokens", &INT),
    optional("completion_tokens", &NULLABLE_INT),
]));
const METRICS: Schema = Schema::Nullable(&model(&[
    optional("time_to_first_token_ms", &NULLABLE_FLOAT),
    optional("generation_time_ms", &NULLABLE_FLOAT),
    optional("queue_time_ms", &NULLABLE_FLOAT),
    optional("mean_itl_ms", &NULLABLE_FLOAT),
    optional("tokens_per_second", &NULLABLE_FLOAT),
]));
/// The members of `metrics`.
pub const METRICS_MEMBERS: [&str; 5] = [
    "time_to_first_token_ms",
    "generation_time_ms",
    "queue_time_ms",
    "mean_itl_ms",
    "tokens_per_second",
];
const PROMPT_LOGPROBS: Schema = Schema::Nullable(&Schema::List {
    item: &Schema::Nullable(&Schema::IntMap(&model(&[
        required("logprob", &Schema::Float),
        optional("rank", &NULLABLE_INT),
        optional("decoded_token", &NULLABLE_STR),
    ]))),
    max: None,
});
const RESPONSE: Schema = model(&[
    optional("request_id", &Schema::Str),
    optional("model", &NULLABLE_STR),
    optional("created", &NULLABLE_INT),
    optional("usage", &USAGE),
    optional("prompt_logprobs", &PROMPT_LOGPROBS),
    optional("prompt_token_id_logprobs", &NULLABLE_STR),
    optional("prompt_token_ids", &NULLABLE_NATURALS),
    optional("mm_placeholders", &NULLABLE_OBJECT),
    optional("metrics", &METRICS),
    optional("kv_transfer_params", &NULLABLE_OBJECT),
    optional("ec_transfer_params", &NULLABLE_OBJECT),
    optional("output_mode", &Schema::Literal(&["tokens"])),
    required("choices", &Schema::List { item: &CHOICE, max: None }),
]);
const CHUNK: Schema = model(&[
    optional("request_id", &Schema::Str),
    optional("usage", &USAGE),
    optional("prompt_token_ids", &NULLABLE_NATURALS),
    optional("mm_placeholders", &NULLABLE_OBJECT),
    optional("metrics", &METRICS),
    optional("output_mode", &Schema::Literal(&["tokens"])),
    required("choices", &Schema::List { item: &CHUNK_CHOICE, max: None }),
]);
const STATE: Schema = Schema::Nullable(&Schema::Valid(
    &model(&[
        optional("prev_tokens", &Schema::Valid(&STRS, few_tokens)),
        optional("prefix_offset", &NATURAL),
        optional("read_offset", &NATURAL),
        optional("role_sent", &Schema::Bool),
        optional("logprob_context_token_ids", &Schema::List { item: &INT, max: Some(|| 4) }),
        optional("logprob_text_offset", &NATURAL),
        optional("output_token_ids", &INTS),
        optional(
            "output_chunk_lens",
            &Schema::List { item: &Schema::Int { ge: Some(1), le: None }, max: None },
        ),
        optional("tools_streamed", &Schema::Bool),
        optional("last_tool_call_ids", &STRS),
    ]),
    lengths_add_up,
));

fn few_tokens(tokens: &Json) -> Option<String> {
    let len = tokens.as_list().map_or(0, <[_]>::len);
    (len > 1024).then(|| format!("prev_tokens length ({len}) exceeds maximum (1024)"))
}

fn lengths_add_up(state: &Json) -> Option<String> {
    let fields = Fields(state.as_dict()?);
    let lens = fields.ints("output_chunk_lens").unwrap_or_default();
    let sum = lens.iter().fold(0, |sum: i64, len| sum.saturating_add(len.saturate()));
    let len = fields.ints("output_token_ids").map_or(0, |ids| ids.len());
    (sum != len as i64).then(|| {
        format!(
            "output_chunk_lens must sum to len(output_token_ids) (got sum={sum}, \
             len(output_token_ids)={len})"
        )
    })
}

fn one_for_each_response(request: &Json) -> Option<String> {
    let fields = Fields(request.as_dict()?);
    let len = |name: &str| fields.get(name).and_then(Json::as_list).map(<[_]>::len);
    let responses = len("generate_responses")?;
    ["prompt_tokens", "prompt_token_ids"].into_iter().find_map(|name| {
        let len = len(name).filter(|len| *len != responses)?;
        Some(format!("{name} length ({len}) must equal generate_responses length ({responses})"))
    })
}

/// A request with one chunk; `name` is the member for what the client had asked for.
const fn streamed(name: &'static str, original: &'static Schema) -> [Field; 7] {
    [
        required("stream", &Schema::Exactly(true)),
        optional("model", &NULLABLE_STR),
        required("generate_chunk", &CHUNK),
        optional("stream_state", &STATE),
        optional("prompt_tokens", &NULLABLE_INT),
        optional("prompt_token_ids", &NULLABLE_NATURALS),
        optional(name, original),
    ]
}

const CHAT: Schema = Schema::Nullable(&chat::REQUEST);
const COMPLETION: Schema = Schema::Nullable(&completion::REQUEST);

/// The two forms for chats.
pub const CHATS: Schema = Schema::Union(&[
    (
        "DerenderChatRequest",
        &model(&[
            optional("stream", &Schema::Exactly(false)),
            optional("model", &NULLABLE_STR),
            required("generate_response", &RESPONSE),
            optional("prompt_tokens", &NULLABLE_INT),
            optional("prompt_token_ids", &NULLABLE_NATURALS),
            optional("chat_request", &CHAT),
        ]),
    ),
    ("DerenderChatStreamRequest", &model(&streamed("chat_request", &CHAT))),
]);
/// The two forms for completions.
pub const COMPLETIONS: Schema = Schema::Union(&[
    (
        "",
        &Schema::Valid(
            &model(&[
                optional("stream", &Schema::Exactly(false)),
                optional("model", &NULLABLE_STR),
                required("generate_responses", &Schema::List { item: &RESPONSE, max: None }),
                optional("prompt_tokens", &NULLABLE_INTS),
                optional(
                    "prompt_token_ids",
                    &Schema::Nullable(&Schema::List { item: &NULLABLE_NATURALS, max: None }),
                ),
                optional("completion_request", &COMPLETION),
            ]),
            one_for_each_response,
        ),
    ),
    ("DerenderCompletionStreamRequest", &model(&streamed("completion_request", &COMPLETION))),
]);
