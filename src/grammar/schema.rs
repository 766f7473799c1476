//! JSON schemas as vLLM's engines read them, said in llguidance's words.
//!
//! vLLM gives a schema to xgrammar where that can express it, and to llguidance otherwise.
//! xgrammar is strict: an object has the properties that the schema names and no others unless it
//! says so, and an array of `prefixItems` has no further items. For schemas that xgrammar would
//! take this is made explicit, so that the same texts come out.

use super::spec::JsonOptions;
use serde_json::{Map, Value, json};

/// Keywords whose members are schemas by name.
const SCHEMA_MAPS: [&str; 6] =
    ["properties", "patternProperties", "$defs", "definitions", "dependentSchemas", "dependencies"];
/// Keywords that hold a schema or a list of schemas.
const SUBSCHEMAS: [&str; 16] = [
    "additionalProperties",
    "unevaluatedProperties",
    "propertyNames",
    "contains",
    "additionalItems",
    "unevaluatedItems",
    "not",
    "if",
    "then",
    "else",
    "contentSchema",
    "items",
    "prefixItems",
    "allOf",
    "anyOf",
    "oneOf",
];
/// Keywords that join schemas, each of which then describes only a part of the value.
const JOINS: [&str; 8] = ["allOf", "anyOf", "oneOf", "$ref", "if", "then", "else", "not"];
/// Formats of strings that xgrammar knows.
const FORMATS: [&str; 14] = [
    "email",
    "date",
    "time",
    "date-time",
    "duration",
    "ipv4",
    "ipv6",
    "hostname",
    "uuid",
    "uri",
    "uri-reference",
    "uri-template",
    "json-pointer",
    "relative-json-pointer",
];

/// The schema as llguidance takes it, with its own options inside.
pub fn for_llguidance(schema: &Value, options: &JsonOptions) -> Value {
    let mut schema = match schema {
        Value::Bool(true) => Value::Object(Map::new()),
        other => other.clone(),
    };
    let is_strict = !options.guidance && !beyond_xgrammar(&schema);
    if is_strict {
        close(&mut schema, false);
    } else if options.disable_additional_properties {
        refuse_additional(&mut schema);
    }
    if let Value::Object(members) = &mut schema {
        let flexible = !options.disable_any_whitespace;
        // xgrammar reads `oneOf` as `anyOf` where branches overlap; llguidance refuses that.
        let own = json!({
            "whitespace_flexible": flexible,
            "coerce_one_of": is_strict,
            "json_allow_general_unicode_escapes": is_strict,
        });
        members.insert("x-guidance".to_owned(), own);
    }
    schema
}

/// Whether xgrammar knows a format of strings.
pub fn knows_format(format: &str) -> bool {
    FORMATS.contains(&format)
}

/// Whether vLLM finds a feature in the schema that xgrammar lacks.
pub fn beyond_xgrammar(schema: &Value) -> bool {
    let Value::Object(members) = schema else { return false };
    lacks_support(members)
        || members.values().any(|value| match value {
            Value::Object(_) => beyond_xgrammar(value),
            Value::Array(items) => items.iter().any(beyond_xgrammar),
            _ => false,
        })
}

fn lacks_support(schema: &Map<String, Value>) -> bool {
    let is = |kind: &str| match schema.get("type") {
        Some(Value::String(one)) => one == kind,
        Some(Value::Array(all)) => all.iter().any(|one| one == kind),
        _ => false,
    };
    let has = |keys: &[&str]| keys.iter().any(|key| schema.contains_key(*key));
    let number = (is("integer") || is("number")) && has(&["multipleOf"]);
    let array = is("array") && has(&["uniqueItems", "contains", "minContains", "maxContains"]);
    let known = |format: &Value| format.as_str().is_some_and(knows_format);
    let string = is("string")
        && (schema.get("format").is_some_and(|format| !known(format)) || bounds_a_pattern(schema));
    let names = is("object")
        && schema.get("propertyNames").is_some_and(|names| {
            names.as_object().is_some_and(bounds_a_pattern)
                || has(&["patternProperties", "properties"])
                || schema.get("unevaluatedProperties").is_some_and(|u| *u != Value::Bool(true))
        });
    let patterns = schema.get("patternProperties").and_then(Value::as_object);
    let patterns =
        is("object") && patterns.is_some_and(|patterns| has(&["properties"]) || patterns.len() > 1);
    let joined = schema.get("allOf").and_then(Value::as_array).is_some_and(|all| all.len() > 1);
    number || array || string || names || patterns || joined
}

