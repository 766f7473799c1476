//! The arguments of a call as Qwen's coders write them: an element for each, named by its tag, in
//! the order of the schema. Texts stand as they are, all other values as JSON.

use super::{one_of, unsupported};
use crate::grammar::compile::GrammarError;
use crate::grammar::lark::Expr;
use crate::grammar::spec::JsonOptions;
use crate::grammar::{anchors, build, schema};
use serde_json::{Map, Value, json};
use std::cell::Cell;

const SPACE: &str = "[ \\n\\r\\t]*";
const NAME: &str = "[a-zA-Z_][a-zA-Z0-9_]*";
const CLOSE: &str = "</parameter>";
const INTEGER: &str = "-?(0|[1-9][0-9]*)";
const NUMBER: &str = "-?(0|[1-9][0-9]*)(\\.[0-9]+)?([eE][+-]?[0-9]+)?";
const NUMBER_BOUNDS: [&str; 5] =
    ["minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum", "multipleOf"];
/// References and unions on one way.
const MAX_STEPS: usize = 64;
/// Schemas looked at, those that are copied for their definitions included.
const MAX_WORK: usize = 100_000;

/// The arguments that a schema describes, and one of `ends` behind them.
pub(super) fn arguments(
    root: &Value,
    options: &JsonOptions,
    ends: Option<&[String]>,
) -> Result<Expr, GrammarError> {
    let style = Style { root, options, size: size(root), left: Cell::new(MAX_WORK) };
    let all = style.alternatives(root, 0)?;
    let all: Result<Vec<Expr>, _> = all.iter().map(|one| style.elements(one, ends)).collect();
    Ok(either(all?))
}

struct Style<'a> {
    /// What references start from.
    root: &'a Value,
    options: &'a JsonOptions,
    /// Values in the root.
    size: usize,
    /// How much work may still be done.
    left: Cell<usize>,
}

/// What stands between two tags.
enum Content {
    /// Any text without the closing tag.
    Free,
    /// Without recursion.
    Regular(Expr),
    /// What a schema describes.
    Json(Value),
}

/// A lexeme that does not become one with its neighbours.
fn apart(parts: Vec<Expr>) -> Expr {
    Expr::Apart(Box::new(Expr::Seq(parts)))
}

fn either(mut all: Vec<Expr>) -> Expr {
    if all.len() == 1 { all.remove(0) } else { Expr::Or(all) }
}

fn space() -> Expr {
    Expr::Regex(SPACE.to_owned())
}

fn text(text: impl Into<String>) -> Expr {
    Expr::Text(text.into())
}

impl<'a> Style<'a> {
    fn spend(&self, work: usize) -> Result<(), GrammarError> {
        self.left.set(self.left.get().checked_sub(work).ok_or_else(build::too_large)?);
        Ok(())
    }

