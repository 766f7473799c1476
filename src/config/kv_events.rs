//! `--kv-events-config`: who is told what the prefix cache holds, and how.

use super::env::Env;
use super::grammar::Raw;
use super::python;
use super::value::Value;
use serde_json::{Map, Value as Json};
use std::fmt;
use std::time::Duration;

const FLAG: &str = "argument --kv-events-config";
const FIELDS: [&str; 8] = [
    "enable_kv_cache_events",
    "publisher",
    "endpoint",
    "replay_endpoint",
    "buffer_steps",
    "hwm",
    "max_queue_size",
    "topic",
];

/// KV cache events over ZeroMQ.
#[derive(Clone, Debug, PartialEq)]
pub struct KvEventsSettings {
    /// Where batches are published, shifted by the rank.
    pub endpoint: EventEndpoint,
    /// Where old batches can be asked for; always bound.
    pub replay_endpoint: Option<EventAddress>,
    /// Most batches kept for replay.
    pub buffer_steps: usize,
    /// Most batches waiting for one subscriber; 0 is no limit.
    pub hwm: usize,
    /// Most batches between the engine and the publisher; at least 1.
    pub max_queue_size: usize,
    /// The first frame of every message.
    pub topic: String,
    pub encoding: EventEncoding,
    /// Hashes as 64-bit integers, not as bytes.
    pub int_hashes: bool,
    /// The data-parallel rank in every batch.
    pub rank: u32,
    /// How long the first batch waits for a subscriber.
    pub first_wait: Duration,
    /// `VLLM_HOST_IP`: what `tcp://*:0` binds; `None` asks the routing table.
    pub node_ip: Option<String>,
}

/// The form of an event.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EventEncoding {
    /// Maps with a `type`: vLLM 0.32.
    Map,
    /// Arrays with the tag first: vLLM until the summer of 2026.
    Array,
    /// The same with the fields of late 2025, without extra keys and groups.
    Array2025,
}

/// Who opens the connection.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum EventEndpoint {
    Bind(EventAddress),
    Connect(EventAddress),
}

/// Where a socket is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum EventAddress {
    /// `*` as the host is every IPv4 interface; an IPv6 address comes without its brackets.
    Tcp { host: String, port: u16 },
    /// `tcp://*:0`: the node's address and a port that the system chooses.
    AnyPortOfNode,
    /// A path, or a name that starts with `@`.
    Ipc(String),
}

impl fmt::Display for EventAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tcp { host, port } if host.contains(':') => write!(f, "tcp://[{host}]:{port}"),
            Self::Tcp { host, port } => write!(f, "tcp://{host}:{port}"),
            Self::AnyPortOfNode => f.write_str("tcp://*:0"),
            Self::Ipc(path) => write!(f, "ipc://{path}"),
        }
    }
}

impl EventEndpoint {
    /// vLLM's rule: wildcards, anything with `::` and local transports are bound, the rest is
    /// connected to.
    fn parse(text: &str) -> Result<Self, String> {
        let address = EventAddress::parse(text)?;
        let bind = text.contains('*') || text.contains("::") || text.starts_with("ipc://");
        Ok(if bind { Self::Bind(address) } else { Self::Connect(address) })
    }
}

impl EventAddress {
    fn parse(text: &str) -> Result<Self, String> {
        if text == "tcp://*:0" {
            return Ok(Self::AnyPortOfNode);
        }
        if text.starts_with("inproc://") {
            return Err(format!(
                "{text} can be heard only inside this process, where nobody listens; use tcp:// \
                 or ipc://"
            ));
        }
        if let Some(path) = text.strip_prefix("ipc://") {
            let named = !path.is_empty() && path != "*";
            return named.then(|| Self::Ipc(path.to_owned())).ok_or(format!("{text} needs a path"));
        }
        let parts = text.strip_prefix("tcp://").and_then(|rest| rest.rsplit_once(':'));
        let Some((host, port)) = parts else {
            return Err(format!("{text} is neither tcp://HOST:PORT nor ipc://PATH"));
        };
        let host = host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(host);
        if host.is_empty() || host.contains([';', '/']) {
            return Err(format!("{text} needs one host"));
        }
        let port = port.parse().map_err(|_| format!("{text} needs a port from 0 to 65535"))?;
        Ok(Self::Tcp { host: host.to_owned(), port })
    }
}

/// vLLM's shift of an endpoint for a data-parallel rank. Port 0 stays, since the system chooses.
fn shifted(text: &str, rank: u32) -> Result<String, String> {
    if rank == 0 || text.is_empty() {
        return Ok(text.to_owned());
    }
    if text.contains("inproc") {
        return Ok(format!("{text}_dp{rank}"));
    }
    if !text.contains("tcp") {
        return Err(format!("{text} cannot be shared by data-parallel ranks; use tcp://"));
    }
    let Some((base, port)) = text.rsplit_once(':') else { return Ok(text.to_owned()) };
    let port: u32 = port.parse().map_err(|_| format!("{text} has no port to shift"))?;
    Ok(if port == 0 { text.to_owned() } else { format!("{base}:{}", port.saturating_add(rank)) })
}

