//! `kv_connector_extra_config`: what the connector itself reads. vLLM checks none of it before it
//! uses it; here it is checked at once. Keys that nobody knows are ignored, as in vLLM, and said.

use super::{AttnBackend, CpuAttnIsa, KvTransport};
use serde_json::{Map, Value as Json};
use std::time::Duration;

/// vLLM's keys, and then ours.
const KEYS: [&str; 17] = [
    "backends",
    "num_threads",
    "kv_lease_duration",
    "enforce_handshake_compat",
    "engine_ttl",
    "bidirectional_kv_xfer",
    "kv_recompute_threshold",
    "decoder_kv_blocks_ttl",
    "push_registration_timeout",
    "transport",
    "attn_backend_name",
    "cpu_attn_isa",
    "vllm_version",
    "model",
    "block_checksums",
    "tcp_host",
    "tcp_port",
];

/// Keys of vLLM that say something only with `bidirectional_kv_xfer` or with pushing.
const IDLE: [&str; 3] =
    ["kv_recompute_threshold", "decoder_kv_blocks_ttl", "push_registration_timeout"];

/// The keys, with vLLM's defaults.
#[derive(Debug)]
pub(super) struct Extra {
    pub backends: Vec<String>,
    pub num_threads: u32,
    pub lease: Duration,
    pub enforce_handshake_compat: bool,
    pub engine_ttl: Duration,
    pub transport: KvTransport,
    pub attn_backend: AttnBackend,
    pub cpu_attn_isa: Option<CpuAttnIsa>,
    pub vllm_version: Option<String>,
    pub model: Option<String>,
    pub block_checksums: bool,
    pub tcp_host: Option<String>,
    pub tcp_port: u16,
}

impl Extra {
    pub fn read(extra: &Map<String, Json>, idle: &mut Vec<String>) -> Result<Self, String> {
        tell_idle(extra, idle);
        if switch(extra, "bidirectional_kv_xfer", false)? {
            return Err("bidirectional_kv_xfer is not supported: blocks go from the server that \
                        computed a prompt to the one that continues it"
                .to_owned());
        }
        Ok(Self {
            backends: texts(extra, "backends", "UCX")?,
            num_threads: match extra.get("num_threads") {
                None => 4,
                Some(value) => {
                    let count = value.as_u64().filter(|count| (1..=256).contains(count));
                    count.ok_or(format!("num_threads must be 1 to 256, not {value}"))? as u32
                }
            },
            lease: seconds(extra, "kv_lease_duration", 30.0)?,
            enforce_handshake_compat: switch(extra, "enforce_handshake_compat", true)?,
            engine_ttl: seconds(extra, "engine_ttl", 3600.0)?,
            transport: match text(extra, "transport")?.as_deref() {
                None | Some("nixl") => KvTransport::Nixl,
                Some("tcp") => KvTransport::Tcp,
                Some(other) => return Err(format!("transport must be nixl or tcp, not {other}")),
            },
            attn_backend: match text(extra, "attn_backend_name")? {
                None => AttnBackend::FlashAttn,
                Some(name) => AttnBackend::named(&name).ok_or_else(|| {
                    format!("attn_backend_name must be FLASH_ATTN or CPU_ATTN, not {name}")
                })?,
            },
            cpu_attn_isa: match text(extra, "cpu_attn_isa")? {
                None => None,
                Some(name) => Some(CpuAttnIsa::named(&name).ok_or_else(|| {
                    format!("cpu_attn_isa must be vec, vec16 or amx, not {name}")
                })?),
            },
            vllm_version: text(extra, "vllm_version")?,
            model: text(extra, "model")?,
            block_checksums: switch(extra, "block_checksums", false)?,
            tcp_host: text(extra, "tcp_host")?,
            tcp_port: match extra.get("tcp_port") {
                None => 0,
                Some(value) => value
                    .as_u64()
                    .and_then(|port| u16::try_from(port).ok())
                    .ok_or(format!("tcp_port must be 0 to 65535, not {value}"))?,
            },
        })
    }
}

fn tell_idle(extra: &Map<String, Json>, idle: &mut Vec<String>) {
    let names = |of: &dyn Fn(&str) -> bool| {
        let names: Vec<&str> = extra.keys().map(String::as_str).filter(|key| of(key)).collect();
        (!names.is_empty()).then(|| names.join(", "))
    };
    let place = "kv_connector_extra_config of --kv-transfer-config";
    if let Some(unknown) = names(&|key| !KEYS.contains(&key)) {
        idle.push(format!("{place}: unknown keys change nothing: {unknown}"));
    }
    if let Some(known) = names(&|key| IDLE.contains(&key)) {
        idle.push(format!("{place}: these change nothing while blocks are pulled: {known}"));
    }
}

fn text(extra: &Map<String, Json>, name: &str) -> Result<Option<String>, String> {
    match extra.get(name) {
        None | Some(Json::Null) => Ok(None),
        Some(Json::String(text)) if !text.is_empty() => Ok(Some(text.clone())),
        Some(other) => Err(format!("{name} must be a text, not {other}")),
    }
}

fn texts(extra: &Map<String, Json>, name: &str, default: &str) -> Result<Vec<String>, String> {
    let wrong = |value: &Json| format!("{name} must be a list of names, not {value}");
    match extra.get(name) {
        None => Ok(vec![default.to_owned()]),
        Some(Json::Array(items)) if !items.is_empty() => {
            let names = items.iter().map(|item| item.as_str().map(str::to_owned));
            names.collect::<Option<_>>().ok_or_else(|| wrong(&Json::Array(items.clone())))
        }
        Some(other) => Err(wrong(other)),
    }
}

/// Python's truth of a JSON value that is a boolean or a number.
fn switch(extra: &Map<String, Json>, name: &str, default: bool) -> Result<bool, String> {
    match extra.get(name) {
        None => Ok(default),
        Some(Json::Bool(value)) => Ok(*value),
        Some(Json::Number(number)) => Ok(number.as_f64() != Some(0.0)),
        Some(other) => Err(format!("{name} must be true or false, not {other}")),
    }
}

/// A positive time.
fn seconds(extra: &Map<String, Json>, name: &str, default: f64) -> Result<Duration, String> {
    let Some(value) = extra.get(name) else { return Ok(Duration::from_secs_f64(default)) };
    let seconds = value.as_f64().filter(|seconds| *seconds > 0.0);
    seconds
        .and_then(|seconds| Duration::try_from_secs_f64(seconds).ok())
        .ok_or(format!("{name} must be a number of seconds above 0, not {value}"))
}
