//! vLLM's side channel: a decode server asks a prefill server, over ZeroMQ, for its metadata.

mod listener;
mod query;
#[cfg(test)]
mod tests;

pub use listener::{Asked, Listener, answer};
pub use query::{Answer, QueryError, query};

use std::io;
use std::net::{SocketAddr, ToSocketAddrs};

/// What a query begins with.
const GET_META: &[u8] = b"get_meta_msg";

/// The addresses of a host, IPv4 before IPv6: libzmq knows only the former unless it is given an
/// IPv6 address.
fn addresses(host: &str, port: u16) -> io::Result<Vec<SocketAddr>> {
    let mut all: Vec<SocketAddr> = (host, port).to_socket_addrs()?.collect();
    all.sort_by_key(SocketAddr::is_ipv6);
    Ok(all)
}
