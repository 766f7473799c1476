//! `--kv-transfer-config`: prompts that are computed here and continued there.
//!
//! vLLM's `KVTransferConfig` for its NixlConnector, and keys of our own among those of the
//! connector, where vLLM ignores what it does not know.

mod extra;
mod fields;

use super::env::Env;
use super::grammar::Raw;
use super::settings::{DeviceChoice, DeviceSettings};
use super::value::Value;
use crate::types::uuid4;
use extra::Extra;
use fields::Fields;
use serde_json::Value as Json;
use std::time::Duration;

const FLAG: &str = "argument --kv-transfer-config";
/// vLLM's names of the connector in pull mode.
const PULL: [&str; 2] = ["NixlConnector", "NixlPullConnector"];

/// KV transfer as vLLM's NixlConnector does it.
#[derive(Clone, Debug, PartialEq)]
pub struct KvTransferConfig {
    /// What peers call this engine.
    pub engine_id: String,
    pub role: KvRole,
    /// What becomes of a request whose KV did not arrive.
    pub load_failure_policy: LoadFailurePolicy,
    /// `kv_buffer_device`: where the blocks that move are; `None`: where the cache is.
    pub buffer_device: Option<String>,
    /// What moves the bytes.
    pub transport: KvTransport,
    /// NIXL's backends.
    pub backends: Vec<String>,
    /// Of NIXL's UCX backend.
    pub num_threads: u32,
    /// How long blocks are kept for a peer that says nothing.
    pub lease: Duration,
    /// Peers with another compatibility hash are refused.
    pub enforce_handshake_compat: bool,
    /// After how long without use a peer is forgotten.
    pub engine_ttl: Duration,
    /// The attention backend that this engine stands for: its blocks are laid out as that one
    /// lays them out.
    pub attn_backend: AttnBackend,
    /// How CPU_ATTN packs a block; `None`: as vLLM would on this machine.
    pub cpu_attn_isa: Option<CpuAttnIsa>,
    /// The version of vLLM that this engine stands for.
    pub vllm_version: String,
    /// The model's name in the compatibility hash.
    pub model: String,
    /// A checksum of each block travels with it.
    pub block_checksums: bool,
    /// Where the `tcp` transport listens; `None`: where the side channel does.
    pub tcp_host: Option<String>,
    /// 0: the system chooses.
    pub tcp_port: u16,
    /// `VLLM_NIXL_SIDE_CHANNEL_HOST` and `_PORT`: where peers ask for metadata. Peers are told this
    /// host.
    pub side_channel_host: String,
    pub side_channel_port: u16,
}

/// Whose blocks move.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum KvRole {
    /// `kv_producer`: it computes prompts for others.
    Producer,
    /// `kv_consumer`: it continues what others computed.
    Consumer,
    /// `kv_both`.
    Both,
}

impl KvRole {
    /// Whether it pulls.
    pub fn is_consumer(self) -> bool {
        self != Self::Producer
    }
}

/// `kv_load_failure_policy`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LoadFailurePolicy {
    /// The request ends with an error.
    Fail,
    /// Its prompt is computed here.
    Recompute,
}

/// What moves the bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum KvTransport {
    /// The NIXL library, as vLLM does.
    Nixl,
    /// A protocol of our own, between Glassbox alone.
    Tcp,
}

/// vLLM's attention backends whose blocks are known.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AttnBackend {
    /// `[kv_head][token][K|V]`: as blocks lie here.
    FlashAttn,
    /// Packed for the instruction set.
    CpuAttn,
}

impl AttnBackend {
    /// vLLM's name.
    pub fn name(self) -> &'static str {
        match self {
            Self::FlashAttn => "FLASH_ATTN",
            Self::CpuAttn => "CPU_ATTN",
        }
    }

    /// The backend of this name.
    pub fn named(name: &str) -> Option<Self> {
        [Self::FlashAttn, Self::CpuAttn].into_iter().find(|backend| backend.name() == name)
    }
}

/// The ways in which CPU_ATTN packs bf16.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CpuAttnIsa {
    /// `vec`: K by dimension, V by token.
    Vec,
    /// `vec16`: the same, for other block sizes.
    Vec16,
    /// `amx`: tiles of 16 rows of pairs.
    Amx,
}

impl CpuAttnIsa {
    /// vLLM's name.
    pub fn name(self) -> &'static str {
        match self {
            Self::Vec => "vec",
            Self::Vec16 => "vec16",
            Self::Amx => "amx",
        }
    }

    fn named(name: &str) -> Option<Self> {
        [Self::Vec, Self::Vec16, Self::Amx].into_iter().find(|isa| isa.name() == name)
    }
}

/// What the flag alone does not say.
pub(super) struct Around<'a> {
    pub env: &'a Env,
    /// As it was given.
    pub model: &'a str,
    pub device: DeviceSettings,
    /// Tokens in a block.
    pub block_size: usize,
}

