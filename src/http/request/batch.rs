//! The request of `/v1/chat/completions/batch`: several chats with the same parameters.

use super::super::json::{Dict, Int, Json, to_str};
use super::super::schema::{INT64, MESSAGE, ObjectKind, Schema, optional, required, validate};
use super::chat::ChatRequest;
use super::fields::Fields;
use super::generate::*;
use super::structured::{STRUCTURED_OUTPUTS, check_response_format, check_structured_count};
use crate::error::ApiError;

const CHAT: Schema = Schema::NonEmpty(&Schema::List { item: &MESSAGE, max: None });
pub const SCHEMA: Schema = Schema::Object {
    kind: ObjectKind::Model,
    fields: &[
        required("messages", &Schema::NonEmpty(&Schema::List { item: &CHAT, max: None })),
        optional("model", &NULLABLE_STR),
        optional("frequency_penalty", &NULLABLE_FLOAT),
        optional("logit_bias", &LOGIT_BIAS),
        optional("logprobs", &NULLABLE_BOOL),
        optional("top_logprobs", &NULLABLE_INT),
        optional("logprob_token_ids", &NULLABLE_INTS),
        optional("max_tokens", &NULLABLE_INT),
        optional("max_completion_tokens", &NULLABLE_INT),
        optional("n", &NULLABLE_INT),
        optional("presence_penalty", &NULLABLE_FLOAT),
        optional("response_format", &Schema::Any),
        optional("seed", &NULLABLE_INT64),
        optional("stop", &STOP),
        optional("temperature", &NULLABLE_FLOAT),
        optional("top_p", &NULLABLE_FLOAT),
        optional("user", &NULLABLE_STR),
        optional("tool_choice", &Schema::Nullable(&Schema::Literal(&["none"]))),
        optional("include_reasoning", &Schema::Bool),
        optional("best_of", &NULLABLE_INT),
        optional("use_beam_search", &Schema::Bool),
        optional("top_k", &NULLABLE_INT),
        optional("min_p", &NULLABLE_FLOAT),
        optional("repetition_penalty", &NULLABLE_FLOAT),
        optional("watermarking", &NULLABLE_BOOL),
        optional("length_penalty", &NULLABLE_FLOAT),
        optional("early_stopping", &Schema::Bool),
        optional("structured_outputs", &Schema::Nullable(&STRUCTURED_OUTPUTS)),
        optional("request_id", &NULLABLE_STR),
        optional("add_generation_prompt", &Schema::Bool),
        optional("continue_final_message", &Schema::Bool),
        optional("chat_template", &NULLABLE_STR),
        optional("chat_template_kwargs", &NULLABLE_OBJECT),
        optional("media_io_kwargs", &NULLABLE_OBJECT),
        optional("mm_processor_kwargs", &NULLABLE_OBJECT),
        optional("priority", &INT64),
        optional("cache_salt", &NULLABLE_STR),
        optional("include_stop_str_in_output", &Schema::Bool),
        optional("guided_decoding_backend", &NULLABLE_STR),
        optional("echo", &Schema::Bool),
        optional("return_tokens_as_token_ids", &NULLABLE_BOOL),
        optional("return_token_ids", &Schema::Bool),
    ],
};
/// What only a request for one chat has a meaning for.
const DROPPED: [&str; 5] = ["stream", "stream_options", "tools", "tool_choice", "messages"];
/// What may be long and counts for all chats alike: only the first request holds it.
const SHARED: [&str; 4] = ["allowed_token_ids", "bad_words", "logit_bias", "stop_token_ids"];

/// A checked request.
#[derive(Clone, Debug)]
pub struct BatchRequest {
    pub model: Option<String>,
    /// Never empty. The first holds the parameters of all.
    pub chats: Vec<Json>,
}

impl BatchRequest {
    /// Checks a body.
    pub fn new(body: Json) -> Result<Self, ApiError> {
        if let Json::Dict(data) = &body {
            check_batch(Fields(data))?;
        }
        validate(&SCHEMA, &body)?;
        let Json::Dict(mut data) = body else { return Err(ApiError::internal("no object")) };
        let model = Fields(&data).string("model");
        let Some(Json::List(conversations)) = data.swap_remove("messages") else {
            return Err(ApiError::internal("no messages"));
        };
        data.retain(|name, value| !value.is_null() && !DROPPED.contains(&name.as_str()));
        let mut first = Some(data.clone());
        data.retain(|name, _| !SHARED.contains(&name.as_str()));
        if let Some(Json::List(ids)) = data.get_mut("logprob_token_ids") {
            // Here only that there are some.
            ids.truncate(1);
        }
        let chat = |messages: Json| {
            let mut chat: Dict = first.take().unwrap_or_else(|| data.clone());
            chat.insert("messages".to_owned(), messages);
            Json::Dict(chat)
        };
        Ok(Self { model, chats: conversations.into_iter().map(chat).collect() })
    }

    /// The requests for single chats, as vLLM checks each when its turn comes.
    pub fn requests(self) -> impl Iterator<Item = Result<ChatRequest, ApiError>> {
        self.chats.into_iter().map(ChatRequest::new)
    }
}

/// What vLLM looks at before the schema.
fn check_batch(data: Fields<'_>) -> Result<(), ApiError> {
    let refuse = |message: &str, name: &str, value: Option<&Json>| {
        Err(ApiError::parameter(message, name, value.map(to_str).as_deref()))
    };
    if data.truthy("use_beam_search") {
        let message = "Batch chat completions do not support beam search. Please set \
                       `use_beam_search` to False.";
        return refuse(message, "use_beam_search", None);
    }
    if data.truthy("logprob_token_ids") && !data.truthy("logprobs") {
        let message = "when using `logprob_token_ids`, `logprobs` must be set to true.";
        return refuse(message, "logprob_token_ids", None);
    }
    let params = data.dict("kv_transfer_params").map(Fields);
    if params.is_some_and(|params| params.get("prompt_token_ids").is_some()) {
        let message = "Batch chat completions do not support \
                       `kv_transfer_params['prompt_token_ids']`: one pre-tokenized prompt cannot \
                       serve several conversations.";
        return refuse(message, "kv_transfer_params.prompt_token_ids", None);
    }
    if data.get("response_format").is_some_and(|format| format.as_dict().is_some()) {
        check_response_format(data)?;
    }
    check_structured_count(data, false)?;
    let n = data.get("n").filter(|n| **n != Json::Int(Int::Small(1)) && **n != Json::Bool(true));
    if let Some(n) = n.filter(|n| **n != Json::Float(1.0)) {
        let message = "Batch chat completions do not support `n > 1`. Please set `n` to 1.";
        return refuse(message, "n", Some(n));
    }
    Ok(())
}
