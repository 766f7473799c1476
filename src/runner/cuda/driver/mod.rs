//! The CUDA driver API, as far as the backend uses it, behind a safe face.
//!
//! The library is opened at run time: a program without a GPU starts, and says so. Nothing here
//! allocates, waits or copies unless its name says so.

mod device;
mod error;
mod memory;
mod module;
mod stream;

pub(super) use device::Device;
pub use device::{Absent, Missing};
pub(super) use error::Failure;
pub(super) use memory::{Arena, Pinned, Plan, Span};
pub(super) use module::{Argument, Function, Launch, Module, launch};
pub(super) use stream::{Event, Graph, Stream};
