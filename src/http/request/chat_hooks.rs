//! What vLLM checks, and fills in, before it looks at a chat request's schema.

use super::super::json::{Dict, Json, to_str};
use super::fields::Fields;
use super::generate::{
    check_cache_salt, check_logprob_counts, check_logprob_ids_without_beam, check_stream_options,
};
use super::structured::{check_response_format, check_structured_count};
use crate::error::ApiError;

/// vLLM's hooks on the raw body, in the order in which they run.
pub fn run_hooks(data: &mut Dict) -> Result<(), ApiError> {
    if let Some(messages) = data.get("messages") {
        check_iterable(messages)?;
    }
    check_prompt_flags(Fields(data))?;
    check_tools(data)?;
    let fields = Fields(data);
    check_structured_count(fields, true)?;
    check_chat_logprobs(fields)?;
    check_stream_options(fields)?;
    check_response_format(fields)?;
    if let Some(Json::List(messages)) = data.get_mut("messages") {
        messages.iter_mut().try_for_each(normalise)?;
    }
    check_cache_salt(Fields(data))
}

/// What Python says when a loop gets something else than a list, a string or an object.
fn check_iterable(value: &Json) -> Result<(), ApiError> {
    match value {
        Json::List(_) | Json::Str(_) | Json::Dict(_) => Ok(()),
        other => {
            Err(ApiError::bad_request(format!("'{}' object is not iterable", other.type_name())))
        }
    }
}

/// The hook on the two flags that exclude each other.
pub fn check_prompt_flags(data: Fields<'_>) -> Result<(), ApiError> {
    if data.truthy("continue_final_message") && data.truthy("add_generation_prompt") {
        return Err(ApiError::bad_request(
            "Cannot set both `continue_final_message` and `add_generation_prompt` to True.",
        ));
    }
    Ok(())
}

fn check_chat_logprobs(data: Fields<'_>) -> Result<(), ApiError> {
    check_logprob_ids_without_beam(data)?;
    let need = |name: &str| {
        let message = format!("when using `{name}`, `logprobs` must be set to true.");
        Err(ApiError::parameter(message, name, None))
    };
    if data.truthy("logprob_token_ids") && !data.truthy("logprobs") {
        return need("logprob_token_ids");
    }
    check_logprob_counts(data, "top_logprobs")?;
    if data.truthy("top_logprobs") && !data.truthy("logprobs") {
        return need("top_logprobs");
    }
    Ok(())
}

/// The hook on tools and the choice among them; fills in the choice when there are tools.
fn check_tools(data: &mut Dict) -> Result<(), ApiError> {
    if data.get("tools").and_then(Json::as_list).is_some_and(<[_]>::is_empty) {
        let message = "`tools` must not be an empty array. Either provide at least one tool or \
                       omit the field entirely.";
        return Err(ApiError::parameter(message, "tools", None));
    }
    if !data.contains_key("tool_choice") && Fields(data).truthy("tools") {
        data.insert("tool_choice".to_owned(), Json::Str("auto".to_owned()));
    }
    let fields = Fields(data);
    let Some(choice) = fields.get("tool_choice") else { return Ok(()) };
    if choice.as_str() == Some("none") {
        return Ok(());
    }
    let refuse = |message: String, name: &str| Err(ApiError::parameter(message, name, None));
    let Some(tools) = fields.get("tools") else {
        return refuse("When using `tool_choice`, `tools` must be set.".into(), "tool_choice");
    };
    let Some(choice) = choice.as_dict() else {
        if matches!(choice.as_str(), Some("auto" | "required")) {
            return Ok(());
        }
        let choice = to_str(choice);
        let message = format!(
            "Invalid value for `tool_choice`: {choice}! Only named tools, \"none\", \"auto\" or \
             \"required\" are supported."
        );
        return refuse(message, "tool_choice");
    };
    let name = named_function(choice)?;
    let is_it = |tool: &Json| {
        tool.get("function").and_then(|f| f.get("name")).and_then(Json::as_str) == Some(name)
    };
    if !tools.as_list().is_some_and(|tools| tools.iter().any(is_it)) {
        let message = "The tool specified in `tool_choice` does not match any of the specified \
                       `tools`";
        return refuse(message.into(), "tool_choice");
    }
    Ok(())
}

fn named_function(choice: &Dict) -> Result<&str, ApiError> {
    const USAGE: &str =
        "Correct usage: `{\"type\": \"function\", \"function\": {\"name\": \"my_function\"}}`";
    let refuse = |message: String, name: &str| Err(ApiError::parameter(message, name, None));
    let function = choice.get("function").unwrap_or(&Json::Null);
    let Some(members) = function.as_dict() else {
        let function = to_str(function);
        let message =
            format!("Invalid value for `function`: `{function}` in `tool_choice`! {USAGE}");
        return refuse(message, "tool_choice.function");
    };
    let Some(name) = members.get("name") else {
        let message = format!("Expected field `name` in `function` in `tool_choice`! {USAGE}");
        return refuse(message, "tool_choice.function.name");
    };
    match name.as_str().filter(|name| !name.is_empty()) {
        Some(name) => Ok(name),
        None => {
            let name = to_str(name);
            let message =
                format!("Invalid `name` in `function`: `{name}` in `tool_choice`! {USAGE}");
            refuse(message, "tool_choice.function.name")
        }
    }
}

/// Makes a message's tool calls a list and renames the old name of its reasoning.
fn normalise(message: &mut Json) -> Result<(), ApiError> {
    let Json::Dict(message) = message else { return Ok(()) };
    if let Some(calls) = message.get_mut("tool_calls").filter(|calls| !calls.is_null()) {
        check_iterable(calls)?;
        match calls {
            Json::Str(text) => {
                *calls = Json::List(text.chars().map(|c| Json::Str(c.to_string())).collect());
            }
            Json::Dict(entries) => {
                *calls = Json::List(entries.keys().cloned().map(Json::Str).collect());
            }
            _ => {}
        }
    }
    let reasoning = message.shift_remove("reasoning_content").filter(|value| !value.is_null());
    if let Some(reasoning) = reasoning
        && message.get("reasoning").is_none_or(Json::is_null)
    {
        message.insert("reasoning".to_owned(), reasoning);
    }
    Ok(())
}
