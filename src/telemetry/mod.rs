//! What the process says about itself: log lines, metrics and traces, in vLLM's formats.
//!
//! Every room logs through the [`log`] facade: it costs one atomic load where a level is off,
//! records carry file and line, and the libraries underneath use it too. Spans are not its
//! business; the request trace is a tree of its own.

mod export;
pub mod logs;
pub mod metrics;
pub mod request;
mod startup;
mod stats;
pub mod trace;

pub use startup::Startup;
pub use stats::{CostLog, Stats, StatsLog};
