//! The values of flags as the settings need them: counts, shares, objects.

use super::grammar::Raw;
use super::value::Value;
use serde_json::{Map, Value as Json};

/// An integer that must be at least `least`.
pub(in crate::config) fn at_least(
    raw: &Raw,
    name: &str,
    least: i64,
) -> Result<Option<usize>, String> {
    match raw.int(name) {
        None => Ok(None),
        Some(value) if value >= least => Ok(usize::try_from(value).ok()),
        Some(value) => Err(format!("argument {name}: must be at least {least}, not {value}")),
    }
}

/// The same for flags that always have a value.
pub(in crate::config) fn count(raw: &Raw, name: &str, least: i64) -> Result<usize, String> {
    at_least(raw, name, least).map(Option::unwrap_or_default)
}

pub(in crate::config) fn float(raw: &Raw, name: &str) -> f64 {
    match raw.get(name) {
        Value::Float(value) => value,
        _ => 0.0,
    }
}

pub(in crate::config) fn object(raw: &Raw, name: &str) -> Result<Map<String, Json>, String> {
    match raw.get(name) {
        Value::Json(Json::Object(object)) => Ok(object),
        Value::Null | Value::Json(Json::Null) => Ok(Map::new()),
        other => Err(format!("argument {name}: must be a JSON object, not {}", other.repr())),
    }
}

/// A JSON list of texts; `default` when the flag is not given.
pub(in crate::config) fn texts_of_json(
    raw: &Raw,
    name: &str,
    default: &[&str],
) -> Result<Vec<String>, String> {
    let wrong = |value: &Value| {
        format!("argument {name}: must be a JSON list of texts, not {}", value.repr())
    };
    match raw.get(name) {
        Value::Null => Ok(default.iter().map(|&text| text.to_owned()).collect()),
        value => {
            let items = match &value {
                Value::Json(Json::Array(items)) => items.as_slice(),
                _ => return Err(wrong(&value)),
            };
            let texts = items.iter().map(|item| item.as_str().map(str::to_owned));
            texts.collect::<Option<_>>().ok_or_else(|| wrong(&value))
        }
    }
}

pub(in crate::config) fn texts(raw: &Raw, name: &str) -> Option<Vec<String>> {
    match raw.get(name) {
        Value::Texts(texts) => Some(texts.into_iter().flatten().collect()),
        _ => None,
    }
}
