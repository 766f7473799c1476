//! Weights out of nothing (`--load-format dummy`), for benchmarks of a model one does not have.

use std::collections::HashMap;

use half::bf16;

use super::{Dims, WeightError, Weights, tensors};

/// Random weights for every tensor of a model. An element depends on the seed, the tensor's name
/// and its own index alone, so that the order of reading does not matter.
///
/// Matrices are uniform with a variance of one over their inputs, which keeps activations and
/// logits near one through any number of layers; norms are near one.
#[derive(Debug)]
pub struct DummyWeights {
    seed: u64,
    shapes: HashMap<String, Vec<usize>>,
}

const PLACE: &str = "dummy weights";
/// Norm weights lie this close to one.
const NORM_SPREAD: f32 = 0.1;

impl DummyWeights {
    pub fn new(dims: &Dims, seed: u64) -> Self {
        DummyWeights { seed, shapes: tensors(dims).into_iter().collect() }
    }

    fn shape(&self, name: &str) -> Result<&[usize], WeightError> {
        self.shapes
            .get(name)
            .map(Vec::as_slice)
            .ok_or_else(|| WeightError::Missing { place: PLACE.to_owned(), name: name.to_owned() })
    }

    /// The start of the tensor's own random sequence.
    fn key(&self, name: &str) -> u64 {
        name.bytes().fold(mix(self.seed), |key, byte| mix(key ^ u64::from(byte)))
    }
}

impl Weights for DummyWeights {
    fn check(&self, name: &str, shape: &[usize]) -> Result<(), WeightError> {
        let found = self.shape(name)?;
        if found == shape {
            return Ok(());
        }
        Err(WeightError::Shape {
            place: PLACE.to_owned(),
            name: name.to_owned(),
            found: found.to_vec(),
            wanted: shape.to_vec(),
        })
    }

    fn read_rows(&self, name: &str, first_row: usize, out: &mut [bf16]) -> Result<(), WeightError> {
        let shape = self.shape(name)?;
        let width = shape.last().copied().unwrap_or(1);
        let first = first_row.saturating_mul(width);
        if first.saturating_add(out.len()) > shape.iter().product() {
            let reason = format!("tensor {name} has no {} rows", first_row + 1);
            return Err(WeightError::File { place: PLACE.to_owned(), reason });
        }
        let (center, spread) = match shape {
            [_] => (1.0, NORM_SPREAD),
            _ => (0.0, (3.0 / width as f32).sqrt()),
        };
        let key = self.key(name);
        let element = |word: u64, lane: u64| {
            let random = (word >> (16 * lane)) as i16;
            bf16::from_f32(center + f32::from(random) * (spread / 32768.0))
        };
        // Four elements come out of one 64-bit word; a range may begin inside a word.
        let ahead = ((4 - first % 4) % 4).min(out.len());
        let (head, rest) = out.split_at_mut(ahead);
        for (index, out) in (first as u64..).zip(head) {
            *out = element(word(key, index / 4), index % 4);
        }
        for (index, out) in ((first + ahead) as u64 / 4..).zip(rest.chunks_mut(4)) {
            let word = word(key, index);
            for (lane, out) in (0..).zip(out) {
                *out = element(word, lane);
            }
        }
        Ok(())
    }
}

/// The `index`th word of a tensor's sequence.
fn word(key: u64, index: u64) -> u64 {
    mix(key.wrapping_add(index.wrapping_mul(0x9e37_79b9_7f4a_7c15)))
}

/// SplitMix64's finaliser: every bit of the input reaches every bit of the output.
fn mix(value: u64) -> u64 {
    let value = (value ^ (value >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let value = (value ^ (value >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    value ^ (value >> 31)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::config::tests::small;

    #[test]
    fn any_order_and_any_cut_gives_the_same_elements() {
        let weights = DummyWeights::new(&small(), 7);
        let name = "model.layers.1.mlp.down_proj.weight";
        let (rows, width) = (24, 40);
        let mut whole = vec![bf16::ZERO; rows * width];
        weights.read_rows(name, 0, &mut whole).unwrap();
        for row in (0..rows).rev() {
            let mut one = vec![bf16::ZERO; width];
            weights.read_rows(name, row, &mut one).unwrap();
            assert_eq!(one, whole[row * width..][..width], "row {row}");
        }
        // A vector of odd length begins inside a word from its second row on.
        let mut odd = vec![bf16::ZERO; 24];
        weights.read_rows("model.norm.weight", 0, &mut odd).unwrap();
        assert!(odd.iter().all(|weight| (0.9..=1.1).contains(&weight.to_f32())));
    }

    #[test]
    fn seeds_and_names_differ_and_the_spread_is_right() {
        let read = |seed, name: &str| {
            let mut out = vec![bf16::ZERO; 24 * 40];
            DummyWeights::new(&small(), seed).read_rows(name, 0, &mut out).unwrap();
            out.iter().map(|weight| weight.to_f32()).collect::<Vec<_>>()
        };
        let name = "model.layers.0.mlp.down_proj.weight";
        let one = read(1, name);
        assert_eq!(one, read(1, name));
        assert_ne!(one, read(2, name));
        assert_ne!(one, read(1, "model.layers.1.mlp.down_proj.weight"));
        let mean = one.iter().sum::<f32>() / one.len() as f32;
        let variance = one.iter().map(|w| w * w).sum::<f32>() / one.len() as f32;
        assert!(mean.abs() < 0.02, "{mean}");
        assert!((variance * 40.0 - 1.0).abs() < 0.15, "{variance}");
    }

    #[test]
    fn what_the_model_does_not_have_is_refused() {
        let weights = DummyWeights::new(&small(), 0);
        let error = weights.check("lm_head.weight", &[64, 24]).unwrap_err().to_string();
        assert_eq!(error, "dummy weights: tensor lm_head.weight is missing");
        assert!(weights.check("model.norm.weight", &[25]).is_err());
        assert!(weights.read_rows("model.norm.weight", 1, &mut [bf16::ZERO; 24]).is_err());
    }
}
