//! What peers tell each other before anything moves: vLLM's `NixlHandshakePayload` and, inside it,
//! `NixlAgentMetadata`, as msgpack maps.

use super::msgpack::{DecodeError, Reader};
use rmp::encode as pack;

/// Most regions, blocks' members and packed members that are read.
const MOST_REGIONS: usize = 16 * 1024;

/// The reply to a query: what decides whether the rest may be looked at, and the rest.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HandshakePayload {
    pub compatibility_hash: String,
    /// An [`AgentMetadata`], encoded.
    pub agent_metadata_bytes: Vec<u8>,
}

/// The memory of an engine, region by region.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct AgentMetadata {
    pub engine_id: String,
    /// What the transport needs to reach the engine; opaque.
    pub agent_metadata: Vec<u8>,
    pub kv_caches_base_addr: Vec<u64>,
    pub device_id: u64,
    pub num_blocks: u64,
    pub block_lens: Vec<u64>,
    pub block_strides: Vec<u64>,
    pub kv_cache_layout: String,
    /// Tokens in a block.
    pub block_size: u64,
    pub ssm_sizes: [u64; 2],
    pub attn_backend_name: String,
    pub physical_blocks_per_logical_kv_block: u64,
    pub region_num_blocks: Option<Vec<u64>>,
    pub region_group_ids: Option<Vec<u64>>,
    pub region_names: Option<Vec<String>>,
    pub region_mem_types: Option<Vec<String>>,
    pub dcp_size: u64,
    pub pcp_size: u64,
    pub ple_block_len: Option<u64>,
    pub region_members: Vec<Vec<String>>,
    /// Name, offset in the region's block, bytes of a page.
    pub packed_member_layouts: Vec<(String, [u64; 2])>,
}

/// Writing to memory cannot fail.
macro_rules! put {
    ($write:ident, $to:expr $(, $value:expr)*) => {
        {
            pack::$write($to $(, $value)*).expect("memory takes all bytes");
        }
    };
}

impl HandshakePayload {
    /// As vLLM writes it.
    pub fn encode(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(160 + self.agent_metadata_bytes.len());
        put!(write_map_len, &mut out, 2);
        put!(write_str, &mut out, "compatibility_hash");
        put!(write_str, &mut out, &self.compatibility_hash);
        put!(write_str, &mut out, "agent_metadata_bytes");
        put!(write_bin, &mut out, &self.agent_metadata_bytes);
        out
    }

    /// # Errors
    /// Whatever vLLM's decoder would not take.
    pub fn decode(bytes: &[u8]) -> Result<Self, DecodeError> {
        let (mut hash, mut metadata) = (None, None);
        fields(bytes, |reader, name| {
            match name {
                "compatibility_hash" => {
                    hash = Some(reader.text("$.compatibility_hash")?.to_owned());
                }
                "agent_metadata_bytes" => {
                    metadata = Some(reader.binary("$.agent_metadata_bytes")?.to_vec());
                }
                _ => {
                    reader.skip()?;
                }
            }
            Ok(())
        })?;
        Ok(Self {
            compatibility_hash: hash.ok_or_else(|| missing("compatibility_hash"))?,
            agent_metadata_bytes: metadata.ok_or_else(|| missing("agent_metadata_bytes"))?,
        })
    }
}

/// Reads a map to its end, handing each key to `field`, which takes the value.
fn fields<'a>(
    bytes: &'a [u8],
    mut field: impl FnMut(&mut Reader<'a>, &str) -> Result<(), DecodeError>,
) -> Result<(), DecodeError> {
    let mut reader = Reader::new(bytes);
    for _ in 0..reader.map("$")? {
        let name = reader.text("$")?;
        field(&mut reader, name)?;
    }
    reader.end()
}

fn missing(name: &str) -> DecodeError {
    DecodeError::new(format_args!("Object missing required field `{name}`"))
}

