//! Tokens to text, one at a time, never ending inside a character.

use super::vocabulary::Vocabulary;
use crate::types::Token;
use std::collections::VecDeque;
use std::str::from_utf8;
use std::sync::Arc;

/// What vLLM waits behind: text that ends in it may be a character whose rest is still to come.
const REPLACEMENT: char = char::REPLACEMENT_CHARACTER;

/// Decodes a stream of tokens. Text comes out in the portions in which vLLM's decoder gives it:
/// whole tokens, held back while the text ends in U+FFFD, be it an unfinished character or truly
/// invalid bytes. What is still held back at the end is never shown, as there.
pub(super) struct Utf8Stream {
    vocabulary: Arc<Vocabulary>,
    skip_special_tokens: bool,
    /// Decoded, but ends in U+FFFD or stands before an unfinished character.
    held: String,
    /// The bytes of an unfinished character, at most 3 between calls.
    tail: Vec<u8>,
}

impl Utf8Stream {
    /// A stream that goes on after `prompt`: a character that it left unfinished is finished by
    /// the output.
    pub(super) fn new(
        vocabulary: Arc<Vocabulary>,
        skip_special_tokens: bool,
        prompt: &[Token],
    ) -> Self {
        let mut end = VecDeque::with_capacity(32);
        for &token in prompt.iter().rev() {
            if end.len() >= 3 {
                break;
            }
            if !(skip_special_tokens && vocabulary.is_special(token)) {
                vocabulary.bytes(token).iter().rev().for_each(|&byte| end.push_front(byte));
            }
        }
        let end = Vec::from(end);
        let starts = end.len().saturating_sub(3)..end.len();
        let tail = starts.map(|start| &end[start..]).find(|bytes| is_unfinished(bytes));
        let tail = tail.map_or_else(Vec::new, <[u8]>::to_vec);
        Self { vocabulary, skip_special_tokens, held: String::new(), tail }
    }

    /// Appends to `out` the text that may be shown now.
    pub(super) fn push(&mut self, token: Token, out: &mut String) {
        if self.skip_special_tokens && self.vocabulary.is_special(token) {
            return;
        }
        self.tail.extend_from_slice(self.vocabulary.bytes(token));
        let mut left = self.tail.len();
        for chunk in self.tail.utf8_chunks() {
            self.held.push_str(chunk.valid());
            left -= chunk.valid().len();
            if left == chunk.invalid().len() && is_unfinished(chunk.invalid()) {
                break;
            }
            if !chunk.invalid().is_empty() {
                self.held.push(REPLACEMENT);
            }
            left -= chunk.invalid().len();
        }
        self.tail.drain(..self.tail.len() - left);
        if self.tail.is_empty() && !self.held.ends_with(REPLACEMENT) {
            out.push_str(&self.held);
            self.held.clear();
        }
    }
}

/// Whether more bytes could make a character of these: the start of one and nothing else.
fn is_unfinished(bytes: &[u8]) -> bool {
    from_utf8(bytes).is_err_and(|e| e.valid_up_to() == 0 && e.error_len().is_none())
}
