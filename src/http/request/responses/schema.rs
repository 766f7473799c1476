//! The schema of a Responses request. It names some 240 of OpenAI's types, so it comes as data,
//! which `tests/data/http/responses_schema.py` wrote; that script says what the words mean.

use super::super::super::json::Json;
use super::super::super::schema::{
    Errors, Field, INT, INT64, ObjectKind, Path, Schema, best_choice, check, coerce,
};
use super::super::generate::{LOGIT_BIAS, NULLABLE_INT, NULLABLE_INT64, NULLABLE_STR, STOP, XARGS};
use super::super::structured::STRUCTURED_OUTPUTS;
use crate::error::ApiError;
use serde_json::{Map, Value};
use std::collections::HashMap;
use std::sync::LazyLock;

const DATA: &str = include_str!("schema.json");
const PENALTY: Schema = Schema::Nullable(&Schema::FloatIn { ge: -2.0, le: 2.0 });
static SCHEMAS: LazyLock<Schemas> = LazyLock::new(Schemas::load);

/// The types of OpenAI's SDK, and the request that is made of them.
#[derive(Default)]
pub struct Schemas {
    types: HashMap<&'static str, &'static Schema>,
    members: &'static [Field],
}

/// What lives as long as the process.
fn leak<T>(value: T) -> &'static T {
    Box::leak(Box::new(value))
}

fn leak_all<T>(values: Vec<T>) -> &'static [T] {
    Box::leak(values.into_boxed_slice())
}

fn leak_str(text: &str) -> &'static str {
    Box::leak(text.into())
}

impl Schemas {
    /// All of them; read once.
    pub fn get() -> &'static Self {
        &SCHEMAS
    }

    fn load() -> Self {
        let data: Value = serde_json::from_str(DATA).unwrap_or_default();
        let mut schemas = Self::default();
        for (name, node) in data["types"].as_object().into_iter().flatten() {
            let schema = schemas.node(node);
            schemas.types.insert(leak_str(name), schema);
        }
        let members = data["request"].as_array().map(Vec::as_slice).unwrap_or_default();
        schemas.members = schemas.fields(members);
        schemas
    }

    /// The whole request.
    pub fn request(&self) -> Schema {
        Schema::Object { kind: ObjectKind::Model, fields: self.members }
    }

    /// Whether the request knows a member.
    pub fn has(&self, name: &str) -> bool {
        self.members.iter().any(|field| field.name == name)
    }

    /// Whether a value is an instance of one of the types.
    pub fn fits(&self, name: &str, value: &Json) -> Result<bool, ApiError> {
        let Some(schema) = self.types.get(name) else { return Ok(false) };
        Ok(check(schema, value, &Path::root(""), &mut Errors::default())?.is_some())
    }

    /// A member of a checked request as replies repeat it: objects with all of their members.
    pub fn dump(&self, name: &str, value: &Json) -> Value {
        let field = self.members.iter().find(|field| field.name == name);
        field.map_or(Value::Null, |field| dump(field.schema, value))
    }

    fn node(&self, node: &Value) -> &'static Schema {
        match node {
            Value::String(word) => self.word(word),
            Value::Array(parts) => match parts.split_first() {
                Some((Value::String(word), rest)) => leak(self.compound(word, rest)),
                _ => unknown(node),
            },
            _ => unknown(node),
        }
    }

    fn word(&self, word: &str) -> &'static Schema {
        match word {
            "str" => &Schema::Str,
            "int" => &INT,
            "float" => &Schema::Float,
            "bool" => &Schema::Bool,
            "any" => &Schema::Any,
            "@cache_salt" => &NULLABLE_STR,
            "@int64" => &INT64,
            "@logit_bias" => &LOGIT_BIAS,
            "@nullable_int64" => &NULLABLE_INT64,
            "@penalty" => &PENALTY,
            "@stop" => &STOP,
            "@structured_outputs" => &Schema::Nullable(&STRUCTURED_OUTPUTS),
            // null means the default.
            "@top_logprobs" => &NULLABLE_INT,
            "@xargs" => &XARGS,
            _ => match word.strip_prefix('#').and_then(|name| self.types.get(name)) {
                Some(schema) => schema,
                None => unknown(&word.into()),
            },
        }
    }

    fn compound(&self, word: &str, parts: &[Value]) -> Schema {
        let first = || self.node(parts.first().unwrap_or(&Value::Null));
        match word {
            "null" => Schema::Nullable(first()),
            "list" => Schema::List { item: first(), max: None },
            "sequence" => Schema::Sequence(first()),
            "iterable" => Schema::Iterable,
            "map" => Schema::Map(first()),
            "literal" => {
                let words = parts.iter().filter_map(Value::as_str).map(leak_str);
                Schema::Literal(leak_all(words.collect()))
            }
            "union" => {
                let choice = |choice: &Value| {
                    (leak_str(choice[0].as_str().unwrap_or_default()), self.node(&choice[1]))
                };
                Schema::Union(leak_all(parts.iter().map(choice).collect()))
            }
            "model" => Schema::Object { kind: ObjectKind::Model, fields: self.fields(parts) },
            "dict" => Schema::Object { kind: ObjectKind::TypedDict, fields: self.fields(parts) },
            _ => Schema::Nullable(unknown(&word.into())),
        }
    }

    fn fields(&self, members: &[Value]) -> &'static [Field] {
        let field = |member: &Value| {
            let name = member[0].as_str().unwrap_or_default();
            let required = name.ends_with('!');
            let name = leak_str(name.trim_end_matches('!'));
            Field { name, required, schema: self.node(&member[1]) }
        };
        leak_all(members.iter().map(field).collect())
    }
}

