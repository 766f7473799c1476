//! An agent that reads from peers.
//!
//! NIXL can be asked to give a read up, and even to forget its peer, and yet the read's blocks are
//! written to later, when a peer that hung goes on. Only the end of the agent is the end of all its
//! reads. So reading has an agent of its own, which is ended when a peer hangs, as soon as what it
//! reads from others is over.

use super::agent::{Agent, Descriptors, Registered, Transfer};
use super::blocks::{Shape, descriptors, ranges};
use super::library::Library;
use super::{NixlError, NixlOptions, options};
use crate::transfer::transport::{BlockPair, ReadId, ReadStats, TransportError, TransportEvent};
use crate::types::{KvMemory, KvPlace, KvRegion};
use std::collections::HashMap;
use std::ffi::CString;
use std::rc::Rc;
use std::time::{Duration, Instant};

/// A read that is slower counts as one of a peer that hangs.
const SLOWEST_BYTES_PER_SECOND: u64 = 1 << 20;

/// A peer, as the agent knows it.
struct Loaded {
    blocks: Descriptors,
    regions: Vec<KvRegion>,
    /// It is forgotten once its reads are over.
    leaving: bool,
}

struct Read {
    transfer: Transfer,
    peer: CString,
    bytes: u64,
    descriptors: u32,
    begun: Instant,
    post: Duration,
    /// Why nobody waits for it any more.
    unwanted: Option<TransportError>,
    /// What it came to, while NIXL has not given it back yet.
    result: Option<Result<ReadStats, TransportError>>,
}

pub(super) struct Reader {
    // In the order of their ends: what uses NIXL, NIXL, and the memory that it uses.
    reads: HashMap<ReadId, Read>,
    peers: HashMap<CString, Loaded>,
    local: Descriptors,
    _registered: Registered,
    agent: Rc<Agent>,
    _memory: KvMemory,
    shape: Shape,
    stall: Duration,
    /// NIXL has no thread that looks for news.
    looks: bool,
    /// A peer hangs: nothing more is begun.
    pub condemned: bool,
}

fn gone(why: impl std::fmt::Display) -> TransportError {
    TransportError::Disconnected(why.to_string())
}

impl Reader {
    pub fn new(
        library: &'static Library,
        memory: KvMemory,
        shape: Shape,
        options: &NixlOptions,
    ) -> Result<Self, NixlError> {
        let agent = options::agent(library, options)?;
        // SAFETY: the memory's owner is kept until after what is registered is dropped.
        let registered = unsafe { agent.register(shape.place, &ranges(&memory.regions)) }?;
        let local = agent.prepare(None, shape.place, descriptors(&memory.regions))?;
        Ok(Self {
            reads: HashMap::new(),
            peers: HashMap::new(),
            local,
            _registered: registered,
            agent,
            _memory: memory,
            shape,
            stall: options.stall,
            looks: !options.threads,
            condemned: false,
        })
    }

    pub fn has_reads(&self) -> bool {
        !self.reads.is_empty()
    }

    pub fn knows(&self, peer: &CString) -> bool {
        self.peers.contains_key(peer)
    }

    /// Learns to know a peer; its name.
    pub fn load(
        &mut self,
        metadata: &[u8],
        regions: &[KvRegion],
    ) -> Result<CString, TransportError> {
        let wrong = |e: String| TransportError::Failed(format!("the peer's metadata: {e}"));
        let name = self.agent.load(metadata).map_err(|e| wrong(e.to_string()))?;
        if let Some(known) = self.peers.get_mut(&name) {
            // It was forgotten, and its reads are not over yet.
            if known.regions != regions {
                return Err(wrong("other regions than those that are being read".to_owned()));
            }
            known.leaving = false;
            return Ok(name);
        }
        let place = regions.first().map_or(KvPlace::Main, |region| region.place);
        let blocks = self.agent.prepare(Some(&name), place, descriptors(regions)).map_err(|e| {
            // Its memory is not where its regions say.
            let _ = self.agent.forget(&name);
            wrong(e.to_string())
        })?;
        let loaded = Loaded { blocks, regions: regions.to_vec(), leaving: false };
        self.peers.insert(name.clone(), loaded);
        Ok(name)
    }

    pub fn read(
        &mut self,
        id: ReadId,
        (peer, theirs): (&CString, Shape),
        blocks: &[BlockPair],
        notification: &[u8],
    ) -> Result<(), TransportError> {
        let begun = Instant::now();
        let loaded = self.peers.get(peer).ok_or_else(|| gone("it is not known"))?;
        let local = self.shape.numbers(blocks.iter().map(|pair| pair.local));
        let remote = theirs.numbers(blocks.iter().map(|pair| pair.remote));
        let (ours, theirs) = ((&self.local, &local[..]), (&loaded.blocks, &remote[..]));
        let read = Read {
            transfer: self.agent.read(ours, theirs, notification).map_err(gone)?,
            peer: peer.clone(),
            bytes: local.len() as u64 * self.shape.block_len as u64,
            descriptors: local.len() as u32,
            begun,
            post: begun.elapsed(),
            unwanted: None,
            result: None,
        };
        self.reads.insert(id, read);
        Ok(())
    }

