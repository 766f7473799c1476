//! NIXL's transport: the real library, opened at run time, as vLLM uses it.
//!
//! The whole pool is registered at once. Descriptors of all blocks are prepared once for this side
//! and once for each peer, region by region, so that descriptor `region * num_blocks + block` is a
//! block; a read names descriptors. One agent serves peers, and another reads from them (see
//! [`reader`]). NIXL tells nobody when something happened: the owner looks
//! ([`Transport::poll_interval`]), often while it reads, and seldom otherwise.
//!
//! Memory of a GPU is registered as it is, and read and written by whatever UCX has for it. What is
//! read into it is there before its end is told (NIXL says so only then), and so before the engine
//! asks the device for anything that looks at it; what is read out of it was computed before the
//! engine let go of it (see `runner/cuda/copies.rs`).

mod agent;
mod blocks;
mod library;
mod options;
mod reader;

pub use options::{NixlError, NixlOptions, set_environment};

use super::transport::{
    BlockPair, PeerId, ReadId, Transport, TransportError, TransportEvent, Waker,
};
use crate::types::{KvMemory, KvPlace, KvRegion};
use agent::{Agent, Registered};
use blocks::{Shape, ranges};
use library::Library;
use reader::Reader;
use std::collections::HashMap;
use std::ffi::CString;
use std::rc::Rc;
use std::time::Duration;

/// While reads are under way.
const OFTEN: Duration = Duration::from_micros(150);
/// While peers may speak.
const SELDOM: Duration = Duration::from_millis(2);
/// While nobody is expected, where nobody else looks: somebody may connect, or go.
const IDLE: Duration = Duration::from_millis(10);

struct Peer {
    name: CString,
    metadata: Vec<u8>,
    regions: Vec<KvRegion>,
    shape: Shape,
    /// Why it is not to be used any more.
    gone: Option<TransportError>,
}

/// Reads KV memory with NIXL.
pub struct NixlTransport {
    // In the order of their ends: what uses NIXL, NIXL, and the memory that it uses.
    /// Reads end in all of them; only the last may begin some.
    readers: Vec<Reader>,
    _registered: Registered,
    serving: Rc<Agent>,
    memory: KvMemory,
    library: &'static Library,
    options: NixlOptions,
    shape: Shape,
    metadata: Vec<u8>,
    peers: HashMap<PeerId, Peer>,
    next_peer: u64,
    next_read: u64,
    waker: Waker,
}

// SAFETY: what keeps it from being `Send` is the reference counts, all of which are in here and
// move with it, and NIXL's handles, which any thread may use, one at a time.
unsafe impl Send for NixlTransport {}

impl NixlTransport {
    /// Opens the library and registers `memory`.
    pub fn new(memory: KvMemory, options: NixlOptions, waker: Waker) -> Result<Self, NixlError> {
        let shape = Shape::of(&memory.regions).map_err(NixlError::Failed)?;
        let threads = options.threads && shape.place == KvPlace::Main;
        let options = NixlOptions { threads, ..options };
        // What is made of a GPU's memory here and below is made where the GPU is this thread's, as
        // vLLM does: UCX asks the context, and leaves CUDA out where there is none.
        memory.bind().map_err(NixlError::Failed)?;
        let library = Library::open(options.library.as_deref())?;
        let serving = options::agent(library, &options)?;
        // SAFETY: the memory's owner is kept until after what is registered is dropped.
        let registered = unsafe { serving.register(shape.place, &ranges(&memory.regions)) }?;
        let reader = || Reader::new(library, memory.clone(), shape, &options);
        let readers = options.reads.then(reader).transpose()?;
        Ok(Self {
            readers: readers.into_iter().collect(),
            _registered: registered,
            metadata: serving.metadata()?,
            serving,
            memory,
            library,
            options,
            shape,
            peers: HashMap::new(),
            next_peer: 0,
            next_read: 0,
            waker,
        })
    }

    /// What may begin reads.
    fn reader(&mut self) -> Result<&mut Reader, TransportError> {
        if self.readers.last().is_none_or(|reader| reader.condemned) {
            let memory = self.memory.clone();
            let reader = Reader::new(self.library, memory, self.shape, &self.options);
            self.readers.push(reader.map_err(|e| TransportError::Failed(e.to_string()))?);
        }
        self.readers.last_mut().ok_or_else(|| TransportError::Failed("no agent".to_owned()))
    }

    /// The name of a peer that can be used, and what it is read with.
    fn peer(&mut self, id: PeerId) -> Result<(CString, Shape, &mut Reader), TransportError> {
        let unknown = || TransportError::Disconnected("it is not known".to_owned());
        let peer = self.peers.get(&id).ok_or_else(unknown)?;
        if let Some(why) = &peer.gone {
            return Err(why.clone());
        }
        let (name, shape) = (peer.name.clone(), peer.shape);
        if !self.reader()?.knows(&name) {
            // The one that knew it is condemned, for the sake of another.
            let peer = &self.peers[&id];
            let (metadata, regions) = (peer.metadata.clone(), peer.regions.clone());
            self.reader()?.load(&metadata, &regions)?;
        }
        Ok((name, shape, self.reader()?))
    }

