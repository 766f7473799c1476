//! What the connector is made of and set to.

use super::peer::Address;
use crate::transfer::transport::{ReadStats, Transport};
use crate::types::{BlockId, Clock, TransferEvent};
use std::time::Duration;

/// Durations and choices.
#[derive(Clone, Debug)]
pub struct Settings {
    /// How long blocks are kept for a peer, and are taken to be kept by one.
    pub lease: Duration,
    /// A peer that was of no use for so long is forgotten when another is met.
    pub engine_ttl: Duration,
    /// Name a checksum of every leased block.
    pub checksums: bool,
}

/// What stands between the block pool and the memory that peers read: another layout, checksums.
/// Block by block, on memory that nobody writes meanwhile.
pub trait Codec: Send {
    /// Makes blocks ready to be read by peers.
    fn export(&mut self, blocks: &[BlockId]);

    /// Takes over blocks that were read from a peer.
    fn import(&mut self, blocks: &[BlockId]);

    /// A checksum of a block as peers read it, over all regions.
    ///
    /// # Errors
    /// Why the block cannot be looked at.
    fn checksum(&mut self, block: BlockId) -> Result<u64, String>;
}

/// Who counts what happens.
pub trait Observer: Send {
    /// A read brought its bytes.
    fn transferred(&self, stats: &ReadStats);

    /// A handshake or a read failed.
    fn failed_transfer(&self);

    /// A peer could not be told something.
    fn failed_notification(&self);

    /// A lease ran out.
    fn expired(&self);

    /// A peer read blocks whose lease had run out.
    fn late(&self);
}

/// Everything around the state machine.
pub struct Parts {
    pub transport: Box<dyn Transport>,
    pub codec: Box<dyn Codec>,
    pub clock: Clock,
    pub stats: Box<dyn Observer>,
    /// Told to the engine.
    pub tell: Box<dyn FnMut(TransferEvent) + Send>,
    /// Starts a handshake, which ends with [`Core::met`] within a bound.
    pub meet: Box<dyn FnMut(&Address) + Send>,
}
