//! Blocks of a device, on their way through buffers of the host: one buffer is copied while the
//! other is used.

use crate::types::{KvLane, KvPiece};
use std::io;
use thiserror::Error;

/// The device did not copy.
#[derive(Debug, Error)]
#[error("KV could not be copied: {0}")]
pub(super) struct CopyFailed(String);

impl CopyFailed {
    /// Whether this is what `error` says.
    pub fn is(error: &io::Error) -> bool {
        error.get_ref().is_some_and(|inner| inner.is::<Self>())
    }
}

/// What a lane says, as an error that stands beside those of sockets.
pub(super) fn failed(why: String) -> io::Error {
    io::Error::other(CopyFailed(why))
}

/// Hands the bytes of `pieces` to `take`, in order.
pub(super) fn fetch(
    lane: &mut dyn KvLane,
    pieces: impl Iterator<Item = KvPiece>,
    mut take: impl FnMut(&[u8]) -> io::Result<()>,
) -> io::Result<()> {
    let mut cut = Cut::new(lane, pieces)?;
    let (mut which, mut len) = (0, cut.next());
    lane.fetch(which, &cut.batch).map_err(failed)?;
    while len > 0 {
        let next = cut.next();
        lane.fetch(1 - which, &cut.batch).map_err(failed)?;
        take(&lane.buffer(which).map_err(failed)?[..len])?;
        (which, len) = (1 - which, next);
    }
    Ok(())
}

/// Lets `fill` fill the bytes of `pieces`, in order. All are where they belong when this returns.
pub(super) fn store(
    lane: &mut dyn KvLane,
    pieces: impl Iterator<Item = KvPiece>,
    mut fill: impl FnMut(&mut [u8]) -> io::Result<()>,
) -> io::Result<()> {
    let mut cut = Cut::new(lane, pieces)?;
    let mut which = 0;
    loop {
        let len = cut.next();
        if len == 0 {
            break;
        }
        fill(&mut lane.buffer(which).map_err(failed)?[..len])?;
        lane.store(which, &cut.batch).map_err(failed)?;
        which = 1 - which;
    }
    for which in 0..2 {
        lane.buffer(which).map_err(failed)?;
    }
    Ok(())
}

/// Pieces, cut into batches of what a buffer holds.
struct Cut<I> {
    pieces: I,
    /// What is left of a piece that did not fit.
    rest: Option<KvPiece>,
    room: usize,
    batch: Vec<KvPiece>,
}

impl<I: Iterator<Item = KvPiece>> Cut<I> {
    fn new(lane: &mut dyn KvLane, pieces: I) -> io::Result<Self> {
        let room = lane.buffer(0).map_err(failed)?.len();
        Ok(Self { pieces, rest: None, room, batch: Vec::new() })
    }

    /// The bytes of the next batch; 0 when there is none.
    fn next(&mut self) -> usize {
        self.batch.clear();
        let mut len = 0;
        while len < self.room {
            let Some(piece) = self.rest.take().or_else(|| self.pieces.next()) else { break };
            let part = piece.len.min(self.room - len);
            self.batch.push(KvPiece { len: part, ..piece });
            len += part;
            if part < piece.len {
                let address = piece.address + part as u64;
                self.rest = Some(KvPiece { address, len: piece.len - part });
            }
        }
        len
    }
}

#[cfg(test)]
mod tests;
