//! Requests of OpenAI's Responses API.

mod hooks;
mod items;
mod schema;
mod tools;

pub use tools::{Callee, Tools, custom_input, custom_input_so_far};

use super::super::json::{Dict, Int, Json};
use super::super::schema::{Errors, Path, Schema, check, validate};
use super::chat::{ChatRequest, Conversation, ToolChoice};
use super::fields::Fields;
use super::generate::GenerateFields;
use super::sampling::SamplingFields;
use crate::error::ApiError;
use hooks::run_hooks;
use items::{Input, ItemKind, KIND, message, string};
use schema::Schemas;
use serde_json::{Value, json};

const TRANSFERS: [&str; 2] = ["kv_transfer_params", "ec_transfer_params"];
const LOGPROBS: &str = "message.output_text.logprobs";

/// The schema of a request.
pub fn responses_schema() -> Schema {
    Schemas::get().request()
}

/// A checked request.
#[derive(Clone, Debug)]
pub struct ResponsesRequest {
    pub request_id: Option<String>,
    pub store: bool,
    pub background: bool,
    pub previous_response_id: Option<String>,
    /// Messages of an earlier turn came along; only other models than Qwen's read them.
    has_previous_messages: bool,
    /// Replies show the prompt and the output as text and tokens.
    pub shows_messages: bool,
    /// How many most likely tokens to list, when log-probabilities are shown.
    pub top_logprobs: Option<i32>,
    pub tools: Tools,
    pub shown: Shown,
    /// The parameters of transfers of KV and encoder caches, which `/render` hands on.
    pub transfer_params: [Option<Value>; 2],
    input: Input,
    /// All but the messages.
    chat: ChatRequest,
    /// Both ways to constrain the output were used.
    has_two_constraints: bool,
    /// What the reply could not repeat.
    unshowable: Option<ApiError>,
}

/// The members that replies repeat.
#[derive(Clone, Debug)]
pub struct Shown {
    pub instructions: Option<String>,
    pub metadata: Value,
    pub parallel_tool_calls: bool,
    pub tool_choice: Value,
    pub tools: Value,
    pub background: bool,
    pub max_tool_calls: Value,
    pub previous_response_id: Option<String>,
    pub reasoning: Value,
    pub service_tier: Value,
    pub text: Value,
    pub truncation: Value,
    pub user: Option<String>,
}

/// An earlier turn: its messages, and what its reply said.
pub struct Earlier<'a> {
    pub messages: &'a [Json],
    pub said: &'a [String],
}

impl ResponsesRequest {
    /// Checks a body.
    pub fn new(mut body: Json) -> Result<Self, ApiError> {
        let schemas = Schemas::get();
        let kinds = match &mut body {
            Json::Dict(data) => run_hooks(data)?,
            _ => Vec::new(),
        };
        validate(&schemas.request(), &body)?;
        let Json::Dict(mut data) = body else { return Err(ApiError::internal("no object")) };
        // Fields of other APIs mean nothing here.
        data.retain(|name, _| schemas.has(name));
        // An empty stop string is none.
        if Fields(&data).str("stop") == Some("") {
            data.swap_remove("stop");
        }
        let input = take_input(&mut data, kinds);
        let shown = Shown::new(schemas, Fields(&data));
        let constrains = Fields(&data).get("structured_outputs").is_some();
        let format = text_format(Fields(&data));
        let has_two_constraints = constrains && format.is_some();
        if let Some(format) = format.flatten().filter(|_| !constrains) {
            data.insert("response_format".to_owned(), format);
        }
        if Fields(&data).str("truncation") != Some("disabled") && data.contains_key("truncation") {
            data.insert("truncate_prompt_tokens".to_owned(), Json::Int(Int::Small(-1)));
        }
        let fields = Fields(&data);
        let tools = Tools::new(fields.get("tools").and_then(Json::as_list).unwrap_or_default());
        let transfer_params = TRANSFERS.map(|name| fields.get(name).map(Json::to_value));
        let includes =
            fields.strings("include").is_some_and(|all| all.iter().any(|i| i == LOGPROBS));
        let count = fields.int("top_logprobs").unwrap_or(Int::Small(0));
        Ok(Self {
            request_id: fields.string("request_id"),
            store: fields.0.get("store").is_none_or(|_| fields.flag("store")),
            background: fields.flag("background"),
            previous_response_id: fields.string("previous_response_id"),
            has_previous_messages: fields.truthy("previous_input_messages"),
            shows_messages: fields.flag("enable_response_messages"),
            top_logprobs: includes.then(|| count.saturate().clamp(0, i64::from(i32::MAX)) as i32),
            chat: chat(fields, &tools, &input, includes.then_some(count)),
            tools,
            shown,
            transfer_params,
            input,
            has_two_constraints,
            unshowable: unshowable(fields)?,
        })
    }

