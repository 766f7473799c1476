//! Whether a peer's blocks may go into ours: every claim of its metadata is checked before anything
//! is read by it.

use super::hash::Factors;
use super::metadata::{AgentMetadata, HandshakePayload};
use super::msgpack::DecodeError;
use crate::config::{AttnBackend, KvTransferConfig};
use crate::model::Dims;
use crate::types::{KvMemory, KvPlace, KvRegion};
use thiserror::Error;

/// vLLM's name for regions of whole blocks, one for each layer.
const LAYOUT: &str = "LBHNC";
/// Its names for main memory and that of a GPU, which are NIXL's.
const MAIN_MEMORY: &str = "DRAM";
const GPU_MEMORY: &str = "VRAM";
/// More blocks than any machine has memory for.
const MOST_BLOCKS: u64 = 1 << 31;

/// This side, as peers must be.
#[derive(Clone, Debug)]
pub struct Local {
    pub engine_id: String,
    /// Layer 0 first.
    pub regions: Vec<KvRegion>,
    /// Tokens in a block.
    pub block_size: usize,
    pub attn_backend: AttnBackend,
    pub compatibility_hash: String,
    /// Peers with another hash are refused; otherwise it is only said.
    pub enforce_hash: bool,
}

/// A peer whose metadata is sound.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PeerMetadata {
    pub engine_id: String,
    /// For the transport.
    pub agent_metadata: Vec<u8>,
    /// Layer 0 first.
    pub regions: Vec<KvRegion>,
    /// How its blocks are laid out.
    pub attn_backend: AttnBackend,
    /// Whether its hash is ours.
    pub same_hash: bool,
}

