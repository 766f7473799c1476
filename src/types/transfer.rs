//! KV that moves between servers: what the engine and the connector tell each other.
//!
//! A prefill server (P) computes a prompt and keeps its blocks under a lease; a decode server (D)
//! pulls them into blocks of its own and goes on from there. D reads; P only waits to be told.

use super::{BlockId, Moment, RequestId};
use std::sync::Arc;
use std::time::Duration;

/// Blocks on P that a request may be continued from, as `kv_transfer_params` names them.
#[derive(Clone, Debug, PartialEq)]
pub struct RemoteBlocks {
    /// P's engine.
    pub engine_id: Arc<str>,
    /// P's name for the request that computed them: what notifications name.
    pub request_id: Arc<str>,
    /// P's side channel.
    pub host: Arc<str>,
    pub port: u16,
    /// Those that hold the prompt, in its order.
    pub blocks: Vec<BlockId>,
    /// Tokens whose KV they hold; `None` when P did not say.
    pub num_tokens: Option<usize>,
    /// When P may free them, in seconds of P's monotonic clock; `None` when P did not say.
    pub expiry: Option<f64>,
    /// When this server was told of them.
    pub told: Moment,
    /// A checksum of each block over all regions; empty when P made none.
    pub checksums: Vec<u64>,
}

/// A pull that the engine asks for: the blocks of `remote` behind the first `skipped`, which are
/// cached here, go into `local`, one to one.
#[derive(Debug)]
pub struct Pull {
    pub id: RequestId,
    pub remote: Arc<RemoteBlocks>,
    pub skipped: usize,
    pub local: Vec<BlockId>,
    /// Tokens whose KV must be in them.
    pub tokens: usize,
}

/// Blocks that P keeps for a peer.
#[derive(Debug)]
pub struct Lease {
    /// P's name for the request.
    pub request_id: Arc<str>,
    pub blocks: Vec<BlockId>,
}

/// What a lease came to when it began.
#[derive(Clone, Debug, PartialEq)]
pub struct Granted {
    /// The earliest end, in seconds of this process's monotonic clock.
    pub expiry: f64,
    /// A checksum of each block, when they are wanted.
    pub checksums: Vec<u64>,
}

/// Blocks that are kept for a peer, as the request's reader is told of them.
#[derive(Clone, Debug, PartialEq)]
pub struct LeasedBlocks {
    pub request_id: Arc<str>,
    pub blocks: Vec<BlockId>,
    /// Tokens whose KV they hold.
    pub num_tokens: usize,
    pub granted: Granted,
}

/// Where the time and the bytes of a pull went.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct PullStats {
    pub bytes: u64,
    pub blocks: u32,
    /// Until the peer was known, from the request's arrival; zero when it was known before.
    pub handshake: Duration,
    /// From the start of the read to its end.
    pub transfer: Duration,
}

/// What the connector tells the engine.
#[derive(Debug)]
pub enum TransferEvent {
    /// A pull is over: its blocks are filled, or are left alone from here on and say nothing.
    Pulled { id: RequestId, result: Result<PullStats, String> },
    /// A lease is over: its blocks may be used again.
    Released { request_id: Arc<str> },
}

/// Told once a lease is in force. Whether anybody hears of it: otherwise it ends at once.
pub type OnGranted = Box<dyn FnOnce(Granted) -> bool + Send>;

/// The engine's way to the connector. Called on the engine thread: nothing here waits.
pub trait KvConnector: Send {
    /// A request came that will pull: its lease on P is kept alive from here on, until its pull is
    /// over or it is discarded.
    fn announce(&mut self, id: RequestId, remote: &Arc<RemoteBlocks>);

    /// Reads blocks. Ends with one [`TransferEvent::Pulled`], also after `cancel`.
    fn pull(&mut self, pull: Pull);

    /// Nobody waits for a pull any more: it need not succeed, but its end must be told.
    fn cancel(&mut self, id: RequestId);

    /// A request will not pull, announced or not: P may free its blocks.
    fn discard(&mut self, id: RequestId, remote: &Arc<RemoteBlocks>);

    /// Keeps blocks for a peer until [`TransferEvent::Released`].
    fn lease(&mut self, lease: Lease, granted: OnGranted);
}
