//! The request of `/v1/chat/completions`.

use super::super::json::{Dict, Int, Json};
use super::super::schema::{
    Errors, Field, INT, INT64, MESSAGE, MessageKind, OBJECT, ObjectKind, Path, Schema, check,
    check_tool_calls, message_kind, optional, required, validate,
};
use super::chat_hooks::run_hooks;
use super::fields::Fields;
use super::generate::*;
use super::sampling::SamplingFields;
use super::structured::{RESPONSE_FORMAT, STRUCTURED_OUTPUTS};
use crate::error::ApiError;
use serde_json::{Map, Value, json};

const fn model(fields: &'static [Field]) -> Schema {
    Schema::Object { kind: ObjectKind::Model, fields }
}

const TOOL: Schema = model(&[
    optional("type", &Schema::Literal(&["function"])),
    required(
        "function",
        &model(&[
            required("name", &Schema::Str),
            optional("description", &NULLABLE_STR),
            optional("parameters", &NULLABLE_OBJECT),
            optional("strict", &NULLABLE_BOOL),
            optional("defer_loading", &NULLABLE_BOOL),
        ]),
    ),
    optional("defer_loading", &NULLABLE_BOOL),
]);
/// The field `tools`.
pub const TOOLS: Schema = Schema::Nullable(&Schema::List { item: &TOOL, max: None });
const TOOL_CHOICE: Schema = Schema::Nullable(&Schema::Union(&[
    ("", &Schema::Literal(&["none"])),
    ("", &Schema::Literal(&["auto"])),
    ("", &Schema::Literal(&["required"])),
    (
        "",
        &model(&[
            required("function", &model(&[required("name", &Schema::Str)])),
            optional("type", &Schema::Literal(&["function"])),
        ]),
    ),
]));
const EFFORT: Schema = Schema::Nullable(&Schema::Literal(&[
    "none", "minimal", "low", "medium", "high", "xhigh", "max",
]));
const DOCUMENTS: Schema =
    Schema::Nullable(&Schema::List { item: &Schema::Map(&Schema::Str), max: None });
const MESSAGES: Schema = Schema::List { item: &MESSAGE, max: None };

/// The whole body.
pub const SCHEMA: Schema = model(&[
    required("messages", &MESSAGES),
    optional("model", &NULLABLE_STR),
    optional("frequency_penalty", &NULLABLE_FLOAT),
    optional("logit_bias", &LOGIT_BIAS),
    optional("logprobs", &NULLABLE_BOOL),
    optional("top_logprobs", &NULLABLE_INT),
    optional("max_tokens", &NULLABLE_INT),
    optional("max_completion_tokens", &NULLABLE_INT),
    optional("n", &NULLABLE_INT),
    optional("presence_penalty", &NULLABLE_FLOAT),
    optional("response_format", &Schema::Nullable(&RESPONSE_FORMAT)),
    optional("seed", &NULLABLE_INT64),
    optional("stop", &STOP),
    optional("stream", &NULLABLE_BOOL),
    optional("stream_options", &STREAM_OPTIONS),
    optional("temperature", &NULLABLE_FLOAT),
    optional("top_p", &NULLABLE_FLOAT),
    optional("tools", &TOOLS),
    optional("tool_choice", &TOOL_CHOICE),
    optional("reasoning_effort", &EFFORT),
    optional("thinking_token_budget", &THINKING_BUDGET),
    optional("include_reasoning", &Schema::Bool),
    optional("parallel_tool_calls", &NULLABLE_BOOL),
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
    optional("prompt_logprobs", &NULLABLE_INT),
    optional("logprob_token_ids", &NULLABLE_INTS),
    optional("allowed_token_ids", &NULLABLE_INTS),
    optional("bad_words", &STRINGS),
    optional("echo", &Schema::Bool),
    optional("add_generation_prompt", &Schema::Bool),
    optional("continue_final_message", &Schema::Bool),
    optional("add_special_tokens", &Schema::Bool),
    optional("documents", &DOCUMENTS),
    optional("chat_template", &NULLABLE_STR),
    optional("chat_template_kwargs", &NULLABLE_OBJECT),
    optional("media_io_kwargs", &Schema::Nullable(&Schema::Map(&OBJECT))),
    optional("mm_processor_kwargs", &NULLABLE_OBJECT),
    optional("structured_outputs", &Schema::Nullable(&STRUCTURED_OUTPUTS)),
    optional("priority", &INT64),
    optional("request_id", &Schema::Str),
    optional("session_id", &NULLABLE_STR),
    optional("return_tokens_as_token_ids", &NULLABLE_BOOL),
    optional("return_token_ids", &NULLABLE_BOOL),
    optional("routed_experts_prompt_start", &NATURAL),
    optional("return_token_offsets", &NULLABLE_BOOL),
    optional("return_prompt_text", &NULLABLE_BOOL),
    optional("mm_payload", &MM_PAYLOAD),
    optional("return_mm_kwargs", &NULLABLE_BOOL),
    optional("cache_salt", &NULLABLE_STR),
    optional("kv_transfer_params", &NULLABLE_OBJECT),
    optional("ec_transfer_params", &NULLABLE_OBJECT),
    optional("vllm_xargs", &XARGS),
    optional("repetition_detection", &REPETITION),
    optional("stream_interval", &POSITIVE),
]);