/// Reads the flags. `None`: nobody is told. `prefix_caching` off is warned about: then nothing
/// happens that could be told.
pub(super) fn read(
    raw: &Raw,
    env: &Env,
    prefix_caching: bool,
    warnings: &mut Vec<String>,
) -> Result<Option<KvEventsSettings>, String> {
    let encoding = encoding(raw, env)?;
    let wait = match raw.get("--glassbox-kv-events-wait") {
        Value::Float(seconds) => Duration::try_from_secs_f64(seconds)
            .map_err(|_| "argument --glassbox-kv-events-wait: must be seconds, at least 0")?,
        _ => Duration::ZERO,
    };
    let config = match raw.get("--kv-events-config") {
        Value::Json(Json::Object(config)) => config,
        Value::Null | Value::Json(Json::Null) => return Ok(None),
        other => return Err(format!("{FLAG}: must be a JSON object, not {}", other.repr())),
    };
    // A process is a data-parallel group of its own; other ranks are refused with their flag.
    let fixed = Fixed { encoding, wait, rank: 0 };
    let settings =
        settings(&config, fixed, env, warnings).map_err(|error| format!("{FLAG}: {error}"))?;
    if settings.is_some() && !prefix_caching {
        warnings.push(
            "KV cache events are on, but prefix caching is off: there will be none. \
             --enable-prefix-caching turns it on"
                .to_owned(),
        );
    }
    Ok(settings)
}

/// The flag wins over the variable.
fn encoding(raw: &Raw, env: &Env) -> Result<EventEncoding, String> {
    let flag = raw.text("--glassbox-kv-events-encoding");
    let name = flag.or_else(|| env.kv_events_encoding.clone());
    match name.as_deref() {
        None | Some("map") => Ok(EventEncoding::Map),
        Some("array") => Ok(EventEncoding::Array),
        Some("array-2025") => Ok(EventEncoding::Array2025),
        Some(other) => Err(format!(
            "GLASSBOX_KV_EVENTS_ENCODING must be map, array or array-2025, not {}",
            python::repr(other)
        )),
    }
}

/// What does not come from the JSON.
struct Fixed {
    encoding: EventEncoding,
    wait: Duration,
    rank: u32,
}

fn settings(
    config: &Map<String, Json>,
    fixed: Fixed,
    env: &Env,
    warnings: &mut Vec<String>,
) -> Result<Option<KvEventsSettings>, String> {
    if let Some(unknown) = config.keys().find(|key| !FIELDS.contains(&key.as_str())) {
        return Err(format!("there is no field {unknown}; the fields are {}", FIELDS.join(", ")));
    }
    let endpoint = text(config, "endpoint")?.unwrap_or_else(|| "tcp://*:5557".to_owned());
    let replay = text(config, "replay_endpoint")?.filter(|text| !text.is_empty());
    let buffer_steps = count(config, "buffer_steps", 10_000)?;
    let hwm = count(config, "hwm", 100_000)?;
    let queue = count(config, "max_queue_size", 100_000)?;
    let topic = text(config, "topic")?.unwrap_or_default();
    let enabled = switch(config, "enable_kv_cache_events")?;
    let publisher = text(config, "publisher")?;
    match publisher.as_deref() {
        None | Some("zmq" | "null") => {}
        Some(other) => return Err(format!("publisher must be zmq or null, not {other}")),
    }
    if !enabled {
        if publisher.as_deref() == Some("zmq") {
            warnings.push(
                "KV cache events are off, though a publisher is set. Set enable_kv_cache_events \
                 in --kv-events-config to turn them on"
                    .to_owned(),
            );
        }
        return Ok(None);
    }
    if publisher.as_deref() == Some("null") {
        return Ok(None);
    }
    if queue == 0 {
        warnings.push(
            "max_queue_size 0 of --kv-events-config is no limit in vLLM; here it is 100000 \
             batches, and what exceeds it is merged, not lost"
                .to_owned(),
        );
    }
    let shift = |text: String| shifted(&text, fixed.rank);
    Ok(Some(KvEventsSettings {
        endpoint: EventEndpoint::parse(&shift(endpoint)?)?,
        replay_endpoint: match replay {
            Some(replay) => Some(EventAddress::parse(&shift(replay)?)?),
            None => None,
        },
        buffer_steps,
        hwm,
        max_queue_size: if queue == 0 { 100_000 } else { queue },
        topic,
        encoding: fixed.encoding,
        int_hashes: env.kv_events_int_hashes,
        rank: fixed.rank,
        first_wait: fixed.wait,
        node_ip: env.host_ip.clone(),
    }))
}

fn text(config: &Map<String, Json>, name: &str) -> Result<Option<String>, String> {
    match config.get(name) {
        None | Some(Json::Null) => Ok(None),
        Some(Json::String(text)) => Ok(Some(text.clone())),
        Some(other) => Err(format!("{name} must be a text, not {other}")),
    }
}

fn count(config: &Map<String, Json>, name: &str, default: usize) -> Result<usize, String> {
    let Some(value) = config.get(name) else { return Ok(default) };
    let number = value.as_u64().and_then(|number| usize::try_from(number).ok());
    number.ok_or_else(|| format!("{name} must be a whole number, at least 0, not {value}"))
}

fn switch(config: &Map<String, Json>, name: &str) -> Result<bool, String> {
    match config.get(name) {
        None => Ok(false),
        Some(Json::Bool(value)) => Ok(*value),
        Some(other) => Err(format!("{name} must be true or false, not {other}")),
    }
}

#[cfg(test)]
mod tests;
