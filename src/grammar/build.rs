//! From what a request asks for to a grammar that llguidance compiles.

use super::compile::GrammarError;
use super::lark::{self, Expr};
use super::spec::{GrammarSpec, JsonOptions, has_lark_start, is_lark};
use super::tag::{self, Lookup};
use super::{anchors, ebnf, schema, size};
use llguidance::api::TopLevelGrammar;
use serde_json::{Value, json};

/// Says a specification in llguidance's words.
pub fn grammar(
    spec: &GrammarSpec,
    options: &JsonOptions,
    lookup: Lookup<'_>,
) -> Result<TopLevelGrammar, GrammarError> {
    let lark = match spec {
        GrammarSpec::Json(schema @ (Value::Object(_) | Value::Bool(_))) => {
            return Ok(json_grammar(schema, options));
        }
        GrammarSpec::Json(_) => {
            return Err(GrammarError::invalid("Expecting object schema to apply options"));
        }
        GrammarSpec::JsonObject => return Ok(json_grammar(&json!({"type": "object"}), options)),
        GrammarSpec::Regex(pattern) => {
            written(&[Expr::Regex(anchors::without_anchors(pattern))], 0)?
        }
        GrammarSpec::Choice(texts) => {
            let texts = texts.iter().cloned().map(Expr::Text).collect();
            written(&[Expr::Or(texts)], 0)?
        }
        GrammarSpec::Grammar(source) if is_lark(source) && has_lark_start(source) => {
            if !size::is_bounded_lark(source) {
                return Err(too_large());
            }
            source.clone()
        }
        GrammarSpec::Grammar(source) => {
            let mut rules = Vec::new();
            let root = ebnf::parse(source, &mut rules).map_err(GrammarError::invalid)?;
            written(&rules, root)?
        }
        GrammarSpec::Tag(tag) => tag::to_lark(tag, options, lookup)?,
    };
    Ok(TopLevelGrammar::from_lark(lark))
}

fn json_grammar(schema: &Value, options: &JsonOptions) -> TopLevelGrammar {
    TopLevelGrammar::from_json_schema(schema::for_llguidance(schema, options))
}

/// A grammar in Lark.
pub(super) fn written(rules: &[Expr], start: usize) -> Result<String, GrammarError> {
    lark::write(rules, start).ok_or_else(too_large)
}

/// Another reading of a grammar that llguidance has refused: a pattern as it stands.
pub fn second_reading(spec: &GrammarSpec) -> Option<TopLevelGrammar> {
    match spec {
        GrammarSpec::Regex(pattern) => Some(TopLevelGrammar::from_regex(pattern)),
        _ => None,
    }
}

pub(super) fn too_large() -> GrammarError {
    GrammarError::invalid("a part of it is too large")
}
