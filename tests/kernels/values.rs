//! Values to compute with, and ways to compare what was computed.

use half::bf16;
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};

pub fn random(seed: u64) -> StdRng {
    StdRng::seed_from_u64(seed)
}

/// Values between -1 and 1.
pub fn floats(random: &mut StdRng, len: usize) -> Vec<f32> {
    (0..len).map(|_| random.random_range(-1.0..1.0)).collect()
}

pub fn bf16s(random: &mut StdRng, len: usize) -> Vec<bf16> {
    floats(random, len).into_iter().map(bf16::from_f32).collect()
}

/// The same bits in every place; says where the first others are.
#[track_caller]
pub fn assert_same<T: Copy + PartialEq + std::fmt::Debug>(got: &[T], want: &[T], what: &str) {
    assert_eq!(got.len(), want.len(), "{what}");
    if let Some(i) = (0..got.len()).find(|&i| got[i] != want[i]) {
        panic!("{what}: at {i}: {:?}, and {:?} was to come", got[i], want[i]);
    }
}

/// The root of the mean square of the differences over that of `want`.
pub fn relative_error(got: impl Iterator<Item = f64>, want: impl Iterator<Item = f64>) -> f64 {
    let (mut difference, mut size) = (0.0, 0.0);
    for (got, want) in got.zip(want) {
        difference += (got - want) * (got - want);
        size += want * want;
    }
    (difference / f64::max(size, f64::MIN_POSITIVE)).sqrt()
}