/// A whole request inside another body, with the hooks on it.
pub const REQUEST: Schema = Schema::Hooked(check_hooks, &SCHEMA);

fn check_hooks(data: &Dict) -> Result<(), ApiError> {
    run_hooks(&mut data.clone())
}

/// The fields that shape a prompt; `/tokenize` takes them as well.
pub const PROMPT_SCHEMA: Schema = model(&[
    optional("model", &NULLABLE_STR),
    required("messages", &MESSAGES),
    optional("add_generation_prompt", &Schema::Bool),
    optional("return_token_strs", &NULLABLE_BOOL),
    optional("continue_final_message", &Schema::Bool),
    optional("add_special_tokens", &Schema::Bool),
    optional("chat_template", &NULLABLE_STR),
    optional("chat_template_kwargs", &NULLABLE_OBJECT),
    optional("media_io_kwargs", &Schema::Nullable(&Schema::Map(&OBJECT))),
    optional("mm_processor_kwargs", &NULLABLE_OBJECT),
    optional("tools", &TOOLS),
]);

/// Which tools the model may call.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ToolChoice {
    /// Given as null.
    Null,
    None,
    Auto,
    Required,
    Named(String),
}

/// The part of a request that becomes the text of a prompt.
#[derive(Clone, Debug)]
pub struct Conversation {
    pub messages: Vec<(MessageKind, Json)>,
    /// As templates see them.
    pub tools: Option<Value>,
    pub add_generation_prompt: bool,
    pub continue_final_message: bool,
    pub chat_template: Option<String>,
    pub chat_template_kwargs: Dict,
    pub documents: Option<Json>,
    pub reasoning_effort: Option<String>,
    pub mm_processor_kwargs: bool,
    pub media_io_kwargs: bool,
}

/// A checked chat request.
#[derive(Clone, Debug)]
pub struct ChatRequest {
    pub common: GenerateFields,
    pub conversation: Conversation,
    pub tool_choice: ToolChoice,
    /// The tokens asked for, and which of the two fields asked.
    pub max_tokens: Option<Int>,
    pub max_tokens_field: &'static str,
    pub logprobs: bool,
    /// How many most likely tokens to list; -1 is all.
    pub top_logprobs: i64,
    pub return_prompt_text: bool,
    pub include_reasoning: bool,
    /// `parallel_tool_calls` is false.
    pub single_tool_call: bool,
    /// Token ids that replace the rendered prompt (`kv_transfer_params.prompt_token_ids`).
    pub prompt_token_ids: Option<Json>,
}

impl ChatRequest {
    /// Checks a body.
    pub fn new(mut body: Json) -> Result<Self, ApiError> {
        if let Json::Dict(data) = &mut body {
            run_hooks(data)?;
        }
        validate(&SCHEMA, &body)?;
        let Json::Dict(data) = body else { return Err(ApiError::internal("no object")) };
        Self::from_checked(data)
    }

    /// Checks members that were made of another API's request: its body has passed its own schema,
    /// so what is wrong now is not reported as a misfit of the body.
    pub fn check_converted(data: &mut Dict) -> Result<(), ApiError> {
        run_hooks(data)?;
        let body = Json::Dict(std::mem::take(data));
        let mut errors = Errors::default();
        let fit = check(&SCHEMA, &body, &Path::root(""), &mut errors)?;
        if let Json::Dict(checked) = body {
            *data = checked;
        }
        fit.map(drop).ok_or_else(|| errors.into_late_error("ChatCompletionRequest"))
    }