    /// The schemas of which one has to hold: references followed, unions taken apart.
    fn alternatives(
        &self,
        schema: &'a Value,
        steps: usize,
    ) -> Result<Vec<&'a Value>, GrammarError> {
        self.spend(1)?;
        if steps > MAX_STEPS {
            return Err(unsupported("references that lead nowhere"));
        }
        if let Some(reference) = schema.get("$ref") {
            let pointer = reference.as_str().and_then(|to| to.strip_prefix('#'));
            let found = pointer.and_then(|pointer| self.root.pointer(pointer));
            let found = found.ok_or_else(|| unsupported("references to elsewhere"))?;
            return self.alternatives(found, steps + 1);
        }
        let list = |name: &str| schema.get(name).and_then(Value::as_array);
        if let Some([one]) = list("allOf").map(Vec::as_slice) {
            return self.alternatives(one, steps + 1);
        }
        let Some(union) = list("anyOf").or_else(|| list("oneOf")) else {
            return Ok(vec![schema]);
        };
        let mut all = Vec::new();
        for one in union {
            all.extend(self.alternatives(one, steps + 1)?);
        }
        Ok(all)
    }

    /// The elements that one schema names, then white space and the end.
    fn elements(&self, schema: &'a Value, ends: Option<&[String]>) -> Result<Expr, GrammarError> {
        const ANY: &Value = &Value::Bool(true);
        let unnamed = Map::new();
        if schema.get("type").is_some_and(|kind| kind != "object") || *schema == Value::Bool(false)
        {
            return Err(unsupported("arguments that are no object"));
        }
        for keyword in ["patternProperties", "minProperties", "maxProperties", "propertyNames"] {
            if schema.get(keyword).is_some() {
                return Err(unsupported(&format!("{keyword} of arguments")));
            }
        }
        let named = schema.get("properties").and_then(Value::as_object);
        let required = schema.get("required").and_then(Value::as_array);
        let is_required =
            |name: &str| required.is_some_and(|all| all.iter().any(|one| one == name));
        let mut parts = Vec::new();
        for (name, value) in named.unwrap_or(&unnamed) {
            let element = self.element(&[text(format!("<parameter={name}>"))], value)?;
            parts.push(if is_required(name) { element } else { Expr::optional(element) });
        }
        // Without any named ones, all names are free.
        let others = match schema.get("additionalProperties") {
            Some(Value::Bool(false)) => None,
            Some(others) => Some(others),
            None => named.is_none().then_some(ANY),
        };
        if let Some(others) = others {
            let name = [text("<parameter="), Expr::Regex(NAME.to_owned()), text(">")];
            parts.push(Expr::star(self.element(&name, others)?));
        }
        parts.push(space());
        parts.extend(ends.map(one_of));
        Ok(Expr::Seq(parts))
    }

    /// White space and an element: as few lexemes as can be, each of which tells from its start
    /// on what it is.
    fn element(&self, begin: &[Expr], schema: &'a Value) -> Result<Expr, GrammarError> {
        let mut values = Vec::new();
        for one in self.alternatives(schema, 0)? {
            values.extend(self.values(one)?);
        }
        let mut open = vec![space()];
        open.extend_from_slice(begin);
        if values.iter().any(|value| matches!(value, Content::Free)) {
            let ends = vec![CLOSE.to_owned()];
            open.push(Expr::Until { excludes: Vec::new(), ends, alone: true });
            return Ok(Expr::Seq(open));
        }
        let is_regular = values.iter().all(|value| matches!(value, Content::Regular(_)));
        let closed = |value: Content| {
            let value = match value {
                Content::Regular(expr) => Some(expr),
                Content::Json(schema) => Some(Expr::Json(schema)),
                Content::Free => None,
            };
            Expr::Seq(value.into_iter().chain([space(), text(CLOSE)]).collect())
        };
        let values = either(values.into_iter().map(closed).collect());
        open.push(space());
        Ok(match is_regular {
            true => {
                open.push(values);
                apart(open)
            }
            false => Expr::Seq(vec![apart(open), values]),
        })
    }

    /// What a schema allows between the tags.
    fn values(&self, schema: &'a Value) -> Result<Vec<Content>, GrammarError> {
        let constant = |value: &Value| match value {
            Value::String(constant) => Content::Regular(text(constant)),
            other => Content::Regular(text(other.to_string())),
        };
        if *schema == Value::Bool(false) {
            return Err(unsupported("arguments of no value"));
        }
        if let Some(value) = schema.get("const") {
            return Ok(vec![constant(value)]);
        }
        if let Some(values) = schema.get("enum").and_then(Value::as_array) {
            return Ok(values.iter().map(constant).collect());
        }
        let kinds: Vec<&str> = match schema.get("type") {
            Some(Value::String(kind)) => vec![kind],
            Some(Value::Array(kinds)) => kinds.iter().filter_map(Value::as_str).collect(),
            // Any text will do where any value does.
            _ => return Ok(vec![Content::Free]),
        };
        let is_plain = !NUMBER_BOUNDS.iter().any(|bound| schema.get(*bound).is_some());
        let regex = |regex: &str| Content::Regular(Expr::Regex(regex.to_owned()));
        let value = |kind: &str| match kind {
            "string" => {
                self.string(schema).map(|string| string.map_or(Content::Free, Content::Regular))
            }
            "null" => Ok(regex("null")),
            "boolean" => Ok(regex("true|false")),
            "integer" if is_plain => Ok(regex(INTEGER)),
            "number" if is_plain => Ok(regex(NUMBER)),
            _ => self.json(schema, kind).map(Content::Json),
        };
        kinds.into_iter().map(value).collect()
    }

    /// What bounds a text; `None` for nothing.
    fn string(&self, schema: &Value) -> Result<Option<Expr>, GrammarError> {
        let pattern = schema.get("pattern").and_then(Value::as_str);
        let format = schema.get("format").and_then(Value::as_str);
        if let Some(pattern) = pattern.or(format.and_then(pattern_of)) {
            return Ok(Some(Expr::Regex(anchors::without_anchors(pattern))));
        }
        if let Some(format) = format.filter(|format| schema::knows_format(format)) {
            return Err(unsupported(&format!("arguments of the format {format}")));
        }
        let bound = |name: &str| {
            let bound = schema.get(name).and_then(Value::as_u64);
            bound.map(|bound| u32::try_from(bound).unwrap_or(u32::MAX))
        };
        let (min, max) = (bound("minLength"), bound("maxLength"));
        Ok((min.is_some() || max.is_some()).then(|| Expr::Repeat {
            inner: Box::new(Expr::Regex("(?s:.)".to_owned())),
            min: min.unwrap_or(0),
            max,
        }))
    }

    /// The schema of JSON of one type, with the definitions that it may refer to.
    fn json(&self, value: &Value, kind: &str) -> Result<Value, GrammarError> {
        let mut value = value.clone();
        value["type"] = kind.into();
        if refers(&value) {
            self.spend(self.size)?;
            let mut root = self.root.clone();
            rebase(&mut value);
            rebase(&mut root);
            value["$defs"] = json!({ "root": root });
        }
        Ok(schema::for_llguidance(&value, self.options))
    }
}

