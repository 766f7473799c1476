//! Doors for the fuzz targets under `tests/fuzz`: what peers say of themselves.

use super::metadata::{AgentMetadata, HandshakePayload};
use super::peer::Local;
use crate::config::AttnBackend;
use crate::types::{KvPlace, KvRegion};

/// Reads a payload and metadata, and writes again what could be read.
pub fn metadata(bytes: &[u8]) {
    if let Ok(payload) = HandshakePayload::decode(bytes) {
        let again = HandshakePayload::decode(&payload.encode());
        assert_eq!(again.as_ref(), Ok(&payload));
        check(&payload);
    }
    if let Ok(metadata) = AgentMetadata::decode(bytes) {
        assert_eq!(AgentMetadata::decode(&metadata.encode()), Ok(metadata));
    }
}

/// A peer that passes has memory that a transport can read without looking again.
fn check(payload: &HandshakePayload) {
    let region = |_| KvRegion {
        place: KvPlace::Main,
        address: 4096,
        block_len: 32768,
        stride: 32768,
        num_blocks: 7,
    };
    let local = Local {
        engine_id: "d".to_owned(),
        regions: (0..4).map(region).collect(),
        block_size: 32,
        attn_backend: AttnBackend::CpuAttn,
        compatibility_hash: String::new(),
        enforce_hash: false,
    };
    let engine_id = AgentMetadata::decode(&payload.agent_metadata_bytes).map(|m| m.engine_id);
    if let Ok(peer) = local.check(payload, &engine_id.unwrap_or_default()) {
        assert_eq!(peer.regions.len(), 4);
        for region in peer.regions {
            let last = region.block_address(region.num_blocks as u32 - 1);
            assert!(last.checked_add(region.stride as u64).is_some());
            assert!(region.block_len == 32768 && region.stride >= 32768);
        }
    }
}