impl AgentMetadata {
    /// As vLLM writes it: all fields, in its order.
    pub fn encode(&self) -> Vec<u8> {
        let out = &mut Vec::with_capacity(1024 + self.agent_metadata.len());
        put!(write_map_len, out, 21);
        put_text(out, "engine_id", &self.engine_id);
        put!(write_str, out, "agent_metadata");
        put!(write_bin, out, &self.agent_metadata);
        put_numbers(out, "kv_caches_base_addr", &self.kv_caches_base_addr);
        put_number(out, "device_id", self.device_id);
        put_number(out, "num_blocks", self.num_blocks);
        put_numbers(out, "block_lens", &self.block_lens);
        put_numbers(out, "block_strides", &self.block_strides);
        put_text(out, "kv_cache_layout", &self.kv_cache_layout);
        put_number(out, "block_size", self.block_size);
        put_numbers(out, "ssm_sizes", &self.ssm_sizes);
        put_text(out, "attn_backend_name", &self.attn_backend_name);
        let name = "physical_blocks_per_logical_kv_block";
        put_number(out, name, self.physical_blocks_per_logical_kv_block);
        put_optional(out, "region_num_blocks", self.region_num_blocks.as_deref(), put_numbers);
        put_optional(out, "region_group_ids", self.region_group_ids.as_deref(), put_numbers);
        put_optional(out, "region_names", self.region_names.as_deref(), put_texts);
        put_optional(out, "region_mem_types", self.region_mem_types.as_deref(), put_texts);
        put_number(out, "dcp_size", self.dcp_size);
        put_number(out, "pcp_size", self.pcp_size);
        put_optional(out, "ple_block_len", self.ple_block_len, put_number);
        put!(write_str, out, "region_members");
        put!(write_array_len, out, length(self.region_members.len()));
        for members in &self.region_members {
            put!(write_array_len, out, length(members.len()));
            members.iter().for_each(|member| put!(write_str, out, member));
        }
        put!(write_str, out, "packed_member_layouts");
        put!(write_map_len, out, length(self.packed_member_layouts.len()));
        for (name, layout) in &self.packed_member_layouts {
            put_numbers(out, name, layout);
        }
        std::mem::take(out)
    }

    /// # Errors
    /// Whatever vLLM's decoder would not take, and sizes beyond all bounds.
    pub fn decode(bytes: &[u8]) -> Result<Self, DecodeError> {
        // Those that may be missing have vLLM's defaults.
        let mut found = Self { dcp_size: 1, pcp_size: 1, ..Self::default() };
        let mut seen = [false; REQUIRED.len()];
        fields(bytes, |reader, name| {
            if let Some(at) = REQUIRED.iter().position(|required| *required == name) {
                seen[at] = true;
            }
            found.field(reader, name)
        })?;
        match seen.iter().position(|seen| !seen) {
            Some(at) => Err(missing(REQUIRED[at])),
            None => Ok(found),
        }
    }

    fn field(&mut self, reader: &mut Reader, name: &str) -> Result<(), DecodeError> {
        let place = &format!("$.{name}");
        match name {
            "engine_id" => self.engine_id = reader.text(place)?.to_owned(),
            "agent_metadata" => self.agent_metadata = reader.binary(place)?.to_vec(),
            "kv_caches_base_addr" => self.kv_caches_base_addr = numbers(reader, place)?,
            "device_id" => self.device_id = reader.uint(place)?,
            "num_blocks" => self.num_blocks = reader.uint(place)?,
            "block_lens" => self.block_lens = numbers(reader, place)?,
            "block_strides" => self.block_strides = numbers(reader, place)?,
            "kv_cache_layout" => self.kv_cache_layout = reader.text(place)?.to_owned(),
            "block_size" => self.block_size = reader.uint(place)?,
            "ssm_sizes" => self.ssm_sizes = pair(reader, place)?,
            "attn_backend_name" => self.attn_backend_name = reader.text(place)?.to_owned(),
            "physical_blocks_per_logical_kv_block" => {
                self.physical_blocks_per_logical_kv_block = reader.uint(place)?;
            }
            "region_num_blocks" => self.region_num_blocks = optional(reader, place, numbers)?,
            "region_group_ids" => self.region_group_ids = optional(reader, place, numbers)?,
            "region_names" => self.region_names = optional(reader, place, texts)?,
            "region_mem_types" => self.region_mem_types = optional(reader, place, texts)?,
            "dcp_size" => self.dcp_size = reader.uint(place)?,
            "pcp_size" => self.pcp_size = reader.uint(place)?,
            "ple_block_len" => self.ple_block_len = optional(reader, place, Reader::uint)?,
            "region_members" => self.region_members = reader.list(place, MOST_REGIONS, texts)?,
            "packed_member_layouts" => self.packed_member_layouts = layouts(reader, place)?,
            _ => {
                reader.skip()?;
            }
        }
        Ok(())
    }
}

