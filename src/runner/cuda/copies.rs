//! KV between the device and the host, for the threads that move it to and from peers.
//!
//! Copies go by streams of their own, beside the one of the steps, and need no order with it on the
//! device, since the host has it both ways:
//! - Blocks are read for a peer once the engine has let go of them, which it does with the results
//!   of the step that filled them ([`super::step`] waits for the step before it hands them out). No
//!   later step writes to them before the peer is done.
//! - Blocks are written for a request while no step has them (`engine/transfer.rs`), and the engine
//!   hears of it after the copies were waited for: what it then asks for sees them.
//!
//! Each lane has a stream and two pinned buffers. Lanes are made as they are needed, a few at most,
//! and used again.

use super::driver::{Arena, Device, Event, Failure, Pinned, Stream};
use crate::types::{KvCopies, KvLane, KvPiece};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

/// Lanes that there may be.
const MOST_LANES: usize = 8;
/// Bytes of a buffer: enough to keep the bus busy (80 us at 25 GB/s), little enough that 16 of them
/// are no burden on the host.
const BUFFER: usize = 2 << 20;

/// The ways to the KV pool.
pub(super) struct Copies {
    device: Arc<Device>,
    pool: Arc<Arena>,
    state: Mutex<State>,
    /// A lane is free, or may be made.
    freed: Condvar,
}

#[derive(Default)]
struct State {
    idle: Vec<Parts>,
    /// Those and the ones in use.
    made: usize,
}

impl Copies {
    pub fn new(device: &Arc<Device>, pool: &Arc<Arena>) -> Self {
        let (device, pool) = (device.clone(), pool.clone());
        Self { device, pool, state: Mutex::default(), freed: Condvar::new() }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes a lane that is free, or the right to make one.
    fn take(&self, patience: Duration) -> Result<Option<Parts>, String> {
        let busy = |state: &mut State| state.idle.is_empty() && state.made == MOST_LANES;
        let waited = self.freed.wait_timeout_while(self.state(), patience, busy);
        let (mut state, time) = waited.unwrap_or_else(PoisonError::into_inner);
        if time.timed_out() {
            return Err(format!("all ways to the GPU were in use for {patience:?}"));
        }
        let free = state.idle.pop();
        state.made += usize::from(free.is_none());
        Ok(free)
    }

    /// Takes a lane back, or learns that there is none any more.
    fn give_back(&self, parts: Option<Parts>) {
        let mut state = self.state();
        match parts {
            Some(parts) => state.idle.push(parts),
            None => state.made -= 1,
        }
        drop(state);
        self.freed.notify_one();
    }
}

impl KvCopies for Copies {
    fn bind(&self) -> Result<(), String> {
        self.device.bind().map_err(told)
    }

    fn lane(self: Arc<Self>, patience: Duration) -> Result<Box<dyn KvLane>, String> {
        let parts = match self.take(patience)? {
            Some(parts) => parts,
            None => Parts::new(&self.device).map_err(|failure| {
                self.give_back(None);
                told(failure)
            })?,
        };
        Ok(Box::new(Lane { copies: self, parts: Some(parts) }))
    }
}

fn told(failure: Failure) -> String {
    failure.to_string()
}

/// What a lane is made of.
struct Parts {
    stream: Stream,
    buffers: [Buffer; 2],
}

struct Buffer {
    host: Pinned<u8>,
    /// The device is done with it.
    free: Event,
}

impl Parts {
    fn new(device: &Arc<Device>) -> Result<Self, Failure> {
        device.bind()?;
        let stream = Stream::new(device)?;
        let buffer = || -> Result<Buffer, Failure> {
            let (host, free) = (Pinned::new(device, BUFFER)?, Event::restful(device)?);
            free.record(&stream)?;
            Ok(Buffer { host, free })
        };
        let buffers = [buffer()?, buffer()?];
        Ok(Self { stream, buffers })
    }

    /// Waits for all copies, asleep as for one's buffer.
    fn wait(&self) -> Result<(), Failure> {
        let end = &self.buffers[0].free;
        end.record(&self.stream)?;
        end.wait()
    }
}

/// A lane in use.
struct Lane {
    copies: Arc<Copies>,
    /// `None` only while it is dropped.
    parts: Option<Parts>,
}

impl Lane {
    /// Asks for copies between a buffer and `pieces`, by `copy`, which is given where in the buffer
    /// each begins.
    fn ask(
        &mut self,
        which: usize,
        pieces: &[KvPiece],
        copy: impl Fn(&Arena, &Stream, &mut Pinned<u8>, usize, KvPiece) -> Result<(), Failure>,
    ) -> Result<(), String> {
        let Self { copies, parts } = self;
        copies.bind()?;
        let Parts { stream, buffers } = parts.as_mut().expect("in use");
        let Buffer { host, free } = &mut buffers[which];
        let mut at = 0;
        let asked = pieces.iter().try_for_each(|&piece| {
            let start = at;
            at += piece.len;
            copy(&copies.pool, stream, host, start, piece)
        });
        // Also after a failure: some copies may be under way.
        let noted = free.record(stream);
        asked.and(noted).map_err(told)
    }
}

impl KvLane for Lane {
    fn buffer(&mut self, which: usize) -> Result<&mut [u8], String> {
        self.copies.bind()?;
        let buffer = &mut self.parts.as_mut().expect("in use").buffers[which];
        buffer.free.wait().map_err(told)?;
        Ok(&mut buffer.host)
    }

    fn fetch(&mut self, which: usize, pieces: &[KvPiece]) -> Result<(), String> {
        self.ask(which, pieces, |pool, stream, host, start, KvPiece { address, len }| {
            // SAFETY: the buffer is given out only after it was waited for; the pool is there as
            // long as the lane is.
            unsafe { stream.download(pool.bytes_at(address, len), host, start) }
        })
    }

    fn store(&mut self, which: usize, pieces: &[KvPiece]) -> Result<(), String> {
        self.ask(which, pieces, |pool, stream, host, start, KvPiece { address, len }| {
            // SAFETY: as above.
            unsafe { stream.upload_from(host, start, pool.bytes_at(address, len)) }
        })
    }
}

impl Drop for Lane {
    fn drop(&mut self) {
        let Some(parts) = self.parts.take() else { return };
        // Nobody is told that blocks are left alone before they are. A device that cannot be
        // waited for does nothing any more, and its lane is not used again.
        let left_alone = self.copies.device.bind().and_then(|()| parts.wait());
        self.copies.give_back(left_alone.ok().map(|()| parts));
    }
}
