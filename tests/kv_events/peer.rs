//! A ZeroMQ peer over blocking sockets, with as much of ZMTP 3 as SUB, DEALER and REQ need.

use std::io::{self, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::os::unix::net::UnixStream;
use std::time::Duration;

trait Stream: Read + Write + Send {}
impl<T: Read + Write + Send> Stream for T {}

pub struct Peer {
    stream: Box<dyn Stream>,
}

/// Nothing here takes longer unless it is broken.
const PATIENCE: Duration = Duration::from_secs(20);

impl Peer {
    /// Connects to `tcp://HOST:PORT`, `ipc://PATH` or `ipc://@NAME` as a socket of this type.
    pub fn connect(endpoint: &str, socket_type: &str) -> Self {
        match endpoint.strip_prefix("ipc://") {
            Some(path) => Self::local(path, socket_type),
            None => {
                let address = endpoint.strip_prefix("tcp://").expect("a transport");
                Self::remote(TcpStream::connect(address).expect("a listener"), socket_type)
            }
        }
    }

    fn local(path: &str, socket_type: &str) -> Self {
        let stream = match path.strip_prefix('@') {
            Some(name) => {
                use std::os::linux::net::SocketAddrExt;
                let address = std::os::unix::net::SocketAddr::from_abstract_name(name);
                UnixStream::connect_addr(&address.expect("a name"))
            }
            None => UnixStream::connect(path),
        };
        let stream = stream.expect("a listener");
        stream.set_read_timeout(Some(PATIENCE)).expect("a timeout");
        Self::shake_hands(Box::new(stream), socket_type)
    }

    fn remote(stream: TcpStream, socket_type: &str) -> Self {
        stream.set_read_timeout(Some(PATIENCE)).expect("a timeout");
        Self::shake_hands(Box::new(stream), socket_type)
    }

    /// Takes the next peer that connects.
    #[allow(dead_code, reason = "the bench only connects")]
    pub fn accept(listener: &TcpListener, socket_type: &str) -> Self {
        Self::remote(listener.accept().expect("a peer").0, socket_type)
    }

    fn shake_hands(mut stream: Box<dyn Stream>, socket_type: &str) -> Self {
        let mut greeting = [0; 64];
        (greeting[0], greeting[9], greeting[10]) = (0xff, 0x7f, 3);
        greeting[12..16].copy_from_slice(b"NULL");
        stream.write_all(&greeting).expect("greeting");
        stream.read_exact(&mut greeting).expect("a greeting");
        assert_eq!(greeting[10..16], *b"\x03\x01NULL");
        let mut ready = b"\x05READY\x0bSocket-Type\0\0\0".to_vec();
        ready.push(socket_type.len() as u8);
        ready.extend(socket_type.as_bytes());
        let mut peer = Self { stream };
        peer.write_frame(4, &ready);
        let (flags, body) = peer.read_frame().expect("READY");
        assert!(flags == 4 && body.starts_with(b"\x05READY"));
        peer
    }

    fn write_frame(&mut self, flags: u8, body: &[u8]) {
        let mut bytes = vec![flags, u8::try_from(body.len()).expect("a short frame")];
        bytes.extend(body);
        self.stream.write_all(&bytes).expect("the peer reads");
    }

    fn read_frame(&mut self) -> io::Result<(u8, Vec<u8>)> {
        let mut flags = [0];
        self.stream.read_exact(&mut flags)?;
        let len = if flags[0] & 2 == 0 {
            let mut len = [0];
            self.stream.read_exact(&mut len)?;
            len[0].into()
        } else {
            let mut len = [0; 8];
            self.stream.read_exact(&mut len)?;
            u64::from_be_bytes(len)
        };
        let mut body = vec![0; len as usize];
        self.stream.read_exact(&mut body)?;
        Ok((flags[0], body))
    }

    /// Subscribes as ZMTP 3.0 does.
    pub fn subscribe(&mut self, topic: &str) {
        self.write_frame(0, format!("\x01{topic}").as_bytes());
    }

    /// Sends a command, such as `\x09SUBSCRIBEkv@`.
    #[allow(dead_code, reason = "the bench speaks 3.0")]
    pub fn command(&mut self, body: &[u8]) {
        self.write_frame(4, body);
    }

    pub fn send(&mut self, frames: &[&[u8]]) {
        for (i, frame) in frames.iter().enumerate() {
            self.write_frame(u8::from(i + 1 < frames.len()), frame);
        }
    }

    /// The frames of the next message, or the body of a command alone.
    pub fn receive(&mut self) -> io::Result<Vec<Vec<u8>>> {
        let mut frames = Vec::new();
        loop {
            let (flags, body) = self.read_frame()?;
            frames.push(body);
            if flags & 1 == 0 {
                return Ok(frames);
            }
        }
    }
}