    /// The fields that it shares with chats.
    pub fn common(&self) -> &GenerateFields {
        &self.chat.common
    }

    /// What the API refuses before it looks at the prompt; `stores` tells whether the server keeps
    /// responses.
    pub fn check(&self, stores: bool) -> Result<(), ApiError> {
        if self.store && !stores && self.background {
            let message = "This vLLM engine does not support `store=True` and therefore does not \
                           support the background mode. To enable these features, set the \
                           environment variable `VLLM_ENABLE_RESPONSES_API_STORE=1` when launching \
                           the vLLM server.";
            return Err(ApiError::invalid_request(400, message, "background"));
        }
        if self.has_previous_messages && self.previous_response_id.is_some() {
            let message = "Only one of `previous_input_messages` and `previous_response_id` can \
                           be set.";
            return Err(ApiError::invalid_request(400, message, "previous_response_id"));
        }
        Ok(())
    }

    /// What was refused only once there was a prompt. `parses_tools` tells whether calls are found
    /// in the output.
    pub fn check_constraints(&self, parses_tools: bool) -> Result<(), ApiError> {
        let is_forced =
            matches!(self.chat.tool_choice, ToolChoice::Required | ToolChoice::Named(_));
        if parses_tools && is_forced && self.tools.is_empty() {
            let message = "tool_choice requires a function call, but tools contains no function \
                           tool the model can call.";
            return Err(ApiError::parameter(message, "tool_choice", None));
        }
        if self.has_two_constraints {
            let message = "Cannot specify both structured_outputs and text.format";
            return Err(ApiError::parameter(message, "structured_outputs", None));
        }
        Ok(())
    }

    /// Refuses what the reply could not repeat: the last check of all.
    pub fn check_shown(&self) -> Result<(), ApiError> {
        self.unshowable.clone().map_or(Ok(()), Err)
    }

    /// The messages of the conversation: instructions, earlier turns, input. Instructions of
    /// earlier turns do not carry over.
    pub fn messages(&self, earlier: Option<&Earlier<'_>>) -> Result<Vec<Json>, ApiError> {
        let mut messages = Vec::new();
        let of =
            |role: &str, text: &str| message([("role", string(role)), ("content", string(text))]);
        let instructions = self.shown.instructions.as_deref().filter(|text| !text.is_empty());
        messages.extend(instructions.map(|text| of("system", text)));
        if let Some(earlier) = earlier {
            let is_system =
                |message: &&Json| message.get("role").and_then(Json::as_str) == Some("system");
            messages.extend(earlier.messages.iter().filter(|m| !is_system(m)).cloned());
            messages.extend(earlier.said.iter().map(|text| of("assistant", text)));
        }
        self.input.add_to(&mut messages)?;
        Ok(messages)
    }

    /// The chat that these messages make.
    pub fn to_chat(&self, messages: Vec<Json>) -> ChatRequest {
        let mut chat = self.chat.clone();
        chat.conversation.messages = messages.into_iter().map(|message| (KIND, message)).collect();
        chat
    }
}

/// Members that may be null in a request, and not in a reply.
fn unshowable(fields: Fields<'_>) -> Result<Option<ApiError>, ApiError> {
    const TRUNCATION: Schema = Schema::Literal(&["auto", "disabled"]);
    let (root, mut errors, mut fits) = (Path::root(""), Errors::default(), true);
    for (name, schema) in [("background", &Schema::Bool), ("truncation", &TRUNCATION)] {
        if let Some(value) = fields.0.get(name).filter(|value| value.is_null()) {
            fits &= check(schema, value, &root.key(name), &mut errors)?.is_some();
        }
    }
    Ok((!fits).then(|| errors.into_late_error("ResponsesResponse")))
}

