//! The HTTP face: vLLM's endpoints, byte for byte.
//!
//! A request goes through [`serve`] (sockets, limits), `routes` (key, path, common headers), the
//! checks of `request` over the JSON of `json` and the schemas of `schema`, `prompt` (template,
//! tokens, length) and `fanout` (the engine's generations, as text). One module an API family
//! writes the replies; streamed ones are written by `sse` while the tokens come.

mod account;
mod adapters;
mod arguments;
mod beam;
mod body;
mod call;
mod chat;
mod completions;
mod cors;
mod decisions;
mod derender;
mod developer;
mod direct;
mod docs;
mod egress;
mod elastic;
mod fanout;
mod frontend;
#[doc(hidden)]
pub mod fuzz;
mod generate;
mod grammar;
mod guard;
mod headers;
mod in_flight;
mod invocations;
mod json;
mod keep_alive;
mod kv_transfer;
mod label_reads;
mod messages;
mod metrics;
mod models;
mod operations;
mod prompt;
mod reasoning;
mod render;
mod reply;
mod request;
mod request_log;
mod respond;
mod responses;
mod routes;
mod schema;
mod scoring;
mod server;
mod socket;
mod sse;
mod timing;
mod tls;
mod tokenize;
mod tokenizer_info;
mod watchdog;

pub use direct::answer;
pub use frontend::{Frontend, Options, RenderMetrics, ServerInfo, system_fingerprint};
pub use kv_transfer::KvIdentity;
pub use request::Limits;
pub use routes::paths;
pub use server::serve;
pub use socket::Listener;
pub use tls::Tls;
pub use tokenizer_info::tokenizer_info;
