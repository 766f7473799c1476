//! The bytes behind every token.

use crate::types::Token;
use tokenizers::{DecoderWrapper, Tokenizer};

/// A tokenizer that Glassbox cannot turn back into text.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "tokenizer.json: the decoder is not of type ByteLevel, which every Qwen3 tokenizer has; \
     use the tokenizer.json that came with the model"
)]
pub struct UnsupportedTokenizer;

/// What each id of a byte-level tokenizer stands for. Text is the concatenation of its tokens'
/// bytes, so a table replaces the tokenizer wherever tokens become text. Without a tokenizer it is
/// empty.
#[derive(Debug, Default)]
pub struct Vocabulary {
    /// The bytes of all tokens, one after the other.
    bytes: Vec<u8>,
    /// Where each token's bytes end. Ids that the tokenizer does not know have none.
    ends: Vec<u32>,
    /// By id: whether `skip_special_tokens` leaves it out.
    special: Vec<bool>,
    /// By id: whether it was added to the vocabulary that the model's words come from.
    added: Vec<bool>,
    max_chars_per_token: usize,
}

impl Vocabulary {
    /// Reads the table out of a tokenizer.
    pub fn new(tokenizer: &Tokenizer) -> Result<Self, UnsupportedTokenizer> {
        if !matches!(tokenizer.get_decoder(), Some(DecoderWrapper::ByteLevel(_))) {
            return Err(UnsupportedTokenizer);
        }
        let known = tokenizer.get_vocab(true);
        let added = tokenizer.get_added_tokens_decoder();
        let size = known.values().max().map_or(0, |&id| id as usize + 1);
        let mut pieces = vec![""; size];
        for (piece, &id) in &known {
            pieces[id as usize] = piece;
        }
        let mut special = vec![false; size];
        let mut is_added = vec![false; size];
        for (&id, token) in &added {
            pieces[id as usize] = &token.content;
            special[id as usize] = token.special;
            is_added[id as usize] = true;
        }
        let mut table = Self {
            bytes: Vec::new(),
            ends: Vec::with_capacity(size),
            special,
            added: is_added,
            max_chars_per_token: known.keys().map(|piece| piece.chars().count()).max().unwrap_or(0),
        };
        for piece in pieces {
            append_bytes(piece, &mut table.bytes);
            table.ends.push(table.bytes.len() as u32);
        }
        Ok(table)
    }

    /// The bytes of a token; none for an id that the tokenizer does not know.
    pub fn bytes(&self, token: Token) -> &[u8] {
        let id = token as usize;
        let Some(&end) = self.ends.get(id) else { return &[] };
        let start = if id == 0 { 0 } else { self.ends[id - 1] };
        &self.bytes[start as usize..end as usize]
    }

    /// Whether this token was added to the vocabulary, special or not.
    pub fn is_added(&self, token: Token) -> bool {
        self.added.get(token as usize).copied().unwrap_or(false)
    }

    /// One more than the largest id.
    pub fn size(&self) -> usize {
        self.ends.len()
    }

    /// Whether `skip_special_tokens` leaves this token out.
    pub fn is_special(&self, token: Token) -> bool {
        self.special.get(token as usize).copied().unwrap_or(false)
    }

    /// The token that stands for this text alone. Looks at every token: for use at start.
    pub fn find(&self, text: &str) -> Option<Token> {
        (0..self.ends.len() as Token).rev().find(|token| self.bytes(*token) == text.as_bytes())
    }

    /// All tokens that `skip_special_tokens` leaves out.
    pub fn specials(&self) -> impl Iterator<Item = Token> {
        (0..self.special.len() as Token).filter(|token| self.is_special(*token))
    }

    /// The text of a whole sequence. Bytes that are not UTF-8 become U+FFFD; ids that the
    /// tokenizer does not know become nothing.
    pub fn decode(&self, tokens: &[Token], skip_special_tokens: bool) -> String {
        let shown = tokens.iter().filter(|&&t| !(skip_special_tokens && self.is_special(t)));
        let bytes: Vec<u8> = shown.flat_map(|&token| self.bytes(token)).copied().collect();
        String::from_utf8(bytes)
            .unwrap_or_else(|error| String::from_utf8_lossy(error.as_bytes()).into_owned())
    }

    /// The length of the longest vocabulary entry, in characters of its written form. A text of
    /// more than `n` times as many characters cannot fit into `n` tokens.
    pub fn max_chars_per_token(&self) -> usize {
        self.max_chars_per_token
    }
}

/// The text of vocabulary entries, one after the other. Bytes that are not UTF-8 become U+FFFD.
pub fn text_of_pieces(pieces: &[String]) -> String {
    let mut bytes = Vec::new();
    pieces.iter().for_each(|piece| append_bytes(piece, &mut bytes));
    String::from_utf8_lossy(&bytes).into_owned()
}

/// A vocabulary entry spells each byte as one printable character; an entry with any other
/// character in it is an added token, which stands for itself.
fn append_bytes(piece: &str, bytes: &mut Vec<u8>) {
    let start = bytes.len();
    for c in piece.chars() {
        let Some(byte) = byte_of(c) else {
            bytes.truncate(start);
            bytes.extend_from_slice(piece.as_bytes());
            return;
        };
        bytes.push(byte);
    }
}

/// GPT-2's alphabet: printable Latin-1 characters are themselves; the other 68 bytes, in order,
/// are the characters from U+0100 on.
fn byte_of(c: char) -> Option<u8> {
    match c {
        '!'..='~' | '¡'..='¬' | '®'..='ÿ' => Some(c as u8),
        '\u{100}'..='\u{120}' => Some((c as u32 - 0x100) as u8),
        '\u{121}'..='\u{142}' => Some((c as u32 - 0x121) as u8 + 0x7f),
        '\u{143}' => Some(0xad),
        _ => None,
    }
}
