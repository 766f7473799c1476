//! One socket: everything has an end in time, and blocks go between it and the pool directly, or,
//! where the pool is a device's, through buffers of the host.

use super::pool::{Pool, Walk};
use crate::transfer::staging;
use crate::types::BlockId;
use socket2::{Socket, TcpKeepalive};
use std::io::{self, ErrorKind, Read, Write};
use std::os::fd::AsRawFd;
use std::time::{Duration, Instant};

/// Pieces that are handed to the system at once.
const WINDOW: usize = 256;

/// A peer that is slower is not waited for.
const SLOWEST_BYTES_PER_SECOND: u64 = 1 << 20;

/// The system counts in these.
const SECOND: Duration = Duration::from_secs(1);

/// A connection of which each wait ends after `stall`.
pub(super) struct Stream<'a> {
    socket: &'a Socket,
    stall: Duration,
    /// Reused.
    window: Vec<libc::iovec>,
}

impl<'a> Stream<'a> {
    pub fn new(socket: &'a Socket, stall: Duration) -> io::Result<Self> {
        socket.set_tcp_nodelay(true)?;
        socket.set_read_timeout(Some(stall))?;
        socket.set_write_timeout(Some(stall))?;
        // A peer that vanished without a word, seen also while nothing is asked of it.
        let (time, interval) = (stall.max(SECOND), (stall / 4).max(SECOND));
        let probes = TcpKeepalive::new().with_time(time).with_interval(interval).with_retries(4);
        socket.set_tcp_keepalive(&probes)?;
        Ok(Self { socket, stall, window: Vec::new() })
    }

    /// Until when so many bytes must have moved.
    fn end(&self, bytes: u64) -> Instant {
        Instant::now() + self.stall + Duration::from_secs(bytes / SLOWEST_BYTES_PER_SECOND)
    }

    fn stalled(&self, e: io::Error) -> io::Error {
        match e.kind() {
            ErrorKind::WouldBlock | ErrorKind::TimedOut => self.too_slow(),
            _ => e,
        }
    }

    fn too_slow(&self) -> io::Error {
        let text = format!("no progress within {:?}", self.stall);
        io::Error::new(ErrorKind::TimedOut, text)
    }

    /// The next bytes, or false when the peer closed the connection before them. Waits for the
    /// first of them without end.
    pub fn wait_exact(&self, buffer: &mut [u8]) -> io::Result<bool> {
        let mut socket = self.socket;
        let first = loop {
            match socket.read(buffer) {
                Ok(0) => return Ok(false),
                Ok(n) => break n,
                Err(e) if e.kind() == ErrorKind::Interrupted => {}
                Err(e) if e.kind() == ErrorKind::WouldBlock => {}
                Err(e) => return Err(e),
            }
        };
        self.read_exact(&mut buffer[first..])?;
        Ok(true)
    }

    /// The next bytes, soon.
    pub fn read_exact(&self, buffer: &mut [u8]) -> io::Result<()> {
        self.read_until(self.end(buffer.len() as u64), buffer)
    }

    fn read_until(&self, end: Instant, buffer: &mut [u8]) -> io::Result<()> {
        let mut socket = self.socket;
        let mut filled = 0;
        while filled < buffer.len() {
            if Instant::now() > end {
                return Err(self.too_slow());
            }
            match socket.read(&mut buffer[filled..]) {
                Ok(0) => return Err(ErrorKind::UnexpectedEof.into()),
                Ok(n) => filled += n,
                Err(e) if e.kind() == ErrorKind::Interrupted => {}
                Err(e) => return Err(self.stalled(e)),
            }
        }
        Ok(())
    }

    pub fn write_all(&self, bytes: &[u8]) -> io::Result<()> {
        self.write_until(self.end(bytes.len() as u64), bytes)
    }

    fn write_until(&self, end: Instant, mut bytes: &[u8]) -> io::Result<()> {
        let mut socket = self.socket;
        while !bytes.is_empty() {
            if Instant::now() > end {
                return Err(self.too_slow());
            }
            match socket.write(bytes) {
                Ok(n) => bytes = &bytes[n..],
                Err(e) if e.kind() == ErrorKind::Interrupted => {}
                Err(e) => return Err(self.stalled(e)),
            }
        }
        Ok(())
    }

