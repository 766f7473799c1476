//! The engine: one thread that owns every request, every block and the backend.
//!
//! Others speak to it through an [`EngineHandle`]: they reserve room, hand over a [`NewRequest`],
//! read a [`Generation`], and look at the engine's [`Status`], which is made of atomics and never
//! waits for a step.

mod ahead;
mod config;
mod control;
mod core;
mod estimate;
mod handle;
mod inbox;
mod observe;
mod request;
mod sampling;
#[cfg(test)]
mod simulation;
mod status;
mod step;
#[cfg(test)]
mod tests;
mod thread;
mod transfer;

pub use config::{EngineConfig, Observation, PrefixCaching, ResidencySample};
pub use control::PauseMode;
pub use core::{Core, Turn};
pub use estimate::ModelCosts;
pub use handle::{EngineHandle, Generation, NewRequest, Refused, Reservation, Transfer};
pub use status::{Counters, Estimates, Gauges, Status, StepHistograms};
pub use thread::{EngineThread, spawn};
