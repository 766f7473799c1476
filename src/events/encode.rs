//! Events as bytes: msgpack in the forms of vLLM.

use crate::config::EventEncoding;
use crate::types::{BlockHash, KvEvent, StoredBlocks};
use bytes::Bytes;
use rmp::encode as pack;

/// The blocks of the device's pool.
const MEDIUM: &str = "GPU";
/// The only KV cache group of a dense model, and its kind.
const GROUP: u64 = 0;
const KIND: &str = "full_attention";

/// How batches are written.
#[derive(Clone, Copy, Debug)]
pub(super) struct Encoder {
    pub form: EventEncoding,
    pub int_hashes: bool,
    pub digest_len: usize,
    pub block_size: usize,
    pub rank: u32,
}

/// Writing to memory cannot fail.
macro_rules! put {
    ($write:ident, $to:expr $(, $value:expr)*) => {
        pack::$write($to $(, $value)*).expect("memory takes all bytes")
    };
}

/// Events on the wire: vLLM names each removed hash in an event of its own.
pub(super) fn wire_events(events: &[KvEvent]) -> usize {
    let count = |event: &KvEvent| match event {
        KvEvent::Removed { hashes } => hashes.len(),
        KvEvent::Stored(_) | KvEvent::Reused(_) | KvEvent::Cleared => 1,
    };
    events.iter().map(count).sum()
}

impl Encoder {
    /// A batch of `seconds` since the Unix epoch.
    pub fn batch(&self, seconds: f64, events: &[KvEvent]) -> Bytes {
        let mut out = Vec::with_capacity(64 + self.size_hint(events));
        put!(write_array_len, &mut out, 3);
        put!(write_f64, &mut out, seconds);
        put!(write_array_len, &mut out, length(wire_events(events)));
        for event in events {
            match event {
                KvEvent::Stored(run) | KvEvent::Reused(run) => self.stored(&mut out, run),
                KvEvent::Removed { hashes } => {
                    hashes.iter().for_each(|hash| self.removed(&mut out, hash));
                }
                KvEvent::Cleared => self.cleared(&mut out),
            }
        }
        put!(write_uint, &mut out, self.rank.into());
        out.into()
    }

    fn size_hint(&self, events: &[KvEvent]) -> usize {
        let size = |event: &KvEvent| match event {
            KvEvent::Stored(run) | KvEvent::Reused(run) => {
                256 + 5 * run.tokens.len() + 36 * run.hashes.len()
            }
            KvEvent::Removed { hashes } => 96 * hashes.len(),
            KvEvent::Cleared => 24,
        };
        events.iter().map(size).sum()
    }

    fn stored(&self, out: &mut Vec<u8>, run: &StoredBlocks) {
        let map = self.form == EventEncoding::Map;
        let session = run.session.as_deref().filter(|_| map);
        self.open(out, "BlockStored", 11 + u32::from(session.is_some()), [12, 7]);
        self.key(out, "block_hashes");
        put!(write_array_len, out, length(run.hashes.len()));
        run.hashes.iter().for_each(|hash| self.hash(out, hash));
        self.key(out, "parent_block_hash");
        match &run.parent {
            Some(parent) => self.hash(out, parent),
            None => put!(write_nil, out),
        }
        self.key(out, "token_ids");
        put!(write_array_len, out, length(run.tokens.len()));
        for &token in &run.tokens {
            put!(write_uint, out, token.into());
        }
        self.key(out, "block_size");
        put!(write_uint, out, self.block_size as u64);
        self.key(out, "lora_id");
        match &run.lora {
            Some(lora) => {
                put!(write_uint, out, lora.id.into());
            }
            None => put!(write_nil, out),
        }
        self.key(out, "medium");
        put!(write_str, out, MEDIUM);
        if self.form == EventEncoding::Array2025 {
            return;
        }
        self.key(out, "lora_name");
        text_or_nil(out, run.lora.as_deref().map(|lora| lora.name.as_str()));
        self.key(out, "extra_keys");
        extra_keys(out, run);
        self.key(out, "group_idx");
        put!(write_uint, out, GROUP);
        self.key(out, "kv_cache_spec_kind");
        put!(write_str, out, KIND);
        if let Some(session) = session {
            self.key(out, "session_id");
            put!(write_str, out, session);
        } else if !map {
            // The sliding window.
            put!(write_nil, out);
        }
    }

    fn removed(&self, out: &mut Vec<u8>, hash: &BlockHash) {
        self.open(out, "BlockRemoved", 4, [4, 3]);
        self.key(out, "block_hashes");
        put!(write_array_len, out, 1);
        self.hash(out, hash);
        self.key(out, "medium");
        put!(write_str, out, MEDIUM);
        if self.form != EventEncoding::Array2025 {
            self.key(out, "group_idx");
            put!(write_uint, out, GROUP);
        }
    }

    fn cleared(&self, out: &mut Vec<u8>) {
        self.open(out, "AllBlocksCleared", 1, [1, 1]);
    }

    /// The head of an event, with its number of fields, tag included, as a map and as the arrays
    /// of 2026 and 2025.
    fn open(&self, out: &mut Vec<u8>, tag: &str, map: u32, arrays: [u32; 2]) {
        match self.form {
            EventEncoding::Map => {
                put!(write_map_len, out, map);
                put!(write_str, out, "type");
            }
            EventEncoding::Array => {
                put!(write_array_len, out, arrays[0]);
            }
            EventEncoding::Array2025 => {
                put!(write_array_len, out, arrays[1]);
            }
        }
        put!(write_str, out, tag);
    }

