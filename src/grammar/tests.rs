//! What grammars take, against what xgrammar takes; and that all output keeps to its grammar.

mod acceptance;
mod errors;
mod hostile;
mod sampled;

use super::*;
use crate::types::{Token, TokenConstraint};
use serde_json::Value;

/// Token 256; ids below are bytes.
const EOS: Token = 256;
/// Some tokens of several bytes, special ones last.
const LONGER: [&str; 18] = [
    "{\"",
    "\":",
    "\", \"",
    "\"}",
    "},",
    "[]",
    "true",
    "null",
    " \"",
    "the",
    "é",
    "12",
    "\n  ",
    "</",
    "<tool_call>",
    "<f=",
    "漢",
    "<|im_end|>",
];

/// Bytes, an end token, and tokens that span the parts of a text.
fn vocabulary() -> Vec<TokenBytes> {
    let bytes = (0..=255_u8).map(|byte| (vec![byte], false));
    let eos = (b"<|end|>".to_vec(), true);
    let longer = LONGER.iter().map(|text| (text.as_bytes().to_vec(), text.starts_with("<|")));
    bytes.chain([eos]).chain(longer).collect()
}

fn grammars() -> Grammars {
    Grammars::new(vocabulary, Some(EOS), JsonOptions::default())
}

fn compile(grammars: &Grammars, spec: GrammarSpec) -> Result<CompiledGrammar, GrammarError> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build();
    runtime.expect("a runtime").block_on(grammars.compile(spec))
}

fn allows(matcher: &GrammarMatcher, token: Token) -> bool {
    let mask = matcher.mask().expect("prepared and constrained");
    mask.get(token as usize / 32).is_some_and(|word| word >> (token % 32) & 1 == 1)
}

/// Whether the grammar takes `text` byte for byte, and may end there.
fn takes(grammar: &CompiledGrammar, text: &str) -> bool {
    let mut matcher = grammar.start(vec![EOS], None);
    for token in text.bytes().map(Token::from).chain([EOS]) {
        matcher.prepare();
        if matcher.mask().is_none() || !allows(&matcher, token) {
            return false;
        }
        assert!(matcher.accept(token), "allowed, then refused: {text:?}");
    }
    true
}

fn spec(kind: &str, value: &Value) -> GrammarSpec {
    match kind {
        "grammar" => GrammarSpec::Grammar(value.as_str().expect("a text").to_owned()),
        "regex" => GrammarSpec::Regex(value.as_str().expect("a text").to_owned()),
        "json" => GrammarSpec::Json(value.clone()),
        "tag" | "legacy" => GrammarSpec::Tag(value.clone()),
        other => panic!("{other} is no kind of grammar"),
    }
}
