//! The tcp protocol by hand: what a peer may send that is not as it should be.

use glassbox::transfer::transport::Transport;
use std::io::{Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::time::Duration;

pub const READS: u8 = 1;
pub const NOTIFICATIONS: u8 = 2;
const LONG: Duration = Duration::from_secs(60);

/// The token in a transport's metadata, and the first address.
pub fn agent(transport: &dyn Transport) -> ([u8; 16], SocketAddr) {
    let metadata = transport.metadata();
    assert_eq!(metadata[..6], *b"GBKV\x01\x00");
    let token = metadata[6..22].try_into().expect("sixteen bytes");
    // The geometry is 16 bytes, then come a count and IPv4's 4.
    let [4, a, b, c, d, low, high] = metadata[39..46] else { panic!("{metadata:?}") };
    (token, (Ipv4Addr::new(a, b, c, d), u16::from_le_bytes([low, high])).into())
}

/// Metadata of an agent with one address.
pub fn metadata(port: u16, regions: u32, blocks: u32, block_len: u64) -> Vec<u8> {
    let mut out = b"GBKV\x01\x00".to_vec();
    out.extend_from_slice(&[7; 16]);
    out.extend_from_slice(&regions.to_le_bytes());
    out.extend_from_slice(&blocks.to_le_bytes());
    out.extend_from_slice(&block_len.to_le_bytes());
    out.extend_from_slice(&[1, 4, 127, 0, 0, 1]);
    out.extend_from_slice(&port.to_le_bytes());
    out
}

/// Dials a transport, as D does.
pub fn dial(address: SocketAddr) -> TcpStream {
    let stream = TcpStream::connect(address).expect("a listener");
    stream.set_read_timeout(Some(LONG)).expect("a timeout");
    stream
}

pub fn hello(role: u8, token: &[u8; 16]) -> Vec<u8> {
    [b"GBKV\x01\x00", [role].as_slice(), token].concat()
}

pub const WELCOME: &[u8] = b"GBKV\x01\x00\x00";

/// A connection that was greeted.
pub fn greeted(transport: &dyn Transport, role: u8) -> TcpStream {
    let (token, address) = agent(transport);
    let mut stream = dial(address);
    stream.write_all(&hello(role, &token)).expect("written");
    assert_eq!(take(&mut stream, WELCOME.len()), WELCOME);
    stream
}

pub fn frame(kind: u8, body: &[u8]) -> Vec<u8> {
    [&[kind], (body.len() as u32).to_le_bytes().as_slice(), body].concat()
}

pub fn read_frame(request: &str, blocks: &[u32]) -> Vec<u8> {
    let mut body = (request.len() as u16).to_le_bytes().to_vec();
    body.extend_from_slice(request.as_bytes());
    body.extend_from_slice(&(blocks.len() as u32).to_le_bytes());
    blocks.iter().for_each(|block| body.extend_from_slice(&block.to_le_bytes()));
    frame(READS, &body)
}

pub fn answer(status: u8, len: u64) -> Vec<u8> {
    [[status].as_slice(), &len.to_le_bytes()].concat()
}

pub fn take(stream: &mut TcpStream, len: usize) -> Vec<u8> {
    let mut bytes = vec![0; len];
    stream.read_exact(&mut bytes).expect("bytes");
    bytes
}

/// Whether the other side closed the connection, in whatever way, after what it still sent.
pub fn is_closed(stream: &mut TcpStream) -> bool {
    let mut rest = [0; 4096];
    loop {
        match stream.read(&mut rest) {
            Ok(0) => return true,
            Ok(_) => {}
            Err(e) => return e.kind() == std::io::ErrorKind::ConnectionReset,
        }
    }
}

/// Takes the connections that D makes, with their roles.
pub struct FakeServer {
    listener: TcpListener,
}

impl FakeServer {
    pub fn new() -> Self {
        Self { listener: TcpListener::bind("127.0.0.1:0").expect("a free port") }
    }

    pub fn port(&self) -> u16 {
        self.listener.local_addr().expect("an address").port()
    }

    /// The next connection, whose hello was read.
    pub fn accept(&self) -> (TcpStream, u8) {
        let (mut stream, _) = self.listener.accept().expect("a connection");
        stream.set_read_timeout(Some(LONG)).expect("a timeout");
        let hello = take(&mut stream, 23);
        assert_eq!(hello, self::hello(hello[6], &[7; 16]));
        (stream, hello[6])
    }

    /// The connections for a read and for notifications, welcomed.
    pub fn welcome_both(&self) -> (TcpStream, TcpStream) {
        let mut found = [None, None];
        for _ in 0..2 {
            let (mut stream, role) = self.accept();
            stream.write_all(WELCOME).expect("written");
            found[usize::from(role == NOTIFICATIONS)] = Some(stream);
        }
        let [reads, notifications] = found.map(|stream| stream.expect("both roles"));
        (reads, notifications)
    }
}

/// The frame of a read that D sent.
pub fn take_read(stream: &mut TcpStream) -> Vec<u8> {
    let head = take(stream, 5);
    let len = u32::from_le_bytes(head[1..].try_into().expect("four bytes"));
    [head, take(stream, len as usize)].concat()
}
