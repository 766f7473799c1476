//! What a model folder holds: configuration, weights, tokenizer, chat template.

mod config;
mod weights;

pub use config::{Dims, RopeScaling};
pub use weights::{WeightError, Weights};