/// How many values a value is made of.
fn size(value: &Value) -> usize {
    1 + match value {
        Value::Object(members) => members.values().map(size).sum(),
        Value::Array(items) => items.iter().map(size).sum(),
        _ => 0,
    }
}

fn refers(schema: &Value) -> bool {
    match schema {
        Value::Object(members) => members.contains_key("$ref") || members.values().any(refers),
        Value::Array(items) => items.iter().any(refers),
        _ => false,
    }
}

/// Lets references start from where the old root goes.
fn rebase(schema: &mut Value) {
    match schema {
        Value::Object(members) => {
            for (name, value) in members {
                match (name.as_str(), value) {
                    ("$ref", Value::String(to)) if to.starts_with('#') => {
                        to.replace_range(..1, "#/$defs/root");
                    }
                    (_, value) => rebase(value),
                }
            }
        }
        Value::Array(items) => items.iter_mut().for_each(rebase),
        _ => {}
    }
}

/// A regular expression for the texts of a format.
fn pattern_of(format: &str) -> Option<&'static str> {
    Some(match format {
        "date" => "[0-9]{4}-(0[1-9]|1[0-2])-(0[1-9]|[12][0-9]|3[01])",
        "time" => {
            "([01][0-9]|2[0-3]):[0-5][0-9]:([0-5][0-9]|60)(\\.[0-9]+)?\
             (Z|[+-]([01][0-9]|2[0-3]):[0-5][0-9])"
        }
        "date-time" => {
            "[0-9]{4}-(0[1-9]|1[0-2])-(0[1-9]|[12][0-9]|3[01])T\
             ([01][0-9]|2[0-3]):[0-5][0-9]:([0-5][0-9]|60)(\\.[0-9]+)?\
             (Z|[+-]([01][0-9]|2[0-3]):[0-5][0-9])"
        }
        "ipv4" => {
            "((25[0-5]|2[0-4][0-9]|1[0-9][0-9]|[1-9]?[0-9])\\.){3}\
             (25[0-5]|2[0-4][0-9]|1[0-9][0-9]|[1-9]?[0-9])"
        }
        "uuid" => "[0-9a-fA-F]{8}(-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}",
        "hostname" => {
            "[a-zA-Z0-9]([a-zA-Z0-9-]{0,61}[a-zA-Z0-9])?\
             (\\.[a-zA-Z0-9]([a-zA-Z0-9-]{0,61}[a-zA-Z0-9])?)*"
        }
        _ => return None,
    })
}
