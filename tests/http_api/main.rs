//! The HTTP face over real sockets, with the simulated device behind it.

mod adapters;
mod bad_input;
// The telemetry tests use more of it.
#[allow(dead_code)]
#[path = "../telemetry/collector.rs"]
mod collector;
mod golden;
mod lifecycle;
mod messages;
mod metrics;
mod no_tokenizer;
mod operations;
mod parsed;
mod parsed_bodies;
mod render;
mod replies;
mod responses;
mod scripted;
mod structured;
mod support;
mod thinking;
mod tls;
mod tokens;
mod traces;
mod transport;
