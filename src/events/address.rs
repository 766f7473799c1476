//! Sockets at the addresses of the settings.

use crate::config::EventAddress;
use crate::zmq::{Stream, tune};
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, TcpListener, UdpSocket};
use std::os::unix::net::UnixListener;
use std::path::PathBuf;
use tokio::net::TcpStream;

/// A bound address, before it runs on the publisher's thread.
#[derive(Debug)]
pub(super) enum Bound {
    Tcp(TcpListener),
    Ipc(UnixListener, Option<SocketFile>),
}

/// The file of a Unix socket; gone with its listener.
#[derive(Debug)]
pub(super) struct SocketFile(PathBuf);

impl Drop for SocketFile {
    fn drop(&mut self) {
        // Nothing depends on it: the next one to bind takes the path over.
        let _ = std::fs::remove_file(&self.0);
    }
}

/// Binds. The second value is the address with what the system chose.
pub(super) fn bind(
    address: &EventAddress,
    node_ip: Option<&str>,
) -> io::Result<(Bound, EventAddress)> {
    let (listener, host) = match address {
        EventAddress::Ipc(path) => return Ok((bind_ipc(path)?, address.clone())),
        EventAddress::AnyPortOfNode => {
            let ip = node_ip.map_or_else(find_node_ip, |ip| Ok(ip.to_owned()))?;
            if ["0.0.0.0", "::"].contains(&ip.as_str()) {
                return Err(io::Error::other("tcp://*:0 needs a node IP; set VLLM_HOST_IP"));
            }
            (TcpListener::bind((ip.as_str(), 0))?, ip)
        }
        EventAddress::Tcp { host, port } if host == "*" => {
            (TcpListener::bind((Ipv4Addr::UNSPECIFIED, *port))?, host.clone())
        }
        EventAddress::Tcp { host, port } => {
            (TcpListener::bind((host.as_str(), *port))?, host.clone())
        }
    };
    listener.set_nonblocking(true)?;
    let port = listener.local_addr()?.port();
    Ok((Bound::Tcp(listener), EventAddress::Tcp { host, port }))
}

fn bind_ipc(path: &str) -> io::Result<Bound> {
    let (listener, file) = match path.strip_prefix('@') {
        Some(name) => (UnixListener::bind_addr(&abstract_name(name)?)?, None),
        None => {
            // What a process that was killed left behind. A live one loses its path, as in vLLM.
            let _ = std::fs::remove_file(path);
            (UnixListener::bind(path)?, Some(SocketFile(path.into())))
        }
    };
    listener.set_nonblocking(true)?;
    Ok(Bound::Ipc(listener, file))
}

/// A name without a file, which Linux has.
fn abstract_name(name: &str) -> io::Result<std::os::unix::net::SocketAddr> {
    #[cfg(target_os = "linux")]
    {
        use std::os::linux::net::SocketAddrExt;
        std::os::unix::net::SocketAddr::from_abstract_name(name)
    }
    #[cfg(not(target_os = "linux"))]
    Err(io::Error::new(io::ErrorKind::Unsupported, format!("no name @{name} here")))
}

/// The address that the routing table would send from. Nothing is sent.
fn find_node_ip() -> io::Result<String> {
    let towards = |from: IpAddr, to: IpAddr| -> io::Result<String> {
        let socket = UdpSocket::bind((from, 0))?;
        socket.connect((to, 80))?;
        Ok(socket.local_addr()?.ip().to_string())
    };
    let v4 = towards(Ipv4Addr::UNSPECIFIED.into(), Ipv4Addr::new(8, 8, 8, 8).into());
    let public = Ipv6Addr::new(0x2001, 0x4860, 0x4860, 0, 0, 0, 0, 0x8888);
    v4.or_else(|_| towards(Ipv6Addr::UNSPECIFIED.into(), public.into()))
        .map_err(|_| io::Error::other("tcp://*:0 needs a node IP; set VLLM_HOST_IP"))
}

/// Connects. Names are looked up each time, so that a service may move.
pub(super) async fn connect(address: &EventAddress) -> io::Result<Stream> {
    match address {
        EventAddress::Tcp { host, port } => {
            let stream = TcpStream::connect((host.as_str(), *port)).await?;
            tune(&stream);
            Ok(Box::new(stream))
        }
        // These are only ever bound.
        EventAddress::Ipc(_) | EventAddress::AnyPortOfNode => {
            Err(io::ErrorKind::AddrNotAvailable.into())
        }
    }
}

/// A listener that runs.
pub(super) enum Listener {
    Tcp(tokio::net::TcpListener),
    Ipc(
        tokio::net::UnixListener,
        #[allow(dead_code, reason = "removed on drop")] Option<SocketFile>,
    ),
}

impl Listener {
    /// Must be called on the publisher's thread.
    pub fn new(bound: Bound) -> io::Result<Self> {
        Ok(match bound {
            Bound::Tcp(listener) => Self::Tcp(tokio::net::TcpListener::from_std(listener)?),
            Bound::Ipc(listener, file) => {
                Self::Ipc(tokio::net::UnixListener::from_std(listener)?, file)
            }
        })
    }

    pub async fn accept(&self) -> io::Result<Stream> {
        match self {
            Self::Tcp(listener) => {
                let (stream, _) = listener.accept().await?;
                tune(&stream);
                Ok(Box::new(stream))
            }
            Self::Ipc(listener, _) => Ok(Box::new(listener.accept().await?.0)),
        }
    }
}
