//! The model's vocabulary as llguidance searches it.

use crate::types::Token;
use llguidance::toktrie::{TokEnv, TokRxInfo, TokTrie, TokenId, TokenizerEnv};
use std::sync::Arc;

/// One token: its bytes, none for an id that stands for nothing, and whether it is special.
pub type TokenBytes = (Vec<u8>, bool);

/// A vocabulary in a trie.
struct Vocabulary(TokTrie);

impl TokenizerEnv for Vocabulary {
    fn tok_trie(&self) -> &TokTrie {
        &self.0
    }

    fn tokenize_bytes(&self, bytes: &[u8]) -> Vec<TokenId> {
        self.0.greedy_tokenize(bytes)
    }

    /// The model chooses among all spellings of a text, as with vLLM's engines.
    fn tokenize_is_canonical(&self) -> bool {
        false
    }
}

/// Builds the trie. Special tokens match no text, only their own name.
pub fn build(tokens: Vec<TokenBytes>, eos: Token) -> TokEnv {
    let mark = |(bytes, special): TokenBytes| match special && !bytes.is_empty() {
        true => [&[TokTrie::SPECIAL_TOKEN_MARKER], &*bytes].concat(),
        false => bytes,
    };
    let words: Vec<Vec<u8>> = tokens.into_iter().map(mark).collect();
    let info = TokRxInfo::new(words.len() as u32, eos);
    Arc::new(Vocabulary(TokTrie::from(&info, &words)))
}