/// The data is part of the program: a word that it does not know is a bug, which a test finds.
fn unknown(node: &Value) -> &'static Schema {
    debug_assert!(false, "unknown in the schema: {node}");
    &Schema::Any
}

/// A checked value as pydantic writes it: a model has all of its members, those that were absent
/// as null, and behind them those that it does not know.
fn dump(schema: &Schema, value: &Json) -> Value {
    let float = |number: f64| Value::from(number);
    match schema {
        Schema::Nullable(inner) if !value.is_null() => dump(inner, value),
        Schema::Int { .. } => match coerce::int(value) {
            Ok(int) => Json::Int(int).to_value(),
            Err(_) => Value::Null,
        },
        Schema::Float | Schema::FloatIn { .. } => coerce::float(value).map_or(Value::Null, float),
        Schema::Bool => coerce::bool(value).map_or(Value::Null, Value::Bool),
        Schema::List { item, .. } | Schema::Sequence(item) => {
            value.as_list().into_iter().flatten().map(|element| dump(item, element)).collect()
        }
        Schema::Map(item) => {
            let entries = value.as_dict().into_iter().flatten();
            entries.map(|(key, element)| (key.clone(), dump(item, element))).collect()
        }
        Schema::Union(choices) => {
            let found = best_choice(choices, value, &Path::root(""), &mut Errors::default());
            match found.ok().flatten().and_then(|at| choices.get(at)) {
                Some((_, schema)) => dump(schema, value),
                None => value.to_value(),
            }
        }
        Schema::Object { kind, fields } => dump_object(kind, fields, value),
        _ => value.to_value(),
    }
}

fn dump_object(kind: &ObjectKind, fields: &[Field], value: &Json) -> Value {
    let mut members = Map::new();
    for field in fields {
        match value.get(field.name) {
            Some(member) => drop(members.insert(field.name.into(), dump(field.schema, member))),
            None if matches!(kind, ObjectKind::Model) => {
                members.insert(field.name.into(), Value::Null);
            }
            None => {}
        }
    }
    for (name, member) in value.as_dict().into_iter().flatten() {
        members.entry(name.as_str()).or_insert_with(|| member.to_value());
    }
    Value::Object(members)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::types::json;
    use serde_json::json;

    fn parsed(text: &str) -> Json {
        json::parse(text.as_bytes()).expect("JSON").root
    }

    #[test]
    fn every_word_is_known() {
        let schemas = Schemas::load();
        assert_eq!(schemas.types.len(), DATA.lines().filter(|line| line.starts_with('"')).count());
        assert!(schemas.has("input") && schemas.has("chat_template_kwargs"));
        assert!(!schemas.has("n"), "a field of chats");
    }

    #[test]
    fn models_are_told_apart() {
        let schemas = Schemas::get();
        let call = r#"{"type":"function_call","call_id":"a","name":"f","arguments":"{}"}"#;
        assert!(schemas.fits("ResponseFunctionToolCall", &parsed(call)).unwrap());
        assert!(!schemas.fits("ResponseReasoningItem", &parsed(call)).unwrap());
    }

    #[test]
    fn a_model_shows_all_of_its_members() {
        let given = r#"[{"type":"function","name":"f","x":1}]"#;
        let dumped = Schemas::get().dump("tools", &parsed(given));
        let shown = json!([{
            "name": "f", "parameters": null, "strict": null, "type": "function",
            "allowed_callers": null, "async": null, "defer_loading": null, "description": null,
            "output_schema": null, "x": 1
        }]);
        assert_eq!(dumped.to_string(), shown.to_string(), "in this order");
    }
}
