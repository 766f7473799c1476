//! How long blocks keep what they hold, measured on a sample of them: vLLM's residency metrics.

use crate::types::{BlockId, Histogram, Moment};
use std::collections::HashMap;
use std::sync::Arc;

/// How many uses of a block are remembered: the latest.
const USES: usize = 4;

/// What was measured; any thread may read it.
#[derive(Debug)]
pub struct ResidencyHistograms {
    /// From a block's allocation to the next one.
    pub lifetime: Histogram,
    /// The end of that, in which no prefix was found in the block.
    pub idle: Histogram,
    /// Between the latest times that a prefix was found in it.
    pub reuse_gap: Histogram,
}

impl ResidencyHistograms {
    /// `bounds` are ascending seconds.
    pub fn new(bounds: &[f64]) -> Self {
        Self {
            lifetime: Histogram::of_seconds(bounds),
            idle: Histogram::of_seconds(bounds),
            reuse_gap: Histogram::of_seconds(bounds),
        }
    }
}

/// Follows a sample of the blocks from their allocation on.
#[derive(Debug)]
pub struct Residency {
    /// How likely a block is followed, in (0, 1].
    share: f64,
    /// Of the generator that decides it.
    draws: u64,
    /// When the current step began: all that happens in it happens then.
    now: Moment,
    blocks: HashMap<BlockId, Life>,
    histograms: Arc<ResidencyHistograms>,
}

#[derive(Debug)]
struct Life {
    born: Moment,
    /// The latest last, as many as there are.
    uses: [Moment; USES],
    count: usize,
}

impl Life {
    fn used(&mut self, now: Moment) {
        if self.count == USES {
            self.uses.rotate_left(1);
            self.count -= 1;
        }
        self.uses[self.count] = now;
        self.count += 1;
    }
}

impl Residency {
    /// Follows this share of the blocks, in (0, 1].
    pub fn new(share: f64, histograms: Arc<ResidencyHistograms>) -> Self {
        Self { share, draws: 0, now: Moment::default(), blocks: HashMap::new(), histograms }
    }

    /// What comes is of this moment.
    pub fn set_now(&mut self, now: Moment) {
        self.now = now;
    }

    /// A block has new content.
    pub fn allocated(&mut self, block: BlockId) {
        if self.draw() < self.share {
            let life = Life { born: self.now, uses: [self.now; USES], count: 0 };
            self.blocks.insert(block, life);
        }
    }

    /// A prefix was found in a block.
    pub fn used(&mut self, block: BlockId) {
        if let Some(life) = self.blocks.get_mut(&block) {
            life.used(self.now);
        }
    }

    /// A block is about to get new content, whether or not anybody could still find the old one.
    pub fn evicted(&mut self, block: BlockId) {
        let Some(life) = self.blocks.remove(&block) else { return };
        let uses = &life.uses[..life.count];
        let histograms = &self.histograms;
        histograms.lifetime.observe_time(self.now.since(life.born));
        histograms.idle.observe_time(self.now.since(*uses.last().unwrap_or(&life.born)));
        for pair in uses.windows(2) {
            histograms.reuse_gap.observe_time(pair[1].since(pair[0]));
        }
    }

    /// The cache was emptied.
    pub fn reset(&mut self) {
        self.blocks.clear();
    }

    /// Uniform in [0, 1). A sample needs no better generator than Knuth's.
    fn draw(&mut self) -> f64 {
        let next = self.draws.wrapping_mul(6_364_136_223_846_793_005);
        self.draws = next.wrapping_add(1_442_695_040_888_963_407);
        (self.draws >> 11) as f64 / (1_u64 << 53) as f64
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn residency(share: f64) -> (Residency, Arc<ResidencyHistograms>) {
        let histograms = Arc::new(ResidencyHistograms::new(&[1.0, 2.0, 5.0, 10.0]));
        (Residency::new(share, histograms.clone()), histograms)
    }

    fn at(residency: &mut Residency, seconds: u64) {
        residency.set_now(Moment::from_nanos(seconds * 1_000_000_000));
    }

    /// How many observations each bucket holds.
    fn counts(histogram: &Histogram) -> Vec<u64> {
        let mut below = 0;
        let own = |bucket: crate::types::Bucket| {
            bucket.count - std::mem::replace(&mut below, bucket.count)
        };
        histogram.buckets().map(own).collect()
    }

    #[test]
    fn a_life_is_measured_when_it_ends() {
        let (mut blocks, seen) = residency(1.0);
        blocks.allocated(3);
        for second in [1, 2, 4, 8, 9] {
            at(&mut blocks, second);
            blocks.used(3);
        }
        assert_eq!(counts(&seen.lifetime), [0; 5]);
        at(&mut blocks, 12);
        blocks.evicted(3);
        assert_eq!(counts(&seen.lifetime), [0, 0, 0, 0, 1], "12 s");
        assert_eq!(counts(&seen.idle), [0, 0, 1, 0, 0], "3 s");
        // Of five uses the latest four count: gaps of 2, 4 and 1 s.
        assert_eq!(counts(&seen.reuse_gap), [1, 1, 1, 0, 0]);
        // Nobody used the next content.
        blocks.allocated(3);
        at(&mut blocks, 17);
        blocks.evicted(3);
        blocks.evicted(3);
        assert_eq!(counts(&seen.lifetime), [0, 0, 1, 0, 1]);
        assert_eq!(counts(&seen.idle), [0, 0, 2, 0, 0]);
        assert_eq!(counts(&seen.reuse_gap), [1, 1, 1, 0, 0]);
    }

    #[test]
    fn emptying_the_cache_ends_no_life() {
        let (mut blocks, seen) = residency(1.0);
        blocks.allocated(1);
        blocks.reset();
        blocks.evicted(1);
        assert_eq!(counts(&seen.lifetime), [0; 5]);
    }

    #[test]
    fn a_share_of_the_blocks_is_followed() {
        let (mut blocks, seen) = residency(0.25);
        for block in 0..10_000 {
            blocks.allocated(block);
            blocks.evicted(block);
        }
        let followed: u64 = counts(&seen.lifetime).iter().sum();
        assert!((2_300..2_700).contains(&followed), "{followed}");
    }
}
