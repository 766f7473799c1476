//! The value of one flag, from the text on the command line.

use super::python::{self, HumanIntError};
use super::table::{Default, Flag, Kind};

/// What a flag was given, before anything is checked against anything else.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Value {
    Null,
    Bool(bool),
    Int(i64),
    Float(f64),
    Text(String),
    Json(serde_json::Value),
    Texts(Vec<Option<String>>),
}

impl Value {
    /// The value of a flag that was not given.
    pub fn of_default(default: Default) -> Self {
        match default {
            Default::Null => Self::Null,
            Default::Bool(value) => Self::Bool(value),
            Default::Int(value) => Self::Int(value),
            Default::Float(value) => Self::Float(value),
            Default::Text(value) => Self::Text(value.to_owned()),
        }
    }

    /// Whether the value asks for nothing beyond what happens anyway.
    pub fn asks_for_nothing(&self, flag: &Flag) -> bool {
        match self {
            Self::Null => true,
            Self::Bool(false) if flag.default == Default::Null => true,
            Self::Text(text) if flag.same.contains(&text.as_str()) => true,
            Self::Int(value) if flag.same.contains(&value.to_string().as_str()) => true,
            Self::Json(json) => {
                json.is_null()
                    || json.as_object().is_some_and(|object| object.is_empty())
                    || json.as_array().is_some_and(|array| array.is_empty())
            }
            value => *value == Self::of_default(flag.default),
        }
    }

    /// As Python writes it.
    pub fn repr(&self) -> String {
        match self {
            Self::Null => "None".to_owned(),
            Self::Bool(true) => "True".to_owned(),
            Self::Bool(false) => "False".to_owned(),
            Self::Int(value) => value.to_string(),
            Self::Float(value) => python::repr_float(*value),
            Self::Text(value) => python::repr(value),
            Self::Json(value) => repr_json(value),
            Self::Texts(values) => {
                let item = |value: &Option<String>| {
                    value.as_deref().map_or("None".to_owned(), python::repr)
                };
                format!("[{}]", values.iter().map(item).collect::<Vec<_>>().join(", "))
            }
        }
    }
}

fn repr_json(json: &serde_json::Value) -> String {
    use serde_json::Value as Json;
    match json {
        Json::Null => "None".to_owned(),
        Json::Bool(true) => "True".to_owned(),
        Json::Bool(false) => "False".to_owned(),
        Json::Number(number) => number.to_string(),
        Json::String(text) => python::repr(text),
        Json::Array(items) => {
            format!("[{}]", items.iter().map(repr_json).collect::<Vec<_>>().join(", "))
        }
        Json::Object(fields) => {
            let field = |(key, value): (&String, &Json)| {
                format!("{}: {}", python::repr(key), repr_json(value))
            };
            format!("{{{}}}", fields.iter().map(field).collect::<Vec<_>>().join(", "))
        }
    }
}

/// Reads one text for `flag`. The error is argparse's sentence without the flag's name.
pub(super) fn read(flag: &Flag, text: &str) -> Result<Value, String> {
    if flag.optional && (text.is_empty() || text == "None") {
        return Ok(Value::Null);
    }
    let value = match flag.kind {
        Kind::Int => Value::Int(python::int(text).ok_or_else(|| invalid(flag, "int", text))?),
        Kind::Float => {
            Value::Float(python::float(text).ok_or_else(|| invalid(flag, "float", text))?)
        }
        Kind::HumanInt => Value::Int(human(flag, "human_readable_int", text)?),
        Kind::LengthOrAuto if matches!(text.trim(), "-1") || is_auto(text) => Value::Int(-1),
        Kind::LengthOrAuto => Value::Int(human(flag, "human_readable_int_or_auto", text)?),
        Kind::Json => {
            Value::Json(serde_json::from_str(text).map_err(|_| invalid(flag, "loads", text))?)
        }
        Kind::Ints => {
            let number = python::int(text).ok_or_else(|| invalid(flag, "int", text))?;
            Value::Json(serde_json::Value::from(number))
        }
        Kind::Name => Value::Text(text.to_lowercase().replace('-', "_")),
        Kind::Switch
        | Kind::Toggle
        | Kind::Text
        | Kind::Texts
        | Kind::AnyTexts
        | Kind::MaybeText
        | Kind::Append => Value::Text(text.to_owned()),
    };
    let shown = match &value {
        Value::Text(text) => text.clone(),
        other => other.repr(),
    };
    if flag.choices.is_empty() || flag.choices.contains(&shown.as_str()) {
        return Ok(value);
    }
    let shown = |choice: &&str| match flag.kind {
        Kind::Int => (*choice).to_owned(),
        _ => python::repr(choice),
    };
    let null = flag.optional.then(|| "None".to_owned());
    let choices: Vec<String> = flag.choices.iter().map(shown).chain(null).collect();
    Err(format!("invalid choice: {} (choose from {})", value.repr(), choices.join(", ")))
}

fn is_auto(text: &str) -> bool {
    text.trim().eq_ignore_ascii_case("auto")
}

fn human(flag: &Flag, type_name: &str, text: &str) -> Result<i64, String> {
    python::human_int(text).map_err(|error| match error {
        HumanIntError::NotANumber => invalid(flag, type_name, text),
        HumanIntError::DecimalsWithBinarySuffix(number, suffix) => format!(
            "Decimals are not allowed with binary suffixes like {suffix}. Did you mean to use \
             {number}{} instead?",
            suffix.to_ascii_lowercase()
        ),
    })
}

/// Flags that take no null, but whose errors are worded like those of flags that do.
const WORDED_AS_OPTIONAL: [&str; 4] = [
    "--limit-mm-per-prompt",
    "--media-io-kwargs",
    "--model-class-overrides",
    "--override-generation-config",
];

fn invalid(flag: &Flag, type_name: &str, text: &str) -> String {
    if !flag.optional && !WORDED_AS_OPTIONAL.contains(&flag.name) {
        return format!("invalid {type_name} value: {}", python::repr(text));
    }
    let kind = if matches!(flag.kind, Kind::HumanInt | Kind::Json) { "function" } else { "class" };
    match kind {
        "class" => format!("Value {text} cannot be converted to <class '{type_name}'>."),
        _ => format!("Value {text} cannot be converted to <function {type_name}>."),
    }
}

/// argparse's sentence about a choice that is none.
pub(super) fn invalid_choice(text: &str, choices: &[&str]) -> String {
    let choices: Vec<_> = choices.iter().map(|choice| python::repr(choice)).collect();
    format!("invalid choice: {} (choose from {})", python::repr(text), choices.join(", "))
}
