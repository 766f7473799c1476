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
mod transfer;

pub use config::{EngineConfig, Observation, PrefixCaching, ResidencySample};
pub use control::PauseMode;
pub use core::{Core, Turn};
pub use estimate::ModelCosts;
pub use handle::{EngineHandle, Generation, NewRequest, Refused, Reservation, Transfer};
pub use status::{Counters, Estimates, Gauges, Status, StepHistograms};

use crate::runner::BackendError;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::thread::{Builder, JoinHandle};

/// Starts the engine thread. It ends after [`EngineHandle::stop`] once nothing is in flight, or
/// with the backend's error.
///
/// # Errors
/// When the operating system gives no thread.
pub fn spawn(mut core: Core) -> std::io::Result<JoinHandle<Result<(), BackendError>>> {
    Builder::new().name("engine".to_owned()).spawn(move || {
        // A panic must not leave clients waiting: they are told first.
        catch_unwind(AssertUnwindSafe(|| core.run())).unwrap_or_else(|panic| {
            core.fail();
            resume_unwind(panic)
        })
    })
}
