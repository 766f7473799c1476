//! The table of rotary embeddings, the same on every backend.

use crate::model::Dims;

/// Fills `[positions][cos(head_dim / 2) | sin(head_dim / 2)]`.
///
/// The angles are products in f32, as Hugging Face computes them: the rounding of large angles is
/// part of what the models were trained with.
pub(super) fn fill_rotary(dims: &Dims, table: &mut [f32]) {
    let frequencies: Vec<f32> = dims.inverse_frequencies().iter().map(|&f| f as f32).collect();
    let factor = dims.rope_factor();
    for (position, row) in table.chunks_exact_mut(dims.head_dim).enumerate() {
        let (cos, sin) = row.split_at_mut(dims.head_dim / 2);
        for ((cos, sin), frequency) in cos.iter_mut().zip(sin).zip(&frequencies) {
            let (s, c) = f64::from(position as f32 * frequency).sin_cos();
            *cos = c as f32 * factor;
            *sin = s as f32 * factor;
        }
    }
}
