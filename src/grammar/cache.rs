//! Compiled grammars that were used lately.

use super::compile::CompiledGrammar;
use indexmap::IndexMap;

/// How many are kept.
const ENTRIES: usize = 128;
/// Grammars of longer texts are not kept.
const LONGEST_KEY: usize = 256 << 10;

/// Least recently used first.
#[derive(Default)]
pub struct Cache(IndexMap<String, CompiledGrammar>);

impl Cache {
    /// The grammar under a key, unless its tables have reached a limit.
    pub fn get(&mut self, key: &str) -> Option<CompiledGrammar> {
        let (key, grammar) = self.0.shift_remove_entry(key)?;
        if grammar.is_broken() {
            return None;
        }
        let found = grammar.clone();
        self.0.insert(key, grammar);
        Some(found)
    }

    /// Keeps a grammar.
    pub fn insert(&mut self, key: String, grammar: CompiledGrammar) {
        if key.len() > LONGEST_KEY {
            return;
        }
        self.0.shift_remove(&key);
        if self.0.len() >= ENTRIES {
            self.0.shift_remove_index(0);
        }
        self.0.insert(key, grammar);
    }
}
