//! Log-probabilities by token id, with the texts that the OpenAI APIs show.

use super::super::frontend::Frontend;
use super::super::request::Scored;
use crate::text::TokenTexts;
use crate::types::Token;
use serde::Serialize;
use serde_json::{Map, Value};

/// A chat's: one entry a position.
#[derive(Serialize)]
pub struct ChatLogprobs {
    content: Option<Vec<Entry>>,
}

#[derive(Serialize)]
struct Entry {
    token: String,
    logprob: f64,
    bytes: Option<Vec<u8>>,
    top_logprobs: Vec<TopEntry>,
}

#[derive(Serialize)]
struct TopEntry {
    token: String,
    logprob: f64,
    bytes: Option<Vec<u8>>,
}

/// A completion's: lists of equal length.
#[derive(Default, Serialize)]
pub struct CompletionLogprobs {
    text_offset: Vec<usize>,
    token_logprobs: Vec<f64>,
    tokens: Vec<String>,
    top_logprobs: Vec<Option<Map<String, Value>>>,
}

/// The text of a token, and its bytes unless no token has the id.
fn described(frontend: &Frontend, texts: &TokenTexts, token: Token) -> (String, Option<Vec<u8>>) {
    if frontend.encoder.token_piece(token).is_none() {
        return (String::new(), None);
    }
    let text = texts.text(token);
    let bytes = text.clone().into_bytes();
    (text, Some(bytes))
}

impl ChatLogprobs {
    /// `context` are tokens before the first position.
    pub fn new(frontend: &Frontend, all: &Option<Vec<Scored>>, context: &[Token]) -> Self {
        let mut texts = TokenTexts::after(frontend.encoder.vocabulary().clone(), context);
        let entry = |scored: &Scored| {
            let (token, bytes) = described(frontend, &texts, scored.token);
            let top = scored.top.iter().map(|&(token, logprob)| {
                let (token, bytes) = described(frontend, &texts, token);
                TopEntry { token, logprob, bytes }
            });
            let top_logprobs = top.collect();
            texts.advance(scored.token);
            Entry { token, logprob: scored.logprob, bytes, top_logprobs }
        };
        Self { content: all.as_ref().map(|all| all.iter().map(entry).collect()) }
    }
}

impl CompletionLogprobs {
    /// The same, with the text starting at `offset` characters.
    pub fn new(
        frontend: &Frontend,
        all: &Option<Vec<Scored>>,
        context: &[Token],
        mut offset: usize,
    ) -> Self {
        let mut logprobs = Self::default();
        let entries = ChatLogprobs::new(frontend, all, context).content.unwrap_or_default();
        for entry in entries {
            logprobs.text_offset.push(offset);
            offset += entry.token.chars().count();
            logprobs.token_logprobs.push(entry.logprob);
            let top: Map<String, Value> =
                entry.top_logprobs.into_iter().map(|top| (top.token, top.logprob.into())).collect();
            logprobs.top_logprobs.push(Some(top).filter(|top| !top.is_empty()));
            logprobs.tokens.push(entry.token);
        }
        logprobs
    }
}
