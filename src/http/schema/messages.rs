//! The schema of a chat message: OpenAI's message types, then vLLM's open one.
//!
//! OpenAI's types look at lists of content parts and tool calls only when these are used; which
//! type a message fits best decides how its parts are checked then.

use super::super::json::Json;
use super::check::{best_choice, check};
use super::errors::{Errors, Path};
use super::{Field, OBJECT, ObjectKind, Schema, optional, required};
use crate::error::ApiError;

type Choices = &'static [(&'static str, &'static Schema)];

const fn typed_dict(fields: &'static [Field]) -> Schema {
    Schema::Object { kind: ObjectKind::TypedDict, fields }
}

const fn model(fields: &'static [Field]) -> Schema {
    Schema::Object { kind: ObjectKind::Model, fields }
}

const STR: Schema = Schema::Str;
const NULLABLE_STR: Schema = Schema::Nullable(&STR);

const CACHE_BREAKPOINT: Schema = typed_dict(&[
    required("mode", &Schema::Literal(&["explicit"])),
    optional("ttl", &Schema::Literal(&["30m", "12h"])),
]);

const TEXT_PART: Schema = typed_dict(&[
    required("text", &STR),
    required("type", &Schema::Literal(&["text"])),
    optional("prompt_cache_breakpoint", &CACHE_BREAKPOINT),
]);

const IMAGE_PART: Schema = typed_dict(&[
    required(
        "image_url",
        &typed_dict(&[
            required("url", &STR),
            optional("detail", &Schema::Literal(&["auto", "low", "high", "original"])),
        ]),
    ),
    required("type", &Schema::Literal(&["image_url"])),
    optional("prompt_cache_breakpoint", &CACHE_BREAKPOINT),
]);

const INPUT_AUDIO_PART: Schema = typed_dict(&[
    required(
        "input_audio",
        &typed_dict(&[
            required("data", &STR),
            required("format", &Schema::Literal(&["wav", "mp3"])),
        ]),
    ),
    required("type", &Schema::Literal(&["input_audio"])),
    optional("prompt_cache_breakpoint", &CACHE_BREAKPOINT),
]);

const FILE_PART: Schema = typed_dict(&[
    required(
        "file",
        &typed_dict(&[
            optional("file_data", &STR),
            optional("file_id", &STR),
            optional("filename", &STR),
        ]),
    ),
    required("type", &Schema::Literal(&["file"])),
    optional("prompt_cache_breakpoint", &CACHE_BREAKPOINT),
]);

const REFUSAL_PART: Schema =
    typed_dict(&[required("refusal", &STR), required("type", &Schema::Literal(&["refusal"]))]);

const URL: Schema = typed_dict(&[required("url", &STR)]);
const NUMBERS: Schema =
    Schema::List { item: &Schema::Union(&[("", &super::INT), ("", &Schema::Float)]), max: None };
const EMBEDS: Schema = Schema::Nullable(&Schema::Union(&[
    ("", &STR),
    ("", &Schema::Map(&Schema::Union(&[("", &STR), ("", &NUMBERS)]))),
]));
const PIL_IMAGE: Schema = model(&[required("image_pil", &Schema::InstanceOf("Image"))]);

/// What vLLM's own message type takes as a content part.
const ANY_PART: Schema = Schema::Union(&[
    ("ChatCompletionContentPartTextParam", &TEXT_PART),
    ("ChatCompletionContentPartImageParam", &IMAGE_PART),
    ("ChatCompletionContentPartInputAudioParam", &INPUT_AUDIO_PART),
    ("File", &FILE_PART),
    (
        "ChatCompletionContentPartAudioParam",
        &typed_dict(&[
            required("audio_url", &URL),
            required("type", &Schema::Literal(&["audio_url"])),
        ]),
    ),
    (
        "ChatCompletionContentPartVideoParam",
        &typed_dict(&[
            required("video_url", &URL),
            required("type", &Schema::Literal(&["video_url"])),
        ]),
    ),
    ("ChatCompletionContentPartRefusalParam", &REFUSAL_PART),
    (
        "CustomChatCompletionContentPILImageParam",
        &typed_dict(&[
            optional("image_pil", &Schema::Nullable(&PIL_IMAGE)),
            optional("uuid", &NULLABLE_STR),
        ]),
    ),
    (
        "CustomChatCompletionContentSimpleImageParam",
        &typed_dict(&[optional("image_url", &NULLABLE_STR), optional("uuid", &NULLABLE_STR)]),
    ),
    (
        "ChatCompletionContentPartImageEmbedsParam",
        &typed_dict(&[
            optional("image_embeds", &EMBEDS),
            required("type", &Schema::Literal(&["image_embeds"])),
            optional("uuid", &NULLABLE_STR),
        ]),
    ),
    (
        "ChatCompletionContentPartAudioEmbedsParam",
        &typed_dict(&[
            optional("audio_embeds", &EMBEDS),
            required("type", &Schema::Literal(&["audio_embeds"])),
            optional("uuid", &NULLABLE_STR),
        ]),
    ),
    (
        "ChatCompletionContentPartVideoEmbedsParam",
        &typed_dict(&[
            optional("video_embeds", &EMBEDS),
            required("type", &Schema::Literal(&["video_embeds"])),
            optional("uuid", &NULLABLE_STR),
        ]),
    ),
    (
        "ChatCompletionContentPartPromptEmbedsParam",
        &typed_dict(&[
            required("data", &STR),
            required("type", &Schema::Literal(&["prompt_embeds"])),
        ]),
    ),
    (
        "CustomChatCompletionContentSimpleAudioParam",
        &typed_dict(&[optional("audio_url", &NULLABLE_STR)]),
    ),
    (
        "CustomChatCompletionContentSimpleVideoParam",
        &typed_dict(&[optional("video_url", &NULLABLE_STR), optional("uuid", &NULLABLE_STR)]),
    ),
    (
        "CustomChatCompletionContentToolReferenceParam",
        &typed_dict(&[
            optional("name", &STR),
            optional("type", &Schema::Literal(&["tool_reference"])),
        ]),
    ),
    ("", &STR),
    (
        "CustomThinkCompletionContentParam",
        &typed_dict(&[
            required("thinking", &STR),
            optional("closed", &Schema::Bool),
            required("type", &Schema::Literal(&["thinking"])),
        ]),
    ),
]);