/// Reads the flag. `None`: no KV moves. What is given and changes nothing goes to `idle`.
pub(super) fn read(
    raw: &Raw,
    around: &Around,
    warnings: &mut Vec<String>,
    idle: &mut Vec<String>,
) -> Result<Option<KvTransferConfig>, String> {
    let config = match raw.get("--kv-transfer-config") {
        Value::Json(Json::Object(config)) => config,
        Value::Null | Value::Json(Json::Null) => return Ok(None),
        _ => return Err(format!("{FLAG}: Input should be an object")),
    };
    let fields = Fields::read(&config).map_err(|error| format!("{FLAG}: {error}"))?;
    let Some(connector) = &fields.kv_connector else { return Ok(None) };
    let refuse = |error: String| format!("{FLAG}: {error}");
    check_connector(connector, &fields).map_err(refuse)?;
    // Checked with the fields: a connector has a role.
    let role = fields.kv_role.unwrap_or(KvRole::Both);
    if role == KvRole::Both {
        warnings.push(
            "Using kv_role='kv_both' with NixlConnector is deprecated and will be removed in a \
             future release. Please set kv_role='kv_producer' for prefill instances and \
             kv_role='kv_consumer' for decode instances. "
                .to_owned(),
        );
    }
    let extra = Extra::read(&fields.kv_connector_extra_config, idle)
        .map_err(|error| format!("{FLAG}: kv_connector_extra_config: {error}"))?;
    let config = settle(fields, role, extra, around);
    check_layout(&config, around.block_size).map_err(refuse)?;
    match around.device.device {
        DeviceChoice::Cpu | DeviceChoice::Sim => config.check_buffer("cpu").map_err(refuse)?,
        DeviceChoice::Cuda => config.check_buffer("cuda").map_err(refuse)?,
        // Known once the device is.
        DeviceChoice::Auto => {}
    }
    Ok(Some(config))
}

fn settle(fields: Fields, role: KvRole, extra: Extra, around: &Around) -> KvTransferConfig {
    KvTransferConfig {
        engine_id: fields.engine_id.unwrap_or_else(uuid4),
        role,
        load_failure_policy: fields.kv_load_failure_policy,
        buffer_device: fields.kv_buffer_device,
        transport: extra.transport,
        backends: extra.backends,
        num_threads: extra.num_threads,
        lease: extra.lease,
        enforce_handshake_compat: extra.enforce_handshake_compat,
        engine_ttl: extra.engine_ttl,
        attn_backend: extra.attn_backend,
        cpu_attn_isa: extra.cpu_attn_isa,
        vllm_version: extra.vllm_version.unwrap_or_else(|| super::VLLM_VERSION.to_owned()),
        model: extra.model.unwrap_or_else(|| around.model.to_owned()),
        block_checksums: extra.block_checksums,
        tcp_host: extra.tcp_host,
        tcp_port: extra.tcp_port,
        side_channel_host: around.env.nixl_side_channel_host.clone(),
        // A process is a data-parallel group of its own: the port is not shifted.
        side_channel_port: around.env.nixl_side_channel_port,
    }
}

fn check_connector(connector: &str, fields: &Fields) -> Result<(), String> {
    if fields.kv_connector_module_path.is_some() {
        return Err("kv_connector_module_path names Python code, and Glassbox runs none".to_owned());
    }
    match connector {
        name if PULL.contains(&name) => Ok(()),
        "NixlPushConnector" => Err(
            "NixlPushConnector is not supported: blocks are pulled; use NixlConnector on both sides"
                .to_owned(),
        ),
        other => Err(format!(
            "Unsupported connector type: {other}. Glassbox has NixlConnector (NixlPullConnector)"
        )),
    }
}

impl KvTransferConfig {
    /// Blocks move from and to where the cache is, on `device` (`cpu` or `cuda`).
    ///
    /// # Errors
    /// vLLM's sentence, when another place was asked for.
    pub fn check_buffer(&self, device: &str) -> Result<(), String> {
        match self.buffer_device.as_deref() {
            Some(buffer) if buffer != device => {
                Err(format!("{device} with {buffer} kv_buffer is not supported."))
            }
            _ => Ok(()),
        }
    }
}

/// CPU_ATTN has blocks of 32 tokens and multiples, unless it packs them as `vec16`.
fn check_layout(config: &KvTransferConfig, block_size: usize) -> Result<(), String> {
    let small = config.cpu_attn_isa == Some(CpuAttnIsa::Vec16);
    if config.attn_backend == AttnBackend::CpuAttn && !block_size.is_multiple_of(32) && !small {
        return Err(format!(
            "attn_backend_name CPU_ATTN has blocks of a multiple of 32 tokens, not {block_size}; \
             set --block-size"
        ));
    }
    Ok(())
}

#[cfg(test)]
mod tests;
