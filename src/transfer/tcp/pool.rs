//! The pool memory, as pieces that a socket reads or fills.

use super::wire::Geometry;
use crate::transfer::staging;
use crate::types::{BlockId, KvLane, KvMemory, KvPiece, KvRegion};
use std::io;
use std::time::Duration;

/// The local regions. Never looked at here: only their addresses are, so that whoever owns the
/// memory may use other blocks meanwhile.
#[derive(Debug)]
pub(super) struct Pool {
    memory: KvMemory,
    geometry: Geometry,
}

/// The shape that all regions have, or what is wrong with them.
pub(super) fn geometry(regions: &[KvRegion]) -> Result<Geometry, String> {
    let first = regions.first().ok_or("there are no regions")?;
    let same = |region: &KvRegion| {
        (region.block_len, region.num_blocks) == (first.block_len, first.num_blocks)
    };
    if !regions.iter().all(same) {
        return Err("regions are of different shapes".to_owned());
    }
    if first.block_len == 0 || regions.iter().any(|region| region.stride < region.block_len) {
        return Err(format!("blocks of {} bytes, {} apart", first.block_len, first.stride));
    }
    let number = |n: usize| u32::try_from(n).map_err(|_| format!("{n} regions or blocks"));
    Ok(Geometry {
        regions: number(regions.len())?,
        blocks: number(first.num_blocks)?,
        block_len: first.block_len as u64,
    })
}

impl Pool {
    pub fn new(memory: KvMemory) -> io::Result<Self> {
        let geometry = geometry(&memory.regions).map_err(io::Error::other)?;
        Ok(Self { memory, geometry })
    }

    pub fn geometry(&self) -> Geometry {
        self.geometry
    }

    /// Bytes of so many blocks of all regions.
    pub fn bytes(&self, blocks: usize) -> u64 {
        u64::from(self.geometry.regions) * self.geometry.block_len * blocks as u64
    }

    /// What blocks go through when they are not the host's own; waits up to `patience` for it.
    pub fn lane(&self, patience: Duration) -> io::Result<Option<Box<dyn KvLane>>> {
        let copies = self.memory.copies.clone();
        copies.map(|copies| copies.lane(patience)).transpose().map_err(staging::failed)
    }

    /// The memory of `blocks`: all of them of region 0, then of region 1, …
    ///
    /// # Panics
    /// When walking, if there is no such block.
    pub fn walk<'a>(&'a self, blocks: &'a [BlockId]) -> Walk<'a> {
        Walk { regions: &self.memory.regions, blocks, next: 0, ahead: None }
    }
}

/// Pieces in order; neighbours in memory are one piece.
pub(super) struct Walk<'a> {
    regions: &'a [KvRegion],
    blocks: &'a [BlockId],
    /// In the first region.
    next: usize,
    /// Looked at, and not yet given.
    ahead: Option<KvPiece>,
}

impl Walk<'_> {
    fn block(&mut self) -> Option<KvPiece> {
        if self.next == self.blocks.len() {
            self.regions = self.regions.get(1..)?;
            self.next = 0;
        }
        let (region, block) = (self.regions.first()?, self.blocks.get(self.next)?);
        self.next += 1;
        Some(KvPiece { address: region.block_address(*block), len: region.block_len })
    }
}

impl Iterator for Walk<'_> {
    type Item = KvPiece;

    fn next(&mut self) -> Option<KvPiece> {
        let mut piece = self.ahead.take().or_else(|| self.block())?;
        while let Some(next) = self.block() {
            if next.address != piece.address + piece.len as u64 {
                self.ahead = Some(next);
                break;
            }
            piece.len += next.len;
        }
        Some(piece)
    }
}
