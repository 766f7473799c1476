//! xgrammar's structural tags: free text with parts that keep to a format.

mod complete;
mod dispatch;
mod xml;

pub use complete::complete;

use super::compile::GrammarError;
use super::lark::Expr;
use super::spec::JsonOptions;
use super::{anchors, build, ebnf, schema};
use crate::types::Token;
use serde_json::{Map, Value, json};
use std::borrow::Cow;

/// The style of arguments that are elements.
const XML: &str = "qwen_xml";

/// Finds a token by its text.
pub type Lookup<'a> = &'a dyn Fn(&str) -> Option<Token>;

/// Says a tag of either form in Lark.
pub fn to_lark(
    tag: &Value,
    options: &JsonOptions,
    lookup: Lookup<'_>,
) -> Result<String, GrammarError> {
    let format = format_of(tag)?;
    let mut reader = Reader { options, lookup, rules: Vec::new() };
    let root = reader.format(&format)?;
    reader.rules.push(root);
    build::written(&reader.rules, reader.rules.len() - 1)
}

/// The format of a tag of either form.
pub fn format_of(tag: &Value) -> Result<Cow<'_, Value>, GrammarError> {
    match (tag.get("structures"), tag.get("format")) {
        (Some(structures), _) => from_legacy(tag, structures).map(Cow::Owned),
        (None, Some(format)) => Ok(Cow::Borrowed(format)),
        (None, None) => Err(unreadable()),
    }
}

/// vLLM's last backend to be asked reads the older form only, and names what it misses there.
fn unreadable() -> GrammarError {
    GrammarError::invalid("'triggers'")
}

fn unsupported(what: &str) -> GrammarError {
    GrammarError::invalid(format!("structural tags do not support {what} here"))
}

/// The older form is one way to write triggered tags.
fn from_legacy(tag: &Value, structures: &Value) -> Result<Value, GrammarError> {
    let Value::Array(structures) = structures else { return Err(unreadable()) };
    if structures.is_empty() {
        return Err(GrammarError::said("No structural tags found in the grammar spec."));
    }
    let triggers = tag.get("triggers").and_then(Value::as_array).ok_or_else(unreadable)?;
    let triggers: Vec<&str> = triggers.iter().filter_map(Value::as_str).collect();
    for begin in structures.iter().filter_map(|structure| structure.get("begin")?.as_str()) {
        if !triggers.iter().any(|trigger| begin.starts_with(trigger)) {
            let all: Vec<String> = triggers.iter().map(|trigger| format!("'{trigger}'")).collect();
            let all = all.join(", ");
            let message = format!("Trigger {begin} not found in triggers [{all}]");
            return Err(GrammarError::said(message));
        }
    }
    let tags: Vec<Value> = structures
        .iter()
        .map(|structure| {
            let schema = json!({"type": "json_schema", "json_schema": structure.get("schema")});
            json!({
                "type": "tag",
                "begin": structure.get("begin"),
                "content": schema,
                "end": structure.get("end"),
            })
        })
        .collect();
    Ok(json!({"type": "triggered_tags", "triggers": tag.get("triggers"), "tags": tags}))
}

/// Reads formats; `rules` takes those of EBNF grammars inside.
struct Reader<'a> {
    options: &'a JsonOptions,
    lookup: Lookup<'a>,
    rules: Vec<Expr>,
}