    /// Writes `blocks` out of the pool. Nobody may write to them meanwhile.
    pub fn send_blocks(&mut self, pool: &Pool, blocks: &[BlockId]) -> io::Result<()> {
        let Some(mut lane) = pool.lane(self.stall)? else {
            return self.move_blocks(pool, blocks, send);
        };
        let end = self.end(pool.bytes(blocks.len()));
        staging::fetch(&mut *lane, pool.walk(blocks), |bytes| self.write_until(end, bytes))
    }

    /// Reads into `blocks` of the pool. Nobody may use them meanwhile. Whatever comes of it,
    /// nothing is written to them any more when this returns.
    pub fn receive_blocks(&mut self, pool: &Pool, blocks: &[BlockId]) -> io::Result<()> {
        let Some(mut lane) = pool.lane(self.stall)? else {
            return self.move_blocks(pool, blocks, receive);
        };
        let end = self.end(pool.bytes(blocks.len()));
        // The lane ends here, and waits for its copies also when something failed.
        staging::store(&mut *lane, pool.walk(blocks), |bytes| self.read_until(end, bytes))
    }

    fn move_blocks(
        &mut self,
        pool: &Pool,
        blocks: &[BlockId],
        step: fn(&Socket, &mut Window<'_>) -> io::Result<usize>,
    ) -> io::Result<()> {
        let end = self.end(pool.bytes(blocks.len()));
        let mut left = std::mem::take(&mut self.window);
        let mut window = Window::new(&mut left, pool.walk(blocks));
        let result = loop {
            if !window.fill() {
                break Ok(());
            }
            if Instant::now() > end {
                break Err(self.too_slow());
            }
            match step(self.socket, &mut window) {
                Ok(0) => break Err(ErrorKind::UnexpectedEof.into()),
                Ok(n) => window.advance(n),
                Err(e) if e.kind() == ErrorKind::Interrupted => {}
                Err(e) => break Err(self.stalled(e)),
            }
        };
        self.window = left;
        result
    }
}

/// The pieces that are next, of a longer walk.
struct Window<'a> {
    pieces: &'a mut Vec<libc::iovec>,
    /// Those before are done with.
    first: usize,
    walk: Walk<'a>,
}

impl<'a> Window<'a> {
    fn new(pieces: &'a mut Vec<libc::iovec>, walk: Walk<'a>) -> Self {
        pieces.clear();
        Self { pieces, first: 0, walk }
    }

    /// Whether there are pieces left.
    fn fill(&mut self) -> bool {
        if self.first == self.pieces.len() {
            self.first = 0;
            self.pieces.clear();
            let pieces = self.walk.by_ref().take(WINDOW);
            self.pieces.extend(pieces.map(|piece| libc::iovec {
                iov_base: std::ptr::with_exposed_provenance_mut(piece.address as usize),
                iov_len: piece.len,
            }));
        }
        self.first < self.pieces.len()
    }

    /// So many bytes are done with.
    fn advance(&mut self, mut bytes: usize) {
        while bytes > 0 {
            let piece = &mut self.pieces[self.first];
            let step = bytes.min(piece.iov_len);
            piece.iov_base = piece.iov_base.wrapping_byte_add(step);
            piece.iov_len -= step;
            bytes -= step;
            if piece.iov_len == 0 {
                self.first += 1;
            }
        }
    }

    fn message(&mut self) -> libc::msghdr {
        // SAFETY: `msghdr` is plain data, for which all zeros are valid.
        let mut message: libc::msghdr = unsafe { std::mem::zeroed() };
        let pieces = &mut self.pieces[self.first..];
        message.msg_iov = pieces.as_mut_ptr();
        message.msg_iovlen = pieces.len() as _;
        message
    }
}

fn count(returned: isize) -> io::Result<usize> {
    usize::try_from(returned).map_err(|_| io::Error::last_os_error())
}

fn send(socket: &Socket, window: &mut Window<'_>) -> io::Result<usize> {
    let message = window.message();
    // SAFETY: the message points at the window's pieces, which live through the call, and they at
    // blocks of regions (`KvRegion::block_address` checks), which the pool's owner keeps mapped.
    count(unsafe { libc::sendmsg(socket.as_raw_fd(), &message, libc::MSG_NOSIGNAL) })
}

fn receive(socket: &Socket, window: &mut Window<'_>) -> io::Result<usize> {
    let mut message = window.message();
    // SAFETY: as in `send`; and the blocks are this read's alone until it is over.
    count(unsafe { libc::recvmsg(socket.as_raw_fd(), &mut message, 0) })
}
