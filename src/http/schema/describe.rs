//! A schema as JSON Schema, for the description of the API.

use super::{Field, ObjectKind, Schema};
use serde_json::{Map, Value, json};

/// What `schema` lets pass, without the coercions of the lax mode and the hooks.
pub fn describe(schema: &Schema) -> Value {
    match schema {
        Schema::Any | Schema::Iterable | Schema::InstanceOf(_) | Schema::Hook(_) => json!({}),
        Schema::Str => json!({"type": "string"}),
        Schema::Sized { min, max } => {
            json!({"type": "string", "minLength": min, "maxLength": max})
        }
        Schema::Bytes => json!({"type": "string", "format": "binary"}),
        Schema::Int { ge, le } => {
            let mut int = json!({"type": "integer"});
            for (name, bound) in [("minimum", ge), ("maximum", le)] {
                if let Some(bound) = bound {
                    int[name] = json!(bound);
                }
            }
            int
        }
        Schema::Float => json!({"type": "number"}),
        Schema::FloatIn { ge, le } => json!({"type": "number", "minimum": ge, "maximum": le}),
        Schema::Bool => json!({"type": "boolean"}),
        Schema::Literal(words) => json!({"type": "string", "enum": words}),
        Schema::List { item, max } => {
            let mut list = json!({"type": "array", "items": describe(item)});
            if let Some(max) = max {
                list["maxItems"] = json!(max());
            }
            list
        }
        Schema::NonEmpty(inner) => {
            let mut list = describe(inner);
            list["minItems"] = json!(1);
            list
        }
        Schema::Exactly(value) => json!({"type": "boolean", "const": value}),
        Schema::Enum { values, .. } => json!({"type": "integer", "enum": values}),
        Schema::Valid(inner, _) | Schema::Hooked(_, inner) => describe(inner),
        Schema::Map(item) | Schema::IntMap(item) => {
            json!({"type": "object", "additionalProperties": describe(item)})
        }
        Schema::Sequence(item) => json!({"type": "array", "items": describe(item)}),
        Schema::Nullable(inner) => json!({"anyOf": [describe(inner), {"type": "null"}]}),
        Schema::Union(choices) | Schema::Tagged(choices) => {
            let choices: Vec<Value> = choices.iter().map(|(_, choice)| describe(choice)).collect();
            json!({"anyOf": choices})
        }
        Schema::Object { kind: ObjectKind::Closed, fields } => {
            let mut object = describe_object(fields);
            object["additionalProperties"] = json!(false);
            object
        }
        Schema::Object { fields, .. } => describe_object(fields),
    }
}

fn describe_object(fields: &[Field]) -> Value {
    let property = |field: &Field| (field.name.to_owned(), describe(field.schema));
    let properties: Map<String, Value> = fields.iter().map(property).collect();
    let required: Vec<&str> =
        fields.iter().filter(|field| field.required).map(|field| field.name).collect();
    let mut object = json!({"type": "object", "properties": properties});
    if !required.is_empty() {
        object["required"] = json!(required);
    }
    object
}

#[cfg(test)]
mod tests {
    use super::super::{optional, required};
    use super::*;

    #[test]
    fn says_what_is_checked() {
        const COUNT: Schema = Schema::Int { ge: Some(1), le: None };
        const CHOICES: Schema = Schema::Union(&[("", &Schema::Str), ("", &super::super::STRS)]);
        const OBJECT: Schema = Schema::Object {
            kind: ObjectKind::Model,
            fields: &[
                required("n", &COUNT),
                optional("stop", &Schema::Nullable(&CHOICES)),
                optional("side", &Schema::Literal(&["left", "right"])),
                optional("bias", &Schema::Map(&Schema::Float)),
            ],
        };
        let strings = json!({"type": "array", "items": {"type": "string"}});
        let wanted = json!({
            "type": "object",
            "properties": {
                "n": {"type": "integer", "minimum": 1},
                "stop": {"anyOf": [
                    {"anyOf": [{"type": "string"}, strings]},
                    {"type": "null"},
                ]},
                "side": {"type": "string", "enum": ["left", "right"]},
                "bias": {"type": "object", "additionalProperties": {"type": "number"}},
            },
            "required": ["n"],
        });
        assert_eq!(describe(&OBJECT), wanted);
    }
}
