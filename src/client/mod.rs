//! What speaks to a running server: `chat`, `complete` and `bench serve`.
//!
//! It knows OpenAI's API and nothing of our own server, so that it measures and talks to any.

mod api;
pub mod bench;
mod connect;
mod progress;
pub mod prompts;
mod repl;
mod sse;

pub use progress::Progress;
pub use repl::{chat, complete};
