//! The hash of a block: of its tokens, of what makes them different (salt, LoRA), and, through its
//! parent's hash, of everything before it.

use super::encode;
use crate::types::{BlockHash, HashAlgo, Token};
use sha2::{Digest, Sha256};
use twox_hash::XxHash3_128;

fn is_cbor(algo: HashAlgo) -> bool {
    matches!(algo, HashAlgo::Sha256Cbor | HashAlgo::XxhashCbor)
}

/// What tells blocks of equal tokens apart. Only the first block carries the salt; the chain takes
/// it to the later ones.
#[derive(Clone, Copy, Debug)]
pub enum ExtraKey<'a> {
    Lora { name: &'a str, path: &'a str },
    CacheSalt(&'a str),
}

impl<'a> ExtraKey<'a> {
    /// The parts of vLLM's tuple.
    pub fn parts(&self) -> Vec<&'a str> {
        match *self {
            Self::Lora { name, path } => vec!["lora", name, path],
            Self::CacheSalt(salt) => vec!["cache_salt", salt],
        }
    }
}

/// Computes block hashes; owns the buffer the bytes are written to.
pub struct BlockHasher {
    algo: HashAlgo,
    none_hash: BlockHash,
    bytes: Vec<u8>,
}

impl BlockHasher {
    /// `seed` is the environment's PYTHONHASHSEED when that is set, even if empty. Without it the
    /// root is fixed for SHA-256 and random for XXH3, as in vLLM.
    pub fn new(algo: HashAlgo, seed: Option<&str>) -> Self {
        let mut hasher = Self { algo, none_hash: BlockHash::new([0; 32]), bytes: Vec::new() };
        let random;
        let seed = match seed {
            Some(seed) => seed,
            None if algo.digest_len() == 32 => "vllm-none-hash",
            None => {
                random = random_hex();
                &random
            }
        };
        if is_cbor(algo) {
            encode::cbor_text(&mut hasher.bytes, seed);
        } else {
            encode::pickle_text(&mut hasher.bytes, seed);
        }
        hasher.none_hash = hasher.digest();
        hasher
    }

    /// The parent of first blocks.
    pub fn none_hash(&self) -> BlockHash {
        self.none_hash
    }

    /// The hash of a full block. `parent` is `None` for the first one.
    pub fn block(
        &mut self,
        parent: Option<BlockHash>,
        tokens: &[Token],
        extra: &[ExtraKey],
    ) -> BlockHash {
        let parent = parent.unwrap_or(self.none_hash);
        let parent = &parent.bytes()[..self.algo.digest_len()];
        self.bytes.clear();
        if is_cbor(self.algo) {
            encode::cbor_block(&mut self.bytes, parent, tokens, extra);
        } else {
            encode::pickle_block(&mut self.bytes, parent, tokens, extra);
        }
        self.digest()
    }

    fn digest(&self) -> BlockHash {
        let mut hash = [0; 32];
        if self.algo.digest_len() == 32 {
            hash.copy_from_slice(&Sha256::digest(&self.bytes));
        } else {
            hash[..16].copy_from_slice(&XxHash3_128::oneshot(&self.bytes).to_be_bytes());
        }
        BlockHash::new(hash)
    }
}

/// 32 random bytes as hex, from the standard library's per-process random keys.
fn random_hex() -> String {
    use std::hash::{BuildHasher, RandomState};
    (0..4).map(|i| format!("{:016x}", RandomState::new().hash_one(i))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::Value;

    fn golden() -> Value {
        let file = include_str!("../../tests/data/kv/golden-block-hashes.json");
        serde_json::from_str(file).expect("the golden file is JSON")
    }

    fn hex(bytes: &[u8]) -> String {
        bytes.iter().map(|byte| format!("{byte:02x}")).collect()
    }

    /// Recomputes one chain of the golden file and compares every digest.
    fn check(vector: &Value) {
        let algo: HashAlgo = vector["algo"].as_str().unwrap().parse().unwrap();
        let mut hasher = BlockHasher::new(algo, vector["PYTHONHASHSEED"].as_str());
        let hex = |hash: BlockHash| hex(&hash.bytes()[..algo.digest_len()]);
        assert_eq!(hex(hasher.none_hash()), vector["none_hash_hex"], "{algo:?} root");
        let tokens: Vec<Token> = vector["token_ids"]
            .as_array()
            .unwrap()
            .iter()
            .map(|t| t.as_u64().unwrap() as Token)
            .collect();
        let mut parent = None;
        let size = vector["block_size"].as_u64().unwrap() as usize;
        for (i, (block, tokens)) in
            vector["blocks"].as_array().unwrap().iter().zip(tokens.chunks_exact(size)).enumerate()
        {
            let mut extra = Vec::new();
            if let Some(lora) = vector["lora"].as_array() {
                let (name, path) = (lora[0].as_str().unwrap(), lora[1].as_str().unwrap());
                extra.push(ExtraKey::Lora { name, path });
            }
            if let (0, Some(salt)) = (i, vector["cache_salt"].as_str()) {
                extra.push(ExtraKey::CacheSalt(salt));
            }
            let hash = hasher.block(parent, tokens, &extra);
            assert_eq!(hex(hash), block["hash_hex"], "{algo:?} block {i} of {vector}");
            parent = Some(hash);
        }
    }

    #[test]
    fn equal_to_vllm_over_all_golden_vectors() {
        let golden = golden();
        let vectors = golden["vectors"].as_array().unwrap();
        assert!(vectors.len() >= 40);
        vectors.iter().for_each(check);
    }

    #[test]
    fn xxhash_without_a_seed_has_a_random_root() {
        let root = || BlockHasher::new(HashAlgo::Xxhash, None).none_hash();
        assert_ne!(root(), root());
    }

    #[test]
    fn an_empty_seed_is_a_seed() {
        let root = |seed| BlockHasher::new(HashAlgo::Sha256, seed).none_hash();
        assert_ne!(root(Some("")), root(None));
    }
}
