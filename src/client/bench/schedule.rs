//! When the requests of a benchmark are sent.

use crate::config::Traffic;
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use rand_distr::Gamma;

/// Seconds after the beginning at which each of `count` requests is sent.
pub(super) fn times(traffic: &Traffic, count: usize, seed: u64) -> Vec<f64> {
    let mut rng = StdRng::seed_from_u64(seed);
    let mut at = 0.0;
    let mut times: Vec<f64> = (0..count)
        .map(|index| {
            at += pause(rate(traffic, index, count), traffic.burstiness, &mut rng);
            at
        })
        .collect();
    // A constant rate is met exactly, whatever was drawn.
    if let (None, Some(&last)) = (traffic.ramp_up, times.last())
        && last > 0.0
    {
        let factor = count as f64 / traffic.rate / last;
        times.iter_mut().for_each(|time| *time *= factor);
    }
    times
}

/// Requests a second when request `index` of `count` is due.
fn rate(traffic: &Traffic, index: usize, count: usize) -> f64 {
    let Some(ramp) = traffic.ramp_up else { return traffic.rate };
    let progress = index as f64 / (count - 1).max(1) as f64;
    let (start, end) = (ramp.start as f64, ramp.end as f64);
    match ramp.exponential {
        true => start * (end / start).powf(progress),
        false => start + (end - start) * progress,
    }
}

fn pause(rate: f64, burstiness: f64, rng: &mut StdRng) -> f64 {
    if rate.is_infinite() {
        return 0.0;
    }
    if burstiness.is_infinite() {
        return 1.0 / rate;
    }
    match Gamma::new(burstiness, 1.0 / (rate * burstiness)) {
        Ok(gamma) => rng.sample(gamma),
        // So bursty that all come at once.
        Err(_) => 0.0,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::RampUp;

    const STEADY: Traffic = Traffic {
        rate: 50.0,
        burstiness: 1.0,
        max_concurrency: None,
        ramp_up: None,
        probe_rate: 0.0,
    };

    #[test]
    fn a_constant_rate_is_met_exactly_and_varies_between() {
        for burstiness in [0.1, 1.0, 5.0, f64::INFINITY] {
            let times = times(&Traffic { burstiness, ..STEADY }, 1000, 7);
            assert!((times[999] - 20.0).abs() < 1e-9, "{burstiness}: {}", times[999]);
            assert!(times.windows(2).all(|pair| pair[0] <= pair[1]));
        }
        assert_eq!(times(&STEADY, 9, 1), times(&STEADY, 9, 1));
        assert_ne!(times(&STEADY, 9, 1), times(&STEADY, 9, 2));
    }

    #[test]
    fn pauses_vary_as_much_as_asked_for() {
        // The coefficient of variation of a gamma distribution is 1 / √shape.
        for (burstiness, wanted) in [(0.25, 2.0), (1.0, 1.0), (4.0, 0.5)] {
            let times = times(&Traffic { burstiness, ..STEADY }, 50_000, 3);
            let pauses: Vec<f64> = times.windows(2).map(|pair| pair[1] - pair[0]).collect();
            let mean = pauses.iter().sum::<f64>() / pauses.len() as f64;
            let square = pauses.iter().map(|x| (x - mean).powi(2)).sum::<f64>();
            let found = (square / pauses.len() as f64).sqrt() / mean;
            assert!((found / wanted - 1.0).abs() < 0.05, "{burstiness}: {found}");
        }
    }

    #[test]
    fn all_at_once_and_ramps() {
        assert_eq!(times(&Traffic { rate: f64::INFINITY, ..STEADY }, 3, 0), [0.0; 3]);
        let ramp_up = |exponential| Some(RampUp { exponential, start: 1, end: 100 });
        let traffic = |exponential| Traffic { ramp_up: ramp_up(exponential), ..STEADY };
        let rates = |traffic: Traffic| [0, 50, 100].map(|at| rate(&traffic, at, 101).round());
        assert_eq!(rates(traffic(false)), [1.0, 51.0, 100.0]);
        assert_eq!(rates(traffic(true)), [1.0, 10.0, 100.0]);
    }
}
