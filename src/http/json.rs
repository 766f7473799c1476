//! JSON as Python reads and prints it: see [`crate::types::json`].

pub use crate::types::json::*;