    pub fn notify(&self, peer: &CString, message: &[u8]) -> Result<(), TransportError> {
        self.agent.notify(peer, message).map_err(gone)
    }

    /// Nobody waits for a read any more. It goes on all the same.
    pub fn give_up(&mut self, id: ReadId) {
        if let Some(read) = self.reads.get_mut(&id) {
            let why = || TransportError::Failed("the read was given up".to_owned());
            read.unwanted.get_or_insert_with(why);
        }
    }

    /// Forgets a peer, once its reads are over.
    pub fn forget(&mut self, peer: &CString) {
        if let Some(loaded) = self.peers.get_mut(peer) {
            loaded.leaving = true;
        }
        for read in self.reads.values_mut().filter(|read| read.peer == *peer) {
            read.unwanted.get_or_insert_with(|| gone("it was forgotten"));
        }
        self.sweep();
    }

    fn sweep(&mut self) {
        let (reads, agent) = (&self.reads, &self.agent);
        let over = self.peers.extract_if(|name, loaded| {
            loaded.leaving && !reads.values().any(|read| read.peer == *name)
        });
        for (name, Loaded { blocks, .. }) in over {
            drop(blocks);
            if let Err(e) = agent.forget(&name) {
                log::debug!("[transfer] {e}");
            }
        }
    }

    /// Looks at all reads. `lost` is told of peers that are not to be used any more.
    pub fn poll(
        &mut self,
        events: &mut Vec<TransportEvent>,
        mut lost: impl FnMut(&CString, TransportError),
    ) {
        if self.looks {
            // Nobody tells this agent anything; asking is what makes it go on. What fails shows in
            // the reads.
            let _ = self.agent.notifications(drop);
        }
        let ids: Vec<ReadId> = self.reads.keys().copied().collect();
        for id in ids {
            let Some(mut read) = self.reads.remove(&id) else { continue };
            match read.look(self.stall) {
                Look::Over => {
                    if let Some(Err(why)) = &read.result {
                        lost(&read.peer, why.clone());
                    }
                    match read.transfer.release() {
                        Ok(()) => events.push(end(id, read.unwanted, read.result)),
                        Err(kept) => {
                            read.transfer = kept;
                            self.reads.insert(id, read);
                        }
                    }
                }
                Look::Hangs(why) => {
                    self.condemned = true;
                    lost(&read.peer, why);
                    self.reads.insert(id, read);
                }
                Look::UnderWay => drop(self.reads.insert(id, read)),
            }
        }
        self.sweep();
    }

    /// Whether all that is left is reads that have no end.
    pub fn is_stuck(&self) -> bool {
        self.condemned && self.reads.values().all(|read| read.hangs(self.stall))
    }

    /// Ends the agent, and with it all its reads.
    pub fn end(mut self) -> Vec<TransportEvent> {
        let mut left = Vec::new();
        for (id, read) in self.reads.drain() {
            let late = Err(read.late());
            left.push((id, read.unwanted, read.result.or(Some(late))));
            // What is not given back goes with the agent.
            let _ = read.transfer.release();
        }
        drop(self);
        left.into_iter().map(|(id, unwanted, result)| end(id, unwanted, result)).collect()
    }
}

impl Drop for Reader {
    fn drop(&mut self) {
        for (_, read) in self.reads.drain() {
            // As in `end`.
            let _ = read.transfer.release();
        }
    }
}

fn end(
    read: ReadId,
    unwanted: Option<TransportError>,
    result: Option<Result<ReadStats, TransportError>>,
) -> TransportEvent {
    let result = match (unwanted, result) {
        (Some(why), _) => Err(why),
        (None, Some(result)) => result,
        (None, None) => Err(gone("it ended without a result")),
    };
    TransportEvent::Read { read, result }
}

/// What a look at a read shows.
enum Look {
    UnderWay,
    Hangs(TransportError),
    Over,
}

impl Read {
    fn look(&mut self, stall: Duration) -> Look {
        if self.result.is_none() {
            match self.transfer.is_done() {
                Ok(false) if self.hangs(stall) => return Look::Hangs(self.late()),
                Ok(false) => return Look::UnderWay,
                Ok(true) => self.result = Some(Ok(self.stats())),
                Err(e) => self.result = Some(Err(gone(e))),
            }
        }
        Look::Over
    }

    /// Whether it takes longer than it may.
    fn hangs(&self, stall: Duration) -> bool {
        self.begun.elapsed() > stall + Duration::from_secs(self.bytes / SLOWEST_BYTES_PER_SECOND)
    }

    fn late(&self) -> TransportError {
        gone(format!("a read had no end within {:?}", self.begun.elapsed()))
    }

    /// What NIXL measured, once it is done.
    fn stats(&self) -> ReadStats {
        let Self { bytes, descriptors, post, .. } = *self;
        let here = ReadStats { bytes, descriptors, post, transfer: self.begun.elapsed() - post };
        self.transfer.telemetry().map_or(here, |told| ReadStats {
            bytes: told.total_bytes,
            descriptors: told.desc_count.try_into().unwrap_or(u32::MAX),
            post: Duration::from_micros(told.post_duration_us),
            transfer: Duration::from_micros(told.xfer_duration_us),
        })
    }
}
