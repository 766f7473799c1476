//! The requests of `/v1/messages` and of its count of tokens.

use super::super::json::{Dict, Json};
use super::super::schema::{
    Field, INT, OBJECT, ObjectKind, Schema, coerce, optional, required, validate,
};
use super::fields::Fields;
use super::generate::*;
use crate::config::RequestBounds;
use crate::error::ApiError;

const fn model(fields: &'static [Field]) -> Schema {
    Schema::Object { kind: ObjectKind::Model, fields }
}

const NAME: Schema = Schema::Valid(&Schema::Str, |name| {
    name.as_str().is_some_and(str::is_empty).then(|| "Model is required".to_owned())
});
const MAX_TOKENS: Schema = Schema::Valid(&INT, |max| {
    let is_positive = coerce::int(max).is_ok_and(|max| max > 0);
    (!is_positive).then(|| "max_tokens must be positive".to_owned())
});

const TOOL: Schema = model(&[
    required("name", &Schema::Str),
    optional("description", &NULLABLE_STR),
    required("input_schema", &OBJECT),
    optional("strict", &NULLABLE_BOOL),
    optional("defer_loading", &NULLABLE_BOOL),
]);
const TOOLS: Schema = Schema::Nullable(&Schema::List { item: &TOOL, max: None });
const TOOL_CHANGE: Schema = Schema::Tagged(&[
    (
        "tool_reference",
        &model(&[
            required("type", &Schema::Literal(&["tool_reference"])),
            required("name", &Schema::Str),
        ]),
    ),
    (
        "tool_definition",
        &model(&[
            required("type", &Schema::Literal(&["tool_definition"])),
            required("definition", &TOOL),
        ]),
    ),
]);

/// The two blocks that change which tools there are.
const CHANGES: [&str; 2] = ["tool_addition", "tool_removal"];

fn block_type(block: &Json) -> &str {
    block.get("type").and_then(Json::as_str).unwrap_or_default()
}

fn check_tool_change(block: &Json) -> Option<String> {
    let kind = block_type(block);
    if !CHANGES.contains(&kind) {
        return None;
    }
    match block.get("tool").filter(|tool| !tool.is_null()) {
        None => Some(format!("tool is required for {kind} blocks")),
        Some(tool) if kind == "tool_removal" && block_type(tool) != "tool_reference" => {
            Some("tool_removal only accepts a tool_reference".to_owned())
        }
        Some(_) => None,
    }
}

fn refuse_tool_changes(content: &Json) -> Option<String> {
    let kinds = content.as_list().unwrap_or_default().iter().map(block_type);
    let change = kinds.into_iter().find(|kind| CHANGES.contains(kind))?;
    Some(format!("{change} blocks are only allowed in messages with role \"system\""))
}

const BLOCK: Schema = Schema::Valid(
    &model(&[
        required(
            "type",
            &Schema::Literal(&[
                "text",
                "image",
                "tool_use",
                "tool_result",
                "tool_reference",
                "thinking",
                "redacted_thinking",
                "tool_addition",
                "tool_removal",
            ]),
        ),
        optional("text", &NULLABLE_STR),
        optional("source", &NULLABLE_OBJECT),
        optional("id", &NULLABLE_STR),
        optional("tool_use_id", &NULLABLE_STR),
        optional("name", &NULLABLE_STR),
        optional("input", &NULLABLE_OBJECT),
        optional(
            "content",
            &Schema::Nullable(&Schema::Union(&[
                ("", &Schema::Str),
                ("", &Schema::List { item: &OBJECT, max: None }),
            ])),
        ),
        optional("is_error", &NULLABLE_BOOL),
        optional("tool_name", &NULLABLE_STR),
        optional("thinking", &NULLABLE_STR),
        optional("signature", &NULLABLE_STR),
        optional("data", &NULLABLE_STR),
        optional("tool", &Schema::Nullable(&TOOL_CHANGE)),
    ]),
    check_tool_change,
);
const CONTENT: Schema =
    Schema::Union(&[("", &Schema::Str), ("", &Schema::List { item: &BLOCK, max: None })]);
const SYSTEM: Schema = Schema::Valid(&Schema::Nullable(&CONTENT), refuse_tool_changes);
const MESSAGE: Schema = Schema::Valid(
    &model(&[
        required("role", &Schema::Literal(&["user", "assistant", "system"])),
        required("content", &CONTENT),
    ]),
    |message| match message.get("role").and_then(Json::as_str) {
        Some("system") => None,
        _ => refuse_tool_changes(message.get("content")?),
    },
);
const MESSAGES: Schema = Schema::List { item: &MESSAGE, max: None };

