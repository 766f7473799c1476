//! Glassbox: a vLLM-compatible Qwen3 inference server in one process.
//!
//! # The life of a request
//!
//! 1. [`http`] reads a request off a socket, checks it against vLLM's schema and turns it into one
//!    or more generations.
//! 2. [`text`] renders the chat template and tokenises, and [`grammar`] compiles what the output
//!    must keep to, off the async threads.
//! 3. [`engine`] takes the prompt through a bounded inbox. One thread owns all engine state, so
//!    there are no locks: each turn of its loop asks [`scheduler`] for a plan, which takes blocks
//!    from [`kv`], lets [`runner`] run one step of the model, and hands each row of logits that a
//!    plan asked for to [`sampler`].
//! 4. Sampled tokens go back through one channel a generation; [`text`] turns them into text that
//!    never ends inside a character and stops at stop strings; [`http`] writes them to the socket.
//!
//! Beside the way, told by the engine and by [`http`] and never asked: [`telemetry`] (spans,
//! metrics, log lines) and [`events`] (what the prefix cache holds, for routers). [`transfer`]
//! moves KV blocks between servers, for prompts that are computed here and continued there.
//!
//! Data flows one way. A room may use the rooms below it and the base ([`types`], [`error`],
//! [`zmq`], [`config`], [`model`]), never one above; `tests/layers.rs` checks it.

pub mod client;
pub mod config;
pub mod engine;
pub mod error;
pub mod events;
pub mod grammar;
pub mod http;
pub mod kv;
pub mod model;
pub mod offline;
pub mod runner;
pub mod sampler;
pub mod scheduler;
pub mod serve;
pub mod telemetry;
pub mod text;
pub mod transfer;
pub mod types;
pub mod zmq;
