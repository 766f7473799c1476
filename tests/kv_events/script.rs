//! Events by number: block n has the hash and the tokens that anyone can compute from n.

use glassbox::types::{BlockHash, KvEvent, StoredBlocks};

/// The last 8 bytes are the number, so that it is the hash as an integer.
pub fn hash(n: u64) -> BlockHash {
    let mut bytes = [0xab; 32];
    bytes[24..].copy_from_slice(&(n | 1 << 63).to_be_bytes());
    BlockHash::new(bytes)
}

/// Blocks `first..first + count`, each the parent of the next.
pub fn stored(parent: Option<u64>, first: u64, count: u64, block_size: usize) -> KvEvent {
    KvEvent::Stored(StoredBlocks {
        parent: parent.map(hash),
        hashes: (first..first + count).map(hash).collect(),
        tokens: (first..first + count)
            .flat_map(|n| (0..block_size as u64).map(move |i| ((n * 31 + i) % 150_000) as u32))
            .collect(),
        salt: None,
        lora: None,
        session: None,
    })
}

pub fn removed(blocks: &[u64]) -> KvEvent {
    KvEvent::Removed { hashes: blocks.iter().map(|&n| hash(n)).collect() }
}

/// `store PARENT|- FIRST COUNT`, `remove N..` and `clear`, several on a line with `;` between them.
#[allow(dead_code, reason = "only the bench reads scripts")]
pub fn events(line: &str, block_size: usize) -> Option<Vec<KvEvent>> {
    let event = |part: &str| {
        let mut words = part.split_whitespace();
        match words.next()? {
            "store" => {
                let parent = match words.next()? {
                    "-" => None,
                    n => Some(n.parse().ok()?),
                };
                let (first, count) = (words.next()?.parse().ok()?, words.next()?.parse().ok()?);
                Some(stored(parent, first, count, block_size))
            }
            "remove" => {
                let blocks: Option<Vec<u64>> = words.map(|n| n.parse().ok()).collect();
                Some(removed(&blocks?))
            }
            "clear" => Some(KvEvent::Cleared),
            _ => None,
        }
    };
    line.split(';').map(event).collect()
}
