//! What calls of tools have to look like: vLLM's structural tags for the forms of Qwen's models.

use super::compile::GrammarError;
use super::schema::beyond_xgrammar;
use super::spec::{GrammarSpec, is_lark};
use super::tag::{self, complete};
use crate::types::{ToolFormat, ToolStrictLevel};
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
    /// How the model writes calls.
    pub format: ToolFormat,
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
/// What a call begins with whose arguments are elements.
const FUNCTION: &str = "<tool_call>\n<function=";
/// Tags that are no text beside such calls.
const THINK_TAGS: [&str; 2] = ["<think>", "</think>"];

impl ToolsAsked<'_> {
    /// What the output has to keep to, when `output` is asked for beside the calls. `None` leaves
    /// that as it is.
    ///
    /// # Errors
    /// Several tools of the name that is asked for.
    pub fn grammar(
        &self,
        output: Option<&GrammarSpec>,
    ) -> Result<Option<GrammarSpec>, GrammarError> {
        let is_auto = self.calls == ToolCalls::Auto;
        let mut level = self.level;
        if self.single && !(is_auto && output.is_some()) {
            // Only a grammar can count calls.
            level = level.max(ToolStrictLevel::Function);
        }
        let is_strict = |tool: &Value| tool["function"]["strict"] == Value::Bool(true);
        let has_strict = self.tools.iter().any(is_strict);
        if is_auto && level == ToolStrictLevel::Auto && !has_strict {
            return Ok(None);
        }
        let is_asked = |tool: &&Value| match self.calls {
            ToolCalls::Named(name) => tool["function"]["name"] == name,
            _ => true,
        };
        let asked: Vec<&Value> = self.tools.iter().filter(is_asked).collect();
        if matches!(self.calls, ToolCalls::Named(_)) && asked.len() > 1 {
            let message = "Forced tool choice must resolve to exactly one tool.";
            return Err(GrammarError::said(message));
        }
        let all = level >= ToolStrictLevel::Parameter;
        let tags = asked.into_iter().flat_map(|tool| {
            let strict = all || is_strict(tool);
            self.tags(&tool["function"], strict)
        });
        let tags: Vec<Value> = tags.collect();
        if tags.is_empty() {
            return Ok(None);
        }
        let format = match (is_auto, output) {
            (true, None) => self.triggered(tags, false),
            (false, _) => self.forced(tags),
            (true, Some(output)) => match format_of(output) {
                Some(output) => json!({"type": "or", "elements": [self.forced(tags), output]}),
                None => return Ok(None),
            },
        };
        // As xgrammar would print it, for clients are shown it.
        let format = complete(&format).unwrap_or(format);
        Ok(Some(GrammarSpec::Tag(json!({"type": "structural_tag", "format": format}))))
    }

    /// Calls, in text or at once.
    fn triggered(&self, tags: Vec<Value>, at_once: bool) -> Value {
        let (trigger, excludes) = match self.format {
            ToolFormat::Hermes => (START, &[][..]),
            ToolFormat::Qwen3Xml => (FUNCTION, &THINK_TAGS[..]),
        };
        json!({
            "type": "triggered_tags",
            "triggers": [trigger],
            "tags": tags,
            "at_least_one": at_once,
            "stop_after_first": self.single,
            "excludes": excludes,
        })
    }

    /// Calls from the start.
    fn forced(&self, mut tags: Vec<Value>) -> Value {
        let is_named = matches!(self.calls, ToolCalls::Named(_));
        match self.format {
            ToolFormat::Hermes => json!({
                "type": "tags_with_separator",
                "tags": tags,
                "separator": "",
                "at_least_one": true,
                "stop_after_first": self.single || is_named,
            }),
            ToolFormat::Qwen3Xml if is_named => tags.swap_remove(0),
            ToolFormat::Qwen3Xml => self.triggered(tags, true),
        }
    }

    /// A call of one function, in each way to write it.
    fn tags(&self, function: &Value, strict: bool) -> Vec<Value> {
        let name = function["name"].as_str().unwrap_or_default();
        let schema = match &function["parameters"] {
            Value::Null => &Value::Bool(true),
            parameters if strict => parameters,
            _ => &Value::Bool(true),
        };
        let tag = |begin: String, style: &str, end: String| {
            let content = json!({"type": "json_schema", "json_schema": schema, "style": style});
            json!({"type": "tag", "begin": begin, "content": content, "end": end})
        };
        match self.format {
            // On lines of its own, or on one line.
            ToolFormat::Hermes => ["\n", ""]
                .map(|line| {
                    let begin = format!("{START}{line}{{\"name\": \"{name}\", \"arguments\": ");
                    tag(begin, "json", format!("}}{line}{END}"))
                })
                .to_vec(),
            ToolFormat::Qwen3Xml => {
                let begin = format!("{FUNCTION}{name}>\n");
                vec![tag(begin, "qwen_xml", format!("\n</function>\n{END}"))]
            }
        }
    }
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
        GrammarSpec::Tag(tag) => tag::format_of(tag).ok()?.into_owned(),
    })
}
