//! A consumer without any cleverness.

use rmpv::Value;
use std::collections::BTreeMap;

/// Blocks by number, with their tokens.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Index(BTreeMap<u64, Vec<u64>>);

fn list(value: &Value) -> &[Value] {
    value.as_array().expect("a list")
}

/// The number behind an integer hash of the script.
fn number(hash: &Value) -> u64 {
    hash.as_u64().expect("an integer hash") & !(1 << 63)
}

impl Index {
    /// These blocks of the script.
    pub fn of(blocks: impl IntoIterator<Item = u64>, block_size: usize) -> Self {
        let tokens = |n: u64| (0..block_size as u64).map(|i| (n * 31 + i) % 150_000).collect();
        Self(blocks.into_iter().map(|n| (n, tokens(n))).collect())
    }

    pub fn has(&self, block: u64) -> bool {
        self.0.contains_key(&block)
    }

    /// Does what a batch in map form says. A store must be news, with a known parent.
    pub fn take(&mut self, payload: &[u8]) {
        let batch = rmpv::decode::read_value(&mut &payload[..]).expect("msgpack");
        assert_eq!(list(&batch).len(), 3);
        for event in list(&list(&batch)[1]) {
            match event["type"].as_str().expect("a type") {
                "BlockStored" => self.store(event),
                "BlockRemoved" => {
                    for hash in list(&event["block_hashes"]) {
                        assert!(self.0.remove(&number(hash)).is_some(), "{event} was not there");
                    }
                }
                "AllBlocksCleared" => self.0.clear(),
                other => panic!("what is {other}?"),
            }
        }
    }

    fn store(&mut self, event: &Value) {
        let size = event["block_size"].as_u64().expect("a size") as usize;
        let tokens = list(&event["token_ids"]).chunks_exact(size);
        let mut parent = event["parent_block_hash"].clone();
        assert_eq!(tokens.len(), list(&event["block_hashes"]).len());
        for (hash, tokens) in list(&event["block_hashes"]).iter().zip(tokens) {
            assert!(parent.is_nil() || self.has(number(&parent)), "{parent} is unknown");
            let tokens = tokens.iter().map(|token| token.as_u64().expect("a token")).collect();
            let news = self.0.insert(number(hash), tokens).is_none();
            assert!(news, "{hash} is stored twice");
            parent = hash.clone();
        }
    }
}
