//! From settings to a connector that runs.

use super::blocks::{Packed, Plain};
use super::connector::{
    Address, Codec, Command, Core, Link, Met, Observer, Parts, Running, Settings,
};
use super::layout::{BlockShape, detect};
use super::nixl::{NixlOptions, NixlTransport};
use super::peer::Local;
use super::side_channel::{Listener, query};
use super::stats::TransferStats;
use super::tcp::{TcpOptions, TcpTransport};
use super::transport::{ReadStats, Transport, Waker};
use crate::config::{AttnBackend, KvRole, KvTransferConfig, KvTransport};
use crate::model::Dims;
use crate::types::{Clock, KvMemory, TransferEvent};
use std::sync::Arc;
use std::thread::Builder;
use std::time::Duration;

/// How long a peer may take to answer; vLLM's.
const ANSWER: Duration = Duration::from_secs(5);

/// A server's part in KV transfer. Dropping it ends all of it: the side channel first.
pub struct Transfers {
    listener: Listener,
    _connector: Running,
    link: Link,
    stats: Arc<TransferStats>,
}

/// The engine whose KV moves.
pub struct Engine<'a> {
    pub dims: &'a Dims,
    pub memory: KvMemory,
    /// Tokens in a block.
    pub block_size: usize,
    pub clock: Clock,
    /// Told what becomes of pulls and leases.
    pub tell: Box<dyn FnMut(TransferEvent) + Send>,
}

impl Transfers {
    /// Starts the transport, the connector and the side channel.
    ///
    /// # Errors
    /// One sentence: what does not start, and what to do.
    pub fn start(config: &KvTransferConfig, engine: Engine<'_>) -> Result<Self, String> {
        let Engine { dims, memory, block_size, clock, tell } = engine;
        let shape =
            BlockShape { kv_heads: dims.kv_heads, tokens: block_size, head_dim: dims.head_dim };
        let (codec, shown) = codec(config, memory, shape)?;
        let (link, commands) = Link::new();
        let waker = link.clone();
        let waker: Waker = Arc::new(move || waker.send(Command::Wake));
        let transport = transport(config, shown.clone(), waker)?;
        let local = Local::new(config, dims, &shown, block_size);
        let payload = local.payload(transport.metadata()).encode();
        let stats = Arc::<TransferStats>::default();
        let parts = Parts {
            transport,
            codec,
            clock: clock.clone(),
            stats: Box::new(stats.clone()),
            tell,
            meet: Box::new(meet(Arc::new(local), link.clone(), clock.clone())),
        };
        let settings = Settings {
            lease: config.lease,
            engine_ttl: config.engine_ttl,
            checksums: config.block_checksums,
        };
        let running =
            Running::start(link.clone(), commands, clock.clone(), Core::new(settings, parts))
                .map_err(|error| format!("no thread for KV transfer: {error}"))?;
        let (host, port) = (&config.side_channel_host, config.side_channel_port);
        let listener = Listener::bind(host, port, payload.into(), clock).map_err(|error| {
            format!(
                "the NIXL side channel cannot listen on {host}:{port}: {error}; set \
                 VLLM_NIXL_SIDE_CHANNEL_HOST and VLLM_NIXL_SIDE_CHANNEL_PORT"
            )
        })?;
        log::info!("NIXL side channel on {host}:{}, engine {}", listener.port(), config.engine_id);
        Ok(Self { listener, _connector: running, link, stats })
    }

    /// The engine's way to it.
    pub fn link(&self) -> Link {
        self.link.clone()
    }

    /// The port of the side channel.
    pub fn port(&self) -> u16 {
        self.listener.port()
    }

    /// What transfers were like.
    pub fn stats(&self) -> Arc<TransferStats> {
        self.stats.clone()
    }
}

