//! KV transfer between servers: vLLM's NixlConnector (pull), from the handshake to the bytes.
//!
//! A decode server learns to know a prefill server through its [`side_channel`]: the answer is
//! [`metadata`], whose claims [`peer`] checks, and whose [`hash`] says whether both sides mean the
//! same by a block. A [`transport`] then reads blocks, which may lie in another [`layout`]; a
//! [`checksum`] tells whether they arrived whole, and [`stats`] counts all of it. One thread, the
//! [`connector`]'s, owns that: the transport, the leases on blocks that peers will read, and the
//! pulls under way. [`Transfers`] puts it together.

mod assembly;
mod blocks;
pub mod checksum;
pub mod connector;
#[doc(hidden)]
pub mod fuzz;
pub mod hash;
pub mod layout;
pub mod metadata;
mod msgpack;
pub mod nixl;
pub mod peer;
pub mod side_channel;
mod staging;
pub mod stats;
pub mod tcp;
pub mod transport;

pub use assembly::{Engine, Transfers};
pub use msgpack::DecodeError;
