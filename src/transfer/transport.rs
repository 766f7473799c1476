//! What moves the bytes, as the connector sees it.

use crate::types::{BlockId, KvRegion};
use std::sync::Arc;
use std::time::Duration;
use thiserror::Error;

/// A peer that a transport has a way to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct PeerId(pub u64);

/// A read under way.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ReadId(pub u64);

/// Why something could not be done. Nothing here ends the process: the peer is dropped and met
/// again.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum TransportError {
    #[error("the peer is gone: {0}")]
    Disconnected(String),
    #[error("the peer refused: {0}")]
    Refused(String),
    #[error("{0}")]
    Failed(String),
    /// This side could not take in what came; the peer is as good as before.
    #[error("{0}")]
    Copy(String),
}

/// A block of the peer, and the block of this side that it goes into.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BlockPair {
    pub local: BlockId,
    pub remote: BlockId,
}

/// What a read came to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ReadStats {
    pub bytes: u64,
    /// Pieces that were read: blocks times regions.
    pub descriptors: u32,
    /// Spent on handing the read over.
    pub post: Duration,
    /// From then to its end.
    pub transfer: Duration,
}

/// What happened since the last look.
#[derive(Debug)]
pub enum TransportEvent {
    /// A read is over: its local blocks are not written to any more.
    Read { read: ReadId, result: Result<ReadStats, TransportError> },
    /// A peer says something. Those of reads arrive when all of the read's bytes are with the
    /// peer.
    Notification(Vec<u8>),
}

/// Called when there is something to look at; from any thread.
pub type Waker = Arc<dyn Fn() + Send + Sync>;

/// A way to read the KV memory of peers, and to let them read this process's. Owned and called by
/// one thread; made for one set of local regions.
pub trait Transport: Send {
    /// What a peer must know to reach this side: opaque, and the same at every call.
    fn metadata(&self) -> &[u8];

    /// Learns the way to a peer from its metadata. `regions` are its memory, as many as here, with
    /// blocks of the same length.
    fn connect(&mut self, metadata: &[u8], regions: &[KvRegion]) -> Result<PeerId, TransportError>;

    /// Forgets a peer. Its reads end with an error.
    fn disconnect(&mut self, peer: PeerId);

    /// Reads blocks of all regions; the peer is told `notification` when that is done.
    fn read(
        &mut self,
        peer: PeerId,
        blocks: &[BlockPair],
        notification: &[u8],
    ) -> Result<ReadId, TransportError>;

    /// Gives a read up as soon as may be; its end is an event all the same.
    fn cancel(&mut self, read: ReadId);

    /// Tells a peer something. Delivered in order and after earlier notifications, or an error here
    /// or at the next call.
    fn notify(&mut self, peer: PeerId, message: &[u8]) -> Result<(), TransportError>;

    /// Takes what happened.
    fn poll(&mut self, events: &mut Vec<TransportEvent>);

    /// How soon to look again without having been woken, given whether peers may speak (leases are
    /// out). `None` when the waker tells of everything.
    fn poll_interval(&self, expects_peers: bool) -> Option<Duration>;

    /// Peers may read `blocks` for the request `request_id` from now on. Transports that cannot
    /// tell who reads what do nothing.
    fn grant(&mut self, request_id: &Arc<str>, blocks: &[BlockId]) {
        let _ = (request_id, blocks);
    }

    /// Takes a grant back. False while a read under it is under way: ask again.
    fn revoke(&mut self, request_id: &str) -> bool {
        let _ = request_id;
        true
    }
}
