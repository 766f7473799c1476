//! One side of a transfer: a transport with its memory, and what it told.

use crate::memory::{Memory, Shape};
use glassbox::transfer::nixl::{NixlOptions, NixlTransport};
use glassbox::transfer::tcp::{TcpOptions, TcpTransport};
use glassbox::transfer::transport::{
    BlockPair, PeerId, ReadId, ReadStats, Transport, TransportError, TransportEvent, Waker,
};
use glassbox::types::BlockId;
use std::collections::HashMap;
use std::sync::{Arc, Condvar, Mutex};
use std::time::{Duration, Instant};

/// Whatever is awaited has come by then, also on a machine with much else to do.
const LONG: Duration = Duration::from_secs(60);

/// Rung by the waker.
#[derive(Default)]
pub struct Bell {
    rung: Mutex<bool>,
    condvar: Condvar,
}

impl Bell {
    pub fn waker(self: &Arc<Self>) -> Waker {
        let bell = self.clone();
        Arc::new(move || {
            *bell.rung.lock().expect("not poisoned") = true;
            bell.condvar.notify_all();
        })
    }

    /// Until it rings, or the time is up.
    fn wait(&self, most: Duration) {
        let rung = self.rung.lock().expect("not poisoned");
        let (mut rung, _) =
            self.condvar.wait_timeout_while(rung, most, |rung| !*rung).expect("not poisoned");
        *rung = false;
    }
}

pub type ReadResult = Result<ReadStats, TransportError>;

pub struct Host {
    pub transport: Box<dyn Transport>,
    pub memory: Arc<Memory>,
    bell: Arc<Bell>,
    pub reads: HashMap<ReadId, ReadResult>,
    pub notifications: Vec<String>,
}

/// On loopback, with a free port.
pub fn options(stall: Duration) -> TcpOptions {
    TcpOptions { host: "127.0.0.1".to_owned(), stall, ..TcpOptions::default() }
}

/// Set where NIXL has no threads of its own, as for the memory of a GPU.
pub const NO_THREADS: &str = "GLASSBOX_TEST_NIXL_NO_THREADS";

/// The usual ones.
pub fn nixl_options() -> NixlOptions {
    NixlOptions { threads: std::env::var_os(NO_THREADS).is_none(), ..NixlOptions::default() }
}

impl Host {
    pub fn new<T: Transport + 'static>(
        shape: Shape,
        start: impl FnOnce(&Arc<Memory>, Waker) -> T,
    ) -> Self {
        let (memory, bell) = (Memory::new(shape), Arc::new(Bell::default()));
        let transport = Box::new(start(&memory, bell.waker()));
        Self { transport, memory, bell, reads: HashMap::new(), notifications: Vec::new() }
    }

    pub fn tcp(shape: Shape) -> Self {
        Self::tcp_with(shape, options(LONG))
    }

    pub fn tcp_with(shape: Shape, options: TcpOptions) -> Self {
        Self::new(shape, |memory, waker| {
            TcpTransport::new(memory.kv(), options, waker).expect("a free port")
        })
    }

    pub fn nixl(shape: Shape) -> Self {
        Self::nixl_with(shape, nixl_options())
    }

    pub fn nixl_with(shape: Shape, options: NixlOptions) -> Self {
        Self::new(shape, |memory, waker| {
            NixlTransport::new(memory.kv(), options, waker).unwrap_or_else(|e| panic!("{e}"))
        })
    }

    pub fn connect(&mut self, peer: &Host) -> PeerId {
        let regions = peer.memory.regions();
        self.transport.connect(peer.transport.metadata(), &regions).expect("a peer")
    }

    pub fn grant(&mut self, request: &str, blocks: impl IntoIterator<Item = BlockId>) {
        let blocks: Vec<BlockId> = blocks.into_iter().collect();
        self.transport.grant(&request.into(), &blocks);
    }

    /// Begins a read of `blocks` into blocks of the same numbers.
    pub fn begin(&mut self, peer: PeerId, request: &str, blocks: &[BlockId]) -> ReadId {
        self.try_begin(peer, request, blocks).expect("a read")
    }

    pub fn try_begin(
        &mut self,
        peer: PeerId,
        request: &str,
        blocks: &[BlockId],
    ) -> Result<ReadId, TransportError> {
        let pairs: Vec<_> =
            blocks.iter().map(|&block| BlockPair { local: block, remote: block }).collect();
        self.transport.read(peer, &pairs, format!("{request}:1").as_bytes())
    }

    /// Reads, to the end.
    pub fn read(&mut self, peer: PeerId, request: &str, blocks: &[BlockId]) -> ReadResult {
        let read = self.begin(peer, request, blocks);
        self.result(read)
    }

    pub fn result(&mut self, read: ReadId) -> ReadResult {
        self.until("the end of a read", |host| host.reads.remove(&read))
    }

    /// Takes events until `wanted` is there.
    pub fn until<T>(&mut self, what: &str, wanted: impl FnMut(&mut Self) -> Option<T>) -> T {
        self.until_within(LONG, wanted).unwrap_or_else(|| panic!("{what} did not come"))
    }

    pub fn until_within<T>(
        &mut self,
        most: Duration,
        mut wanted: impl FnMut(&mut Self) -> Option<T>,
    ) -> Option<T> {
        let end = Instant::now() + most;
        loop {
            self.poll();
            if let Some(found) = wanted(self) {
                return Some(found);
            }
            let left = end.checked_duration_since(Instant::now())?;
            self.bell.wait(self.transport.poll_interval(true).unwrap_or(left).min(left));
        }
    }

    fn poll(&mut self) {
        let mut events = Vec::new();
        self.transport.poll(&mut events);
        for event in events {
            match event {
                TransportEvent::Read { read, result } => {
                    assert!(self.reads.insert(read, result).is_none(), "{read:?} ended twice");
                }
                TransportEvent::Notification(message) => {
                    self.notifications.push(String::from_utf8(message).expect("text"));
                }
            }
        }
    }

    /// Waits for the next so many notifications.
    pub fn hear(&mut self, count: usize) -> Vec<String> {
        self.until("a notification", |host| {
            (host.notifications.len() >= count).then(|| host.notifications.drain(..count).collect())
        })
    }

    pub fn assert_same_blocks(&self, other: &Host, blocks: &[BlockId]) {
        let (ours, theirs) = (self.memory.bytes(), other.memory.bytes());
        for region in 0..self.memory.regions().len() {
            for &block in blocks {
                let same = ours[self.memory.range(region, block)]
                    == theirs[other.memory.range(region, block)];
                assert!(same, "block {block} of region {region}");
            }
        }
    }
}
