//! Structured output: what a request asks for, compiled, and each generation's way through it.
//!
//! A [`GrammarSpec`] is compiled off all threads that matter ([`Grammars`]), once for many
//! requests; every generation then follows its own copy ([`GrammarMatcher`]), which the engine
//! knows as a [`TokenConstraint`](crate::types::TokenConstraint). llguidance does the parsing. What
//! xgrammar, vLLM's first choice, reads and llguidance does not is said in llguidance's Lark: EBNF
//! ([`ebnf`]), structural tags ([`tag`]), and how strictly a schema is meant ([`schema`]).

mod anchors;
mod build;
mod cache;
mod compile;
mod ebnf;
mod lark;
mod matcher;
mod schema;
mod size;
mod spec;
mod tag;
#[cfg(test)]
mod tests;
mod tools;
mod vocabulary;

pub use compile::{CompiledGrammar, GrammarError, Grammars};
pub use matcher::{GrammarMatcher, ReasoningEnd};
pub use spec::{GrammarSpec, JsonOptions};
pub use tools::{ToolCalls, ToolsAsked};
pub use vocabulary::TokenBytes;
