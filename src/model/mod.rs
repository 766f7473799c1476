//! What a model folder holds: configuration, weights, tokenizer, chat template.

mod config;
mod error;
mod generation;
mod template;
mod tokenizer;
mod weights;

pub use config::{Dims, ModelConfig, RopeScaling};
pub use error::ModelError;
pub use generation::{GenerationDefaults, GenerationSource};
pub use template::{ChatTemplate, RenderInput, TemplateError};
pub use tokenizer::{Tokenizer, TokenizerFiles};
pub use weights::{WeightError, Weights};
