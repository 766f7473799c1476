//! What vLLM checks, and fills in, before it looks at the schema of a Responses request.

use super::super::super::json::{Dict, Json};
use super::super::super::reply::random_id;
use super::super::fields::Fields;
use super::super::generate::check_cache_salt;
use super::items::ItemKind;
use super::schema::Schemas;
use super::tools::flat_name;
use crate::error::ApiError;

fn refuse<T>(message: &str, name: &str) -> Result<T, ApiError> {
    Err(ApiError::parameter(message, name, None))
}

/// vLLM's hooks on the raw body, in the order in which they run. Tells what the items of the input
/// are, as far as that is certain before the schema was checked.
pub fn run_hooks(data: &mut Dict) -> Result<Vec<ItemKind>, ApiError> {
    check_tool_choice(data)?;
    check_custom_tools(Fields(data))?;
    let kinds = read_items(data)?;
    let fields = Fields(data);
    if fields.get("prompt").is_some() {
        return refuse("prompt template is not supported", "prompt");
    }
    let stores = fields.0.get("store").is_none_or(Json::truthy);
    if fields.truthy("background") && !stores {
        return refuse("background can only be used when `store` is true", "background");
    }
    check_cache_salt(fields)?;
    Ok(kinds)
}

/// Python's `len(value)`.
fn len(value: &Json) -> Result<usize, ApiError> {
    match value {
        Json::List(items) => Ok(items.len()),
        Json::Dict(entries) => Ok(entries.len()),
        Json::Str(text) => Ok(text.chars().count()),
        other => {
            let message = format!("object of type '{}' has no len()", other.type_name());
            Err(ApiError::bad_request(message))
        }
    }
}

fn check_tool_choice(data: &mut Dict) -> Result<(), ApiError> {
    const NO_TOOL: &str = "Tool choice 'function' not found in 'tools' parameter.";
    let tools = data.get("tools").filter(|tools| !tools.is_null());
    let has_tools = tools.map(len).transpose()?.is_some_and(|len| len > 0);
    let choice = data.get("tool_choice");
    let kind = choice.and_then(|choice| choice.get("type")).and_then(Json::as_str);
    let is_named = matches!(kind, Some("function" | "custom"));
    let Some(tools) = tools.filter(|_| has_tools) else {
        match choice.map_or(Some("auto"), Json::as_str) {
            Some("auto" | "none") => {
                data.insert("tool_choice".to_owned(), Json::Str("none".to_owned()));
            }
            Some("required") => {
                let message = "Tool choice 'required' must be specified with 'tools' parameter.";
                return refuse(message, "tool_choice");
            }
            _ if is_named => return refuse(NO_TOOL, "tool_choice"),
            _ => {}
        }
        return Ok(());
    };
    if !is_named {
        return Ok(());
    }
    let name = choice.and_then(|choice| choice.get("name")).filter(|name| name.truthy());
    let Some(name) = name else { return refuse(NO_TOOL, "tool_choice") };
    let resolved = resolve_name(name.as_str().unwrap_or_default(), tools)?;
    if name.as_str() != resolved.as_deref()
        && let (Some(resolved), Some(Json::Dict(choice))) = (resolved, data.get_mut("tool_choice"))
    {
        choice.insert("name".to_owned(), Json::Str(resolved));
    }
    Ok(())
}

/// The name that the model knows a tool by; `None` leaves it as it is, for the schema to refuse.
fn resolve_name(wanted: &str, tools: &Json) -> Result<Option<String>, ApiError> {
    let mut candidates = Vec::new();
    let mut is_known = false;
    for tool in tools.as_list().unwrap_or_default() {
        let name = tool.get("name").and_then(Json::as_str);
        if tool.get("type").and_then(Json::as_str) != Some("namespace") {
            is_known |= name == Some(wanted);
            continue;
        }
        let inner = tool.get("tools").and_then(Json::as_list);
        let (Some(namespace), Some(inner)) = (name, inner) else { return Ok(None) };
        for name in inner.iter().filter_map(|tool| tool.get("name").and_then(Json::as_str)) {
            let flat = flat_name(namespace, name);
            is_known |= flat == wanted;
            if name == wanted {
                candidates.push(flat);
            }
        }
    }
    match candidates.as_slice() {
        _ if is_known => Ok(Some(wanted.to_owned())),
        [] => refuse("Tool choice 'function' not found in 'tools' parameter.", "tool_choice"),
        [only] => Ok(Some(only.clone())),
        several => {
            let several = several.join(", ");
            let message = format!(
                "Tool choice '{wanted}' is ambiguous: it is defined in more than one namespace \
                 ({several}). Select it by its full '<namespace>__<name>' name."
            );
            refuse(&message, "tool_choice")
        }
    }
}

