//! Time as the whole server sees it: one monotonic clock with one wall anchor.
//!
//! Every duration is a difference of two [`Moment`]s of the same clock, so durations that follow
//! each other add up exactly; the wall clock is read once, to date spans.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

/// A moment: nanoseconds since its clock was made.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Moment(u64);

impl Moment {
    /// The moment `nanos` nanoseconds after the clock was made.
    pub const fn from_nanos(nanos: u64) -> Self {
        Self(nanos)
    }

    /// Nanoseconds since the clock was made.
    pub const fn nanos(self) -> u64 {
        self.0
    }

    /// Seconds since the clock was made.
    pub fn seconds(self) -> f64 {
        Duration::from_nanos(self.0).as_secs_f64()
    }

    /// Nanoseconds since `earlier`; 0 when that is later.
    pub const fn nanos_since(self, earlier: Self) -> u64 {
        self.0.saturating_sub(earlier.0)
    }

    /// The same as a duration.
    pub const fn since(self, earlier: Self) -> Duration {
        Duration::from_nanos(self.nanos_since(earlier))
    }
}

impl std::ops::Add<Duration> for Moment {
    type Output = Self;

    /// The moment that much later; the end of time when there is none.
    fn add(self, by: Duration) -> Self {
        Self(self.0.saturating_add(u64::try_from(by.as_nanos()).unwrap_or(u64::MAX)))
    }
}

/// Where moments come from. Clones show the same time.
#[derive(Clone, Debug)]
pub struct Clock(Source);

#[derive(Clone, Debug)]
enum Source {
    System { anchor: Instant, unix_nanos: u64 },
    Manual(Arc<AtomicU64>),
}

impl Clock {
    /// The system's clock, from now on.
    pub fn system() -> Self {
        let since_epoch = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        let unix_nanos = u64::try_from(since_epoch.as_nanos()).unwrap_or(u64::MAX);
        Self(Source::System { anchor: Instant::now(), unix_nanos })
    }

    /// A clock that stands still until it is [advanced](Self::advance). For simulations.
    pub fn manual() -> Self {
        Self(Source::Manual(Arc::default()))
    }

    /// Moves a manual clock forward.
    ///
    /// # Panics
    /// When it is the system's clock.
    pub fn advance(&self, by: Duration) {
        match &self.0 {
            Source::Manual(now) => now.fetch_add(by.as_nanos() as u64, Relaxed),
            Source::System { .. } => panic!("the system's clock moves by itself"),
        };
    }

    /// The time.
    pub fn now(&self) -> Moment {
        Moment(match &self.0 {
            Source::System { anchor, .. } => anchor.elapsed().as_nanos() as u64,
            Source::Manual(now) => now.load(Relaxed),
        })
    }

    /// The moment at which an instant was taken. A manual clock knows none but now.
    pub fn moment(&self, instant: Instant) -> Moment {
        match &self.0 {
            Source::System { anchor, .. } => {
                Moment(instant.saturating_duration_since(*anchor).as_nanos() as u64)
            }
            Source::Manual(_) => self.now(),
        }
    }

    /// The moment as nanoseconds since the Unix epoch, by the wall clock at the anchor.
    pub fn unix_nanos(&self, moment: Moment) -> u64 {
        match &self.0 {
            Source::System { unix_nanos, .. } => unix_nanos.saturating_add(moment.0),
            Source::Manual(_) => moment.0,
        }
    }

    /// The same for libraries.
    pub fn system_time(&self, moment: Moment) -> SystemTime {
        UNIX_EPOCH + Duration::from_nanos(self.unix_nanos(moment))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn clones_show_the_same_time_and_differences_carry_over_to_the_wall() {
        for clock in [Clock::system(), Clock::manual()] {
            let (start, copy) = (clock.now(), clock.clone());
            if matches!(clock.0, Source::Manual(_)) {
                clock.advance(Duration::from_nanos(7));
                assert_eq!(copy.now().nanos_since(start), 7);
            }
            let end = copy.now();
            let wall = clock.unix_nanos(end) - copy.unix_nanos(start);
            assert_eq!(wall, end.nanos_since(start));
            assert_eq!(start.nanos_since(Moment::from_nanos(u64::MAX)), 0);
        }
    }
}
