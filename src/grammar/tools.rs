//! What calls of tools have to look like: vLLM's structural tag for the hermes form.

use super::schema::beyond_xgrammar;
use super::spec::{GrammarSpec, is_lark};
use crate::types::ToolStrictLevel;
use serde_json::{Value, json};

/// Which calls an output has to hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ToolCalls<'a> {
    /// Any number, in text.
    Auto,
    /// One or more, and nothing else.
    Required,
    /// One, of the tool of this name, and nothing else.
    Named(&'a str),
}

/// What a request says about its tools.
#[derive(Clone, Copy, Debug)]
pub struct ToolsAsked<'a> {
    /// As OpenAI's API lists them.
    pub tools: &'a [Value],
    pub calls: ToolCalls<'a>,
    /// No more than one call.
    pub single: bool,
    /// The server's `--tool-strict-level`.
    pub level: ToolStrictLevel,
}

const START: &str = "<tool_call>";
const END: &str = "</tool_call>";

impl ToolsAsked<'_> {
    /// What the output has to keep to, when `output` is asked for beside the calls. `None` leaves
    /// that as it is.
    pub fn grammar(&self, output: Option<&GrammarSpec>) -> Option<GrammarSpec> {
        let is_auto = self.calls == ToolCalls::Auto;
        let mut level = self.level;
        if self.single && !(is_auto && output.is_some()) {
            // Only a grammar can count calls.
            level = level.max(ToolStrictLevel::Function);
        }
        let is_strict = |tool: &Value| tool["function"]["strict"] == Value::Bool(true);
        let has_strict = self.tools.iter().any(is_strict);
        if is_auto && level == ToolStrictLevel::Auto && !has_strict {
            return None;
        }
        let all = level >= ToolStrictLevel::Parameter;
        let tags: Vec<Value> = self
            .tools
            .iter()
            .filter(|tool| match self.calls {
                ToolCalls::Named(name) => tool["function"]["name"] == name,
                _ => true,
            })
            .flat_map(|tool| tags(&tool["function"], all || is_strict(tool)))
            .collect();
        if tags.is_empty() {
            return None;
        }
        let format = match (is_auto, output) {
            (true, None) => json!({
                "type": "triggered_tags",
                "triggers": [START],
                "tags": tags,
                "stop_after_first": self.single,
            }),
            (true, Some(output)) => {
                json!({"type": "or", "elements": [self.list(tags), format_of(output)?]})
            }
            (false, _) => self.list(tags),
        };
        Some(GrammarSpec::Tag(json!({"type": "structural_tag", "format": format})))
    }

    /// Calls one behind the other.
    fn list(&self, tags: Vec<Value>) -> Value {
        json!({
            "type": "tags_with_separator",
            "tags": tags,
            "separator": "",
            "at_least_one": true,
            "stop_after_first": self.single || matches!(self.calls, ToolCalls::Named(_)),
        })
    }
}

/// A call of one function, on lines of its own or on one line.
fn tags(function: &Value, strict: bool) -> [Value; 2] {
    let name = function["name"].as_str().unwrap_or_default();
    let schema = match &function["parameters"] {
        Value::Null => &Value::Bool(true),
        parameters if strict => parameters,
        _ => &Value::Bool(true),
    };
    ["\n", ""].map(|line| {
        json!({
            "type": "tag",
            "begin": format!("{START}{line}{{\"name\": \"{name}\", \"arguments\": "),
            "content": {"type": "json_schema", "json_schema": schema},
            "end": format!("}}{line}{END}"),
        })
    })
}

/// A grammar as a format within a structural tag; `None` for those that vLLM leaves alone there.
fn format_of(spec: &GrammarSpec) -> Option<Value> {
    Some(match spec {
        GrammarSpec::Json(schema) if beyond_xgrammar(schema) => return None,
        GrammarSpec::Json(schema) => json!({"type": "json_schema", "json_schema": schema}),
        GrammarSpec::JsonObject => {
            json!({"type": "json_schema", "json_schema": {"type": "object"}})
        }
        GrammarSpec::Regex(pattern) => json!({"type": "regex", "pattern": pattern}),
        GrammarSpec::Choice(texts) => {
            let texts = texts.iter().map(|text| json!({"type": "const_string", "value": text}));
            json!({"type": "or", "elements": texts.collect::<Vec<_>>()})
        }
        GrammarSpec::Grammar(source) if is_lark(source) => return None,
        GrammarSpec::Grammar(source) => json!({"type": "grammar", "grammar": source}),
        GrammarSpec::Tag(tag) => tag.get("format")?.clone(),
    })
}
