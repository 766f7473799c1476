//! The tools of a Responses request, as the model is shown them and as its calls name them.

use super::super::super::json::{Dict, Json};
use super::super::chat::tool_dump;
use serde_json::Value;
use std::collections::{HashMap, HashSet};

/// What a call of a custom tool holds its text in.
const CUSTOM_INPUT: &str = "input";

/// The name by which the model knows a function of a namespace.
pub fn flat_name(namespace: &str, name: &str) -> String {
    format!("{namespace}__{name}")
}

/// The tools that a model can call: functions, those of namespaces, and custom tools as functions
/// that take one string. OpenAI's built-in ones need a tool server and are left out.
#[derive(Clone, Debug, Default)]
pub struct Tools {
    /// As templates see them; `None` without any tool, of whatever kind.
    pub shown: Option<Value>,
    /// `(namespace, name)` by what the model calls it.
    namespaced: HashMap<String, (String, String)>,
    custom: HashSet<String>,
}

/// Who a call is for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Callee {
    pub name: String,
    pub namespace: Option<String>,
    /// A custom tool: its arguments are one text.
    pub is_custom: bool,
}

impl Tools {
    /// Reads the tools of a checked request.
    pub fn new(tools: &[Json]) -> Self {
        let mut all = Self::default();
        let mut shown = Vec::new();
        for tool in tools {
            let name = text(tool, "name");
            match text(tool, "type") {
                "function" => shown.push(as_chat_tool(tool, name)),
                "custom" => {
                    all.custom.insert(name.to_owned());
                    shown.push(as_chat_tool(&custom_function(tool), name));
                }
                "namespace" => {
                    let inner = tool.get("tools").and_then(Json::as_list).unwrap_or_default();
                    for function in inner.iter().filter(|tool| text(tool, "type") == "function") {
                        let local = text(function, "name").to_owned();
                        let flat = flat_name(name, &local);
                        shown.push(as_chat_tool(function, &flat));
                        all.namespaced.insert(flat, (name.to_owned(), local));
                    }
                }
                _ => {}
            }
        }
        all.shown = (!tools.is_empty()).then(|| shown.iter().map(tool_dump).collect());
        all
    }

    /// Whether the model can call none.
    pub fn is_empty(&self) -> bool {
        self.shown.as_ref().and_then(Value::as_array).is_none_or(Vec::is_empty)
    }

    /// Who the model means by a name.
    pub fn callee(&self, name: &str) -> Callee {
        let found = self.namespaced.get(name);
        let (namespace, name) = match found {
            Some((namespace, local)) => (Some(namespace.clone()), local.clone()),
            None => (None, name.to_owned()),
        };
        let is_custom = self.custom.contains(&name);
        Callee { name, namespace, is_custom }
    }
}

fn text<'a>(value: &'a Json, name: &str) -> &'a str {
    value.get(name).and_then(Json::as_str).unwrap_or_default()
}

fn string(value: &str) -> Json {
    Json::Str(value.to_owned())
}

fn dict<const N: usize>(members: [(&str, Json); N]) -> Json {
    Json::Dict(members.into_iter().map(|(name, value)| (name.to_owned(), value)).collect())
}

/// A function in the form of the chat API.
fn as_chat_tool(function: &Json, name: &str) -> Json {
    let mut members: Dict = function.as_dict().cloned().unwrap_or_default();
    members.shift_remove("type");
    members.insert("name".to_owned(), string(name));
    dict([("type", string("function")), ("function", Json::Dict(members))])
}

/// The function that a custom tool is shown as.
fn custom_function(tool: &Json) -> Json {
    let payload = dict([
        ("type", string("string")),
        ("description", string("The freeform text payload for this tool.")),
    ]);
    let parameters = dict([
        ("type", string("object")),
        ("properties", dict([(CUSTOM_INPUT, payload)])),
        ("required", Json::List(vec![string(CUSTOM_INPUT)])),
        ("additionalProperties", Json::Bool(false)),
    ]);
    let description = tool.get("description").cloned().unwrap_or(Json::Null);
    dict([
        ("name", string(text(tool, "name"))),
        ("description", description),
        ("parameters", parameters),
    ])
}

/// The arguments of a call of a custom tool, as JSON.
pub fn custom_arguments(input: &str) -> String {
    let input = Value::from(input).to_string();
    format!("{{\"{CUSTOM_INPUT}\": {input}}}")
}

/// The text of a call of a custom tool; arguments of another form are the text themselves.
pub fn custom_input(arguments: &str) -> String {
    let parsed: Option<Value> = serde_json::from_str(arguments).ok();
    let input = parsed.as_ref().and_then(|parsed| parsed.get(CUSTOM_INPUT)?.as_str());
    input.unwrap_or(arguments).to_owned()
}

/// As much of the text as arguments that are still being written tell for certain.
pub fn custom_input_so_far(arguments: &str) -> String {
    let open = || {
        let rest = arguments.trim_start().strip_prefix('{')?.trim_start();
        let rest = rest.strip_prefix('"')?.strip_prefix(CUSTOM_INPUT)?.strip_prefix('"')?;
        rest.trim_start().strip_prefix(':')?.trim_start().strip_prefix('"')
    };
    let Some(open) = open() else { return String::new() };
    let mut out = String::new();
    let mut rest = open;
    while let Some(c) = rest.chars().next() {
        let len = match c {
            '"' => break,
            '\\' => match escape_len(rest) {
                Some(len) => len,
                None => break,
            },
            c => c.len_utf8(),
        };
        let (piece, behind) = rest.split_at(len);
        match c {
            '\\' => match serde_json::from_str::<String>(&format!("\"{piece}\"")) {
                Ok(text) => out.push_str(&text),
                Err(_) => break,
            },
            _ => out.push_str(piece),
        }
        rest = behind;
    }
    out
}

/// The length of the escape sequence, or of the pair of them, that a text starts with; `None` when
/// it is not all there.
fn escape_len(text: &str) -> Option<usize> {
    let bytes = text.as_bytes();
    if *bytes.get(1)? != b'u' {
        return Some(2);
    }
    let digits = bytes.get(2..6)?;
    let is_high = digits[0].eq_ignore_ascii_case(&b'd')
        && matches!(digits[1].to_ascii_lowercase(), b'8' | b'9' | b'a' | b'b');
    match is_high {
        true => bytes.get(6..12).map(|_| 12),
        false => Some(6),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn what_is_certain_only_grows(
            text in any::<String>(),
            cut in any::<prop::sample::Index>(),
        ) {
            let arguments = custom_arguments(&text);
            prop_assert_eq!(custom_input(&arguments), text.as_str());
            prop_assert_eq!(custom_input_so_far(&arguments), text.as_str());
            let ends: Vec<usize> = arguments.char_indices().map(|(at, _)| at).collect();
            let part = &arguments[..ends[cut.index(ends.len())]];
            prop_assert!(text.starts_with(&custom_input_so_far(part)));
        }
    }

    #[test]
    fn pairs_of_escapes_wait_for_their_second_half() {
        assert_eq!(custom_input_so_far(r#"{"input": "a\ud83d\ude"#), "a");
        assert_eq!(custom_input_so_far(r#"{"input": "a\ud83d\ude00"#), "a😀");
        assert_eq!(custom_input(r#"{"x": 1}"#), r#"{"x": 1}"#);
    }
}
