//! Structured outputs and response formats: checked as vLLM checks them, down to one grammar.

use super::super::json::{Dict, Json, ParseError, dumps_ascii, parse_text, repr};
use super::super::schema::{
    Errors, Field, OBJECT, ObjectKind, Path, STRS, Schema, check, coerce, optional, required,
};
use super::fields::Fields;
use crate::error::ApiError;
use crate::grammar::GrammarSpec;
use serde_json::Value;

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
                required("schema", &OBJECT),
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
    let is_json = |text: &str| serde_json::from_str::<serde::de::IgnoredAny>(text).is_ok();
    match outputs.get("structural_tag").map(|tag| tag.as_str().is_some_and(is_json)) {
        Some(false) => Err(invalid_tag("structured_outputs")),
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
            Some("structural_tag") => {
                let tag = data.dict("response_format").map(tag_text).unwrap_or_default();
                ("structural_tag", Json::Str(tag))
            }
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

    /// The constraints as vLLM's `SamplingParams` show them, or the grammar of `tools` in their
    /// place.
    pub fn shown(&self, tools: Option<&GrammarSpec>) -> Option<Value> {
        let of_tools;
        let members = match tools {
            Some(GrammarSpec::Tag(tag)) => {
                let text = Json::Str(dumps_ascii(&Json::from(tag)));
                of_tools = Dict::from_iter([("structural_tag".to_owned(), text)]);
                &of_tools
            }
            _ => self.0.as_ref()?,
        };
        Some(as_dataclass(Fields(members)).to_value())
    }

    /// The checks that vLLM leaves to the engine; gives what the output has to keep to.
    pub fn check(&self) -> Result<Option<GrammarSpec>, ApiError> {
        let Some(fields) = self.0.as_ref().map(Fields) else { return Ok(None) };
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
        let schema = fields.get("json").map(decoded);
        let tag = fields.get("structural_tag").map(decoded);
        let is_deep = |value: &Option<Result<Json, ParseError>>, limit| {
            let value = value.as_ref().and_then(|value| value.as_ref().ok());
            value.is_some_and(|value| nested_deeper_than(value, limit))
        };
        if is_deep(&schema, MAX_NESTING) || is_deep(&tag, MAX_NESTING + TAG_NESTING) {
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
        grammar(fields, schema, tag).map(Some)
    }
}

/// A response format that is a structural tag, as text: the members of its model first.
fn tag_text(format: &Dict) -> String {
    let of = |structure: &Json| match structure.as_dict() {
        Some(members) => ordered(members, &["begin", "schema", "end"]),
        None => structure.clone(),
    };
    let mut format = format.clone();
    if let Some(Json::List(structures)) = format.get_mut("structures") {
        *structures = structures.iter().map(of).collect();
    }
    dumps_ascii(&ordered(&format, &["type", "format", "structures", "triggers"]))
}

/// The same members, those of `first` before the others.
fn ordered(members: &Dict, first: &[&str]) -> Json {
    let known = first.iter().filter_map(|name| members.get_key_value(*name));
    let others = members.iter().filter(|(name, _)| !first.contains(&name.as_str()));
    Json::Dict(known.chain(others).map(|(name, value)| (name.clone(), value.clone())).collect())
}

/// What the first constraint that is set asks for; vLLM's order.
fn grammar(
    fields: Fields<'_>,
    schema: Option<Result<Json, ParseError>>,
    tag: Option<Result<Json, ParseError>>,
) -> Result<GrammarSpec, ApiError> {
    let refuse = |message: String| Err(ApiError::bad_request(message));
    if let Some(schema) = schema {
        return match schema {
            Ok(schema) => Ok(GrammarSpec::Json(schema.to_value())),
            Err(_) => refuse("Invalid JSON grammar specification.".to_owned()),
        };
    }
    if fields.flag("json_object") {
        return Ok(GrammarSpec::JsonObject);
    }
    if let Some(pattern) = fields.string("regex") {
        return Ok(GrammarSpec::Regex(pattern));
    }
    if let Some(choices) = fields.strings("choice") {
        return Ok(GrammarSpec::Choice(choices));
    }
    if let Some(grammar) = fields.string("grammar") {
        return Ok(GrammarSpec::Grammar(grammar));
    }
    match tag {
        Some(Ok(tag)) => Ok(GrammarSpec::Tag(tag.to_value())),
        Some(Err(error)) => {
            let place = place_of(fields.str("structural_tag").unwrap_or_default(), &error);
            refuse(format!("Invalid grammar specification: {place}"))
        }
        None => refuse("No valid structured output parameter found".to_owned()),
    }
}

/// A JSON document that may come as its text.
fn decoded(value: &Json) -> Result<Json, ParseError> {
    match value {
        Json::Str(text) => Ok(parse_text(text)?.root),
        other => Ok(other.clone()),
    }
}

/// A syntax error as Python's decoder words it.
fn place_of(text: &str, error: &ParseError) -> String {
    let ParseError::Syntax { message, position } = error else { return "unreadable".to_owned() };
    let before: Vec<char> = text.chars().take(*position).collect();
    let line = before.iter().filter(|c| **c == '\n').count() + 1;
    let column = before.iter().rev().take_while(|c| **c != '\n').count() + 1;
    format!("{message}: line {line} column {column} (char {position})")
}

const MAX_NESTING: usize = 64;
/// What wraps the schemas of a structural tag may nest so deep on top.
const TAG_NESTING: usize = 16;

fn nested_deeper_than(value: &Json, limit: usize) -> bool {
    let children: Vec<&Json> = match value {
        Json::List(items) => items.iter().collect(),
        Json::Dict(entries) => entries.values().collect(),
        _ => return false,
    };
    limit == 0 || children.into_iter().any(|child| nested_deeper_than(child, limit - 1))
}
