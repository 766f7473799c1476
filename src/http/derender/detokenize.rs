//! Tokens to text, from where a client says that the text has got.
//!
//! vLLM's way: a window of vocabulary entries with two places in it. What stands from the first
//! place on is decoded with and without the newest entry, and the difference is shown unless it
//! ends inside a character.

use super::super::request::State;
use crate::text::{Encoder, text_of_pieces};
use crate::types::Token;

/// Entries of a prompt that the window holds, and how many of them are decoded again.
const KEPT: usize = 7;
const DECODED_AGAIN: usize = 5;

/// The text of one reply as it grows.
#[derive(Clone)]
pub struct Detokenizer<'a> {
    encoder: &'a Encoder,
    skip_special_tokens: bool,
    window: Vec<String>,
    /// Where decoding starts, and where what was shown ends.
    prefix: usize,
    read: usize,
}

impl<'a> Detokenizer<'a> {
    /// Text that follows a prompt.
    pub fn after(encoder: &'a Encoder, prompt: &[Token], skip_special_tokens: bool) -> Self {
        let mut new = Self { encoder, skip_special_tokens, window: Vec::new(), prefix: 0, read: 0 };
        let tail = &prompt[prompt.len().saturating_sub(KEPT)..];
        new.window = tail.iter().filter_map(|&token| new.piece(token)).collect();
        new.read = new.window.len();
        new.prefix = new.read.saturating_sub(DECODED_AGAIN);
        new
    }

    /// Text that goes on from what a client carried along.
    pub fn resume(encoder: &'a Encoder, state: &State, skip_special_tokens: bool) -> Self {
        Self {
            encoder,
            skip_special_tokens,
            window: state.prev_tokens.clone(),
            prefix: state.prefix_offset,
            read: state.read_offset,
        }
    }

    /// What the client has to carry along.
    pub fn save(self, state: &mut State) {
        state.prev_tokens = self.window;
        state.prefix_offset = self.prefix;
        state.read_offset = self.read;
    }

    /// The text that these tokens add.
    pub fn push(&mut self, tokens: &[Token]) -> String {
        tokens.iter().map(|&token| self.push_one(token)).collect()
    }

    fn push_one(&mut self, token: Token) -> String {
        self.window.extend(self.piece(token));
        let count = self.window.len();
        let (prefix, read) = (self.prefix.min(count), self.read.min(count));
        let shown = text_of_pieces(&self.window[prefix..read.max(prefix)]);
        let whole = text_of_pieces(&self.window[prefix..]);
        let shown_chars = shown.chars().count();
        let grows = whole.chars().count() > shown_chars;
        let text = match grows && !whole.ends_with(char::REPLACEMENT_CHARACTER) {
            true => {
                (self.prefix, self.read) = (self.read, count);
                whole.chars().skip(shown_chars).collect()
            }
            false => String::new(),
        };
        let gone = self.prefix;
        self.window.drain(..gone.min(count));
        self.read = self.read.saturating_sub(gone);
        self.prefix = 0;
        text
    }

    /// The vocabulary's entry; `None` for a special token that is left out. An id of no token is
    /// an empty entry.
    fn piece(&self, token: Token) -> Option<String> {
        let skipped = self.skip_special_tokens && self.encoder.vocabulary().is_special(token);
        (!skipped).then(|| self.encoder.token_piece(token).unwrap_or_default())
    }
}
