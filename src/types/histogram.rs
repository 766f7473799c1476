//! Histograms that any thread may add to and any other may read, without locks.

use std::sync::atomic::{
    AtomicU64, Ordering::Acquire, Ordering::Relaxed, Ordering::Release, fence,
};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// Nanoseconds in a second.
const NANOS: f64 = 1e9;

/// A span that an observation belongs to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SpanRef {
    pub trace_id: u128,
    pub span_id: u64,
}

impl SpanRef {
    /// It as the `traceparent` of W3C, sampled.
    pub fn traceparent(&self) -> String {
        format!("00-{:032x}-{:016x}-01", self.trace_id, self.span_id)
    }

    /// The span that a `traceparent` of ours names.
    pub fn of_traceparent(text: &str) -> Option<Self> {
        let (trace, span) = text.strip_prefix("00-")?.strip_suffix("-01")?.split_once('-')?;
        if (trace.len(), span.len()) != (32, 16) {
            return None;
        }
        let trace_id = u128::from_str_radix(trace, 16).ok().filter(|id| *id != 0)?;
        let span_id = u64::from_str_radix(span, 16).ok().filter(|id| *id != 0)?;
        Some(Self { trace_id, span_id })
    }
}

/// One observation with the span that it belongs to.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Exemplar {
    pub span: SpanRef,
    /// In the unit in which the histogram is shown.
    pub value: f64,
    /// Seconds since the epoch.
    pub time: f64,
}

/// A bucket as it is shown.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Bucket {
    /// The inclusive upper bound; infinite for the last bucket.
    pub bound: f64,
    /// Observations up to the bound, those of lower buckets included.
    pub count: u64,
    pub exemplar: Option<Exemplar>,
}

/// How many observations fell into which range, and their exact sum.
///
/// Values are integers: nanoseconds or a count of things. The sum wraps after 584 years of
/// observed time, which a scraper takes for a restart of the counter.
#[derive(Debug)]
pub struct Histogram {
    /// Inclusive upper bounds, ascending, in the unit of the values.
    limits: Box<[u64]>,
    /// The same as they were given.
    bounds: Box<[f64]>,
    /// One for each bound, and one for what is above them all.
    counts: Box<[AtomicU64]>,
    sum: AtomicU64,
    /// How many values make one of what is shown.
    scale: f64,
    /// Empty, or one for each bucket.
    exemplars: Box<[Slot]>,
}

impl Histogram {
    /// Of durations; `bounds` are ascending seconds.
    pub fn of_seconds(bounds: &[f64]) -> Self {
        // The nearest nanosecond: 0.29 s times 1e9 may fall short of it by a rounding error.
        Self::new(bounds, NANOS, |bound| (bound * NANOS).round())
    }

    /// Of counts; `bounds` are ascending.
    pub fn of_counts(bounds: &[f64]) -> Self {
        Self::new(bounds, 1.0, f64::floor)
    }

    fn new(bounds: &[f64], scale: f64, limit: impl Fn(f64) -> f64) -> Self {
        debug_assert!(bounds.is_sorted(), "bounds must ascend: {bounds:?}");
        Self {
            // The cast saturates, which is right for bounds that no value reaches.
            limits: bounds.iter().map(|bound| limit(*bound) as u64).collect(),
            bounds: bounds.into(),
            counts: (0..=bounds.len()).map(|_| AtomicU64::new(0)).collect(),
            sum: AtomicU64::new(0),
            scale,
            exemplars: Box::default(),
        }
    }

    /// With room for the latest exemplar of each bucket.
    pub fn with_exemplars(mut self) -> Self {
        self.exemplars = self.counts.iter().map(|_| Slot::default()).collect();
        self
    }

    /// Adds a value: a count or nanoseconds. Waits for nobody.
    pub fn observe(&self, value: u64) {
        self.add(value);
    }

    /// Adds a duration.
    pub fn observe_time(&self, time: Duration) {
        self.add(nanoseconds(time));
    }

    /// Adds a duration, and keeps it as its bucket's exemplar when it belongs to a span.
    pub fn observe_time_of(&self, time: Duration, span: Option<SpanRef>) {
        let value = nanoseconds(time);
        let bucket = self.add(value);
        if let (Some(span), Some(slot)) = (span, self.exemplars.get(bucket)) {
            slot.put(span, value);
        }
    }

    /// Returns the value's bucket.
    fn add(&self, value: u64) -> usize {
        let bucket = self.limits.partition_point(|limit| *limit < value);
        self.sum.fetch_add(value, Relaxed);
        self.counts[bucket].fetch_add(1, Relaxed);
        bucket
    }

    /// All buckets with their counts summed up: the last count is that of all observations, and
    /// counts never fall from one bucket to the next, whatever is added meanwhile.
    pub fn buckets(&self) -> impl Iterator<Item = Bucket> + '_ {
        let mut count = 0;
        self.counts.iter().enumerate().map(move |(i, own)| {
            count += own.load(Relaxed);
            Bucket {
                bound: self.bounds.get(i).copied().unwrap_or(f64::INFINITY),
                count,
                exemplar: self.exemplars.get(i).and_then(|slot| slot.get(self.scale)),
            }
        })
    }

    /// The sum of all values, as it is shown.
    pub fn sum(&self) -> f64 {
        self.sum.load(Relaxed) as f64 / self.scale
    }
}

fn nanoseconds(time: Duration) -> u64 {
    u64::try_from(time.as_nanos()).unwrap_or(u64::MAX)
}

/// Room for one exemplar. Whoever finds it in use by another writer drops its own; a reader that
/// meets a writer sees none.
#[derive(Debug, Default)]
struct Slot {
    /// 0 before the first exemplar, odd while one is written.
    version: AtomicU64,
    trace: [AtomicU64; 2],
    span: AtomicU64,
    value: AtomicU64,
    /// Nanoseconds since the epoch.
    time: AtomicU64,
}

impl Slot {
    fn put(&self, span: SpanRef, value: u64) {
        let version = self.version.load(Relaxed);
        let taken = version.is_multiple_of(2)
            && self.version.compare_exchange(version, version + 1, Acquire, Relaxed).is_ok();
        if !taken {
            return;
        }
        // The odd version is seen by everybody who sees any of what follows.
        fence(Release);
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        self.trace[0].store((span.trace_id >> 64) as u64, Relaxed);
        self.trace[1].store(span.trace_id as u64, Relaxed);
        self.span.store(span.span_id, Relaxed);
        self.value.store(value, Relaxed);
        self.time.store(nanoseconds(now), Relaxed);
        self.version.store(version + 2, Release);
    }

    fn get(&self, scale: f64) -> Option<Exemplar> {
        let version = self.version.load(Acquire);
        if version == 0 || version % 2 == 1 {
            return None;
        }
        let [high, low] = [0, 1].map(|i| u128::from(self.trace[i].load(Relaxed)));
        let span = SpanRef { trace_id: high << 64 | low, span_id: self.span.load(Relaxed) };
        let value = self.value.load(Relaxed) as f64 / scale;
        let time = self.time.load(Relaxed) as f64 / NANOS;
        // Whatever of a later write was read above, its odd version is seen below.
        fence(Acquire);
        let same = self.version.load(Relaxed) == version;
        same.then_some(Exemplar { span, value, time })
    }
}

#[cfg(test)]
mod tests;