fn bounds_a_pattern(schema: &Map<String, Value>) -> bool {
    let has = |key: &str| schema.contains_key(key);
    (has("pattern") || has("format")) && (has("minLength") || has("maxLength"))
}

/// Says what xgrammar takes for granted. `partial`: others describe the same value too, so that
/// what this schema does not name may be theirs.
fn close(schema: &mut Value, partial: bool) {
    let Value::Object(members) = schema else { return };
    let has = |keys: &[&str]| keys.iter().any(|key| members.contains_key(*key));
    let joins = has(&JOINS);
    let names_properties = has(&["properties", "patternProperties"]);
    let is_object = names_properties || has(&["additionalProperties"]);
    let is_untyped = !joins && !has(&["type", "enum", "const"]);
    let is_array = has(&["prefixItems", "items"]);
    let lets_more = has(&["additionalProperties", "unevaluatedProperties"]);
    let lets_items = has(&["items", "unevaluatedItems", "additionalItems"]);
    let closes_array = !partial && !joins && has(&["prefixItems"]) && !lets_items;
    // A reference leads to a schema that stands for itself; the other joins share the value.
    let shares = partial || (joins && (names_properties || has(&["required"])));
    for (key, value) in members.iter_mut() {
        let is_join = JOINS.contains(&key.as_str());
        walk(key, value, is_join && (shares || key == "if" || key == "not"));
    }
    if is_untyped && is_object {
        members.insert("type".to_owned(), "object".into());
    } else if is_untyped && is_array {
        members.insert("type".to_owned(), "array".into());
    }
    if names_properties && !partial && !joins && !lets_more {
        members.insert("additionalProperties".to_owned(), false.into());
    }
    if closes_array {
        members.insert("items".to_owned(), false.into());
    }
}

/// Goes into the schemas under a keyword.
fn walk(key: &str, value: &mut Value, partial: bool) {
    match value {
        Value::Object(named) if SCHEMA_MAPS.contains(&key) => {
            named.values_mut().for_each(|schema| close(schema, false));
        }
        Value::Array(list) if SUBSCHEMAS.contains(&key) => {
            list.iter_mut().for_each(|schema| close(schema, partial));
        }
        Value::Object(_) if SUBSCHEMAS.contains(&key) => close(value, partial),
        _ => {}
    }
}

/// What `disable_additional_properties` does in vLLM's llguidance backend.
fn refuse_additional(schema: &mut Value) {
    let Value::Object(members) = schema else { return };
    for (key, value) in members.iter_mut() {
        match value {
            Value::Object(named) if SCHEMA_MAPS.contains(&key.as_str()) => {
                named.values_mut().for_each(refuse_additional);
            }
            Value::Array(list) if SUBSCHEMAS.contains(&key.as_str()) => {
                list.iter_mut().for_each(refuse_additional);
            }
            Value::Object(_) if SUBSCHEMAS.contains(&key.as_str()) => refuse_additional(value),
            _ => {}
        }
    }
    let is_object = |key: &str| members.get(key).is_some_and(Value::is_object);
    let names = is_object("properties") || is_object("patternProperties");
    if names && !members.contains_key("additionalProperties") {
        members.insert("additionalProperties".to_owned(), false.into());
    }
}
