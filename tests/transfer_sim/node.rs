//! One server of the simulation: the real engine on the simulated device, and the real connector.

use crate::net::{LEASE, Net, NodeId, SharedNet, Wire};
use glassbox::engine::{Core, EngineConfig, EngineHandle, PrefixCaching};
use glassbox::runner::sim::{Samples, SimBackend, SimConfig};
use glassbox::runner::{Backend, Limits};
use glassbox::scheduler::SchedulerConfig;
use glassbox::transfer::connector::{
    Address, Codec, Command, Core as Connector, Link, Met, Observer, Parts, Settings,
};
use glassbox::transfer::transport::ReadStats;
use glassbox::types::{BlockId, Clock, HashAlgo, KvMemory, Policy};
use std::sync::mpsc::Receiver;
use std::sync::{Arc, Mutex};
use std::time::Duration;

/// What a server is set to.
#[derive(Clone, Copy)]
pub struct Shape {
    pub limits: Limits,
    pub caches: bool,
    pub recomputes: bool,
    pub checksums: bool,
}

pub struct Node {
    pub id: NodeId,
    pub core: Core,
    pub handle: EngineHandle,
    pub connector: Connector,
    commands: Receiver<Command>,
    link: Link,
    /// Peers that it wants to meet.
    meetings: Arc<Mutex<Vec<Address>>>,
    net: SharedNet,
    pub is_asleep: bool,
}

/// Nothing between pool and peers but a sum.
struct Plain(KvMemory);

impl Codec for Plain {
    fn export(&mut self, _: &[BlockId]) {}

    fn import(&mut self, _: &[BlockId]) {}

    fn checksum(&mut self, block: BlockId) -> Result<u64, String> {
        let region = &self.0.regions[0];
        let start = region.block_address(block) as *const u64;
        let words = (0..region.block_len / 8).map(|i| {
            // SAFETY: within a block of the simulated device; this thread is the only one.
            unsafe { start.add(i).read() }
        });
        Ok(words.fold(7, |sum, word| (sum ^ word).wrapping_mul(0x9e37_79b9_7f4a_7c15)))
    }
}

struct Uncounted;

impl Observer for Uncounted {
    fn transferred(&self, _: &ReadStats) {}
    fn failed_transfer(&self) {}
    fn failed_notification(&self) {}
    fn expired(&self) {}
    fn late(&self) {}
}

impl Node {
    pub fn new(id: NodeId, shape: Shape, net: SharedNet, clock: Clock) -> Self {
        let limits = shape.limits;
        let sim = SimConfig {
            limits,
            step_time: Duration::ZERO,
            samples: Samples::Ahead,
            fails_at: None,
        };
        let backend = SimBackend::new(sim);
        let memory = backend.kv_memory().expect("it has memory");
        let (mut core, handle) = Core::new(config(shape), Box::new(backend), clock.clone());
        let (link, commands) = Link::new();
        core.transfer_by(Box::new(link.clone()), shape.recomputes);
        let meetings: Arc<Mutex<Vec<Address>>> = Arc::default();
        let wanted = meetings.clone();
        let engine = handle.clone();
        let parts = Parts {
            transport: Box::new(Wire::new(net.clone(), id, memory.clone())),
            codec: Box::new(Plain(memory)),
            clock,
            stats: Box::new(Uncounted),
            tell: Box::new(move |event| engine.transferred(event)),
            meet: Box::new(move |address| wanted.lock().unwrap().push(address.clone())),
        };
        let settings = Settings {
            lease: LEASE,
            engine_ttl: Duration::from_secs(3600),
            checksums: shape.checksums,
        };
        let connector = Connector::new(settings, parts);
        Self { id, core, handle, connector, commands, link, meetings, net, is_asleep: false }
    }

    /// One turn of the engine and of the connector.
    pub fn turn(&mut self) {
        if self.is_asleep {
            return;
        }
        self.core.turn().expect("the device works");
        self.core.check();
        self.hold_meetings();
        while let Ok(command) = self.commands.try_recv() {
            self.connector.take(command);
        }
        self.connector.turn();
    }

    /// Handshakes: with those that live, by the engine's id they are known by.
    fn hold_meetings(&mut self) {
        for address in std::mem::take(&mut *self.meetings.lock().unwrap()) {
            let peer: NodeId = address.engine_id.parse().expect("a node's id");
            let net = self.net.lock().unwrap();
            let result = match net.is_alive(peer) {
                false => Err("nobody answers".to_owned()),
                true => Ok(met(&net, peer)),
            };
            self.link.send(Command::Met(address.engine_id, result));
        }
    }
}

fn met(net: &Net, peer: NodeId) -> Met {
    Met { agent: peer.to_le_bytes().to_vec(), regions: net.regions(peer), clock_offset: 0.0 }
}

fn config(shape: Shape) -> EngineConfig {
    let limits = shape.limits;
    EngineConfig {
        scheduler: SchedulerConfig {
            max_num_batched_tokens: limits.max_tokens,
            max_num_seqs: limits.max_seqs,
            policy: Policy::Fcfs,
            chunked_prefill: true,
            long_prefill_token_threshold: 0,
            adaptive_long_prefill: false,
            reserve_full_prompt: true,
            watermark: 0.0,
        },
        logprobs: Default::default(),
        observation: Default::default(),
        max_model_len: limits.num_blocks * limits.block_size,
        prefix_caching: shape
            .caches
            .then(|| PrefixCaching { algo: HashAlgo::Xxhash, hash_seed: Some("0".to_owned()) }),
        max_in_flight: 1000,
        max_queued_tokens: usize::MAX,
        seed: 0,
        iteration_buckets: vec![1.0],
    }
}
