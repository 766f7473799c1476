//! Structured outputs and response formats: checked as vLLM checks them, not served yet.

use super::super::json::{Dict, Json, repr};
use super::super::schema::{
    Errors, Field, OBJECT, ObjectKind, Path, STRS, Schema, check, coerce, optional, required,
};
use super::fields::Fields;
use crate::error::ApiError;

const NULLABLE_STR: Schema = Schema::Nullable(&Schema::Str);

const fn model(fields: &'static [Field]) -> Schema {
    Schema::Object { kind: ObjectKind::Model, fields }
}

/// The field `structured_outputs`.
pub const STRUCTURED_OUTPUTS: Schema = Schema::Object {
    kind: ObjectKind::Dataclass("StructuredOutputsParams", check_one_constraint),
    fields: &[
        optional("json", &Schema::Nullable(&Schema::Union(&[("", &Schema::Str), ("", &OBJECT)]))),
        optional("regex", &NULLABLE_STR),
        optional("choice", &Schema::Nullable(&STRS)),
        optional("grammar", &NULLABLE_STR),
        optional("json_object", &Schema::Nullable(&Schema::Bool)),
        optional("disable_any_whitespace", &Schema::Bool),
        optional("disable_additional_properties", &Schema::Bool),
        optional("whitespace_pattern", &NULLABLE_STR),
        optional("structural_tag", &NULLABLE_STR),
    ],
};

const PLAIN_FORMAT: Schema = model(&[
    required("type", &Schema::Literal(&["text", "json_object", "json_schema"])),
    optional(
        "json_schema",
        &Schema::Nullable(&model(&[
            required("name", &Schema::Str),
            optional("description", &NULLABLE_STR),
            optional("schema", &Schema::Nullable(&OBJECT)),
            optional("strict", &Schema::Nullable(&Schema::Bool)),
        ])),
    ),
]);
const TAG_FORMAT: Schema = model(&[
    required("type", &Schema::Literal(&["structural_tag"])),
    required("format", &Schema::Any),
]);
const LEGACY_TAG_FORMAT: Schema = model(&[
    required("type", &Schema::Literal(&["structural_tag"])),
    required(
        "structures",
        &Schema::List {
            item: &model(&[
                required("begin", &Schema::Str),
                optional("schema", &Schema::Nullable(&OBJECT)),
                required("end", &Schema::Str),
            ]),
            max: None,
        },
    ),
    required("triggers", &STRS),
]);

/// The field `response_format`.
pub const RESPONSE_FORMAT: Schema =
    Schema::Union(&[("", &PLAIN_FORMAT), ("", &TAG_FORMAT), ("", &LEGACY_TAG_FORMAT)]);

/// The hook on `response_format`.
pub fn check_response_format(data: Fields<'_>) -> Result<(), ApiError> {
    let Some(format) = data.get("response_format") else { return Ok(()) };
    let kind = format.get("type").and_then(Json::as_str);
    if kind == Some("json_schema") && format.get("json_schema").is_none_or(Json::is_null) {
        let message = "When response_format type is 'json_schema', the 'json_schema' field must \
                       be provided.";
        return Err(ApiError::parameter(message, "response_format", None));
    }
    if kind == Some("structural_tag") {
        let tag = Schema::Union(&[("", &LEGACY_TAG_FORMAT), ("", &TAG_FORMAT)]);
        if check(&tag, format, &Path::root(""), &mut Errors::default())?.is_none() {
            return Err(invalid_tag("response_format"));
        }
    }
    Ok(())
}

fn invalid_tag(field: &str) -> ApiError {
    let message = format!("Invalid {field} structural_tag specification.");
    ApiError::parameter(message, field, None)
}

/// The hook on `structured_outputs`. Chat knows tools as well, and leaves the parameter unnamed.
pub fn check_structured_count(data: Fields<'_>, is_chat: bool) -> Result<(), ApiError> {
    let Some(outputs) = data.dict("structured_outputs").map(Fields) else { return Ok(()) };
    let count = ["json", "regex", "choice"].iter().filter(|k| outputs.get(k).is_some()).count();
    if count > 1 {
        let message = "You can only use one kind of constraints for structured outputs ('json', \
                       'regex' or 'choice').";
        return Err(match is_chat {
            true => ApiError::bad_request(message),
            false => ApiError::parameter(message, "structured_outputs", None),
        });
    }
    let choice = data.0.get("tool_choice");
    let plain = |c: &Json| matches!(c.as_str(), Some("none" | "auto" | "required"));
    if is_chat && count > 0 && !choice.is_none_or(plain) {
        let message = "You can only either use constraints for structured outputs or tools, not \
                       both.";
        return Err(ApiError::bad_request(message));
    }
    match outputs.get("structural_tag").map(Json::as_str) {
        Some(Some("") | None) => Err(invalid_tag("structured_outputs")),
        _ => Ok(()),
    }
}

