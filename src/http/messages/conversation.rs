//! The messages of a request, as those of a chat.

use super::super::json::{Dict, Json, dumps, to_str};
use super::super::reply::unix_time;
use super::super::request::Fields;
use crate::error::ApiError;

/// How a line begins that Claude Code puts before its system prompt. It changes with every
/// request; with it no prefix would ever be found in the cache.
const BILLING_HEADER: &str = "x-anthropic-billing-header";

/// An object.
pub fn object<const N: usize>(members: [(&str, Json); N]) -> Json {
    Json::Dict(members.into_iter().map(|(name, value)| (name.to_owned(), value)).collect())
}

/// A string.
pub fn string(text: &str) -> Json {
    Json::Str(text.to_owned())
}

/// The messages of a chat, the system's first. `merges_systems`: so are those from between.
pub fn to_chat(body: Fields<'_>, merges_systems: bool) -> Result<Vec<Json>, ApiError> {
    let messages = body.get("messages").and_then(Json::as_list).unwrap_or_default();
    let is_system = |message: &Json| message.get("role").and_then(Json::as_str) == Some("system");
    let mut system = body.get("system").map(leading_text).unwrap_or_default();
    if merges_systems {
        system.extend(messages.iter().filter(|m| is_system(m)).filter_map(system_text));
    }
    let mut out = Vec::with_capacity(messages.len() + 1);
    if !system.is_empty() {
        out.push(object([("role", string("system")), ("content", Json::Str(system.concat()))]));
    }
    for message in messages {
        match is_system(message) {
            true if merges_systems => {}
            true => out
                .extend(system_text(message).map(|text| {
                    object([("role", string("system")), ("content", Json::Str(text))])
                })),
            false => push_turn(message, &mut out)?,
        }
    }
    Ok(out)
}

/// The texts of the member `system`. Only a block may be a billing header: a text is taken whole.
fn leading_text(system: &Json) -> Vec<String> {
    match system.as_str() {
        Some(text) => Some(text.to_owned()).into_iter().filter(|text| !text.is_empty()).collect(),
        None => block_texts(system),
    }
}

/// The texts of blocks, without billing headers.
fn block_texts(blocks: &Json) -> Vec<String> {
    let blocks = blocks.as_list().unwrap_or_default().iter().filter_map(Json::as_dict).map(Fields);
    let texts = blocks.filter(|block| block.str("type") == Some("text"));
    let texts = texts.filter_map(|block| block.str("text"));
    let kept = texts.filter(|text| !text.is_empty() && !text.starts_with(BILLING_HEADER));
    kept.map(str::to_owned).collect()
}

/// What a message of the system says, if anything.
fn system_text(message: &Json) -> Option<String> {
    let text = match message.get("content")? {
        Json::Str(text) if text.starts_with(BILLING_HEADER) => return None,
        Json::Str(text) => text.clone(),
        blocks => block_texts(blocks).concat(),
    };
    Some(text).filter(|text| !text.is_empty())
}

/// What the blocks of one message come to.
#[derive(Default)]
struct Parts {
    content: Vec<Json>,
    calls: Vec<Json>,
    reasoning: Option<String>,
}

/// Adds a message of the user or the assistant; results of tools become messages before it.
fn push_turn(message: &Json, out: &mut Vec<Json>) -> Result<(), ApiError> {
    let role = message.get("role").and_then(Json::as_str).unwrap_or_default();
    let mut turn = Dict::new();
    turn.insert("role".to_owned(), string(role));
    match message.get("content") {
        Some(Json::List(blocks)) => {
            let mut parts = Parts::default();
            for block in blocks.iter().filter_map(Json::as_dict) {
                parts.read(Fields(block), role, out)?;
            }
            parts.write(&mut turn);
        }
        content => drop(turn.insert("content".to_owned(), content.cloned().unwrap_or(Json::Null))),
    }
    if role != "user" || turn.contains_key("content") {
        out.push(Json::Dict(turn));
    }
    Ok(())
}

fn text_part(text: &str) -> Json {
    object([("type", string("text")), ("text", string(text))])
}

fn image_part(url: Json) -> Json {
    object([("type", string("image_url")), ("image_url", object([("url", url)]))])
}

