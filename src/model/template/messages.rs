//! The conversation as templates expect it.

use serde_json::{Map, Value};

use super::TemplateError;

fn wrong(message: &str) -> TemplateError {
    TemplateError::Messages(message.to_owned())
}

/// Templates print the arguments of tool calls as objects, OpenAI's clients send them as JSON in a
/// string. What is no JSON object becomes an empty one, so that one bad call in the history does
/// not make the whole conversation unusable; an empty list of calls goes away. All as vLLM does.
pub(super) fn normalise(messages: &Value) -> Result<Value, TemplateError> {
    let mut messages = messages.clone();
    let Some(list) = messages.as_array_mut() else {
        return Err(wrong("messages is not a list"));
    };
    for message in list {
        let Some(message) = message.as_object_mut() else {
            return Err(wrong("a message is not an object"));
        };
        if message.get("role").and_then(Value::as_str) == Some("assistant") {
            normalise_calls(message)?;
        }
    }
    Ok(messages)
}

fn normalise_calls(message: &mut Map<String, Value>) -> Result<(), TemplateError> {
    let Some(Value::Array(calls)) = message.get_mut("tool_calls") else { return Ok(()) };
    if calls.is_empty() {
        message.shift_remove("tool_calls");
        return Ok(());
    }
    for call in calls {
        let Some(call) = call.as_object_mut() else {
            return Err(wrong("assistant tool_calls entries must be objects."));
        };
        let is_function = call.get("type").is_none_or(|kind| kind == "function");
        let Some(Value::Object(function)) = call.get_mut("function").filter(|_| is_function) else {
            return Err(wrong(
                "chat completions only support assistant tool_calls of type 'function'.",
            ));
        };
        let arguments = match function.get("arguments") {
            Some(Value::Object(_)) => continue,
            Some(Value::String(text)) => serde_json::from_str(text).ok(),
            _ => None,
        };
        let object = arguments.filter(Value::is_object).unwrap_or(Value::Object(Map::new()));
        function.insert("arguments".to_owned(), object);
    }
    Ok(())
}

/// Appends `tag` to the text of the last message and returns that text without it. Errors are
/// worded as transformers words them.
pub(super) fn mark_last(
    messages: &mut Value,
    source: &str,
    tag: &str,
) -> Result<String, TemplateError> {
    let content = messages
        .as_array_mut()
        .and_then(|messages| messages.last_mut())
        .and_then(|message| message.get_mut("content"))
        .filter(|content| !content.is_null())
        .ok_or_else(|| {
            wrong(
                "continue_final_message is set but the final message has no \"content\" to \
                 continue!",
            )
        })?;
    if !source.contains("content") {
        return Err(wrong(
            "continue_final_message is set to \"content\" but this is not an accepted field in \
             the chat_template",
        ));
    }
    let text = match content {
        Value::String(text) => Some(text),
        Value::Array(parts) => parts
            .iter_mut()
            .rev()
            .find_map(|part| part.get_mut("text"))
            .and_then(|text| if let Value::String(text) = text { Some(text) } else { None }),
        _ => None,
    };
    let text = text.ok_or_else(|| {
        wrong(
            "continue_final_message is set but we could not find any text to continue in the \
             final message!",
        )
    })?;
    let last = text.clone();
    text.push_str(tag);
    Ok(last)
}
