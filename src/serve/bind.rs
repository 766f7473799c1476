//! The listening socket: bound before the model is loaded, listening once there is an answer.

use crate::config::FrontendSettings;
use crate::http::Listener;
use std::fmt;
use std::net::{Ipv4Addr, SocketAddr, ToSocketAddrs};
use std::path::{Path, PathBuf};
use tokio::net::{TcpSocket, UnixSocket};

/// Connections that may wait to be accepted; uvicorn's number.
const BACKLOG: u32 = 2048;

/// An address that is taken. Nobody can connect until [`Bound::listen`], so that a load balancer
/// sees a refused connection, not one that hangs while the model is loaded.
#[derive(Debug)]
pub enum Bound {
    Tcp { socket: TcpSocket, address: SocketAddr },
    Unix { socket: UnixSocket, file: SocketFile },
}

/// The file of a Unix socket; gone with the server, so that the next one finds the path free.
#[derive(Debug)]
pub struct SocketFile(PathBuf);

impl Drop for SocketFile {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.0);
    }
}

/// Takes the address that the settings name.
///
/// # Errors
/// One sentence.
pub fn bind_as_set(settings: &FrontendSettings) -> Result<Bound, String> {
    match &settings.transport.uds {
        Some(path) => bind_unix(path),
        None => bind(settings.host.as_deref(), settings.port),
    }
}

/// Takes a path for a Unix socket.
///
/// # Errors
/// One sentence: something may be there already, and is not removed.
pub fn bind_unix(path: &Path) -> Result<Bound, String> {
    let taken = || -> std::io::Result<Bound> {
        let socket = UnixSocket::new_stream()?;
        socket.bind(path)?;
        Ok(Bound::Unix { socket, file: SocketFile(path.to_owned()) })
    };
    taken().map_err(|error| format!("cannot listen on unix:{}: {error}; see --uds", path.display()))
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
        Ok(Bound::Tcp { socket, address })
    };
    taken().map_err(|error| cannot_listen(wanted, &error))
}

impl Bound {
    /// Where it is, as a URL of `scheme`, with the port that was chosen.
    pub fn url(&self, scheme: &str) -> String {
        match self {
            Self::Tcp { address, .. } => format!("{scheme}://{address}"),
            Self::Unix { file, .. } => format!("unix:{}", file.0.display()),
        }
    }

    /// Lets connections in. Within a tokio runtime. The file of a Unix socket is there for as long
    /// as the second result is kept.
    ///
    /// # Errors
    /// One sentence, when another process has begun to listen there meanwhile.
    pub fn listen(self) -> Result<(Listener, Option<SocketFile>), String> {
        match self {
            Self::Tcp { socket, address } => {
                let listener = socket.listen(BACKLOG);
                let listener = listener.map_err(|error| cannot_listen(address, &error))?;
                Ok((listener.into(), None))
            }
            Self::Unix { socket, file } => {
                let listener = socket.listen(BACKLOG).map_err(|error| {
                    format!("cannot listen on unix:{}: {error}; see --uds", file.0.display())
                })?;
                Ok((listener.into(), Some(file)))
            }
        }
    }
}

fn cannot_listen(address: impl fmt::Display, error: &std::io::Error) -> String {
    format!("cannot listen on {address}: {error}; see --host and --port")
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::TcpStream;

    #[test]
    fn a_bound_port_refuses_until_it_listens() {
        let bound = bind(Some("127.0.0.1"), 0).expect("a free port");
        let Bound::Tcp { address, .. } = bound else { panic!("no Unix socket was asked for") };
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

    #[test]
    fn a_unix_socket_leaves_no_file() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("socket");
        let bound = bind_unix(&path).expect("a free path");
        assert_eq!(bound.url("http"), format!("unix:{}", path.display()));
        let error = bind_unix(&path).expect_err("taken");
        assert!(error.ends_with("; see --uds"), "{error}");
        assert!(std::os::unix::net::UnixStream::connect(&path).is_err());
        drop(bound);
        assert!(!path.exists());
    }
}
