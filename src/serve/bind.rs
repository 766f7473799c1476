//! The listening socket: bound before the model is loaded, listening once there is an answer.

use std::net::{Ipv4Addr, SocketAddr, ToSocketAddrs};
use tokio::net::{TcpListener, TcpSocket};

/// Connections that may wait to be accepted; uvicorn's number.
const BACKLOG: u32 = 2048;

/// An address that is taken. Nobody can connect until [`Bound::listen`], so that a load balancer
/// sees a refused connection, not one that hangs while the model is loaded.
#[derive(Debug)]
pub struct Bound {
    socket: TcpSocket,
    address: SocketAddr,
}

/// Takes the address; `None` is every IPv4 interface, port 0 a free port.
///
/// # Errors
/// One sentence.
pub fn bind(host: Option<&str>, port: u16) -> Result<Bound, String> {
    let wanted = match host {
        None => SocketAddr::from((Ipv4Addr::UNSPECIFIED, port)),
        Some(host) => (host, port)
            .to_socket_addrs()
            .map_err(|error| format!("--host {host} is no address: {error}"))?
            .next()
            .ok_or_else(|| format!("--host {host} has no address"))?,
    };
    let socket = if wanted.is_ipv4() { TcpSocket::new_v4() } else { TcpSocket::new_v6() };
    let taken = || -> std::io::Result<Bound> {
        let socket = socket?;
        // Otherwise a restarted server waits for its predecessor's connections to time out.
        socket.set_reuseaddr(true)?;
        socket.bind(wanted)?;
        let address = socket.local_addr()?;
        Ok(Bound { socket, address })
    };
    taken().map_err(|error| cannot_listen(wanted, &error))
}

impl Bound {
    /// The address, with the port that was chosen.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Lets connections in. Within a tokio runtime.
    ///
    /// # Errors
    /// One sentence, when another process has begun to listen there meanwhile.
    pub fn listen(self) -> Result<TcpListener, String> {
        let address = self.address;
        self.socket.listen(BACKLOG).map_err(|error| cannot_listen(address, &error))
    }
}

fn cannot_listen(address: SocketAddr, error: &std::io::Error) -> String {
    format!("cannot listen on {address}: {error}; see --host and --port")
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::TcpStream;

    #[test]
    fn a_bound_port_refuses_until_it_listens() {
        let bound = bind(Some("127.0.0.1"), 0).expect("a free port");
        let address = bound.address();
        assert!(TcpStream::connect(address).is_err());
        let runtime = tokio::runtime::Builder::new_current_thread().enable_io().build();
        let _runtime = runtime.as_ref().expect("a runtime").enter();
        let _listener = bound.listen().expect("still ours");
        assert!(TcpStream::connect(address).is_ok());
    }

    #[test]
    fn errors_name_the_address() {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a free port");
        let port = listener.local_addr().expect("bound").port();
        let error = bind(Some("127.0.0.1"), port).expect_err("taken");
        assert!(error.starts_with(&format!("cannot listen on 127.0.0.1:{port}: ")), "{error}");
        let error = bind(Some("not an address"), 1).expect_err("no address");
        assert!(error.starts_with("--host not an address is no address: "), "{error}");
    }
}
