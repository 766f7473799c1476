//! Blocks as ranges of memory, and as numbers of prepared descriptors.

use super::agent::Range;
use crate::types::{BlockId, KvPlace, KvRegion};
use std::ffi::c_int;

/// The ranges that the regions are: neighbours are one.
pub(super) fn ranges(regions: &[KvRegion]) -> Vec<Range> {
    let mut sorted: Vec<&KvRegion> = regions.iter().filter(|region| !region.is_empty()).collect();
    sorted.sort_by_key(|region| region.address);
    let mut ranges: Vec<Range> = Vec::new();
    for region in sorted {
        let (address, len) = (region.address as usize, region.len());
        match ranges.last_mut() {
            Some(last) if last.address + last.len == address => last.len += len,
            _ => ranges.push(Range { address, len }),
        }
    }
    ranges
}

/// All blocks, region by region.
pub(super) fn descriptors(regions: &[KvRegion]) -> impl Iterator<Item = Range> {
    regions.iter().flat_map(|region| {
        let range = |block| Range {
            address: region.address.wrapping_add(block as u64 * region.stride as u64) as usize,
            len: region.block_len,
        };
        (0..region.num_blocks).map(range)
    })
}

/// What regions have in common.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Shape {
    pub place: KvPlace,
    pub regions: usize,
    pub num_blocks: usize,
    pub block_len: usize,
}

impl Shape {
    pub fn of(regions: &[KvRegion]) -> Result<Self, String> {
        let first = regions.first().ok_or("there are no regions")?;
        let KvRegion { place, num_blocks, block_len, .. } = *first;
        let same =
            |region: &KvRegion| (region.num_blocks, region.block_len) == (num_blocks, block_len);
        if !regions.iter().all(same) {
            return Err("regions are of different shapes".to_owned());
        }
        if regions.iter().any(|region| region.place != place) {
            return Err("regions are in different places".to_owned());
        }
        let shape = Self { place, regions: regions.len(), num_blocks, block_len };
        // Descriptors are numbered by a C `int`.
        match regions.len().checked_mul(num_blocks).map(c_int::try_from) {
            Some(Ok(_)) => Ok(shape),
            _ => Err(format!("too many blocks: {shape:?}")),
        }
    }

    /// The descriptors of blocks, region by region.
    pub fn numbers(&self, blocks: impl Iterator<Item = BlockId> + Clone) -> Vec<c_int> {
        let number = |region, block| (region * self.num_blocks + block as usize) as c_int;
        let numbers = |region| blocks.clone().map(move |block| number(region, block));
        (0..self.regions).flat_map(numbers).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn neighbours_are_one_range_and_descriptors_are_region_major() {
        let place = KvPlace::Main;
        let region =
            |address| KvRegion { place, address, block_len: 60, stride: 64, num_blocks: 3 };
        let regions = [region(4096 + 192), region(4096), region(8192)];
        let range = |address, len| Range { address, len };
        assert_eq!(ranges(&regions), [range(4096, 384), range(8192, 192)]);
        let shape = Shape::of(&regions).expect("one shape");
        let all: Vec<Range> = descriptors(&regions).collect();
        let numbers = shape.numbers([2, 0].into_iter());
        assert_eq!(numbers, [2, 0, 5, 3, 8, 6]);
        for (number, block) in numbers.iter().zip([2, 0, 2, 0, 2, 0]) {
            let region = &regions[*number as usize / 3];
            let address = region.block_address(block) as usize;
            assert_eq!(all[*number as usize], range(address, 60));
        }
        let other = [region(0), KvRegion { block_len: 61, ..region(0) }];
        assert!(Shape::of(&other).is_err() && Shape::of(&[]).is_err());
        let apart = [region(0), KvRegion { place: KvPlace::Gpu(0), ..region(4096) }];
        assert!(Shape::of(&apart).is_err());
        assert!(Shape::of(&[KvRegion { num_blocks: 1 << 31, ..region(0) }]).is_err());
    }
}
