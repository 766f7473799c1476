//! The tools of a request, and the choice among them.

use super::super::json::{Dict, Json, str_repr};
use super::super::request::Fields;
use super::conversation::{object, string};
use crate::error::ApiError;

/// Writes the tools that a chat may call, and its choice among them.
pub fn write(body: Fields<'_>, chat: &mut Dict) -> Result<(), ApiError> {
    let mut choice = Json::Null;
    if let Some(given) = body.dict("tool_choice").map(Fields) {
        let parallel = !given.flag("disable_parallel_tool_use");
        chat.insert("parallel_tool_calls".to_owned(), Json::Bool(parallel));
        choice = match given.str("type") {
            Some("any") => string("required"),
            Some("tool") => {
                let name = string(given.str("name").unwrap_or_default());
                object([("type", string("function")), ("function", object([("name", name)]))])
            }
            kind => string(kind.unwrap_or_default()),
        };
    }
    if let Some(tools) = in_effect(body)? {
        if choice.is_null() {
            choice = string("auto");
        }
        let tools = tools.into_iter().map(as_function).collect();
        chat.insert("tools".to_owned(), Json::List(tools));
    }
    chat.insert("tool_choice".to_owned(), choice);
    Ok(())
}

/// A tool that is declared, and whether it is no longer deferred.
#[derive(Clone, Copy)]
struct Tool<'a> {
    members: &'a Dict,
    is_loaded: bool,
}

/// The tools in effect at the end of the conversation: those declared, after all additions and
/// removals in its messages. Templates know only one list of tools.
fn in_effect(body: Fields<'_>) -> Result<Option<Vec<Tool<'_>>>, ApiError> {
    let declared = body.get("tools").and_then(Json::as_list);
    let declared = declared.map(|tools| tools.iter().filter_map(Json::as_dict));
    let tool = |members| Tool { members, is_loaded: false };
    let changes = changes(body);
    if changes.is_empty() {
        return Ok(declared.map(|tools| tools.map(tool).collect()));
    }
    // In the order of their first appearance; a removed one keeps its place.
    let mut tools: Vec<(&str, Tool<'_>, bool)> = Vec::new();
    for members in declared.into_iter().flatten() {
        put(&mut tools, tool(members));
    }
    for block in changes {
        let kind = block.str("type").unwrap_or_default();
        let Some(change) = block.dict("tool").map(Fields) else { continue };
        let at = match change.dict("definition") {
            Some(members) if change.str("type") == Some("tool_definition") => {
                put(&mut tools, tool(members))
            }
            _ => {
                let name = change.str("name").unwrap_or_default();
                let at = tools.iter().position(|(known, ..)| *known == name).ok_or_else(|| {
                    let name = str_repr(name);
                    ApiError::bad_request(format!(
                        "{kind} references tool {name}, which is not declared in tools"
                    ))
                })?;
                tools[at].1.is_loaded |= kind == "tool_addition";
                at
            }
        };
        tools[at].2 = kind == "tool_removal";
    }
    let kept = tools.into_iter().filter(|(.., is_removed)| !is_removed);
    Ok(Some(kept.map(|(_, tool, _)| tool).collect()))
}

/// Declares a tool in the place of an earlier one of its name, if there is one; its place.
fn put<'a>(tools: &mut Vec<(&'a str, Tool<'a>, bool)>, tool: Tool<'a>) -> usize {
    let name = Fields(tool.members).str("name").unwrap_or_default();
    match tools.iter().position(|(known, ..)| *known == name) {
        Some(at) => {
            tools[at].1 = tool;
            at
        }
        None => {
            tools.push((name, tool, false));
            tools.len() - 1
        }
    }
}

/// The blocks of the conversation that change its tools.
fn changes(body: Fields<'_>) -> Vec<Fields<'_>> {
    let messages = body.get("messages").and_then(Json::as_list).unwrap_or_default();
    let content = messages.iter().filter_map(|message| message.get("content")?.as_list());
    let blocks = content.flatten().filter_map(Json::as_dict).map(Fields);
    let is_change =
        |block: &Fields<'_>| matches!(block.str("type"), Some("tool_addition" | "tool_removal"));
    blocks.filter(is_change).collect()
}

/// A tool as a chat has it.
fn as_function(tool: Tool<'_>) -> Json {
    let members = Fields(tool.members);
    let member = |name: &str| members.get(name).cloned().unwrap_or(Json::Null);
    let flag = |name: &str| members.bool(name).map_or(Json::Null, Json::Bool);
    let mut schema = members.dict("input_schema").cloned().unwrap_or_default();
    if !schema.contains_key("type") {
        schema.insert("type".to_owned(), string("object"));
    }
    let deferred = if tool.is_loaded { Json::Null } else { flag("defer_loading") };
    let function = object([
        ("name", member("name")),
        ("description", member("description")),
        ("parameters", Json::Dict(schema)),
        ("strict", flag("strict")),
        ("defer_loading", deferred),
    ]);
    object([("type", string("function")), ("function", function)])
}