impl Reader<'_> {
    /// A format with nothing behind it that it would have to stop at.
    fn format(&mut self, value: &Value) -> Result<Expr, GrammarError> {
        let format = Format::of(value)?;
        match format.kind {
            "const_string" => Ok(Expr::Text(format.text("value")?)),
            "json_schema" => self.json(&format),
            "any_text" => free_text(&format),
            "regex" => Ok(Expr::Regex(anchors::without_anchors(&format.text("pattern")?))),
            "grammar" => {
                let root = ebnf::parse(&format.text("grammar")?, &mut self.rules);
                root.map(Expr::Rule).map_err(|_| unreadable())
            }
            "sequence" => self.sequence(format.list("elements")?, None),
            "or" => self.all(format.list("elements")?).map(Expr::Or),
            "tag" => self.tag(&format),
            "triggered_tags" => self.triggered_tags(&format, None),
            "dispatch" => self.dispatch(&format, None),
            "token_triggered_tags" => self.token_triggered_tags(&format),
            "token_dispatch" => self.token_dispatch(&format),
            "tags_with_separator" => self.tags_with_separator(&format),
            "optional" => Ok(Expr::optional(self.format(format.get("content")?)?)),
            "star" => Ok(Expr::star(self.format(format.get("content")?)?)),
            "plus" => self.repeat(&format, 1, None),
            "repeat" => {
                let (min, max) = (format.int("min")?, format.int("max")?);
                let min = u32::try_from(min).map_err(|_| unreadable())?;
                let max = (max != -1).then(|| u32::try_from(max)).transpose();
                let max = max.map_err(|_| unreadable())?;
                if max.is_some_and(|max| max < min) {
                    return Err(unreadable());
                }
                self.repeat(&format, min, max)
            }
            "token" => Ok(Expr::Tokens(format!("<[{}]>", self.token(format.get("token")?)?))),
            "exclude_token" => self.tokens_without(&format),
            "any_tokens" if format.members.get("max_tokens").is_some_and(|max| !max.is_null()) => {
                Err(unsupported("max_tokens of any_tokens"))
            }
            "any_tokens" => Ok(Expr::star(self.tokens_without(&format)?)),
            "qwen_xml_parameter" => xml::arguments(format.get("json_schema")?, self.options, None),
            _ => Err(unreadable()),
        }
    }

    /// A format with one of `ends` behind it, which free text in it stops at.
    fn followed(&mut self, value: &Value, ends: &[String]) -> Result<Expr, GrammarError> {
        let has_empty = ends.iter().any(String::is_empty);
        if has_empty && ends.len() > 1 {
            return Err(unsupported("an empty end beside others"));
        }
        if has_empty {
            return self.format(value);
        }
        let format = Format::of(value)?;
        match format.kind {
            "any_text" if is_bounded(&format) => Err(unsupported("a length of any_text")),
            "any_text" => {
                let excludes = format.texts("excludes")?;
                Ok(Expr::Until { excludes, ends: ends.to_vec(), alone: false })
            }
            "triggered_tags" => self.triggered_tags(&format, Some(ends)),
            "dispatch" => self.dispatch(&format, Some(ends)),
            "json_schema" if format.is_xml() => self.xml(&format, Some(ends)),
            "sequence" => self.sequence(format.list("elements")?, Some(ends)),
            "or" => {
                let items = format.list("elements")?;
                items
                    .iter()
                    .map(|item| self.followed(item, ends))
                    .collect::<Result<_, _>>()
                    .map(Expr::Or)
            }
            _ => Ok(Expr::Seq(vec![self.format(value)?, one_of(ends)])),
        }
    }

    /// Formats one after the other. Free text needs to know what ends it.
    fn sequence(&mut self, items: &[Value], ends: Option<&[String]>) -> Result<Expr, GrammarError> {
        let mut parts = Vec::new();
        let mut at = 0;
        while let Some(item) = items.get(at) {
            at += 1;
            let is_free =
                matches!(Format::of(item)?.kind, "any_text" | "triggered_tags" | "dispatch");
            match (items.get(at), ends) {
                (Some(next), _) if is_free => {
                    at += 1;
                    let next = Format::of(next)?;
                    let end = match next.kind {
                        "const_string" => next.text("value")?,
                        "tag" => next.text("begin")?,
                        _ => return Err(unsupported("free text before this format")),
                    };
                    if end.is_empty() {
                        return Err(unsupported("free text before nothing"));
                    }
                    parts.push(self.followed(item, &[end])?);
                    if next.kind == "tag" {
                        parts.push(self.tag_body(&next)?);
                    }
                    if let (None, Some(ends)) = (items.get(at), ends) {
                        parts.push(one_of(ends));
                    }
                }
                (None, Some(ends)) => parts.push(self.followed(item, ends)?),
                _ => parts.push(self.format(item)?),
            }
        }
        if let (true, Some(ends)) = (items.is_empty(), ends) {
            parts.push(one_of(ends));
        }
        Ok(Expr::Seq(parts))
    }

    fn all(&mut self, items: &[Value]) -> Result<Vec<Expr>, GrammarError> {
        items.iter().map(|item| self.format(item)).collect()
    }

    fn json(&mut self, format: &Format<'_>) -> Result<Expr, GrammarError> {
        if format.is_xml() {
            return self.xml(format, None);
        }
        let schema = self.schema(format, "json")?;
        Ok(Expr::Json(schema::for_llguidance(schema, self.options)))
    }

    /// Elements in place of JSON's members.
    fn xml(&mut self, format: &Format<'_>, ends: Option<&[String]>) -> Result<Expr, GrammarError> {
        let schema = self.schema(format, XML)?;
        xml::arguments(schema, self.options, ends)
    }

    /// The schema of a format that asks for nothing else.
    fn schema<'f>(&self, format: &Format<'f>, style: &str) -> Result<&'f Value, GrammarError> {
        let is = |key: &str, usual: Value| format.members.get(key).is_none_or(|v| *v == usual);
        if !is("style", style.into()) {
            return Err(unsupported("JSON in this style"));
        }
        if !is("any_order", false.into()) || !is("excludes", json!([])) {
            return Err(unsupported("any_order and excludes of json_schema"));
        }
        if !is("max_whitespace_cnt", Value::Null) {
            return Err(unsupported("max_whitespace_cnt"));
        }
        let schema = format.get("json_schema")?;
        if !matches!(schema, Value::Bool(_) | Value::Object(_)) {
            return Err(unreadable());
        }
        Ok(schema)
    }

    fn repeat(
        &mut self,
        format: &Format<'_>,
        min: u32,
        max: Option<u32>,
    ) -> Result<Expr, GrammarError> {
        let inner = Box::new(self.format(format.get("content")?)?);
        Ok(Expr::Repeat { inner, min, max })
    }

    fn tag(&mut self, format: &Format<'_>) -> Result<Expr, GrammarError> {
        let begin = match format.get("begin")? {
            Value::String(begin) => Expr::Text(begin.clone()),
            token => self.format(token)?,
        };
        Ok(Expr::Seq(vec![begin, self.tag_body(format)?]))
    }

    /// A tag behind its beginning.
    fn tag_body(&mut self, format: &Format<'_>) -> Result<Expr, GrammarError> {
        let content = format.get("content")?;
        match format.get("end")? {
            Value::String(end) => self.followed(content, std::slice::from_ref(end)),
            Value::Array(_) => self.followed(content, &format.texts("end")?),
            token => Ok(Expr::Seq(vec![self.format(content)?, self.format(token)?])),
        }
    }

    fn tags_with_separator(&mut self, format: &Format<'_>) -> Result<Expr, GrammarError> {
        let one = Expr::Or(self.all(format.list("tags")?)?);
        let separator = Expr::Text(format.text("separator")?);
        let tags = match format.flag("stop_after_first") {
            true => one,
            false => {
                let more = Expr::star(Expr::Seq(vec![separator, one.clone()]));
                Expr::Seq(vec![one, more])
            }
        };
        Ok(if format.flag("at_least_one") { tags } else { Expr::optional(tags) })
    }

    /// The number of a token given by number or by text.
    fn token(&self, value: &Value) -> Result<Token, GrammarError> {
        match value {
            Value::String(text) => (self.lookup)(text).ok_or_else(unreadable),
            other => {
                let id = other.as_u64().and_then(|id| Token::try_from(id).ok());
                id.ok_or_else(unreadable)
            }
        }
    }

    fn tokens_without(&self, format: &Format<'_>) -> Result<Expr, GrammarError> {
        let excluded = format.members.get("exclude_tokens").and_then(Value::as_array);
        let excluded: Result<Vec<Token>, _> =
            excluded.into_iter().flatten().map(|token| self.token(token)).collect();
        Ok(all_tokens_but(&excluded?))
    }
}

