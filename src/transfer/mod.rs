//! KV transfer between servers: vLLM's NixlConnector (pull), from the handshake to the bytes.

pub mod tcp;
pub mod transport;