const TOOL_CHOICE: Schema = Schema::Nullable(&Schema::Valid(
    &model(&[
        required("type", &Schema::Literal(&["auto", "any", "tool", "none"])),
        optional("name", &NULLABLE_STR),
        optional("disable_parallel_tool_use", &NULLABLE_BOOL),
    ]),
    |choice| {
        let is_named = choice.get("name").is_some_and(Json::truthy);
        (block_type(choice) == "tool" && !is_named)
            .then(|| "tool_choice.name is required when type is 'tool'".to_owned())
    },
));
const OUTPUT_CONFIG: Schema = Schema::Nullable(&model(&[
    optional(
        "effort",
        &Schema::Nullable(&Schema::Literal(&["low", "medium", "high", "xhigh", "max"])),
    ),
    optional(
        "format",
        &Schema::Nullable(&model(&[
            optional("schema", &NULLABLE_OBJECT),
            optional("type", &Schema::Literal(&["json_schema"])),
        ])),
    ),
]));
const DISPLAY: Schema = Schema::Nullable(&Schema::Literal(&["summarized", "omitted", "updates"]));
const THINKING: Schema = Schema::Nullable(&Schema::Tagged(&[
    (
        "enabled",
        &model(&[
            required("type", &Schema::Literal(&["enabled"])),
            required("budget_tokens", &Schema::Int { ge: Some(1024), le: None }),
            optional("display", &DISPLAY),
        ]),
    ),
    ("disabled", &model(&[required("type", &Schema::Literal(&["disabled"]))])),
    (
        "adaptive",
        &model(&[required("type", &Schema::Literal(&["adaptive"])), optional("display", &DISPLAY)]),
    ),
]));

/// A budget of thinking must leave tokens for the answer; but a prefill leg answers nothing.
fn check_budget(body: &Json) -> Option<String> {
    let fields = Fields(body.as_dict()?);
    let is_prefill = fields
        .dict("kv_transfer_params")
        .is_some_and(|params| Fields(params).truthy("do_remote_decode"));
    let budget = Fields(fields.dict("thinking")?).int("budget_tokens")?;
    let fits = match (budget.as_i64(), fields.int("max_tokens")?) {
        (Some(budget), max) => max > budget,
        (None, _) => false,
    };
    (!is_prefill && !fits).then(|| "thinking.budget_tokens must be less than max_tokens".to_owned())
}

/// The body of a request for a message.
pub const SCHEMA: Schema = Schema::Valid(
    &model(&[
        required("model", &NAME),
        required("messages", &MESSAGES),
        required("max_tokens", &MAX_TOKENS),
        optional("metadata", &NULLABLE_OBJECT),
        optional("output_config", &OUTPUT_CONFIG),
        optional("thinking", &THINKING),
        optional(
            "stop_sequences",
            &Schema::Nullable(&Schema::List {
                item: &Schema::Str,
                max: Some(|| RequestBounds::get().stop_strings),
            }),
        ),
        optional("stream", &NULLABLE_BOOL),
        optional("system", &SYSTEM),
        optional("temperature", &NULLABLE_FLOAT),
        optional("tool_choice", &TOOL_CHOICE),
        optional("tools", &TOOLS),
        optional("top_k", &NULLABLE_INT),
        optional("top_p", &NULLABLE_FLOAT),
        optional("mm_payload", &MM_PAYLOAD),
        optional("return_mm_kwargs", &NULLABLE_BOOL),
        optional("cache_salt", &Schema::Nullable(&Schema::Sized { min: 1, max: 1024 })),
        optional("watermarking", &NULLABLE_BOOL),
        optional("kv_transfer_params", &NULLABLE_OBJECT),
        optional("ec_transfer_params", &NULLABLE_OBJECT),
        optional("vllm_xargs", &XARGS),
        optional("chat_template_kwargs", &NULLABLE_OBJECT),
    ]),
    check_budget,
);

/// The body of a request for a count of tokens.
pub const COUNT_SCHEMA: Schema = model(&[
    required("model", &NAME),
    required("messages", &MESSAGES),
    optional("output_config", &OUTPUT_CONFIG),
    optional("system", &SYSTEM),
    optional("thinking", &THINKING),
    optional("tool_choice", &TOOL_CHOICE),
    optional("tools", &TOOLS),
    optional("chat_template_kwargs", &NULLABLE_OBJECT),
]);

/// What `thinking` says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Thinking {
    Enabled,
    Disabled,
    Adaptive,
}

/// A checked request, or one whose tokens are to be counted: then only what shapes the prompt is
/// there.
#[derive(Clone, Debug)]
pub struct MessagesRequest {
    /// The members of the body.
    pub data: Dict,
    pub counts_only: bool,
}

impl MessagesRequest {
    /// Checks the body of a request for a message.
    pub fn new(body: Json) -> Result<Self, ApiError> {
        validate(&SCHEMA, &body)?;
        Self::of(body, false)
    }

    /// Checks the body of a request for a count of tokens.
    pub fn to_count(body: Json) -> Result<Self, ApiError> {
        validate(&COUNT_SCHEMA, &body)?;
        Self::of(body, true)
    }

    fn of(body: Json, counts_only: bool) -> Result<Self, ApiError> {
        let Json::Dict(data) = body else { return Err(ApiError::internal("no object")) };
        Ok(Self { data, counts_only })
    }

    /// Its members.
    pub fn fields(&self) -> Fields<'_> {
        Fields(&self.data)
    }

    /// What it says about thinking.
    pub fn thinking(&self) -> Option<Thinking> {
        match Fields(self.fields().dict("thinking")?).str("type")? {
            "enabled" => Some(Thinking::Enabled),
            "disabled" => Some(Thinking::Disabled),
            _ => Some(Thinking::Adaptive),
        }
    }
}
