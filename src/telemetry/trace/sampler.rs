//! Which traces are recorded: the decisions of OpenTelemetry's Python SDK.

use super::context::Parent;
use super::ids;
use crate::config::{RootSampler, SamplerSettings};
use opentelemetry::trace::TraceId;

/// Decides at the start of a request.
#[derive(Clone, Copy, Debug)]
pub struct Sampler {
    parent_based: bool,
    /// Trace ids whose low 64 bits are below this are sampled; up to 2^64, which is all.
    bound: u128,
}

const ALL: u128 = 1 << 64;

impl Sampler {
    /// A sampler with these settings.
    pub fn new(settings: SamplerSettings) -> Self {
        let bound = match settings.root {
            RootSampler::AlwaysOn => ALL,
            RootSampler::AlwaysOff => 0,
            // Scaling by a power of two is exact; Python rounds to even.
            RootSampler::Ratio(ratio) => (ratio * ALL as f64).round_ties_even() as u128,
        };
        Self { parent_based: settings.parent_based, bound }
    }

    /// The trace id of a request that is sampled. Without a parent it gets one of its own, which
    /// is not even drawn when no trace is sampled.
    pub fn sample(&self, parent: Option<&Parent>) -> Option<TraceId> {
        match parent {
            Some(parent) if self.parent_based => {
                parent.flags.is_sampled().then_some(parent.trace_id)
            }
            Some(parent) => self.admits(parent.trace_id).then_some(parent.trace_id),
            None if self.bound == 0 => None,
            None => Some(ids::trace_id()).filter(|id| self.admits(*id)),
        }
    }

    fn admits(&self, trace_id: TraceId) -> bool {
        let bytes = trace_id.to_bytes();
        let low = bytes[8..].iter().fold(0u64, |low, &byte| low << 8 | u64::from(byte));
        u128::from(low) < self.bound
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use opentelemetry::trace::{SpanId, TraceFlags};

    fn sampler(parent_based: bool, root: RootSampler) -> Sampler {
        Sampler::new(SamplerSettings { parent_based, root })
    }

    fn parent(trace_id: u128, flags: u8) -> Parent {
        Parent {
            trace_id: TraceId::from(trace_id),
            span_id: SpanId::from(1),
            flags: TraceFlags::new(flags),
        }
    }

    #[test]
    fn a_parent_decides_for_its_children() {
        for root in [RootSampler::AlwaysOn, RootSampler::AlwaysOff, RootSampler::Ratio(0.5)] {
            let sampler = sampler(true, root);
            for (flags, wanted) in [(0, false), (1, true), (2, false), (3, true), (0xfe, false)] {
                let parent = parent(u128::MAX, flags);
                let found = sampler.sample(Some(&parent));
                assert_eq!(found, wanted.then_some(parent.trace_id), "{root:?} {flags}");
            }
        }
    }

    #[test]
    fn without_parents_the_root_decides() {
        assert!(sampler(false, RootSampler::AlwaysOn).sample(Some(&parent(7, 0))).is_some());
        assert!(sampler(false, RootSampler::AlwaysOff).sample(Some(&parent(7, 1))).is_none());
        for parent_based in [true, false] {
            assert!(sampler(parent_based, RootSampler::AlwaysOn).sample(None).is_some());
            assert!(sampler(parent_based, RootSampler::AlwaysOff).sample(None).is_none());
            assert!(sampler(parent_based, RootSampler::Ratio(0.0)).sample(None).is_none());
            assert!(sampler(parent_based, RootSampler::Ratio(1.0)).sample(None).is_some());
        }
    }

    /// Bounds as `TraceIdRatioBased.get_bound_for_rate` gives them.
    #[test]
    fn ratios_have_the_bounds_of_python() {
        for (ratio, bound) in [
            (0.0, 0),
            (1.0, 18_446_744_073_709_551_616),
            (0.5, 9_223_372_036_854_775_808),
            (0.1, 1_844_674_407_370_955_264),
            (0.01, 184_467_440_737_095_520),
            (0.3, 5_534_023_222_112_865_280),
            (0.999, 18_428_297_329_635_842_048),
            (1e-19, 2),
            // 2.5 and 1.5 units: to even, both.
            (2.5 / ALL as f64, 2),
            (1.5 / ALL as f64, 2),
            (0.5 / ALL as f64, 0),
        ] {
            let sampler = sampler(false, RootSampler::Ratio(ratio));
            assert_eq!(sampler.bound, bound, "{ratio}");
            // Only the low half of the id counts.
            let below = bound.wrapping_sub(1) & u128::from(u64::MAX) | 9 << 64;
            let sampled = |id| sampler.sample(Some(&parent(id, 0))).is_some();
            assert_eq!(sampled(below), bound > 0, "{ratio}");
            assert_eq!(sampled(9 << 64 | bound & u128::from(u64::MAX)), bound == ALL, "{ratio}");
        }
    }

    #[test]
    fn a_ratio_is_met() {
        let sampler = sampler(true, RootSampler::Ratio(0.1));
        let sampled = (0..100_000).filter(|_| sampler.sample(None).is_some()).count();
        assert!((9_300..10_700).contains(&sampled), "{sampled}");
    }
}
