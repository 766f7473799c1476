//! From the messages of a request to the conversation that a chat template sees.

use super::super::json::{Json, str_repr};
use super::super::request::Conversation;
use super::super::schema::{MessageKind, check_image, check_parts};
use crate::error::ApiError;
use crate::types::ContentFormat;
use serde_json::{Map, Value, json};

/// A line that Claude Code puts before its system prompt and that changes with every request; with
/// it no prefix would ever be found in the cache.
const BILLING_HEADER: &str = "x-anthropic-billing-header";

/// Content part types that are text, by the member that holds it.
const TEXT_TYPES: [(&str, &str); 5] = [
    ("text", "text"),
    ("input_text", "text"),
    ("output_text", "text"),
    ("refusal", "refusal"),
    ("thinking", "thinking"),
];
const MEDIA_TYPES: [&str; 9] = [
    "input_image",
    "image_url",
    "image_embeds",
    "audio_embeds",
    "video_embeds",
    "image_pil",
    "audio_url",
    "input_audio",
    "video_url",
];

/// The messages as templates expect them.
///
/// # Errors
/// Content that a text model cannot take, in vLLM's words; `model` is the name it is served by.
pub fn to_template(
    conversation: &Conversation,
    format: ContentFormat,
    knows_developer: bool,
    model: &str,
) -> Result<Vec<Value>, ApiError> {
    let reader = Reader { format, model };
    let mut messages = Vec::with_capacity(conversation.messages.len());
    for (kind, message) in &conversation.messages {
        messages.push(reader.message(*kind, message)?);
    }
    let has_developer = messages.iter().any(|message| message["role"] == "developer");
    if has_developer && !knows_developer {
        return Ok(merge_systems(messages));
    }
    Ok(messages)
}

struct Reader<'a> {
    format: ContentFormat,
    model: &'a str,
}

impl Reader<'_> {
    fn message(&self, kind: MessageKind, message: &Json) -> Result<Value, ApiError> {
        if kind == MessageKind::Harmony {
            return Err(ApiError::bad_request("'Message' object is not subscriptable"));
        }
        let member =
            |name: &str| message.get(name).filter(|value| kind.keeps(name) && !value.is_null());
        let role = member("role").and_then(Json::as_str).unwrap_or_default();
        let mut out = Map::new();
        out.insert("role".into(), role.into());
        let content = self.content(kind, role, member("content"))?;
        out.insert("content".into(), content);
        if role == "assistant" {
            if let Some(calls) = member("tool_calls") {
                out.insert("tool_calls".into(), calls.to_value());
            }
            if let Some(reasoning) = member("reasoning") {
                out.insert("reasoning".into(), reasoning.to_value());
                out.insert("reasoning_content".into(), reasoning.to_value());
            }
        } else if role == "tool" {
            if let Some(id) = member("tool_call_id") {
                out.insert("tool_call_id".into(), id.to_value());
            }
            join_tool_text(&mut out);
        }
        for name in ["name", "task"] {
            if let Some(text) = member(name).and_then(Json::as_str) {
                out.insert(name.into(), text.into());
            }
        }
        if role == "developer" {
            out.insert("tools".into(), member("tools").map_or(Value::Null, Json::to_value));
        }
        Ok(Value::Object(out))
    }

    fn content(
        &self,
        kind: MessageKind,
        role: &str,
        content: Option<&Json>,
    ) -> Result<Value, ApiError> {
        let mut parts = Vec::new();
        match content {
            None => {}
            Some(Json::Str(text)) => self.push_text(&mut parts, role, text),
            Some(content) => {
                let keys: Vec<Json>;
                let items = match content {
                    Json::Dict(entries) => {
                        keys = entries.keys().cloned().map(Json::Str).collect();
                        &keys
                    }
                    other => other.as_list().unwrap_or_default(),
                };
                check_parts(kind, items.iter())?;
                for part in items {
                    self.push_part(&mut parts, role, part)?;
                }
            }
        }
        Ok(match self.format {
            ContentFormat::OpenAi => Value::Array(parts),
            ContentFormat::String => {
                let texts: Vec<&str> = parts.iter().filter_map(part_text).collect();
                texts.join("\n").into()
            }
        })
    }

    fn push_text(&self, parts: &mut Vec<Value>, role: &str, text: &str) {
        let text = match text.starts_with(BILLING_HEADER) && role == "system" {
            true => text.split_once('\n').map_or("", |(_, rest)| rest),
            false => text,
        };
        let dropped = text.is_empty() && role == "system" && parts.is_empty();
        if !dropped || self.format == ContentFormat::OpenAi {
            parts.push(json!({"type": "text", "text": text}));
        }
    }

    fn push_part(&self, parts: &mut Vec<Value>, role: &str, part: &Json) -> Result<(), ApiError> {
        if let Some(text) = part.as_str() {
            self.push_text(parts, role, text);
            return Ok(());
        }
        let has = |name: &&&str| part.get(name).is_some();
        let refuse = |what: &str| {
            let message = format!("{what} 'type' field in multimodal part.");
            Err(ApiError::parameter(message, "type", None))
        };
        let kind = match part.get("type").filter(|kind| !kind.is_null()) {
            Some(Json::Str(kind)) => kind.as_str(),
            Some(_) => return refuse("Invalid"),
            None => match MEDIA_TYPES.iter().find(has) {
                Some(kind) => kind,
                None => return refuse("Missing"),
            },
        };
        if let Some((_, member)) = TEXT_TYPES.iter().find(|(name, _)| *name == kind) {
            if let Some(text) = part.get(member).and_then(Json::as_str) {
                self.push_text(parts, role, text);
            }
            return Ok(());
        }
        match kind {
            "tool_reference" => {
                let name = part.get("name").map_or(Value::Null, Json::to_value);
                parts.push(json!({"type": "tool_reference", "name": name}));
                Ok(())
            }
            "prompt_embeds" => Err(ApiError::parameter(
                "You must set `--enable-prompt-embeds` to input `prompt_embeds`",
                "prompt_embeds",
                None,
            )),
            kind if MEDIA_TYPES.contains(&kind) => {
                if kind == "image_url" && part.get("type").is_some() {
                    check_image(part)?;
                }
                let message = format!("{} is not a multimodal model", self.model);
                Err(ApiError::bad_request(message))
            }
            kind => Err(unsupported_part(kind)),
        }
    }
}