/// What the dataclass checks about itself.
fn check_one_constraint(entries: &Dict) -> Result<(), ApiError> {
    const KINDS: [&str; 6] =
        ["json", "regex", "choice", "grammar", "json_object", "structural_tag"];
    let fields = Fields(entries);
    let count = KINDS.iter().filter(|kind| fields.get(kind).is_some()).count();
    let (only, some) = match count {
        0 => ("must", "none are"),
        1 => return Ok(()),
        _ => ("can only", "multiple are"),
    };
    let members = repr(&as_dataclass(fields));
    Err(ApiError::bad_request(format!(
        "You {only} use one kind of structured outputs constraint but {some} specified: {members}"
    )))
}

/// The dataclass's members in their order, with defaults and coerced flags.
fn as_dataclass(fields: Fields<'_>) -> Json {
    let any = |name: &str| fields.get(name).cloned().unwrap_or(Json::Null);
    let flag = |name: &str| Json::Bool(fields.flag(name));
    let json_object = fields.get("json_object").and_then(|value| coerce::bool(value).ok());
    let members = [
        ("json", any("json")),
        ("regex", any("regex")),
        ("choice", any("choice")),
        ("grammar", any("grammar")),
        ("json_object", json_object.map_or(Json::Null, Json::Bool)),
        ("disable_any_whitespace", flag("disable_any_whitespace")),
        ("disable_additional_properties", flag("disable_additional_properties")),
        ("whitespace_pattern", any("whitespace_pattern")),
        ("structural_tag", any("structural_tag")),
        ("_backend", Json::Null),
        ("_backend_was_auto", Json::Bool(false)),
    ];
    Json::Dict(members.into_iter().map(|(name, value)| (name.to_owned(), value)).collect())
}

/// The constraints that a request asks for, after its response format was merged in.
#[derive(Clone, Debug, Default)]
pub struct Constraints(Option<Dict>);

impl Constraints {
    /// Merges the two fields.
    ///
    /// # Errors
    /// When they ask for different kinds of constraints.
    pub fn from_fields(data: Fields<'_>) -> Result<Self, ApiError> {
        let mut members = data.dict("structured_outputs").cloned();
        let format = data.dict("response_format").map(Fields);
        let added = match format.and_then(|format| format.str("type")) {
            Some("json_object") => ("json_object", Json::Bool(true)),
            Some("json_schema") => {
                let schema = format.and_then(|f| f.dict("json_schema")?.get("schema").cloned());
                ("json", schema.unwrap_or(Json::Null))
            }
            Some("structural_tag") => ("structural_tag", Json::Str(String::from("{}"))),
            _ => return Ok(Self(members)),
        };
        let all = members.get_or_insert_default();
        all.insert(added.0.to_owned(), added.1);
        check_one_constraint(all)?;
        Ok(Self(members))
    }

    /// Whether the request asks for none.
    pub fn is_empty(&self) -> bool {
        self.0.is_none()
    }

    /// The checks that vLLM leaves to the engine, then the answer that Glassbox has.
    pub fn check(&self) -> Result<(), ApiError> {
        let Some(fields) = self.0.as_ref().map(Fields) else { return Ok(()) };
        let blank = |name: &str| fields.str(name).is_some_and(|text| text.trim().is_empty());
        let refuse = |message: &str| Err(ApiError::bad_request(message));
        if fields.get("choice").and_then(Json::as_list).is_some_and(<[_]>::is_empty) {
            return refuse("Choice '[]' cannot be an empty list");
        }
        if blank("grammar") {
            return refuse("structured_outputs.grammar cannot be an empty string");
        }
        if blank("json") {
            return refuse("structured_outputs.json cannot be an empty string");
        }
        if fields.get("json").is_some_and(|schema| nested_deeper_than(schema, MAX_NESTING)) {
            return Err(ApiError::bad_request(format!(
                "The JSON schema is nested too deeply: objects and arrays may nest at most \
                 {MAX_NESTING} levels"
            )));
        }
        if fields.bool("json_object") == Some(false) {
            return refuse(
                "structured_outputs.json_object must be True if set; omit structured_outputs to \
                 disable structured outputs",
            );
        }
        if fields.str("regex").is_some_and(|regex| regex.contains('\0')) {
            return refuse("structured_outputs.regex must not contain a NUL character ('\\x00')");
        }
        if blank("structural_tag") {
            return refuse("structured_outputs.structural_tag cannot be an empty string");
        }
        Err(ApiError::not_implemented("Constrained decoding (structured_outputs, response_format)"))
    }
}

const MAX_NESTING: usize = 64;

fn nested_deeper_than(value: &Json, limit: usize) -> bool {
    let children: Vec<&Json> = match value {
        Json::List(items) => items.iter().collect(),
        Json::Dict(entries) => entries.values().collect(),
        _ => return false,
    };
    limit == 0 || children.into_iter().any(|child| nested_deeper_than(child, limit - 1))
}
