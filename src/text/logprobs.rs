//! Text for log-probabilities, in the shapes in which the APIs show them.

use super::vocabulary::Vocabulary;
use crate::types::{Token, TokenLogprobs};
use serde::Serialize;
use std::collections::HashMap;
use std::sync::Arc;

/// The least log-probability shown: JSON has no −∞.
const FLOOR: f64 = -9999.0;
/// No character has more bytes, so no more tokens are needed to finish one.
const MAX_CONTEXT: usize = 4;

/// A token at one position, with its text.
#[derive(Clone, Debug, PartialEq)]
pub struct TokenText {
    pub token: Token,
    pub logprob: f32,
    /// 1 is best.
    pub rank: u32,
    /// Empty for a token that only starts or goes on with a character; the token that finishes
    /// it has all of it.
    pub text: String,
}

impl TokenText {
    /// The log-probability as APIs show it.
    pub fn shown_logprob(&self) -> f64 {
        shown_logprob(self.logprob)
    }
}

/// The tokens of one position, without repetition: first the one that stands there, then the most
/// likely ones.
#[derive(Clone, Debug, PartialEq)]
pub struct PositionTexts {
    /// Never empty.
    tokens: Vec<TokenText>,
    /// Which of them stands there.
    chosen: usize,
    /// Whether its bytes are told.
    has_bytes: bool,
}

/// Finds the texts of the log-probabilities of one sequence, position by position.
pub struct TokenTexts {
    vocabulary: Arc<Vocabulary>,
    /// The tokens that stand at the positions before, the latest last.
    context: Vec<Token>,
}

impl TokenTexts {
    /// Nothing has come before the first position: characters that the prompt left unfinished
    /// stay so, as in vLLM.
    pub fn new(vocabulary: Arc<Vocabulary>) -> Self {
        Self { vocabulary, context: Vec::with_capacity(MAX_CONTEXT + 1) }
    }

    /// Describes the next position. The rank of the token that stands there is its place among
    /// the most likely ones when it is one of them: they differ where logits are equal.
    pub fn next(&mut self, logprobs: &TokenLogprobs) -> PositionTexts {
        let mut tokens = Vec::with_capacity(logprobs.top.len() + 1);
        tokens.push(self.describe(logprobs.token, logprobs.logprob, logprobs.rank));
        for (&(token, logprob), rank) in logprobs.top.iter().zip(1..) {
            if token == logprobs.token {
                tokens[0].rank = rank;
            } else {
                tokens.push(self.describe(token, logprob, rank));
            }
        }
        self.advance(logprobs.token);
        PositionTexts { tokens, chosen: 0, has_bytes: true }
    }

    /// The same with tokens that stand at the positions before.
    pub fn after(vocabulary: Arc<Vocabulary>, before: &[Token]) -> Self {
        let mut texts = Self::new(vocabulary);
        before.iter().for_each(|&token| texts.advance(token));
        texts
    }

    /// The text of a token at this position.
    pub fn text(&self, token: Token) -> String {
        let text = self.decode(&[token]);
        if is_cut(&text) { self.finish(token) } else { text }
    }

    /// Goes on behind `token`.
    pub fn advance(&mut self, token: Token) {
        if self.context.len() == MAX_CONTEXT {
            self.context.remove(0);
        }
        self.context.push(token);
    }

    fn describe(&self, token: Token, logprob: f32, rank: u32) -> TokenText {
        TokenText { token, logprob, rank, text: self.text(token) }
    }

    /// The text of a token that is no whole text by itself, read after the tokens before it;
    /// empty when it does not finish a character there either.
    fn finish(&self, token: Token) -> String {
        let mut sequence = Vec::with_capacity(MAX_CONTEXT + 1);
        for count in 1..=self.context.len() {
            let context = &self.context[self.context.len() - count..];
            sequence.clear();
            sequence.extend_from_slice(context);
            sequence.push(token);
            let whole = self.decode(&sequence);
            if is_cut(&whole) {
                continue;
            }
            // Tokens before it that were cut too have shown nothing: their text is shown here.
            let cut = context.iter().rev().take_while(|&&t| is_cut(&self.decode(&[t]))).count();
            let shown = self.decode(&context[..count - cut]);
            return after_common_start(&whole, &shown).to_owned();
        }
        String::new()
    }

    fn decode(&self, tokens: &[Token]) -> String {
        self.vocabulary.decode(tokens, false)
    }
}

fn is_cut(text: &str) -> bool {
    text.ends_with(char::REPLACEMENT_CHARACTER)
}

fn after_common_start<'a>(text: &'a str, start: &str) -> &'a str {
    let common = text.chars().zip(start.chars()).take_while(|(a, b)| a == b);
    &text[common.map(|(c, _)| c.len_utf8()).sum()..]
}

fn shown_logprob(logprob: f32) -> f64 {
    f64::from(logprob).max(FLOOR)
}