const FUNCTION_CALL: Schema = typed_dict(&[
    required("id", &STR),
    required("function", &typed_dict(&[required("arguments", &STR), required("name", &STR)])),
    required("type", &Schema::Literal(&["function"])),
]);

const CUSTOM_CALL: Schema = typed_dict(&[
    required("id", &STR),
    required("custom", &typed_dict(&[required("input", &STR), required("name", &STR)])),
    required("type", &Schema::Literal(&["custom"])),
]);

const TOOL_CALL: Schema = Schema::Union(&[
    ("ChatCompletionMessageFunctionToolCallParam", &FUNCTION_CALL),
    ("ChatCompletionMessageCustomToolCallParam", &CUSTOM_CALL),
]);

const FUNCTION_TOOL: Schema = typed_dict(&[
    required(
        "function",
        &typed_dict(&[
            required("name", &STR),
            optional("description", &STR),
            optional("parameters", &OBJECT),
            optional("strict", &Schema::Nullable(&Schema::Bool)),
        ]),
    ),
    required("type", &Schema::Literal(&["function"])),
]);

/// A string, or something whose items are checked when the prompt is rendered.
const LATE_CONTENT: Schema = Schema::Union(&[("", &STR), ("", &Schema::Iterable)]);

const ASSISTANT: Schema = typed_dict(&[
    required("role", &Schema::Literal(&["assistant"])),
    optional("audio", &Schema::Nullable(&typed_dict(&[required("id", &STR)]))),
    optional("content", &Schema::Nullable(&LATE_CONTENT)),
    optional(
        "function_call",
        &Schema::Nullable(&typed_dict(&[required("arguments", &STR), required("name", &STR)])),
    ),
    optional("name", &STR),
    optional("refusal", &NULLABLE_STR),
    optional("tool_calls", &Schema::Iterable),
]);

const CUSTOM: Schema = typed_dict(&[
    required("role", &STR),
    optional(
        "content",
        &Schema::Union(&[("", &STR), ("", &Schema::List { item: &ANY_PART, max: None })]),
    ),
    optional("name", &STR),
    optional("tool_call_id", &NULLABLE_STR),
    optional("tool_calls", &Schema::Nullable(&Schema::List { item: &FUNCTION_CALL, max: None })),
    optional("reasoning", &NULLABLE_STR),
    optional("tools", &Schema::Nullable(&Schema::List { item: &FUNCTION_TOOL, max: None })),
    optional("task", &NULLABLE_STR),
]);

const HARMONY: Schema = model(&[
    required(
        "author",
        &model(&[
            required(
                "role",
                &Schema::Literal(&["user", "assistant", "system", "developer", "tool"]),
            ),
            optional("name", &NULLABLE_STR),
        ]),
    ),
    optional("content", &Schema::List { item: &model(&[]), max: None }),
    optional("channel", &NULLABLE_STR),
    optional("recipient", &NULLABLE_STR),
    optional("content_type", &NULLABLE_STR),
]);

