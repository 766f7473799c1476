//! Passes over a whole row, written so that the compiler vectorises them: fixed lanes, no
//! branches. Every sum has an order fixed by the row alone, and no libm call decides a bit, so
//! results are the same on every machine.

use crate::types::Token;

/// Elements handled side by side.
const LANES: usize = 16;
/// Elements between two looks at a running result.
pub(super) const BLOCK: usize = 512;

/// The largest logit; NaN is skipped, −∞ when nothing is left.
pub(super) fn max(row: &[f32]) -> f32 {
    let mut lanes = [f32::NEG_INFINITY; LANES];
    let (chunks, rest) = row.as_chunks::<LANES>();
    for chunk in chunks {
        for (lane, &x) in lanes.iter_mut().zip(chunk) {
            *lane = if x > *lane { x } else { *lane };
        }
    }
    lanes.iter().chain(rest).fold(f32::NEG_INFINITY, |best, &x| if x > best { x } else { best })
}

/// The first index of the largest logit; 0 when there is none.
pub(super) fn argmax(row: &[f32]) -> Token {
    let (mut best, mut start) = (f32::NEG_INFINITY, 0);
    for (i, block) in row.chunks(BLOCK).enumerate() {
        let largest = max(block);
        if largest > best {
            (best, start) = (largest, i * BLOCK);
        }
    }
    let inside = row[start..].iter().position(|&x| x == best).unwrap_or(0);
    if best == f32::NEG_INFINITY { 0 } else { (start + inside) as Token }
}

/// Σ exp(x / temperature − shift), where `shift` is at least the largest x / temperature.
pub(super) fn sum_exp(row: &[f32], temperature: f32, shift: f32) -> f64 {
    let mut total = 0.0;
    for block in row.chunks(BLOCK) {
        let mut lanes = [0f32; LANES];
        let (chunks, rest) = block.as_chunks::<LANES>();
        for chunk in chunks {
            for (lane, &x) in lanes.iter_mut().zip(chunk) {
                *lane += exp(x / temperature - shift);
            }
        }
        total += lanes.iter().map(|&lane| f64::from(lane)).sum::<f64>();
        total += rest.iter().map(|&x| f64::from(exp(x / temperature - shift))).sum::<f64>();
    }
    total
}

/// How many logits are at least `bound`.
pub(super) fn count_at_least(row: &[f32], bound: f32) -> u32 {
    row.chunks(BLOCK).map(|block| block.iter().map(|&x| u32::from(x >= bound)).sum::<u32>()).sum()
}

/// e^x for x ≤ 0 to within 2 ulp; 0 below −87 and for NaN.
pub(super) fn exp(x: f32) -> f32 {
    /// Adding it leaves the nearest integer in the low bits of the mantissa.
    const ROUND: f32 = 12_582_912.0;
    /// ln 2 in two parts, so that the product with a small integer loses nothing.
    const LN2: [f32; 2] = [0.693_359_4, -2.121_944_4e-4];
    let possible = x > -87.0;
    let x = if possible { x } else { 0.0 };
    let shifted = x * std::f32::consts::LOG2_E + ROUND;
    let n = shifted - ROUND;
    let r = x - n * LN2[0] - n * LN2[1];
    // Minimax polynomial of e^r on ±ln 2 / 2 (Cephes).
    let mut p = 1.987_569_1e-4;
    for c in [1.398_199_9e-3, 8.333_452e-3, 4.166_579_6e-2, 1.666_666_5e-1, 0.5] {
        p = p * r + c;
    }
    let mantissa = p * r * r + r + 1.0;
    let power = f32::from_bits(shifted.to_bits().wrapping_add(127) << 23);
    if possible { mantissa * power } else { 0.0 }
}