fn unsupported_part(kind: &str) -> ApiError {
    let texts = TEXT_TYPES.iter().map(|(name, _)| *name);
    let others = ["prompt_embeds", "tool_reference"];
    let mut supported: Vec<&str> = MEDIA_TYPES.into_iter().chain(texts).chain(others).collect();
    supported.sort_unstable();
    let message = format!(
        "Unsupported chat content part type: {}. Supported types: {}.",
        str_repr(kind),
        supported.join(", ")
    );
    ApiError::parameter(message, "type", Some(kind))
}

fn part_text(part: &Value) -> Option<&str> {
    part.get("text").or_else(|| part.get("name")).and_then(Value::as_str)
}

/// Templates expect the content of a tool message as one string.
fn join_tool_text(message: &mut Map<String, Value>) {
    let Some(Value::Array(parts)) = message.get("content") else { return };
    if parts.iter().all(|part| part["type"] == "text") {
        let texts: Vec<&str> = parts.iter().filter_map(part_text).collect();
        let text = texts.join("\n");
        message.insert("content".into(), text.into());
    }
}

/// For templates that know no developers: they become systems, and all systems one, in front.
fn merge_systems(messages: Vec<Value>) -> Vec<Value> {
    let (mut systems, mut others) = (Vec::new(), Vec::new());
    for (at, mut message) in messages.into_iter().enumerate() {
        if let Value::Object(members) = &mut message
            && members.get("role").is_some_and(|role| role == "developer")
        {
            members.insert("role".into(), "system".into());
            members.shift_remove("tools");
        }
        match message["role"] == "system" {
            true => systems.push((at, message)),
            false => others.push(message),
        }
    }
    if let [(0, _)] = systems.as_slice() {
        others.insert(0, systems.swap_remove(0).1);
        return others;
    }
    let text = |message: &Value| match &message["content"] {
        Value::Array(parts) => {
            parts.iter().filter_map(|part| part["text"].as_str()).collect::<Vec<_>>().join("\n")
        }
        content => content.as_str().unwrap_or_default().to_owned(),
    };
    let texts: Vec<String> = systems.iter().map(|(_, message)| text(message)).collect();
    let texts: Vec<String> = texts.into_iter().filter(|text| !text.is_empty()).collect();
    others.insert(0, json!({"role": "system", "content": texts.join("\n\n")}));
    others
}
