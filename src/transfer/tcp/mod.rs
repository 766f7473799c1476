//! Our own transport, over TCP, for hosts without NIXL.
//!
//! P listens. D dials P and asks for blocks in the name of a request; P serves only what was
//! granted to that request ([`Transport::grant`]), straight out of the pool, and D reads straight
//! into its own. What D says goes over a connection of its own and is acknowledged.
//!
//! Blocking sockets on threads: one listens, and one serves each connection of P; D has one for
//! each read that is under way, up to a bound, and one to speak. Nothing polls. Whatever a peer
//! sends or fails to send is an error within a bound. There is no encryption, as there is none
//! with NIXL: the network is trusted, and a random token keeps out who was not told of it.

mod dial;
#[doc(hidden)]
pub mod fuzz;
mod grants;
mod interfaces;
mod peer;
mod pool;
mod reader;
mod server;
mod stream;
mod wire;

use super::transport::{
    BlockPair, PeerId, ReadId, Transport, TransportError, TransportEvent, Waker,
};
use crate::types::{BlockId, KvMemory, KvRegion};
use grants::Grants;
use peer::{Home, Job, Peer};
use pool::Pool;
use server::{Server, Source};
use std::collections::HashMap;
use std::io;
use std::net::TcpListener;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, channel, sync_channel};
use std::time::{Duration, Instant};
use wire::{AgentToken, Metadata};

/// Notifications that wait to be taken.
const MOST_NOTIFICATIONS: usize = 256;

/// How long what is queued may take to be said when the transport ends.
const FAREWELL: Duration = Duration::from_secs(1);

/// How a [`TcpTransport`] is reached and what it bears.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TcpOptions {
    /// The name or address to listen on. Peers dial what it resolves to, or, for a wildcard, the
    /// addresses of the interfaces.
    pub host: String,
    /// 0: any free one.
    pub port: u16,
    /// A peer that makes no progress for so long is gone.
    pub stall: Duration,
    /// Reads at once from one peer; others wait.
    pub connections: usize,
}

impl Default for TcpOptions {
    fn default() -> Self {
        let host = "localhost".to_owned();
        Self { host, port: 0, stall: Duration::from_secs(10), connections: 4 }
    }
}

/// Reads KV memory over TCP. Dropped, it first says what is left to be said, for up to a second.
pub struct TcpTransport {
    home: Home,
    connections: usize,
    grants: Arc<Grants>,
    metadata: Vec<u8>,
    peers: HashMap<PeerId, Arc<Peer>>,
    /// Forgotten, while their threads end.
    forgotten: Vec<Arc<Peer>>,
    next_peer: u64,
    /// Reads whose end was not taken yet.
    reads: HashMap<ReadId, Arc<Peer>>,
    next_read: u64,
    events: Receiver<TransportEvent>,
    /// Both `None` only while it is dropped.
    notifications: Option<Receiver<Vec<u8>>>,
    server: Option<Server>,
}

impl TcpTransport {
    /// Listens, and serves the blocks of `memory` that are granted.
    pub fn new(memory: KvMemory, options: TcpOptions, waker: Waker) -> io::Result<Self> {
        let pool = Arc::new(Pool::new(memory)?);
        let token: AgentToken = rand::random();
        let listener = TcpListener::bind((options.host.as_str(), options.port))?;
        let addresses = interfaces::reachable(listener.local_addr()?)?;
        let metadata = Metadata { token, geometry: pool.geometry(), addresses }.encode();
        let grants = Arc::new(Grants::new(waker.clone()));
        let (speak, notifications) = sync_channel(MOST_NOTIFICATIONS);
        let (tell, events) = channel();
        let source = Source {
            pool: pool.clone(),
            grants: grants.clone(),
            token,
            stall: options.stall,
            notifications: speak,
            waker: waker.clone(),
        };
        Ok(Self {
            home: Home { pool, stall: options.stall, events: tell, waker },
            connections: options.connections.max(1),
            grants,
            metadata,
            peers: HashMap::new(),
            forgotten: Vec::new(),
            next_peer: 0,
            reads: HashMap::new(),
            next_read: 0,
            events,
            notifications: Some(notifications),
            server: Some(Server::start(listener, source)?),
        })
    }

    fn peer(&self, peer: PeerId) -> Result<&Arc<Peer>, TransportError> {
        let unknown = || TransportError::Disconnected("it is not known".to_owned());
        self.peers.get(&peer).ok_or_else(unknown)
    }
}

/// The request that a read's notification, `<request_id>:<n>`, is for.
fn request_of(notification: &[u8]) -> Result<&str, TransportError> {
    let text = std::str::from_utf8(notification).ok();
    let id = text.and_then(|text| text.rsplit_once(':')).map(|(id, _)| id);
    id.filter(|id| id.len() <= u16::MAX.into()).ok_or_else(|| {
        let text = "the notification of a read does not name its request".to_owned();
        TransportError::Failed(text)
    })
}