fn all_tokens_but(tokens: &[Token]) -> Expr {
    let list: Vec<String> = tokens.iter().map(Token::to_string).collect();
    Expr::Tokens(match list.is_empty() {
        true => "<[*]>".to_owned(),
        false => format!("<[^{}]>", list.join(",")),
    })
}

fn one_of(texts: &[String]) -> Expr {
    let mut texts: Vec<Expr> = texts.iter().cloned().map(Expr::Text).collect();
    if texts.len() == 1 { texts.remove(0) } else { Expr::Or(texts) }
}

fn is_bounded(format: &Format<'_>) -> bool {
    ["max_tokens", "max_chars"]
        .iter()
        .any(|key| format.members.get(*key).is_some_and(|v| !v.is_null()))
}

fn free_text(format: &Format<'_>) -> Result<Expr, GrammarError> {
    let excludes = format.texts("excludes")?;
    let limit = |key: &str| {
        let value = format.members.get(key).filter(|value| !value.is_null());
        value
            .map(|value| value.as_u64().and_then(|n| u32::try_from(n).ok()).ok_or_else(unreadable))
            .transpose()
    };
    match (limit("max_chars")?, limit("max_tokens")?) {
        (Some(max), None) if excludes.is_empty() => {
            let inner = Box::new(Expr::Regex("(?s:.)".to_owned()));
            Ok(Expr::Repeat { inner, min: 0, max: Some(max) })
        }
        (Some(_), _) => Err(unsupported("max_chars beside other limits")),
        (None, max_tokens) => Ok(Expr::Free { excludes, max_tokens }),
    }
}