/// Fields without a default.
const REQUIRED: [&str; 12] = [
    "engine_id",
    "agent_metadata",
    "kv_caches_base_addr",
    "device_id",
    "num_blocks",
    "block_lens",
    "block_strides",
    "kv_cache_layout",
    "block_size",
    "ssm_sizes",
    "attn_backend_name",
    "physical_blocks_per_logical_kv_block",
];

fn numbers(reader: &mut Reader, place: &str) -> Result<Vec<u64>, DecodeError> {
    reader.list(place, MOST_REGIONS, Reader::uint)
}

fn texts(reader: &mut Reader, place: &str) -> Result<Vec<String>, DecodeError> {
    reader.list(place, MOST_REGIONS, |reader, place| reader.text(place).map(str::to_owned))
}

fn pair(reader: &mut Reader, place: &str) -> Result<[u64; 2], DecodeError> {
    let items = numbers(reader, place)?;
    let len = items.len();
    items.try_into().map_err(|_| {
        DecodeError::new(format_args!("Expected `array` of length 2, got {len} - at `{place}`"))
    })
}

fn optional<'a, T>(
    reader: &mut Reader<'a>,
    place: &str,
    read: impl FnOnce(&mut Reader<'a>, &str) -> Result<T, DecodeError>,
) -> Result<Option<T>, DecodeError> {
    if reader.null()? { Ok(None) } else { read(reader, place).map(Some) }
}

fn layouts(reader: &mut Reader, place: &str) -> Result<Vec<(String, [u64; 2])>, DecodeError> {
    let len = reader.map(place)?;
    let mut all = Vec::new();
    for _ in 0..len.min(MOST_REGIONS + 1) {
        let name = reader.text(place)?.to_owned();
        all.push((name, pair(reader, place)?));
    }
    match len > MOST_REGIONS {
        true => {
            Err(DecodeError::new(format_args!("Expected `object` of length <= {MOST_REGIONS}")))
        }
        false => Ok(all),
    }
}

fn put_text(out: &mut Vec<u8>, name: &str, text: &str) {
    put!(write_str, out, name);
    put!(write_str, out, text);
}

fn put_number(out: &mut Vec<u8>, name: &str, number: u64) {
    put!(write_str, out, name);
    put!(write_uint, out, number);
}

fn put_numbers(out: &mut Vec<u8>, name: &str, numbers: &[u64]) {
    put!(write_str, out, name);
    put!(write_array_len, out, length(numbers.len()));
    numbers.iter().for_each(|number| put!(write_uint, out, *number));
}

fn put_texts(out: &mut Vec<u8>, name: &str, texts: &[String]) {
    put!(write_str, out, name);
    put!(write_array_len, out, length(texts.len()));
    texts.iter().for_each(|text| put!(write_str, out, text));
}

fn put_optional<T>(
    out: &mut Vec<u8>,
    name: &str,
    value: Option<T>,
    write: impl FnOnce(&mut Vec<u8>, &str, T),
) {
    match value {
        Some(value) => write(out, name, value),
        None => {
            put!(write_str, out, name);
            put!(write_nil, out);
        }
    }
}

fn length(len: usize) -> u32 {
    u32::try_from(len).expect("metadata has less than 2^32 parts")
}

#[cfg(test)]
pub(super) mod tests;
