//! What a model folder holds: configuration, weights, tokenizer, chat template.
//!
//! [`Model::open`] ties it together: it finds the files, on disk or on the hub, reads all that is
//! small and checks all that is large. Reading the weights is left to the backend, which packs
//! them into its own layout a few rows at a time.

mod checkpoint;
mod config;
mod dummy;
mod error;
mod files;
mod generation;
mod hub;
mod open;
mod template;
mod tensors;
mod tokenizer;
mod weights;

pub use checkpoint::Checkpoint;
pub use config::{Dims, ModelConfig, RopeScaling};
pub use dummy::DummyWeights;
pub use error::ModelError;
pub use files::ModelFiles;
pub use generation::{GenerationDefaults, GenerationSource};
pub use hub::{HubError, HubOptions, Wanted, resolve};
pub use open::{LoadFormat, Model, OpenOptions, Phase};
pub use template::{ChatTemplate, RenderInput, TemplateError};
pub use tensors::{check_tensors, parameters, tensors};
pub use tokenizer::{Tokenizer, TokenizerFiles};
pub use weights::{WeightError, Weights};
