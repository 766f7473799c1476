//! The face of a checkpoint: tensors by Hugging Face name, read by rows, always as bf16.

use half::bf16;

/// Something wrong with a weight: which tensor, where, what.
#[derive(Debug, thiserror::Error)]
pub enum WeightError {
    #[error("{place}: tensor {name} is missing")]
    Missing { place: String, name: String },
    #[error("{place}: tensor {name} has shape {found:?}, the configuration wants {wanted:?}")]
    Shape { place: String, name: String, found: Vec<usize>, wanted: Vec<usize> },
    #[error("{place}: tensor {name} has dtype {dtype}; bf16, f16 and f32 can be read")]
    Dtype { place: String, name: String, dtype: String },
    #[error("{place}: {reason}")]
    File { place: String, reason: String },
}

/// Where weights come from: a checkpoint on disk, or a seeded generator.
///
/// A backend reads each tensor once, a few rows at a time, into its own layout, so the bytes of
/// the checkpoint and the packed weights never stand in memory together.
pub trait Weights: Sync {
    /// Checks that `name` is there with this shape.
    fn check(&self, name: &str, shape: &[usize]) -> Result<(), WeightError>;

    /// Fills `out` with the tensor's elements from row `first_row` on (row-major; a vector is one
    /// row), converted to bf16 by rounding to nearest even. `out` holds whole rows.
    fn read_rows(&self, name: &str, first_row: usize, out: &mut [bf16]) -> Result<(), WeightError>;
}