/// Why a peer cannot be read from.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum Mismatch {
    #[error(
        "NIXL compatibility hash mismatch. Local: {local}, Remote: {remote}. Prefill and decode \
         instances have incompatible configurations. This may be due to: different vLLM versions, \
         models, dtypes, KV cache layouts, attention backends, etc. Both instances must use \
         identical configurations. Disable this check using --kv-transfer-config \
         '{{\"kv_connector_extra_config\": {{\"enforce_handshake_compat\": false}}}}'"
    )]
    Hash { local: String, remote: String },
    #[error("Failed to decode NixlAgentMetadata. Error: {0}")]
    Decode(#[from] DecodeError),
    #[error("Remote NIXL agent engine ID mismatch. Expected {expected}, received {received}.")]
    EngineId { expected: String, received: String },
    #[error("the peer has {field} {theirs}, and here it is {ours}")]
    Differs { field: &'static str, theirs: String, ours: String },
    #[error("the peer's {field} cannot be: {why}")]
    Impossible { field: &'static str, why: String },
}

impl Local {
    /// This server.
    pub fn new(
        config: &KvTransferConfig,
        dims: &Dims,
        memory: &KvMemory,
        block_size: usize,
    ) -> Self {
        Self {
            engine_id: config.engine_id.clone(),
            regions: memory.regions.clone(),
            block_size,
            attn_backend: config.attn_backend,
            compatibility_hash: Factors::new(config, dims).hash(),
            enforce_hash: config.enforce_handshake_compat,
        }
    }

    fn place(&self) -> KvPlace {
        self.regions.first().map_or(KvPlace::Main, |region| region.place)
    }

    /// What peers are told; `agent_metadata` is the transport's.
    pub fn payload(&self, agent_metadata: &[u8]) -> HandshakePayload {
        let numbers = |of: &dyn Fn(&KvRegion) -> u64| self.regions.iter().map(of).collect();
        let texts = |of: &dyn Fn(usize) -> String| (0..self.regions.len()).map(of).collect();
        let (kind, device_id) = match self.place() {
            KvPlace::Main => (MAIN_MEMORY, 0),
            KvPlace::Gpu(number) => (GPU_MEMORY, number.into()),
        };
        let metadata = AgentMetadata {
            engine_id: self.engine_id.clone(),
            agent_metadata: agent_metadata.to_vec(),
            kv_caches_base_addr: numbers(&|region| region.address),
            device_id,
            num_blocks: self.regions.first().map_or(0, |region| region.num_blocks as u64),
            block_lens: numbers(&|region| region.block_len as u64),
            block_strides: numbers(&|region| region.stride as u64),
            kv_cache_layout: LAYOUT.to_owned(),
            block_size: self.block_size as u64,
            ssm_sizes: [0, 0],
            attn_backend_name: self.attn_backend.name().to_owned(),
            physical_blocks_per_logical_kv_block: 1,
            region_num_blocks: Some(numbers(&|region| region.num_blocks as u64)),
            region_group_ids: Some(numbers(&|_| 0)),
            region_names: Some(texts(&region_name)),
            region_mem_types: Some(texts(&|_| kind.to_owned())),
            dcp_size: 1,
            pcp_size: 1,
            ..AgentMetadata::default()
        };
        HandshakePayload {
            compatibility_hash: self.compatibility_hash.clone(),
            agent_metadata_bytes: metadata.encode(),
        }
    }

    /// Looks at what a peer told. Its hash comes first, since metadata of another version may say
    /// anything.
    ///
    /// # Errors
    /// The first claim that does not fit.
    pub fn check(
        &self,
        payload: &HandshakePayload,
        engine_id: &str,
    ) -> Result<PeerMetadata, Mismatch> {
        let same_hash = payload.compatibility_hash == self.compatibility_hash;
        if self.enforce_hash && !same_hash {
            return Err(Mismatch::Hash {
                local: self.compatibility_hash.clone(),
                remote: shown(&payload.compatibility_hash),
            });
        }
        let theirs = AgentMetadata::decode(&payload.agent_metadata_bytes)?;
        if theirs.engine_id != engine_id {
            return Err(Mismatch::EngineId {
                expected: engine_id.to_owned(),
                received: shown(&theirs.engine_id),
            });
        }
        let attn_backend = self.check_kind(&theirs)?;
        let regions = self.check_regions(&theirs)?;
        let AgentMetadata { engine_id, agent_metadata, .. } = theirs;
        Ok(PeerMetadata { engine_id, agent_metadata, regions, attn_backend, same_hash })
    }

    /// Sizes and layouts.
    fn check_kind(&self, theirs: &AgentMetadata) -> Result<AttnBackend, Mismatch> {
        differs("kv_cache_layout", theirs.kv_cache_layout.as_str(), LAYOUT)?;
        differs("block_size", theirs.block_size, self.block_size as u64)?;
        let ratio = theirs.physical_blocks_per_logical_kv_block;
        differs("physical_blocks_per_logical_kv_block", ratio, 1)?;
        differs("dcp_size", theirs.dcp_size, 1)?;
        differs("pcp_size", theirs.pcp_size, 1)?;
        differs("ssm_sizes", format!("{:?}", theirs.ssm_sizes), "[0, 0]".to_owned())?;
        if let Some(len) = theirs.ple_block_len {
            differs("ple_block_len", len.to_string(), "none".to_owned())?;
        }
        differs("packed_member_layouts", theirs.packed_member_layouts.len(), 0)?;
        AttnBackend::named(&theirs.attn_backend_name).ok_or_else(|| Mismatch::Differs {
            field: "attn_backend_name",
            theirs: shown(&theirs.attn_backend_name),
            ours: self.attn_backend.name().to_owned(),
        })
    }

    /// As many regions as here, of the same names in the same order, each of possible memory.
    fn check_regions(&self, theirs: &AgentMetadata) -> Result<Vec<KvRegion>, Mismatch> {
        let count = self.regions.len();
        let ours = |name: &'static str, len: usize| differs(name, Count(len), Count(count));
        ours("kv_caches_base_addr", theirs.kv_caches_base_addr.len())?;
        ours("block_lens", theirs.block_lens.len())?;
        ours("block_strides", theirs.block_strides.len())?;
        for (name, len) in [
            ("region_num_blocks", theirs.region_num_blocks.as_ref().map(Vec::len)),
            ("region_group_ids", theirs.region_group_ids.as_ref().map(Vec::len)),
            ("region_names", theirs.region_names.as_ref().map(Vec::len)),
            ("region_mem_types", theirs.region_mem_types.as_ref().map(Vec::len)),
        ] {
            ours(name, len.unwrap_or(count))?;
        }
        for (layer, name) in theirs.region_names.iter().flatten().enumerate() {
            differs("region_names", name.as_str(), region_name(layer).as_str())?;
        }
        for group in theirs.region_group_ids.iter().flatten() {
            differs("region_group_ids", *group, 0)?;
        }
        let place = self.check_place(theirs)?;
        (0..count).map(|i| self.check_region(theirs, place, i)).collect()
    }

    /// Where the peer's memory is, which may be elsewhere than ours. As in vLLM, who does not say
    /// has the kind of memory that is here, and all of a peer's memory is in one place.
    fn check_place(&self, theirs: &AgentMetadata) -> Result<KvPlace, Mismatch> {
        let impossible = |field, why: String| Mismatch::Impossible { field, why };
        let here = match self.place() {
            KvPlace::Main => MAIN_MEMORY,
            KvPlace::Gpu(_) => GPU_MEMORY,
        };
        let mut kinds = theirs.region_mem_types.iter().flatten();
        let first = kinds.next().map_or(here, String::as_str);
        if let Some(other) = kinds.find(|kind| *kind != first) {
            let why = format!("{} beside {}", shown(other), shown(first));
            return Err(impossible("region_mem_types", why));
        }
        match first {
            MAIN_MEMORY => Ok(KvPlace::Main),
            GPU_MEMORY => {
                let number = u32::try_from(theirs.device_id);
                let why = |_| impossible("device_id", theirs.device_id.to_string());
                number.map(KvPlace::Gpu).map_err(why)
            }
            other => Err(impossible("region_mem_types", shown(other))),
        }
    }

    fn check_region(
        &self,
        theirs: &AgentMetadata,
        place: KvPlace,
        i: usize,
    ) -> Result<KvRegion, Mismatch> {
        let impossible = |field, why: String| Mismatch::Impossible { field, why };
        let (len, stride) = (theirs.block_lens[i], theirs.block_strides[i]);
        differs("block_lens", len, self.regions[i].block_len as u64)?;
        if stride < len {
            let why = format!("blocks of {len} bytes, {stride} apart, overlap");
            return Err(impossible("block_strides", why));
        }
        let blocks = theirs.region_num_blocks.as_ref().map_or(theirs.num_blocks, |all| all[i]);
        if blocks == 0 || blocks > MOST_BLOCKS || blocks < theirs.num_blocks {
            let why = format!("{blocks} blocks, of {} in all", theirs.num_blocks);
            return Err(impossible("num_blocks", why));
        }
        let address = theirs.kv_caches_base_addr[i];
        let end = blocks.checked_mul(stride).and_then(|bytes| address.checked_add(bytes));
        // No address space has more; what lies beyond would wrap around in a transport.
        if address == 0 || end.is_none_or(|end| end > 1 << 63) {
            let why = format!("{blocks} blocks of {stride} bytes at {address:#x}");
            return Err(impossible("kv_caches_base_addr", why));
        }
        Ok(KvRegion {
            place,
            address,
            block_len: len as usize,
            stride: stride as usize,
            num_blocks: blocks as usize,
        })
    }
}

/// vLLM's name of a layer's cache.
fn region_name(layer: usize) -> String {
    format!("model.layers.{layer}.self_attn.attn")
}

/// A number of regions, said as such.
#[derive(PartialEq)]
struct Count(usize);

impl std::fmt::Display for Count {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "of {} regions", self.0)
    }
}

fn differs<T: PartialEq + std::fmt::Display>(
    field: &'static str,
    theirs: T,
    ours: T,
) -> Result<(), Mismatch> {
    if theirs == ours {
        return Ok(());
    }
    let text = |value: T| shown(&value.to_string());
    Err(Mismatch::Differs { field, theirs: text(theirs), ours: text(ours) })
}

/// What a peer says, fit for a line of the log: short, and in one piece.
pub(super) fn shown(text: &str) -> String {
    text.chars().take(128).map(|c| if c.is_control() { '\u{fffd}' } else { c }).collect()
}

#[cfg(test)]
mod tests;
