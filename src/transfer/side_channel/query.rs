//! The side that asks: a REQ socket for one query, on the thread of whoever wants to know.

use super::super::metadata::HandshakePayload;
use super::super::msgpack::{DecodeError, Reader};
use super::super::peer::shown;
use super::{GET_META, addresses};
use crate::types::Clock;
use crate::zmq::Violation;
use crate::zmq::zmtp::{self, Frame, GREETING};
use bytes::{Buf, BytesMut};
use rmp::encode as pack;
use std::io::{self, Read, Write};
use std::net::TcpStream;
use std::sync::mpsc::channel;
use std::thread::Builder;
use std::time::{Duration, Instant};
use thiserror::Error;

/// The longest frame of a reply: metadata has some hundred bytes for each layer.
const MOST_BYTES: usize = 4 << 20;
/// Most frames that are looked at before the reply is complete.
const MOST_FRAMES: usize = 64;
const READ: usize = 16 << 10;

/// What a peer answered.
#[derive(Clone, Debug, PartialEq)]
pub struct Answer {
    pub payload: HandshakePayload,
    /// The peer's seconds minus ours at the middle of the round trip.
    pub clock_offset: f64,
    /// From the query to its reply; the offset is off by at most half of it.
    pub round_trip: Duration,
}

/// Why a peer could not be asked.
#[derive(Debug, Error)]
pub enum QueryError {
    #[error("no connection to {address}: {error}")]
    Connect { address: String, error: io::Error },
    #[error("the connection failed: {0}")]
    Io(io::Error),
    #[error("no reply within {:.1} s", .0.as_secs_f64())]
    Timeout(Duration),
    #[error("the peer is wrong: {0}")]
    Peer(#[from] Violation),
    #[error("the peer cannot answer: {0}")]
    Refused(String),
    #[error("a reply has 2 frames, not {0}")]
    Frames(usize),
    #[error(
        "Failed to decode NixlHandshakePayload. This likely indicates an incompatibility between \
         connector version. Error: {0}"
    )]
    Payload(DecodeError),
    #[error("the peer's clock cannot be read: {0}")]
    Clock(DecodeError),
}

/// Asks a side channel for the metadata of a rank. Takes no longer than `timeout`.
///
/// # Errors
/// No peer, no reply, or one that makes no sense.
pub fn query(
    host: &str,
    port: u16,
    (pp, tp): (u64, u64),
    timeout: Duration,
    clock: &Clock,
) -> Result<Answer, QueryError> {
    let deadline = Deadline::after(timeout);
    let mut peer = Connection::open(host, port, deadline)?;
    peer.shake_hands()?;
    let asked = clock.now();
    peer.ask(pp, tp)?;
    let frames = peer.reply()?;
    let answered = clock.now();
    let [payload, time] = match frames.as_slice() {
        [payload, time] => [payload, time],
        [reason] => {
            return Err(QueryError::Refused(shown(&String::from_utf8_lossy(reason))));
        }
        frames => return Err(QueryError::Frames(frames.len())),
    };
    let theirs = seconds(time).map_err(QueryError::Clock)?;
    Ok(Answer {
        payload: HandshakePayload::decode(payload).map_err(QueryError::Payload)?,
        clock_offset: theirs - (asked.seconds() + answered.seconds()) / 2.0,
        round_trip: answered.since(asked),
    })
}

/// The second frame. A time that is none would make every lease look endless.
fn seconds(frame: &[u8]) -> Result<f64, DecodeError> {
    let mut reader = Reader::new(frame);
    let seconds = reader.float("$")?;
    reader.end()?;
    match seconds.is_finite() {
        true => Ok(seconds),
        false => Err(DecodeError::new(format_args!("{seconds} is no time"))),
    }
}

#[derive(Clone, Copy)]
pub(super) struct Deadline {
    end: Instant,
    timeout: Duration,
}

impl Deadline {
    pub(super) fn after(timeout: Duration) -> Self {
        Self { end: Instant::now() + timeout, timeout }
    }

    fn left(self) -> Result<Duration, QueryError> {
        let left = self.end.saturating_duration_since(Instant::now());
        if left.is_zero() { Err(QueryError::Timeout(self.timeout)) } else { Ok(left) }
    }

    /// Which of the two an error of the socket is.
    fn error(self, error: io::Error) -> QueryError {
        match error.kind() {
            io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut => {
                QueryError::Timeout(self.timeout)
            }
            _ => QueryError::Io(error),
        }
    }
}

struct Connection {
    stream: TcpStream,
    deadline: Deadline,
    input: BytesMut,
}