/// The memory that peers read, and what fills it.
fn codec(
    config: &KvTransferConfig,
    memory: KvMemory,
    shape: BlockShape,
) -> Result<(Box<dyn Codec>, KvMemory), String> {
    match config.attn_backend {
        AttnBackend::FlashAttn => Ok((Box::new(Plain::new(memory.clone())), memory)),
        AttnBackend::CpuAttn if memory.copies.is_some() => Err(
            "--kv-transfer-config: attn_backend_name CPU_ATTN is how CPUs lay blocks out, and the \
             KV cache is on a GPU: leave it at FLASH_ATTN, or say --device cpu"
                .to_owned(),
        ),
        AttnBackend::CpuAttn => {
            let isa = config.cpu_attn_isa.map_or_else(|| detect(shape), Ok)?;
            let sizes = memory.regions.first().map(|region| region.block_len);
            if !shape.fits(isa) || sizes != Some(shape.len() * size_of::<u16>()) {
                let name = isa.name();
                return Err(format!("CPU_ATTN cannot pack blocks of this model for {name}"));
            }
            log::info!("KV blocks are shown to peers as CPU_ATTN packs them for {}", isa.name());
            let packed = Packed::new(memory, isa, shape);
            let shown = packed.memory();
            Ok((Box::new(packed), shown))
        }
    }
}

fn transport(
    config: &KvTransferConfig,
    memory: KvMemory,
    waker: Waker,
) -> Result<Box<dyn Transport>, String> {
    match config.transport {
        KvTransport::Tcp => {
            let host = config.tcp_host.clone();
            let host = host.unwrap_or_else(|| config.side_channel_host.clone());
            let options = TcpOptions { host, port: config.tcp_port, ..TcpOptions::default() };
            let address = format!("{}:{}", options.host, options.port);
            let transport = TcpTransport::new(memory, options, waker);
            let transport = transport
                .map_err(|error| format!("the KV transport cannot listen on {address}: {error}"))?;
            Ok(Box::new(transport))
        }
        KvTransport::Nixl => {
            let options = NixlOptions {
                num_threads: config.num_threads,
                backends: config.backends.clone(),
                reads: config.role != KvRole::Producer,
                ..NixlOptions::default()
            };
            let transport = NixlTransport::new(memory, options, waker);
            Ok(Box::new(transport.map_err(|error| error.to_string())?))
        }
    }
}

/// Starts handshakes, each on a thread of its own: they wait for a peer.
fn meet(local: Arc<Local>, link: Link, clock: Clock) -> impl FnMut(&Address) + Send {
    move |address| {
        let (local, answer, clock) = (local.clone(), link.clone(), clock.clone());
        let address = address.clone();
        let engine_id = address.engine_id.clone();
        let thread = Builder::new().name("kv-handshake".to_owned());
        let started = thread.spawn(move || {
            let result = handshake(&local, &address, &clock);
            answer.send(Command::Met(address.engine_id, result));
        });
        if let Err(error) = started {
            link.send(Command::Met(engine_id, Err(format!("no thread for a handshake: {error}"))));
        }
    }
}

fn handshake(local: &Local, address: &Address, clock: &Clock) -> Result<Met, String> {
    let answer = query(&address.host, address.port, (0, 0), ANSWER, clock)
        .map_err(|error| error.to_string())?;
    let peer =
        local.check(&answer.payload, &address.engine_id).map_err(|error| error.to_string())?;
    if peer.attn_backend != local.attn_backend {
        let (theirs, ours) = (peer.attn_backend.name(), local.attn_backend.name());
        return Err(format!("the peer's blocks are those of {theirs}, and ours of {ours}"));
    }
    Ok(Met {
        agent: peer.agent_metadata,
        regions: peer.regions,
        clock_offset: answer.clock_offset + answer.round_trip.as_secs_f64() / 2.0,
    })
}

impl Observer for Arc<TransferStats> {
    fn transferred(&self, stats: &ReadStats) {
        TransferStats::transferred(self, stats);
    }

    fn failed_transfer(&self) {
        TransferStats::failed_transfer(self);
    }

    fn failed_notification(&self) {
        TransferStats::failed_notification(self);
    }

    fn expired(&self) {
        TransferStats::expired(self);
    }

    fn late(&self) {
        TransferStats::late(self);
    }
}
