//! What a grammar does not allow becomes impossible.

const WORD: usize = u32::BITS as usize;

/// Makes every token impossible whose bit in `mask` is not set (bit `i % 32` of word `i / 32`),
/// and all beyond. Comes before everything else: log-probabilities are those of what is left.
pub fn keep_masked(mask: &[u32], logits: &mut [f32]) {
    let covered = logits.len().min(mask.len() * WORD);
    let (known, beyond) = logits.split_at_mut(covered);
    beyond.fill(f32::NEG_INFINITY);
    for (chunk, &word) in known.chunks_mut(WORD).zip(mask) {
        match word {
            0 => chunk.fill(f32::NEG_INFINITY),
            u32::MAX => {}
            word => {
                for (bit, logit) in chunk.iter_mut().enumerate() {
                    if word >> bit & 1 == 0 {
                        *logit = f32::NEG_INFINITY;
                    }
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn a_bit_for_each_token(
            mask in prop::collection::vec(prop_oneof![Just(0), Just(u32::MAX), any::<u32>()], 0..5),
            len in 0_usize..200,
        ) {
            let mut logits: Vec<f32> = (0..len).map(|i| i as f32).collect();
            keep_masked(&mask, &mut logits);
            for (i, logit) in logits.into_iter().enumerate() {
                let allowed = mask.get(i / 32).is_some_and(|word| word & (1 << (i % 32)) != 0);
                prop_assert_eq!(logit, if allowed { i as f32 } else { f32::NEG_INFINITY });
            }
        }
    }
}
