//! The engine: one thread that owns every request, every block and the backend.
//!
//! Others speak to it through an [`EngineHandle`]: they hand over a [`NewRequest`], read a
//! [`Generation`], and look at its [`Status`], which is made of atomics and never waits for a step.

mod handle;
mod inbox;
mod status;

pub use handle::{EngineHandle, Generation, NewRequest, Refused, Reservation};
pub use status::{Counters, Gauges, Status};
