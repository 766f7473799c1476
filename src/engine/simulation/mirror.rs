//! An index of the prefix cache made from KV events alone, as a router keeps one.

use crate::kv::KvCache;
use crate::runner::sim::{SimBackend, context_hash};
use crate::types::{BlockHash, BlockId, KvEvent, KvEventBatch, KvEventSink, StoredBlocks};
use std::collections::{HashMap, HashSet};
use std::sync::{Arc, Mutex, MutexGuard};

/// The index; clones are the same one.
#[derive(Clone, Default)]
pub struct Mirror(Arc<Mutex<Index>>);

#[derive(Default)]
struct Index {
    /// The context that each block ends, as its events tell it.
    contexts: HashMap<BlockHash, u64>,
}

impl KvEventSink for Mirror {
    fn push(&mut self, batch: KvEventBatch) {
        let mut index = self.index();
        assert!(!batch.events.is_empty());
        for event in batch.events {
            match event {
                KvEvent::Stored(stored) => index.store(&stored, true),
                KvEvent::Reused(stored) => index.store(&stored, false),
                KvEvent::Removed { hashes } => hashes.iter().for_each(|hash| {
                    assert!(index.contexts.remove(hash).is_some(), "removed without a store");
                }),
                KvEvent::Cleared => index.contexts.clear(),
            }
        }
    }
}

impl Index {
    fn store(&mut self, stored: &StoredBlocks, is_news: bool) {
        let block_size = stored.tokens.len() / stored.hashes.len();
        assert_eq!(block_size * stored.hashes.len(), stored.tokens.len());
        let mut context = match stored.parent {
            Some(parent) => *self.contexts.get(&parent).expect("parents come first"),
            None => 0,
        };
        for (hash, tokens) in stored.hashes.iter().zip(stored.tokens.chunks(block_size)) {
            context = tokens.iter().fold(context, |context, &token| context_hash(context, token));
            let before = self.contexts.insert(*hash, context);
            assert_eq!(before, (!is_news).then_some(context), "only a first copy is news");
        }
    }
}

impl Mirror {
    fn index(&self) -> MutexGuard<'_, Index> {
        self.0.lock().unwrap()
    }

    /// It names exactly what is cached, and each block's KV is what the events say it is.
    pub fn check(&self, kv: &KvCache, device: &SimBackend) {
        let index = self.index();
        let cached: HashSet<&BlockHash> = kv.pool().cached().collect();
        assert_eq!(cached, index.contexts.keys().collect(), "the index is the pool");
        for (hash, context) in &index.contexts {
            let block: BlockId = kv.pool().lookup(hash).expect("cached");
            assert_eq!(
                device.context_at_end(block),
                *context,
                "the tokens of a block are its KV's"
            );
        }
    }
}