fn take_input(data: &mut Dict, kinds: Vec<ItemKind>) -> Input {
    match data.swap_remove("input") {
        Some(Json::Str(text)) => Input::Text(text),
        Some(Json::List(items)) => Input::Items(kinds.into_iter().zip(items).collect()),
        _ => Input::Items(Vec::new()),
    }
}

/// The form that `text.format` asks for, as chats ask for it: `None` when it is absent,
/// `Some(None)` when it constrains nothing.
fn text_format(data: Fields<'_>) -> Option<Option<Json>> {
    let format = Fields(data.dict("text")?).get("format")?;
    let entry = |name: &str, value: Json| (name.to_owned(), value);
    let kind = |kind: &str| entry("type", Json::Str(kind.to_owned()));
    Some(match format.get("type").and_then(Json::as_str) {
        Some("json_object") => Some(Json::Dict([kind("json_object")].into_iter().collect())),
        Some("json_schema") => {
            let schema = format.get("schema").cloned().unwrap_or(Json::Null);
            let schema = Json::Dict([entry("schema", schema)].into_iter().collect());
            let members = [kind("json_schema"), entry("json_schema", schema)];
            Some(Json::Dict(members.into_iter().collect()))
        }
        _ => None,
    })
}

fn chat(fields: Fields<'_>, tools: &Tools, input: &Input, logprobs: Option<Int>) -> ChatRequest {
    let continues = input.continues();
    let reasoning = fields.dict("reasoning").map(Fields);
    let mut sampling = SamplingFields::from_fields(fields);
    sampling.logprobs = logprobs;
    ChatRequest {
        common: GenerateFields::from_fields(fields, sampling),
        conversation: Conversation {
            messages: Vec::new(),
            tools: tools.shown.clone(),
            add_generation_prompt: !continues,
            continue_final_message: continues,
            chat_template: None,
            chat_template_kwargs: fields.dict("chat_template_kwargs").cloned().unwrap_or_default(),
            documents: None,
            reasoning_effort: reasoning.and_then(|reasoning| reasoning.string("effort")),
            mm_processor_kwargs: fields.truthy("mm_processor_kwargs"),
            media_io_kwargs: fields.truthy("media_io_kwargs"),
        },
        tool_choice: tool_choice(fields.get("tool_choice")),
        max_tokens: fields.int("max_output_tokens"),
        max_tokens_field: "max_output_tokens",
        logprobs: false,
        top_logprobs: 0,
        return_prompt_text: false,
        include_reasoning: fields.bool("include_reasoning").unwrap_or(true),
        single_tool_call: fields.bool("parallel_tool_calls") == Some(false),
        prompt_token_ids: None,
    }
}

/// A choice of built-in tools leaves no call for the parser to find.
fn tool_choice(choice: Option<&Json>) -> ToolChoice {
    let Some(choice) = choice else { return ToolChoice::Auto };
    let word = |name: &str| choice.get(name).and_then(Json::as_str);
    match (choice.as_str(), word("type")) {
        (Some("auto"), _) => ToolChoice::Auto,
        (Some("required"), _) => ToolChoice::Required,
        (None, Some("function" | "custom")) => {
            ToolChoice::Named(word("name").unwrap_or_default().to_owned())
        }
        _ => ToolChoice::None,
    }
}

impl Shown {
    fn new(schemas: &Schemas, fields: Fields<'_>) -> Self {
        let dump =
            |name: &str| fields.get(name).map_or(Value::Null, |value| schemas.dump(name, value));
        let or = |name: &str, default: Value| match fields.has(name) {
            true => dump(name),
            false => default,
        };
        Self {
            instructions: fields.string("instructions"),
            metadata: dump("metadata"),
            parallel_tool_calls: fields.bool("parallel_tool_calls").unwrap_or(true),
            tool_choice: or("tool_choice", json!("auto")),
            tools: or("tools", json!([])),
            background: fields.flag("background"),
            max_tool_calls: dump("max_tool_calls"),
            previous_response_id: fields.string("previous_response_id"),
            reasoning: dump("reasoning"),
            service_tier: or("service_tier", json!("auto")),
            text: dump("text"),
            truncation: or("truncation", json!("disabled")),
            user: fields.string("user"),
        }
    }
}