fn check_length(message: &[u8]) -> Result<(), TransportError> {
    if message.len() <= wire::LONGEST_NOTIFICATION {
        return Ok(());
    }
    let len = message.len();
    Err(TransportError::Failed(format!("a notification of {len} bytes")))
}

impl Transport for TcpTransport {
    fn metadata(&self) -> &[u8] {
        &self.metadata
    }

    fn connect(&mut self, metadata: &[u8], regions: &[KvRegion]) -> Result<PeerId, TransportError> {
        let refuse = |why: String| TransportError::Failed(format!("the peer's metadata: {why}"));
        let metadata = Metadata::parse(metadata).map_err(|e| refuse(e.to_string()))?;
        let told = pool::geometry(regions).map_err(refuse)?;
        let (theirs, ours) = (metadata.geometry, self.home.pool.geometry());
        if theirs != told {
            return Err(refuse(format!("{theirs:?}, and its regions are {told:?}")));
        }
        if (theirs.regions, theirs.block_len) != (ours.regions, ours.block_len) {
            return Err(refuse(format!("{theirs:?}, and here it is {ours:?}")));
        }
        let peer = Arc::new(Peer::new(self.home.clone(), metadata));
        peer.start(reader::say_messages)?;
        let id = PeerId(self.next_peer);
        self.next_peer += 1;
        self.peers.insert(id, peer);
        Ok(id)
    }

    fn disconnect(&mut self, peer: PeerId) {
        let Some(peer) = self.peers.remove(&peer) else { return };
        peer.end(TransportError::Disconnected("it was forgotten".to_owned()));
        self.forgotten.push(peer);
    }

    fn read(
        &mut self,
        peer: PeerId,
        blocks: &[BlockPair],
        notification: &[u8],
    ) -> Result<ReadId, TransportError> {
        let begun = Instant::now();
        let peer = self.peer(peer)?.clone();
        let (ours, theirs) = (self.home.pool.geometry().blocks, peer.metadata.geometry.blocks);
        let out = |pair: &&BlockPair| pair.local >= ours || pair.remote >= theirs;
        if let Some(BlockPair { local, remote }) = blocks.iter().find(out) {
            let text = format!("block {remote} of {theirs} into block {local} of {ours}");
            return Err(TransportError::Failed(text));
        }
        if blocks.is_empty() || blocks.len() > theirs as usize {
            let text = format!("{} blocks, of {theirs}", blocks.len());
            return Err(TransportError::Failed(text));
        }
        check_length(notification)?;
        let request_id = request_of(notification)?.to_owned();
        let read = ReadId(self.next_read);
        self.next_read += 1;
        let job = Job {
            read,
            request_id,
            local: blocks.iter().map(|pair| pair.local).collect(),
            remote: blocks.iter().map(|pair| pair.remote).collect(),
            notification: notification.to_vec(),
            begun,
            posted: Instant::now(),
        };
        peer.read(job, self.connections, reader::read_jobs)?;
        self.reads.insert(read, peer);
        Ok(read)
    }

    fn cancel(&mut self, read: ReadId) {
        if let Some(peer) = self.reads.get(&read) {
            peer.cancel(read);
        }
    }

    fn notify(&mut self, peer: PeerId, message: &[u8]) -> Result<(), TransportError> {
        check_length(message)?;
        self.peer(peer)?.say(message.to_vec())
    }

    fn poll(&mut self, events: &mut Vec<TransportEvent>) {
        for event in self.events.try_iter() {
            if let TransportEvent::Read { read, .. } = &event {
                self.reads.remove(read);
            }
            events.push(event);
        }
        let notifications = self.notifications.iter().flat_map(Receiver::try_iter);
        events.extend(notifications.map(TransportEvent::Notification));
        self.forgotten.retain(|peer| !peer.is_finished());
    }

    fn poll_interval(&self, _expects_peers: bool) -> Option<Duration> {
        None
    }

    fn grant(&mut self, request_id: &Arc<str>, blocks: &[BlockId]) {
        self.grants.grant(request_id, blocks);
    }

    fn revoke(&mut self, request_id: &str) -> bool {
        self.grants.revoke(request_id)
    }
}

impl Drop for TcpTransport {
    fn drop(&mut self) {
        let end = Instant::now() + FAREWELL;
        self.peers.values().for_each(|peer| peer.close());
        for peer in self.peers.values() {
            peer.wait_spoken(end);
            peer.end(TransportError::Disconnected("this side ends".to_owned()));
        }
        self.peers.values().chain(&self.forgotten).for_each(|peer| peer.join());
        // Without somebody to listen, nobody waits until he does.
        self.notifications = None;
        self.server = None;
    }
}
