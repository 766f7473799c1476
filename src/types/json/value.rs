//! The JSON value: integers of any size, NaN and infinities, objects in order of first appearance.

use indexmap::IndexMap;
use std::cmp::Ordering;
use std::fmt;

/// An object.
pub type Dict = IndexMap<String, Json>;

/// What a body can hold.
#[derive(Clone, Debug, PartialEq)]
pub enum Json {
    Null,
    Bool(bool),
    Int(Int),
    Float(f64),
    Str(String),
    List(Vec<Json>),
    Dict(Dict),
}

/// An integer without bounds; few bodies need more than 64 bits.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Int {
    Small(i64),
    /// Outside of `i64`, in canonical decimal: no `+`, no leading zero.
    Big(Box<str>),
}

impl Int {
    /// Reads `-?[0-9]+`; leading zeros are dropped.
    pub fn from_digits(text: &str) -> Self {
        if let Ok(small) = text.parse() {
            return Self::Small(small);
        }
        let (sign, digits) = match text.strip_prefix('-') {
            Some(digits) => ("-", digits),
            None => ("", text),
        };
        let digits = digits.trim_start_matches('0');
        match format!("{sign}{digits}") {
            canonical if digits.is_empty() => Self::Small(canonical.parse().unwrap_or(0)),
            canonical => canonical.parse().map_or(Self::Big(canonical.into()), Self::Small),
        }
    }

    /// The value, if 64 bits hold it.
    pub fn as_i64(&self) -> Option<i64> {
        match self {
            Self::Small(value) => Some(*value),
            Self::Big(_) => None,
        }
    }

    /// The nearest `i64`.
    pub fn saturate(&self) -> i64 {
        match self {
            Self::Small(value) => *value,
            Self::Big(digits) if digits.starts_with('-') => i64::MIN,
            Self::Big(_) => i64::MAX,
        }
    }

    /// The nearest float; `None` when it would be infinite.
    pub fn as_f64(&self) -> Option<f64> {
        match self {
            Self::Small(value) => Some(*value as f64),
            Self::Big(digits) => digits.parse().ok().filter(|value: &f64| value.is_finite()),
        }
    }
}

impl From<&serde_json::Value> for Json {
    fn from(value: &serde_json::Value) -> Self {
        use serde_json::Value;
        match value {
            Value::Null => Self::Null,
            Value::Bool(value) => Self::Bool(*value),
            Value::Number(number) if number.is_f64() => {
                Self::Float(number.as_f64().unwrap_or(f64::NAN))
            }
            Value::Number(number) => Self::Int(Int::from_digits(&number.to_string())),
            Value::String(text) => Self::Str(text.clone()),
            Value::Array(items) => Self::List(items.iter().map(Self::from).collect()),
            Value::Object(members) => {
                let members = members.iter();
                Self::Dict(members.map(|(name, value)| (name.clone(), value.into())).collect())
            }
        }
    }
}

impl PartialEq<i64> for Int {
    fn eq(&self, other: &i64) -> bool {
        self.as_i64() == Some(*other)
    }
}

impl PartialOrd<i64> for Int {
    fn partial_cmp(&self, other: &i64) -> Option<Ordering> {
        Some(match self {
            Self::Small(value) => value.cmp(other),
            Self::Big(digits) if digits.starts_with('-') => Ordering::Less,
            Self::Big(_) => Ordering::Greater,
        })
    }
}

impl fmt::Display for Int {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Small(value) => value.fmt(f),
            Self::Big(digits) => f.write_str(digits),
        }
    }
}

impl Json {
    /// Python's name of its type.
    pub fn type_name(&self) -> &'static str {
        match self {
            Self::Null => "NoneType",
            Self::Bool(_) => "bool",
            Self::Int(_) => "int",
            Self::Float(_) => "float",
            Self::Str(_) => "str",
            Self::List(_) => "list",
            Self::Dict(_) => "dict",
        }
    }

    /// Python's `bool(value)`.
    pub fn truthy(&self) -> bool {
        match self {
            Self::Null => false,
            Self::Bool(value) => *value,
            Self::Int(value) => *value != 0,
            Self::Float(value) => *value != 0.0,
            Self::Str(value) => !value.is_empty(),
            Self::List(items) => !items.is_empty(),
            Self::Dict(entries) => !entries.is_empty(),
        }
    }

    pub fn is_null(&self) -> bool {
        matches!(self, Self::Null)
    }

    pub fn as_str(&self) -> Option<&str> {
        match self {
            Self::Str(text) => Some(text),
            _ => None,
        }
    }

    pub fn as_list(&self) -> Option<&[Json]> {
        match self {
            Self::List(items) => Some(items),
            _ => None,
        }
    }

    pub fn as_dict(&self) -> Option<&Dict> {
        match self {
            Self::Dict(entries) => Some(entries),
            _ => None,
        }
    }

    /// The entry of an object; `None` also when this is none.
    pub fn get(&self, key: &str) -> Option<&Json> {
        self.as_dict()?.get(key)
    }

    /// The value for templates, which know no NaN (null) and no integers beyond 64 bits (floats).
    pub fn to_value(&self) -> serde_json::Value {
        use serde_json::Value;
        match self {
            Self::Null => Value::Null,
            Self::Bool(value) => Value::Bool(*value),
            Self::Int(Int::Small(value)) => Value::from(*value),
            Self::Int(big) => match big.to_string().parse::<u64>() {
                Ok(value) => Value::from(value),
                Err(_) => Value::from(big.as_f64().unwrap_or(f64::MAX)),
            },
            Self::Float(value) => Value::from(*value),
            Self::Str(text) => Value::from(text.as_str()),
            Self::List(items) => items.iter().map(Self::to_value).collect(),
            Self::Dict(entries) => {
                entries.iter().map(|(key, value)| (key.clone(), value.to_value())).collect()
            }
        }
    }
}