/// What `look` finds, unless that takes too long: then it goes on alone, for the system's resolver
/// cannot be interrupted.
pub(super) fn in_time<T: Send + 'static>(
    deadline: Deadline,
    look: impl FnOnce() -> io::Result<T> + Send + 'static,
) -> Result<io::Result<T>, QueryError> {
    let (found, result) = channel();
    let thread = Builder::new().name("kv-lookup".to_owned());
    let started = thread.spawn(move || found.send(look()));
    started.map_err(QueryError::Io)?;
    result.recv_timeout(deadline.left()?).map_err(|_| QueryError::Timeout(deadline.timeout))
}

impl Connection {
    fn open(host: &str, port: u16, deadline: Deadline) -> Result<Self, QueryError> {
        let fail = |error| QueryError::Connect { address: format!("tcp://{host}:{port}"), error };
        let mut last = io::Error::from(io::ErrorKind::NotFound);
        let name = host.to_owned();
        let found = in_time(deadline, move || addresses(&name, port))?;
        for address in found.map_err(fail)? {
            match TcpStream::connect_timeout(&address, deadline.left()?) {
                Ok(stream) => {
                    stream.set_nodelay(true).map_err(QueryError::Io)?;
                    return Ok(Self { stream, deadline, input: BytesMut::new() });
                }
                Err(error) => last = error,
            }
        }
        Err(fail(last))
    }

    fn write(&mut self, bytes: &[u8]) -> Result<(), QueryError> {
        let mut rest = bytes;
        while !rest.is_empty() {
            let left = self.deadline.left()?;
            self.stream.set_write_timeout(Some(left)).map_err(QueryError::Io)?;
            match self.stream.write(rest) {
                Ok(0) => return Err(QueryError::Io(io::ErrorKind::WriteZero.into())),
                Ok(written) => rest = &rest[written..],
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(self.deadline.error(error)),
            }
        }
        Ok(())
    }

    fn read(&mut self) -> Result<(), QueryError> {
        let left = self.deadline.left()?;
        self.stream.set_read_timeout(Some(left)).map_err(QueryError::Io)?;
        let had = self.input.len();
        self.input.resize(had + READ, 0);
        let read = self.stream.read(&mut self.input[had..]);
        self.input.truncate(had + *read.as_ref().unwrap_or(&0));
        match read {
            Ok(0) => Err(QueryError::Io(io::ErrorKind::UnexpectedEof.into())),
            Ok(_) => Ok(()),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => Ok(()),
            Err(error) => Err(self.deadline.error(error)),
        }
    }

    fn shake_hands(&mut self) -> Result<(), QueryError> {
        self.write(&zmtp::greeting())?;
        // A peer of another version sends less and waits, so each piece is checked when it comes.
        while self.input.len() < GREETING {
            self.read()?;
            zmtp::check_greeting(&self.input[..self.input.len().min(GREETING)])?;
        }
        self.input.advance(GREETING);
        self.write(&zmtp::ready("REQ"))?;
        let frame = self.frame()?;
        if !frame.command {
            return Err(Violation::Command.into());
        }
        Ok(zmtp::check_ready(&frame.body, &["ROUTER", "REP"])?)
    }

    fn ask(&mut self, pp: u64, tp: u64) -> Result<(), QueryError> {
        let mut query = Vec::with_capacity(32);
        let packed = pack::write_array_len(&mut query, 3)
            .and_then(|_| pack::write_bin(&mut query, GET_META))
            .and_then(|()| pack::write_uint(&mut query, pp))
            .and_then(|_| pack::write_uint(&mut query, tp));
        packed.expect("memory takes all bytes");
        let mut message = Vec::with_capacity(64);
        zmtp::put_message(&mut message, &[b"", &query]);
        self.write(&message)
    }

    fn frame(&mut self) -> Result<Frame, QueryError> {
        loop {
            if let Some(frame) = zmtp::take_frame(&mut self.input, MOST_BYTES)? {
                return Ok(frame);
            }
            self.read()?;
        }
    }

    /// The frames of the next message, without the empty one that a REQ awaits.
    fn reply(&mut self) -> Result<Vec<bytes::Bytes>, QueryError> {
        let mut frames = Vec::new();
        for _ in 0..MOST_FRAMES {
            let frame = self.frame()?;
            if frame.command {
                let (name, data) = zmtp::command(&frame.body)?;
                if name == b"PING" {
                    self.write(&zmtp::pong(data))?;
                }
                continue;
            }
            frames.push(frame.body);
            if !frame.more {
                let first = frames.remove(0);
                return match first.is_empty() {
                    true => Ok(frames),
                    false => Err(Violation::Command.into()),
                };
            }
        }
        Err(QueryError::Frames(MOST_FRAMES))
    }
}
