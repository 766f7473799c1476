//! What speaks to a running server: `chat`, `complete`, `bench serve`, `healthcheck`.
//!
//! It knows OpenAI's API and nothing of our own server, so that it measures and talks to any.

mod api;
pub mod bench;
mod connect;
mod health;
mod progress;
pub mod prompts;
mod repl;
mod sse;

pub use health::{HealthAddress, health};
pub use progress::Progress;
pub use repl::{chat, complete};