    /// Arrays have no keys.
    fn key(&self, out: &mut Vec<u8>, name: &str) {
        if self.form == EventEncoding::Map {
            put!(write_str, out, name);
        }
    }

    /// Integers are the last 8 bytes, and always 9 bytes long: some indexers read no shorter ones.
    fn hash(&self, out: &mut Vec<u8>, hash: &BlockHash) {
        let digest = &hash.bytes()[..self.digest_len];
        if self.int_hashes {
            let last = digest.last_chunk().expect("a digest has 16 bytes or more");
            put!(write_u64, out, u64::from_be_bytes(*last));
        } else {
            put!(write_bin, out, digest);
        }
    }
}

fn length(len: usize) -> u32 {
    u32::try_from(len).expect("a batch has less than 2^32 parts")
}

fn text_or_nil(out: &mut Vec<u8>, text: Option<&str>) {
    match text {
        Some(text) => put!(write_str, out, text),
        None => put!(write_nil, out),
    }
}

/// One entry a block: nil, or the adapter's name and, for the first block of a sequence, the salt.
fn extra_keys(out: &mut Vec<u8>, run: &StoredBlocks) {
    put!(write_array_len, out, length(run.hashes.len()));
    let lora = run.lora.as_deref().map(|lora| lora.name.as_str());
    for i in 0..run.hashes.len() {
        let salt = run.salt.as_deref().filter(|_| i == 0 && run.parent.is_none());
        let keys = lora.iter().chain(&salt);
        match keys.clone().count() {
            0 => put!(write_nil, out),
            count => {
                put!(write_array_len, out, length(count));
                keys.for_each(|key| put!(write_str, out, key));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::types::LoraTag;
    use serde_json::Value;
    use std::sync::Arc;

    fn bytes(hex: &str) -> Vec<u8> {
        let digit = |at| u8::from_str_radix(&hex[at..at + 2], 16).expect("hex");
        (0..hex.len()).step_by(2).map(digit).collect()
    }

    fn golden() -> Value {
        let file = include_str!("../../tests/data/kv/golden-kv-events.json");
        serde_json::from_str(file).expect("the golden file is JSON")
    }

    /// The events behind a case of the golden file, which names them in its notes.
    fn events(golden: &Value, name: &str) -> Vec<KvEvent> {
        let inputs = &golden["inputs"];
        let hash = |i: usize| {
            let digest = bytes(inputs["block_hash_hex"][i].as_str().unwrap());
            BlockHash::new(digest.try_into().unwrap())
        };
        let tokens: Vec<u32> = serde_json::from_value(inputs["token_ids"].clone()).unwrap();
        let mut run = StoredBlocks {
            parent: None,
            hashes: vec![hash(0), hash(1)],
            tokens,
            salt: None,
            lora: None,
            session: None,
        };
        match name {
            "v032_map_int_child" => {
                run.hashes.remove(0);
                run.tokens.drain(..16);
                run.parent = Some(hash(0));
                run.session = Some("sess-1".into());
                // A salt of the request counts in its first block only.
                run.salt = Some("salt-A".into());
                return vec![KvEvent::Stored(run)];
            }
            "v032_map_cache_salt" => run.salt = Some("salt-A".into()),
            "v032_map_lora" => {
                run.lora = Some(Arc::new(LoraTag { id: 1, name: "my-lora".to_owned() }));
            }
            _ => {
                let removed = KvEvent::Removed { hashes: vec![hash(0)] };
                return vec![KvEvent::Stored(run), removed, KvEvent::Cleared];
            }
        }
        run.hashes.pop();
        run.tokens.truncate(16);
        vec![KvEvent::Stored(run)]
    }

    #[test]
    fn equal_to_vllm_in_all_golden_payloads() {
        let golden = golden();
        let cases = golden["cases"].as_array().unwrap();
        assert_eq!(cases.len(), 8);
        for case in cases {
            let name = case["name"].as_str().unwrap();
            let form = match name {
                _ if name.starts_with("v032_map") => EventEncoding::Map,
                _ if name.starts_with("legacy2026") => EventEncoding::Array,
                _ => EventEncoding::Array2025,
            };
            let int_hashes = !name.ends_with("bytes");
            let encoder = Encoder { form, int_hashes, digest_len: 32, block_size: 16, rank: 0 };
            let seconds = golden["inputs"]["ts"].as_f64().unwrap();
            let payload = encoder.batch(seconds, &events(&golden, name));
            assert_eq!(payload[..], bytes(case["payload_hex"].as_str().unwrap()), "{name}");
        }
    }

    #[test]
    fn short_digests_and_small_hashes_keep_their_width() {
        let mut digest = [0; 32];
        digest[15] = 7;
        digest[31] = 9;
        let event = [KvEvent::Removed { hashes: vec![BlockHash::new(digest)] }];
        let form = EventEncoding::Array2025;
        let encoder = Encoder { form, int_hashes: true, digest_len: 16, block_size: 16, rank: 3 };
        let payload = encoder.batch(0.0, &event);
        assert!(payload.ends_with(b"\xcf\0\0\0\0\0\0\0\x07\xa3GPU\x03"), "{payload:?}");
        let payload = Encoder { int_hashes: false, ..encoder }.batch(0.0, &event);
        let mut wanted = b"\x91\xc4\x10".to_vec();
        wanted.extend(&digest[..16]);
        wanted.extend(b"\xa3GPU\x03");
        assert!(payload.ends_with(&wanted), "{payload:?}");
    }
}