    /// Reads checked members.
    pub fn from_checked(data: Dict) -> Result<Self, ApiError> {
        let fields = Fields(&data);
        let logprobs = fields.flag("logprobs");
        let mut sampling = SamplingFields::from_fields(fields);
        // Chosen tokens are all shown.
        let top_logprobs = match sampling.has_logprob_token_ids() {
            true => -1,
            false => fields.int("top_logprobs").map_or(0, |count| count.saturate()),
        };
        let count = || fields.int("top_logprobs").or(Some(Int::Small(0)));
        if logprobs && !sampling.has_logprob_token_ids() {
            sampling.logprobs = count();
        }
        if fields.flag("echo") && sampling.prompt_logprobs.is_none() {
            sampling.prompt_logprobs = count();
        }
        let (max_tokens, max_tokens_field) = match fields.int("max_completion_tokens") {
            Some(max) => (Some(max), "max_completion_tokens"),
            None => (fields.int("max_tokens"), "max_tokens"),
        };
        Ok(Self {
            common: GenerateFields::from_fields(fields, sampling),
            tool_choice: tool_choice(fields),
            max_tokens,
            max_tokens_field,
            logprobs,
            top_logprobs,
            return_prompt_text: fields.flag("return_prompt_text"),
            include_reasoning: fields.bool("include_reasoning").unwrap_or(true),
            single_tool_call: fields.bool("parallel_tool_calls") == Some(false),
            prompt_token_ids: fields
                .dict("kv_transfer_params")
                .and_then(|params| Fields(params).get("prompt_token_ids").cloned()),
            conversation: Conversation::from_data(data)?,
        })
    }
}

fn tool_choice(fields: Fields<'_>) -> ToolChoice {
    match fields.0.get("tool_choice") {
        None => ToolChoice::None,
        Some(Json::Null) => ToolChoice::Null,
        Some(Json::Str(choice)) => match choice.as_str() {
            "auto" => ToolChoice::Auto,
            "required" => ToolChoice::Required,
            _ => ToolChoice::None,
        },
        Some(named) => {
            let name = named.get("function").and_then(|f| f.get("name")).and_then(Json::as_str);
            ToolChoice::Named(name.unwrap_or_default().to_owned())
        }
    }
}

impl Conversation {
    /// Reads the prompt fields of a checked body, and checks the tool calls that OpenAI's
    /// assistant type leaves unchecked.
    pub fn from_data(mut data: Dict) -> Result<Self, ApiError> {
        let messages = match data.swap_remove("messages") {
            Some(Json::List(messages)) => messages,
            _ => Vec::new(),
        };
        let messages: Vec<(MessageKind, Json)> =
            messages.into_iter().map(|message| (message_kind(&message), message)).collect();
        for (kind, message) in &messages {
            if *kind == MessageKind::Assistant {
                check_tool_calls(message)?;
            }
        }
        let fields = Fields(&data);
        let tools = fields.get("tools").and_then(Json::as_list);
        Ok(Self {
            messages,
            tools: tools.map(|tools| tools.iter().map(tool_dump).collect()),
            add_generation_prompt: fields.bool("add_generation_prompt").unwrap_or(true),
            continue_final_message: fields.flag("continue_final_message"),
            chat_template: fields.string("chat_template"),
            chat_template_kwargs: fields.dict("chat_template_kwargs").cloned().unwrap_or_default(),
            documents: fields.get("documents").cloned(),
            reasoning_effort: fields.string("reasoning_effort"),
            mm_processor_kwargs: fields.truthy("mm_processor_kwargs"),
            media_io_kwargs: fields.truthy("media_io_kwargs"),
        })
    }
}

/// A tool as vLLM hands it to templates: known members in fixed order, absent ones as null.
pub fn tool_dump(tool: &Json) -> Value {
    let empty = Dict::new();
    let function = Fields(tool.get("function").and_then(Json::as_dict).unwrap_or(&empty));
    let member = |name: &str| function.get(name).map_or(Value::Null, Json::to_value);
    let mut dump = Map::new();
    for name in ["name", "description", "parameters"] {
        dump.insert(name.to_owned(), member(name));
    }
    let outer = tool.as_dict().and_then(|tool| Fields(tool).bool("defer_loading"));
    let flags = [
        ("strict", function.bool("strict")),
        ("defer_loading", function.bool("defer_loading").or(outer)),
    ];
    for (name, flag) in flags {
        if let Some(flag) = flag {
            dump.insert(name.to_owned(), flag.into());
        }
    }
    let mut dump = json!({"type": "function", "function": dump});
    if let (Some(outer), Some(members)) = (outer, dump.as_object_mut()) {
        members.insert("defer_loading".to_owned(), outer.into());
    }
    dump
}
