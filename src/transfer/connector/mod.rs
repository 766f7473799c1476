//! The connector: leases, peers and pulls. [`Core`] is what it does, without threads or sockets, so
//! that a simulation can drive it; [`Running`] is its thread, and [`Link`] the way to it.

mod core;
mod lease;
mod link;
mod parts;
mod peer;
mod pull;
mod sums;
mod talk;
#[cfg(test)]
mod tests;
mod thread;

pub use core::Core;
pub use link::{Command, Link};
pub use parts::{Codec, Observer, Parts, Settings};
pub use peer::{Address, Met};
pub use thread::Running;