/// A format's members.
struct Format<'a> {
    kind: &'a str,
    members: &'a Map<String, Value>,
}

impl<'a> Format<'a> {
    fn of(value: &'a Value) -> Result<Self, GrammarError> {
        let members = value.as_object().ok_or_else(unreadable)?;
        let kind = members.get("type").and_then(Value::as_str).ok_or_else(unreadable)?;
        Ok(Self { kind, members })
    }

    fn get(&self, key: &str) -> Result<&'a Value, GrammarError> {
        self.members.get(key).ok_or_else(unreadable)
    }

    fn text(&self, key: &str) -> Result<String, GrammarError> {
        self.get(key)?.as_str().map(str::to_owned).ok_or_else(unreadable)
    }

    fn list(&self, key: &str) -> Result<&'a [Value], GrammarError> {
        self.get(key)?.as_array().map(Vec::as_slice).ok_or_else(unreadable)
    }

    /// A list of texts; empty when it is not there.
    fn texts(&self, key: &str) -> Result<Vec<String>, GrammarError> {
        let Some(list) = self.members.get(key) else { return Ok(Vec::new()) };
        let texts = list.as_array().ok_or_else(unreadable)?.iter();
        texts.map(|text| text.as_str().map(str::to_owned).ok_or_else(unreadable)).collect()
    }

    fn is_xml(&self) -> bool {
        self.members.get("style").is_some_and(|style| style == XML)
    }

    fn int(&self, key: &str) -> Result<i64, GrammarError> {
        self.get(key)?.as_i64().ok_or_else(unreadable)
    }

    fn flag(&self, key: &str) -> bool {
        self.members.get(key).and_then(Value::as_bool).unwrap_or(false)
    }
}