fn check_custom_tools(data: Fields<'_>) -> Result<(), ApiError> {
    let is = |value: Option<&Json>, word: &str| value.and_then(Json::as_str) == Some(word);
    for tool in data.get("tools").and_then(Json::as_list).unwrap_or_default() {
        let format = tool.get("format").and_then(|format| format.get("type"));
        if is(tool.get("type"), "custom") && is(format, "grammar") {
            let message = "Custom tools with a grammar format are not supported; only free-form \
                           text custom tools are accepted.";
            return refuse(message, "tools");
        }
    }
    Ok(())
}

/// Fills in what items of earlier replies may lack.
fn read_items(data: &mut Dict) -> Result<Vec<ItemKind>, ApiError> {
    let Some(input) = data.get_mut("input") else { return Ok(Vec::new()) };
    if let Json::Dict(entries) = input {
        *input = Json::List(entries.keys().cloned().map(Json::Str).collect());
    }
    let Json::List(items) = input else { return Ok(Vec::new()) };
    items.iter_mut().map(read_item).collect()
}

fn read_item(item: &mut Json) -> Result<ItemKind, ApiError> {
    set_image_details(item);
    let Json::Dict(members) = &*item else { return Ok(ItemKind::Other) };
    let word = |name: &str| members.get(name).and_then(Json::as_str);
    let schemas = Schemas::get();
    let kind = match (word("type"), word("role")) {
        (Some("function_call"), _) if schemas.fits("ResponseFunctionToolCall", item)? => {
            ItemKind::FunctionCall
        }
        (Some("reasoning"), _) => {
            if let Json::Dict(members) = item {
                members.entry("id".to_owned()).or_insert_with(|| new_id("rs_"));
            }
            match schemas.fits("ResponseReasoningItem", item)? {
                true => ItemKind::Reasoning,
                false => ItemKind::Other,
            }
        }
        (Some("message"), Some("assistant")) => match completed(members) {
            Some(message) if schemas.fits("ResponseOutputMessage", &message)? => {
                *item = message;
                ItemKind::OutputMessage
            }
            _ => ItemKind::Other,
        },
        _ => ItemKind::Other,
    };
    Ok(kind)
}

/// Images have a level of detail, which need not be given.
fn set_image_details(item: &mut Json) {
    let Json::Dict(members) = item else { return };
    let Some(Json::List(parts)) = members.get_mut("content") else { return };
    for part in parts {
        if let Json::Dict(part) = part
            && part.get("type").and_then(Json::as_str) == Some("input_image")
        {
            part.entry("detail".to_owned()).or_insert_with(|| Json::Str("auto".to_owned()));
        }
    }
}

/// A message of an earlier reply with all that it needs; `None` for one whose content is text.
fn completed(message: &Dict) -> Option<Json> {
    let mut message = message.clone();
    let Some(Json::List(parts)) = message.get_mut("content") else { return None };
    for part in parts {
        if let Json::Dict(part) = part
            && part.get("type").and_then(Json::as_str) == Some("output_text")
        {
            part.entry("annotations".to_owned()).or_insert_with(|| Json::List(Vec::new()));
        }
    }
    message.entry("id".to_owned()).or_insert_with(|| new_id("msg_"));
    message.entry("status".to_owned()).or_insert_with(|| Json::Str("completed".to_owned()));
    Some(Json::Dict(message))
}

fn new_id(prefix: &str) -> Json {
    Json::Str(prefix.to_owned() + &random_id())
}