/// With `return_tokens_as_token_ids`, an id takes the place of a text.
fn shown_token(token: &TokenText, as_token_id: bool) -> String {
    if as_token_id { format!("token_id:{}", token.token) } else { token.text.clone() }
}

/// An entry of `logprobs.content` in the chat API, in its order of keys.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct ChatLogprob {
    pub token: String,
    pub logprob: f64,
    /// UTF-8 of the token's text, whatever `token` shows; a beam's is not told.
    pub bytes: Option<Vec<u8>>,
    pub top_logprobs: Vec<TopLogprob>,
}

/// An entry of `top_logprobs` in the chat API.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct TopLogprob {
    pub token: String,
    pub logprob: f64,
    /// UTF-8 of `token`.
    pub bytes: Vec<u8>,
}

impl PositionTexts {
    /// All of them, the one that was sampled first.
    pub fn tokens(&self) -> &[TokenText] {
        &self.tokens
    }

    /// The position of a beam: `token` stands there, whichever was sampled. vLLM shows its tokens
    /// each by itself, even a part of a character, and without the bytes of the one that stands
    /// there.
    pub fn of_beam(vocabulary: &Vocabulary, logprobs: &TokenLogprobs, token: Token) -> Self {
        let text = |token, logprob, rank| {
            let text = vocabulary.decode(&[token], false);
            TokenText { token, logprob, rank, text }
        };
        let others = logprobs.top.iter().zip(1..).filter(|(top, _)| top.0 != logprobs.token);
        let mut tokens = vec![text(logprobs.token, logprobs.logprob, logprobs.rank)];
        tokens.extend(others.map(|(&(token, logprob), rank)| text(token, logprob, rank)));
        let chosen = tokens.iter().position(|text| text.token == token).unwrap_or(0);
        Self { tokens, chosen, has_bytes: false }
    }

    /// The chat API's entry. `top` is the request's `top_logprobs`; −1 is all. The sampled token
    /// counts as the first of them, so when it is not among the `top` most likely ones the last
    /// of those is missing. With `as_token_ids`, tokens show as `token_id:N`.
    pub fn chat(&self, top: i32, as_token_ids: bool) -> ChatLogprob {
        let sampled = &self.tokens[self.chosen];
        let count = usize::try_from(top).unwrap_or(usize::MAX);
        let entry = |token: &TokenText| {
            let shown = shown_token(token, as_token_ids);
            let bytes = shown.clone().into_bytes();
            TopLogprob { token: shown, logprob: shown_logprob(token.logprob), bytes }
        };
        ChatLogprob {
            token: shown_token(sampled, as_token_ids),
            logprob: shown_logprob(sampled.logprob),
            bytes: self.has_bytes.then(|| sampled.text.clone().into_bytes()),
            top_logprobs: self.tokens.iter().take(count).map(entry).collect(),
        }
    }

    /// The completions API's position. `top` is the request's `logprobs`; −1 is all. The map has
    /// room for one more: the token that stands there.
    pub fn completion(&self, top: i32, as_token_ids: bool) -> CompletionLogprob {
        let sampled = &self.tokens[self.chosen];
        let count = usize::try_from(top).map_or(usize::MAX, |top| top + 1);
        let mut map: Vec<(String, f64)> = Vec::with_capacity(self.tokens.len().min(count));
        let mut places = HashMap::new();
        for token in self.tokens.iter().take(count) {
            let shown = shown_token(token, as_token_ids);
            let logprob = shown_logprob(token.logprob);
            let place = *places.entry(shown.clone()).or_insert(map.len());
            match map.get_mut(place) {
                Some(entry) => entry.1 = logprob,
                None => map.push((shown, logprob)),
            }
        }
        CompletionLogprob {
            token: shown_token(sampled, as_token_ids),
            logprob: shown_logprob(sampled.logprob),
            top: map,
        }
    }

    /// The map of one position in `prompt_logprobs`, in order; `has_texts` unless there is no
    /// tokenizer.
    pub fn prompt(self, has_texts: bool) -> Vec<(Token, PromptLogprob)> {
        let value = |token: TokenText| {
            let logprob = f64::from(token.logprob);
            let logprob = if logprob == f64::NEG_INFINITY { FLOOR } else { logprob };
            let decoded_token = has_texts.then_some(token.text);
            (token.token, PromptLogprob { logprob, rank: token.rank, decoded_token })
        };
        self.tokens.into_iter().map(value).collect()
    }
}

/// One position of `logprobs` in the completions API.
#[derive(Clone, Debug, PartialEq)]
pub struct CompletionLogprob {
    pub token: String,
    pub logprob: f64,
    /// The map of `top_logprobs`, in order; tokens of equal text share one entry.
    pub top: Vec<(String, f64)>,
}

/// A value of the maps in `prompt_logprobs`; the key is the token's id. In its order of keys.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct PromptLogprob {
    pub logprob: f64,
    pub rank: u32,
    pub decoded_token: Option<String>,
}
