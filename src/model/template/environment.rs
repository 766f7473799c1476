//! The Jinja environment that Hugging Face's templates are written for.

use std::borrow::Cow;

use minijinja::value::{Kwargs, Rest, Value, ValueKind};
use minijinja::{AutoEscape, Environment, Error, ErrorKind, State};
use serde_json::Value as Json;

use super::{clock, python};

/// The budget of one rendering: about this many instructions, or 64 times as many bytes. Many
/// times what the longest conversation needs, and spent within a second.
const FUEL: u64 = 4_000_000;

/// A template's own refusal (`raise_exception`), told apart from its failures.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub(super) struct Raised(pub String);

/// Whitespace, functions and filters as transformers sets them up.
pub(super) fn environment() -> Environment<'static> {
    let mut environment = Environment::new();
    let mut syntax = minijinja::syntax::SyntaxConfig::builder();
    syntax.trim_blocks(true).lstrip_blocks(true);
    if let Ok(syntax) = syntax.build() {
        environment.set_syntax(syntax);
    }
    environment.set_fuel(Some(FUEL));
    environment.set_auto_escape_callback(|_| AutoEscape::None);
    environment.set_unknown_method_callback(method);
    environment.set_formatter(|output, _, value| {
        output.write_str(&python::str(value)).map_err(Error::from)
    });
    environment.add_filter("tojson", tojson);
    environment.add_filter("string", |value: &Value| python::str(value).into_owned());
    environment.add_test("sequence", |value: &Value| {
        matches!(value.kind(), ValueKind::Seq | ValueKind::Map | ValueKind::String)
    });
    environment
        .add_function("cycler", |items: Rest<Value>| minijinja_contrib::globals::cycler(items.0));
    environment.add_function("joiner", minijinja_contrib::globals::joiner);
    environment.add_function("raise_exception", |message: &Value| -> Result<Value, Error> {
        let message = python::str(message).into_owned();
        let error = Error::new(ErrorKind::InvalidOperation, message.clone());
        Err(error.with_source(Raised(message)))
    });
    environment.add_function("strftime_now", |format: &str| -> Result<String, Error> {
        clock::local_time(format).ok_or_else(|| {
            Error::new(ErrorKind::InvalidOperation, "strftime_now cannot print this format")
        })
    });
    environment
}

/// Python's methods on strings, maps and lists.
fn method(state: &mut State, value: &Value, name: &str, args: &[Value]) -> Result<Value, Error> {
    if let (Some(text), [affix]) = (value.as_str(), args)
        && let Some(affix) = affix.as_str()
    {
        match name {
            "removeprefix" => return Ok(text.strip_prefix(affix).unwrap_or(text).into()),
            "removesuffix" => return Ok(text.strip_suffix(affix).unwrap_or(text).into()),
            _ => {}
        }
    }
    minijinja_contrib::pycompat::unknown_method_callback(state, value, name, args)
}

/// `json.dumps` with transformers' defaults: nothing escaped for HTML or ASCII.
fn tojson(
    value: &Value,
    ensure_ascii: Option<bool>,
    indent: Option<Value>,
    kwargs: Kwargs,
) -> Result<String, Error> {
    let named_indent: Option<Value> = kwargs.get("indent")?;
    let indent = match indent.or(named_indent).filter(|indent| !indent.is_none()) {
        None => None,
        Some(indent) => Some(match (indent.as_usize(), indent.as_str()) {
            (Some(width), _) if width <= 64 => " ".repeat(width),
            (None, Some(text)) => text.to_owned(),
            _ => return Err(Error::new(ErrorKind::InvalidOperation, "indent is out of range")),
        }),
    };
    let separators: Option<Vec<String>> = kwargs.get("separators")?;
    let style = python::JsonStyle {
        ensure_ascii: match ensure_ascii {
            Some(flag) => flag,
            None => kwargs.get::<Option<bool>>("ensure_ascii")?.unwrap_or(false),
        },
        sort_keys: kwargs.get::<Option<bool>>("sort_keys")?.unwrap_or(false),
        separators: match separators.as_deref() {
            None => None,
            Some([item, key]) => Some((item.clone(), key.clone())),
            Some(_) => {
                return Err(Error::new(ErrorKind::InvalidOperation, "separators are a pair"));
            }
        },
        indent,
    };
    kwargs.assert_all_used()?;
    python::json(value, &style)
}

/// A JSON value as Jinja sees it; the order of keys stays.
pub(super) fn from_json(value: &Json) -> Value {
    match value {
        Json::Null => Value::from(()),
        Json::Bool(flag) => Value::from(*flag),
        Json::Number(number) => match (number.as_i64(), number.as_u64()) {
            (Some(number), _) => Value::from(number),
            (None, Some(number)) => Value::from(number),
            (None, None) => Value::from(number.as_f64().unwrap_or(f64::NAN)),
        },
        Json::String(text) => Value::from(text.as_str()),
        Json::Array(items) => Value::from(items.iter().map(from_json).collect::<Vec<_>>()),
        Json::Object(map) => {
            Value::from_pairs(map.iter().map(|(key, value)| (key.as_str(), from_json(value))))
        }
    }
}

/// `{% generation %}` blocks mark the assistant's words for training and print what they hold; a
/// bare `{% with %}` does just that, with the same scope.
pub(super) fn without_generation_tags(source: &str) -> Cow<'_, str> {
    if !source.contains("endgeneration") {
        return Cow::Borrowed(source);
    }
    let mut output = String::with_capacity(source.len());
    let mut rest = source;
    while let Some(start) = rest.find("{%") {
        let (before, tag) = rest.split_at(start);
        let Some(end) = tag.find("%}") else { break };
        let (tag, after) = tag.split_at(end);
        output.push_str(before);
        match tag[2..].trim_matches(|c: char| c.is_whitespace() || c == '-' || c == '+') {
            "generation" => output.push_str(&tag.replace("generation", "with")),
            "endgeneration" => output.push_str(&tag.replace("endgeneration", "endwith")),
            _ => output.push_str(tag),
        }
        rest = after;
    }
    output.push_str(rest);
    Cow::Owned(output)
}