const KINDS: Choices = &[
    (
        "ChatCompletionDeveloperMessageParam",
        &typed_dict(&[
            required("content", &LATE_CONTENT),
            required("role", &Schema::Literal(&["developer"])),
            optional("name", &STR),
        ]),
    ),
    (
        "ChatCompletionSystemMessageParam",
        &typed_dict(&[
            required("content", &LATE_CONTENT),
            required("role", &Schema::Literal(&["system"])),
            optional("name", &STR),
        ]),
    ),
    (
        "ChatCompletionUserMessageParam",
        &typed_dict(&[
            required("content", &LATE_CONTENT),
            required("role", &Schema::Literal(&["user"])),
            optional("name", &STR),
        ]),
    ),
    ("ChatCompletionAssistantMessageParam", &ASSISTANT),
    (
        "ChatCompletionToolMessageParam",
        &typed_dict(&[
            required("content", &LATE_CONTENT),
            required("role", &Schema::Literal(&["tool"])),
            required("tool_call_id", &STR),
        ]),
    ),
    (
        "ChatCompletionFunctionMessageParam",
        &typed_dict(&[
            required("content", &NULLABLE_STR),
            required("name", &STR),
            required("role", &Schema::Literal(&["function"])),
        ]),
    ),
    ("CustomChatCompletionMessageParam", &CUSTOM),
    ("Message", &HARMONY),
];

/// One message of a chat.
pub const MESSAGE: Schema = Schema::Union(KINDS);

/// The type that a message fits best, as far as it matters later on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MessageKind {
    /// Developer, system or tool: content parts are text.
    TextOnly,
    User,
    Assistant,
    Function,
    /// vLLM's own type: everything was checked with the request.
    Custom,
    Harmony,
}

/// The members that a message of this kind has; others were dropped.
impl MessageKind {
    pub fn keeps(self, member: &str) -> bool {
        match self {
            Self::TextOnly => matches!(member, "role" | "content" | "name" | "tool_call_id"),
            Self::Assistant => !matches!(member, "reasoning" | "task" | "tools" | "tool_call_id"),
            Self::User | Self::Function => matches!(member, "role" | "content" | "name"),
            Self::Custom | Self::Harmony => true,
        }
    }
}

/// The kind of a message that has passed [`MESSAGE`].
pub fn message_kind(message: &Json) -> MessageKind {
    let mut errors = Errors::default();
    match best_choice(KINDS, message, &Path::root(""), &mut errors) {
        Ok(Some(0 | 1 | 4)) => MessageKind::TextOnly,
        Ok(Some(2)) => MessageKind::User,
        Ok(Some(3)) => MessageKind::Assistant,
        Ok(Some(5)) => MessageKind::Function,
        Ok(Some(7)) => MessageKind::Harmony,
        _ => MessageKind::Custom,
    }
}

/// Checks the tool calls of an assistant message, which its type did not look into.
pub fn check_tool_calls(message: &Json) -> Result<(), ApiError> {
    let Some(calls) = message.get("tool_calls").and_then(Json::as_list) else { return Ok(()) };
    let root = Path::root("body");
    for (index, call) in calls.iter().enumerate() {
        let mut errors = Errors::default();
        if check(&TOOL_CALL, call, &root.index(index), &mut errors)?.is_none() {
            return Err(errors.into_api_error());
        }
    }
    Ok(())
}

/// Checks the content parts of a message, if its type left that for later.
pub fn check_parts<'a>(
    kind: MessageKind,
    parts: impl Iterator<Item = &'a Json>,
) -> Result<(), ApiError> {
    const USER: Schema = Schema::Union(&[
        ("ChatCompletionContentPartTextParam", &TEXT_PART),
        ("ChatCompletionContentPartImageParam", &IMAGE_PART),
        ("ChatCompletionContentPartInputAudioParam", &INPUT_AUDIO_PART),
        ("File", &FILE_PART),
    ]);
    const ASSISTANT: Schema = Schema::Union(&[
        ("ChatCompletionContentPartTextParam", &TEXT_PART),
        ("ChatCompletionContentPartRefusalParam", &REFUSAL_PART),
    ]);
    let schema = match kind {
        MessageKind::TextOnly => &TEXT_PART,
        MessageKind::User => &USER,
        MessageKind::Assistant => &ASSISTANT,
        MessageKind::Function | MessageKind::Custom | MessageKind::Harmony => return Ok(()),
    };
    let root = Path::root("");
    for (index, part) in parts.enumerate() {
        let mut errors = Errors::default();
        if check(schema, part, &root.index(index), &mut errors)?.is_none() {
            return Err(errors.into_late_error("ValidatorIterator"));
        }
    }
    Ok(())
}

/// Checks a part that says it is an image.
pub fn check_image(part: &Json) -> Result<(), ApiError> {
    let mut errors = Errors::default();
    match check(&IMAGE_PART, part, &Path::root(""), &mut errors)? {
        Some(_) => Ok(()),
        None => Err(errors.into_late_error("ChatCompletionContentPartImageParam")),
    }
}
