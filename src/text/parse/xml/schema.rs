//! Values are written as text; the schema of a tool says what they are.

use super::super::is_space;
use crate::types::json::{Dict, Int, Json, parse_text};
use serde_json::{Map, Value};
use std::collections::{BTreeSet, HashSet};

/// A tool of a request: its name and the schemas of its parameters.
#[derive(Clone, Debug, PartialEq)]
pub struct ToolSchema {
    pub name: String,
    pub properties: Map<String, Value>,
}

/// The parameters of the first tool of this name.
pub(super) fn properties<'a>(
    tools: &'a [ToolSchema],
    name: &str,
) -> Option<&'a Map<String, Value>> {
    let tool = tools.iter().find(|tool| tool.name == name)?;
    Some(&tool.properties).filter(|properties| !properties.is_empty())
}

/// The parameters whose values stay the text that they are written as; `None` without a schema.
pub(super) fn texts(properties: Option<&Map<String, Value>>) -> Option<HashSet<String>> {
    let is_text = |schema: &Value| types(schema).iter().eq(["string"]);
    let texts = properties?.iter().filter(|(_, schema)| is_text(schema));
    Some(texts.map(|(name, _)| name.clone()).collect())
}

/// Makes of each value what its schema says.
pub(super) fn coerce_all(values: &mut Dict, properties: Option<&Map<String, Value>>) {
    let Some(properties) = properties else { return };
    for (name, value) in values {
        if let Some(schema) = properties.get(name).filter(|schema| schema.is_object())
            && let Json::Str(text) = value
        {
            *value = coerce(text, schema);
        }
    }
}

/// All types that a schema allows, as it names them.
fn types(schema: &Value) -> BTreeSet<String> {
    let mut found = BTreeSet::new();
    collect(schema, &mut found);
    if found.is_empty() {
        found.insert("string".to_owned());
    }
    found
}

fn collect(schema: &Value, found: &mut BTreeSet<String>) {
    if !schema.is_object() {
        found.insert("string".to_owned());
        return;
    }
    let before = found.len();
    match &schema["type"] {
        Value::String(name) => drop(found.insert(name.clone())),
        Value::Array(names) => {
            found.extend(names.iter().filter_map(Value::as_str).map(str::to_owned));
        }
        _ => {}
    }
    let of_value = |value: &Value| match value {
        Value::Null => "null",
        Value::Bool(_) => "boolean",
        Value::Number(number) if number.is_f64() => "number",
        Value::Number(_) => "integer",
        Value::String(_) => "string",
        Value::Array(_) => "array",
        Value::Object(_) => "object",
    };
    let values = schema["enum"].as_array().into_iter().flatten();
    found.extend(values.map(|value| of_value(value).to_owned()));
    let choices = ["anyOf", "oneOf", "allOf"].map(|name| schema[name].as_array());
    for choice in choices.into_iter().flatten().flatten() {
        let mut inner = BTreeSet::new();
        collect(choice, &mut inner);
        if inner.is_empty() {
            inner.insert("string".to_owned());
        }
        found.extend(inner);
    }
    debug_assert!(found.len() >= before);
}

/// vLLM's other names of types.
fn canonical(name: &str) -> String {
    let name = name.trim_matches(is_space).to_lowercase();
    let canonical = match name.as_str() {
        "str" | "text" | "varchar" | "char" | "enum" => "string",
        "int" | "int32" | "int64" | "uint" | "uint32" | "uint64" | "long" | "short"
        | "unsigned" => "integer",
        "float" | "float32" | "float64" | "double" => "number",
        "bool" => "boolean",
        "dict" => "object",
        "arr" | "list" | "sequence" => "array",
        _ => return name,
    };
    canonical.to_owned()
}

/// The value that a text is under a schema: of the first type, in vLLM's order, that it can be.
fn coerce(text: &str, schema: &Value) -> Json {
    let types: BTreeSet<String> = types(schema).iter().map(|name| canonical(name)).collect();
    let has = |name: &str| types.contains(name);
    if has("null") && text.to_lowercase() == "null" {
        return Json::Null;
    }
    if has("integer")
        && let Some(int) = integer(text)
    {
        return Json::Int(int);
    }
    if has("number")
        && let Some(number) = number(text)
    {
        return number;
    }
    if has("boolean") {
        match text.to_lowercase().trim_matches(is_space) {
            "true" | "1" => return Json::Bool(true),
            "false" | "0" => return Json::Bool(false),
            _ => {}
        }
    }
    let parsed = || parse_text(text).ok().map(|document| document.root).filter(is_finite);
    if (has("object") || has("array"))
        && let Some(value) = parsed()
    {
        return value;
    }
    let text = || Json::Str(text.to_owned());
    if has("string") { text() } else { parsed().unwrap_or_else(text) }
}

/// Digits, with single underscores between them.
fn digits(text: &str) -> Option<String> {
    let groups: Vec<&str> = text.split('_').collect();
    let is_digits = |group: &&str| !group.is_empty() && group.bytes().all(|b| b.is_ascii_digit());
    groups.iter().all(is_digits).then(|| groups.concat())
}

/// Python's `int(text)`.
fn integer(text: &str) -> Option<Int> {
    let text = text.trim_matches(is_space);
    let (sign, rest) = match text.strip_prefix('-') {
        Some(rest) => ("-", rest),
        None => ("", text.strip_prefix('+').unwrap_or(text)),
    };
    digits(rest).map(|digits| Int::from_digits(&format!("{sign}{digits}")))
}

/// Python's `float(text)` where it is finite: an integer when it is a whole number.
fn number(text: &str) -> Option<Json> {
    let text = text.trim_matches(is_space);
    let groups: Vec<&str> = text.split('_').collect();
    let inner = |pair: &[&str]| {
        pair[0].ends_with(|c: char| c.is_ascii_digit())
            && pair[1].starts_with(|c: char| c.is_ascii_digit())
    };
    if !groups.windows(2).all(inner) {
        return None;
    }
    let value: f64 = groups.concat().parse().ok().filter(|value: &f64| value.is_finite())?;
    Some(match value.fract() == 0.0 {
        true => Json::Int(Int::from_digits(&format!("{value:.0}"))),
        false => Json::Float(value),
    })
}

fn is_finite(value: &Json) -> bool {
    match value {
        Json::Float(value) => value.is_finite(),
        Json::List(items) => items.iter().all(is_finite),
        Json::Dict(members) => members.values().all(is_finite),
        _ => true,
    }
}
