//! What a grammar can be given as.

use serde_json::Value;

/// A grammar as a request asks for it.
#[derive(Clone, Debug, PartialEq)]
pub enum GrammarSpec {
    /// A value that a JSON schema describes.
    Json(Value),
    /// Any JSON object.
    JsonObject,
    /// A text that a regular expression matches as a whole.
    Regex(String),
    /// One of these texts.
    Choice(Vec<String>),
    /// EBNF, or Lark when no line defines a rule by `::=`.
    Grammar(String),
    /// A structural tag: xgrammar's, of either form.
    Tag(Value),
}

/// How JSON is read and written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct JsonOptions {
    /// Schemas mean what they mean to llguidance, never what they mean to xgrammar.
    pub guidance: bool,
    /// No white space between the parts of a value.
    pub disable_any_whitespace: bool,
    /// Objects have no properties but those that a schema names.
    pub disable_additional_properties: bool,
}

/// Whether a grammar is Lark rather than EBNF, as vLLM tells them apart.
pub fn is_lark(grammar: &str) -> bool {
    grammar.split('\n').all(|line| {
        let comment = line.find('#').into_iter().chain(line.find("//")).min();
        !line[..comment.unwrap_or(line.len())].contains("::=")
    })
}

/// Whether some line says where a Lark grammar starts, or sets options.
pub fn has_lark_start(grammar: &str) -> bool {
    grammar.lines().map(str::trim_start).any(|line| {
        let rule = line.trim_start_matches(['?', '!']).strip_prefix("start").map(str::trim_start);
        rule.is_some_and(|rest| rest.starts_with(':'))
            || line
                .strip_prefix("%llguidance")
                .is_some_and(|rest| !rest.starts_with(|c: char| c.is_alphanumeric() || c == '_'))
    })
}