impl Parts {
    fn read(&mut self, block: Fields<'_>, role: &str, out: &mut Vec<Json>) -> Result<(), ApiError> {
        match block.str("type").unwrap_or_default() {
            "text" => {
                let text = block.str("text").filter(|text| !text.is_empty());
                self.content.extend(text.map(text_part));
            }
            "image" => {
                let source = block.dict("source").filter(|source| !source.is_empty());
                self.content.extend(source.map(|source| image_part(image_url(source))));
            }
            "thinking" => {
                if let Some(text) = block.str("thinking") {
                    self.reasoning.get_or_insert_default().push_str(text);
                }
            }
            "tool_use" => self.calls.push(tool_call(block)),
            "tool_result" if role == "user" => push_result(block, out)?,
            "tool_result" => {
                let content = block.get("content").filter(|content| content.truthy());
                let text = content.map(to_str).unwrap_or_default();
                self.content.push(text_part(&format!("Tool result: {text}")));
            }
            // Redacted thinking says nothing to another model; the rest shows elsewhere.
            _ => {}
        }
        Ok(())
    }

    fn write(mut self, turn: &mut Dict) {
        if let Some(reasoning) = self.reasoning {
            turn.insert("reasoning".to_owned(), Json::Str(reasoning));
        }
        if !self.calls.is_empty() {
            turn.insert("tool_calls".to_owned(), Json::List(self.calls));
        }
        let content = match self.content.as_slice() {
            [] => return,
            [part] if part.get("text").is_some() => part.get("text").cloned(),
            _ => Some(Json::List(std::mem::take(&mut self.content))),
        };
        turn.extend(content.map(|content| ("content".to_owned(), content)));
    }
}

/// The address of an image, which may hold the image.
fn image_url(source: &Dict) -> Json {
    let member = |name: &str, default: &str| source.get(name).map_or(default.to_owned(), to_str);
    if source.get("type").and_then(Json::as_str) == Some("url") {
        return source.get("url").cloned().unwrap_or(string(""));
    }
    let (kind, data) = (member("media_type", "image/jpeg"), member("data", ""));
    Json::Str(format!("data:{kind};base64,{data}"))
}

fn tool_call(block: Fields<'_>) -> Json {
    let id = block.str("id").filter(|id| !id.is_empty());
    let id = id.map_or_else(|| format!("call_{}", unix_time()), str::to_owned);
    let input = block.get("input").map_or_else(|| "{}".to_owned(), dumps);
    let name = string(block.str("name").unwrap_or_default());
    object([
        ("id", Json::Str(id)),
        ("type", string("function")),
        ("function", object([("name", name), ("arguments", Json::Str(input))])),
    ])
}

/// Adds the messages that a tool's result becomes: its text, its images, the tools it refers to.
fn push_result(block: Fields<'_>, out: &mut Vec<Json>) -> Result<(), ApiError> {
    let (mut text, mut images, mut references) = (String::new(), Vec::new(), Vec::new());
    match block.get("content") {
        Some(Json::Str(content)) => text.clone_from(content),
        Some(Json::List(items)) => {
            let mut texts = Vec::new();
            for item in items.iter().filter_map(Json::as_dict) {
                match item.get("type").and_then(Json::as_str) {
                    Some("text") => texts.push(item.get("text").cloned().unwrap_or(string(""))),
                    Some("image") => images.extend(result_image(item)?),
                    Some("tool_reference") => references.extend(reference(Fields(item))),
                    _ => {}
                }
            }
            text = joined(&texts)?;
        }
        _ => {}
    }
    let message = |content: Json| {
        object([
            ("role", string("tool")),
            ("tool_call_id", string(block.str("tool_use_id").unwrap_or_default())),
            ("content", content),
        ])
    };
    out.push(message(Json::Str(text)));
    if !images.is_empty() {
        out.push(object([("role", string("user")), ("content", Json::List(images))]));
    }
    if !references.is_empty() {
        out.push(message(Json::List(references)));
    }
    Ok(())
}

/// The texts of a result, each on lines of its own.
fn joined(texts: &[Json]) -> Result<String, ApiError> {
    if let Some((at, odd)) = texts.iter().enumerate().find(|(_, text)| text.as_str().is_none()) {
        return Err(ApiError::bad_request(format!(
            "sequence item {at}: expected str instance, {} found",
            odd.type_name()
        )));
    }
    let texts: Vec<&str> = texts.iter().filter_map(Json::as_str).collect();
    Ok(texts.join("\n"))
}

fn result_image(item: &Dict) -> Result<Option<Json>, ApiError> {
    let empty = Dict::new();
    let source = match item.get("source") {
        None => &empty,
        Some(Json::Dict(source)) => source,
        Some(other) => {
            let kind = other.type_name();
            return Err(ApiError::bad_request(format!("'{kind}' object has no attribute 'get'")));
        }
    };
    let url = image_url(source);
    Ok(url.truthy().then(|| image_part(url)))
}

fn reference(item: Fields<'_>) -> Option<Json> {
    let named = |name: &str| item.get(name).filter(|name| name.truthy());
    let name = named("tool_name").or_else(|| named("name"))?;
    Some(object([("type", string("tool_reference")), ("name", name.clone())]))
}