    fn check(&self, peer: PeerId, blocks: &[BlockPair]) -> Result<(), TransportError> {
        let theirs = self.peers.get(&peer).map_or(0, |peer| peer.shape.num_blocks);
        let ours = self.shape.num_blocks;
        let out = |p: &&BlockPair| p.local as usize >= ours || p.remote as usize >= theirs;
        let wrong = match blocks.iter().find(out) {
            None if blocks.is_empty() => "no blocks".to_owned(),
            None => return Ok(()),
            Some(BlockPair { local, remote }) => {
                format!("block {remote} of {theirs} into block {local} of {ours}")
            }
        };
        Err(TransportError::Failed(wrong))
    }

    /// What NIXL did with a peer; if that failed, the peer is gone.
    fn done<T>(
        &mut self,
        id: PeerId,
        result: Result<T, TransportError>,
    ) -> Result<T, TransportError> {
        if let (Err(why), Some(peer)) = (&result, self.peers.get_mut(&id)) {
            peer.gone.get_or_insert_with(|| why.clone());
        }
        result
    }
}

impl Transport for NixlTransport {
    fn metadata(&self) -> &[u8] {
        &self.metadata
    }

    fn connect(&mut self, metadata: &[u8], regions: &[KvRegion]) -> Result<PeerId, TransportError> {
        let wrong = |e: String| TransportError::Failed(format!("the peer's regions: {e}"));
        let (ours, theirs) = (self.shape, Shape::of(regions).map_err(wrong)?);
        if (ours.regions, ours.block_len) != (theirs.regions, theirs.block_len) {
            return Err(wrong(format!("{theirs:?}, and here it is {ours:?}")));
        }
        self.memory.bind().map_err(TransportError::Failed)?;
        let name = self.reader()?.load(metadata, regions)?;
        if self.peers.values().any(|peer| peer.name == name) {
            return Err(TransportError::Failed("the peer is known already".to_owned()));
        }
        let id = PeerId(self.next_peer);
        self.next_peer += 1;
        let (metadata, regions) = (metadata.to_vec(), regions.to_vec());
        self.peers.insert(id, Peer { name, metadata, regions, shape: theirs, gone: None });
        Ok(id)
    }

    fn disconnect(&mut self, peer: PeerId) {
        let Some(peer) = self.peers.remove(&peer) else { return };
        self.readers.iter_mut().for_each(|reader| reader.forget(&peer.name));
        // Its reads may be over.
        (self.waker)();
    }

    fn read(
        &mut self,
        peer: PeerId,
        blocks: &[BlockPair],
        notification: &[u8],
    ) -> Result<ReadId, TransportError> {
        let id = ReadId(self.next_read);
        self.next_read += 1;
        self.memory.bind().map_err(TransportError::Failed)?;
        let (name, theirs, _) = self.peer(peer)?;
        self.check(peer, blocks)?;
        let begun = self.reader()?.read(id, (&name, theirs), blocks, notification);
        self.done(peer, begun).map(|()| id)
    }

    fn cancel(&mut self, read: ReadId) {
        self.readers.iter_mut().for_each(|reader| reader.give_up(read));
    }

    fn notify(&mut self, peer: PeerId, message: &[u8]) -> Result<(), TransportError> {
        let (name, _, reader) = self.peer(peer)?;
        let told = reader.notify(&name, message);
        self.done(peer, told)
    }

    fn poll(&mut self, events: &mut Vec<TransportEvent>) {
        if !self.options.threads
            && let Err(e) = self.memory.bind()
        {
            log::warn!("[transfer] {e}");
        }
        let peers = &mut self.peers;
        let mut lost = |name: &CString, why: TransportError| {
            for peer in peers.values_mut().filter(|peer| peer.name == *name) {
                peer.gone.get_or_insert_with(|| why.clone());
            }
        };
        self.readers.iter_mut().for_each(|reader| reader.poll(events, &mut lost));
        let stuck = self.readers.extract_if(.., |reader| reader.is_stuck());
        stuck.for_each(|reader| events.extend(reader.end()));
        let take = |message| events.push(TransportEvent::Notification(message));
        if let Err(e) = self.serving.notifications(take) {
            log::warn!("[transfer] {e}");
        }
    }

    fn poll_interval(&self, expects_peers: bool) -> Option<Duration> {
        let reads = self.readers.iter().any(Reader::has_reads);
        match (reads, expects_peers, self.options.threads) {
            (true, ..) | (_, true, false) => Some(OFTEN),
            (false, true, true) => Some(SELDOM),
            (false, false, false) => Some(IDLE),
            (false, false, true) => None,
        }
    }
}
