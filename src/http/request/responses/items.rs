//! From the items of a Responses input to the messages of a chat.

use super::super::super::json::{Dict, Json};
use super::super::super::schema::MessageKind;
use super::tools::{custom_arguments, flat_name};
use crate::error::ApiError;

/// What an item is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ItemKind {
    FunctionCall,
    Reasoning,
    /// A message of an earlier reply.
    OutputMessage,
    /// A message from elsewhere, the output of a tool, or what vLLM does not take.
    Other,
}

/// What the model is to answer.
#[derive(Clone, Debug)]
pub enum Input {
    Text(String),
    Items(Vec<(ItemKind, Json)>),
}

/// A message for the chat pipeline, from members.
pub fn message<const N: usize>(members: [(&str, Json); N]) -> Json {
    Json::Dict(members.into_iter().map(|(name, value)| (name.to_owned(), value)).collect())
}

pub fn string(text: &str) -> Json {
    Json::Str(text.to_owned())
}

/// Everything in these messages was checked with the request.
pub const KIND: MessageKind = MessageKind::Custom;

fn member<'a>(item: &'a Json, name: &str) -> Option<&'a Json> {
    item.get(name).filter(|value| !value.is_null())
}

fn word<'a>(item: &'a Json, name: &str) -> Option<&'a str> {
    item.get(name).and_then(Json::as_str)
}

impl Input {
    /// Whether the model is to go on with the last item.
    pub fn continues(&self) -> bool {
        let Self::Items(items) = self else { return false };
        let Some((kind, item)) = items.last() else { return false };
        let can_continue = match kind {
            ItemKind::OutputMessage | ItemKind::Reasoning => true,
            ItemKind::FunctionCall => false,
            ItemKind::Other => {
                matches!(word(item, "type").unwrap_or("message"), "message" | "reasoning")
            }
        };
        can_continue && matches!(word(item, "status"), Some("in_progress" | "incomplete"))
    }

    /// Adds its messages. Several items may make one: reasoning, then what was said, then calls.
    pub fn add_to(&self, messages: &mut Vec<Json>) -> Result<(), ApiError> {
        let items = match self {
            Self::Text(text) => {
                messages.push(message([("role", string("user")), ("content", string(text))]));
                return Ok(());
            }
            Self::Items(items) => items,
        };
        let start = messages.len();
        for (kind, item) in items {
            // Only the input's own messages are added to.
            let last = messages[start..].last_mut();
            if let Some(new) = add_item(*kind, item, last)? {
                messages.push(new);
            }
        }
        Ok(())
    }
}

/// Adds an item to the last message, or makes a message of it.
fn add_item(
    kind: ItemKind,
    item: &Json,
    last: Option<&mut Json>,
) -> Result<Option<Json>, ApiError> {
    let last = match last {
        Some(Json::Dict(last)) if last.get("role").and_then(Json::as_str) == Some("assistant") => {
            Some(last)
        }
        _ => None,
    };
    let item_type = word(item, "type");
    let added = match kind {
        ItemKind::FunctionCall => add_call(last, function_call(item)),
        ItemKind::Other if item_type == Some("custom_tool_call") => {
            add_call(last, custom_call(item))
        }
        ItemKind::Reasoning => set(last, "reasoning", Json::Str(reasoning(item)?)),
        ItemKind::OutputMessage => set(last, "content", output_text(item)?),
        ItemKind::Other => return other(item, item_type, last),
    };
    Ok(added)
}

fn function_call(item: &Json) -> Json {
    let name = word(item, "name").unwrap_or_default();
    let name = match word(item, "namespace").filter(|namespace| !namespace.is_empty()) {
        Some(namespace) => flat_name(namespace, name),
        None => name.to_owned(),
    };
    call(item, &name, word(item, "arguments").unwrap_or_default())
}

fn custom_call(item: &Json) -> Json {
    let input = word(item, "input").unwrap_or_default();
    call(item, word(item, "name").unwrap_or_default(), &custom_arguments(input))
}

fn call(item: &Json, name: &str, arguments: &str) -> Json {
    let function = message([("name", string(name)), ("arguments", string(arguments))]);
    let id = item.get("call_id").cloned().unwrap_or(Json::Null);
    message([("id", id), ("function", function), ("type", string("function"))])
}

fn add_call(last: Option<&mut Dict>, call: Json) -> Option<Json> {
    let Some(last) = last else {
        let calls = Json::List(vec![call]);
        return Some(message([("role", string("assistant")), ("tool_calls", calls)]));
    };
    match last.get_mut("tool_calls") {
        Some(Json::List(calls)) => calls.push(call),
        _ => drop(last.insert("tool_calls".to_owned(), Json::List(vec![call]))),
    }
    None
}

/// Sets a member of the last message, unless it has it already: then there is a new one.
fn set(last: Option<&mut Dict>, name: &str, value: Json) -> Option<Json> {
    match last {
        Some(last) if last.get(name).is_none_or(Json::is_null) => {
            last.insert(name.to_owned(), value);
            None
        }
        _ => Some(message([("role", string("assistant")), (name, value)])),
    }
}

fn reasoning(item: &Json) -> Result<String, ApiError> {
    if member(item, "encrypted_content").is_some_and(Json::truthy) {
        let message = "Encrypted content is not supported.";
        return Err(ApiError::parameter(message, "input", None));
    }
    let first = |name: &str| member(item, name)?.as_list()?.first();
    let part = first("content").or_else(|| first("summary"));
    Ok(part.and_then(|part| word(part, "text")).unwrap_or_default().to_owned())
}

/// The text of a message of an earlier reply. vLLM fails (500) on one that has none.
fn output_text(item: &Json) -> Result<Json, ApiError> {
    let part = member(item, "content").and_then(|parts| parts.as_list()?.first());
    part.and_then(|part| part.get("text")).cloned().ok_or_else(|| {
        let message = "An assistant message of the input must start with a part of text.";
        ApiError::parameter(message, "input", None)
    })
}

fn other(
    item: &Json,
    item_type: Option<&str>,
    last: Option<&mut Dict>,
) -> Result<Option<Json>, ApiError> {
    if matches!(item_type, Some("function_call_output" | "custom_tool_call_output")) {
        let get = |name: &str| item.get(name).cloned().unwrap_or(Json::Null);
        return Ok(Some(message([
            ("role", string("tool")),
            ("content", get("output")),
            ("tool_call_id", get("call_id")),
        ])));
    }
    let role = item.get("role");
    if role.and_then(Json::as_str) == Some("assistant") {
        let text = match item.get("content") {
            Some(Json::List(parts)) => parts.first().and_then(|part| member(part, "text")),
            content => content.filter(|content| content.as_str().is_some()),
        };
        if let Some(text) = text {
            return Ok(set(last, "content", text.clone()));
        }
    }
    match role {
        Some(_) => Ok(Some(item.clone())),
        None => {
            let kind = item_type.unwrap_or("None");
            let message = format!("Unsupported input item type: {kind}");
            Err(ApiError::parameter(message, "input", None))
        }
    }
}
