//! The side that is asked: a ROUTER on a thread of its own, so that peers need not wait for a step
//! of the engine.
//!
//! vLLM's listener ends for good at the first query that it does not understand. This one tells the
//! peer what is wrong, in a reply of one frame where two are awaited, and goes on.

use super::super::msgpack::{DecodeError, Reader};
use super::{GET_META, addresses};
use crate::types::Clock;
use crate::zmq::{self, Frame, Frames, Peers, Role, Stream, Violation, zmtp};
use bytes::{Bytes, BytesMut};
use rmp::encode as pack;
use std::io;
use std::net::TcpListener;
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Duration;
use tokio::sync::oneshot;
use tokio::task::LocalSet;

const PEERS: Peers = Peers {
    what: "NIXL side channel",
    most: 256,
    // A query takes milliseconds, and ZeroMQ peers connect again.
    stay: Some(Duration::from_secs(60)),
};

/// Answers queries until it is dropped.
#[derive(Debug)]
pub struct Listener {
    port: u16,
    stop: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl Listener {
    /// Binds and starts. `payload` is the encoded [`HandshakePayload`] of the only rank, and
    /// `clock` the one whose seconds leases are given in.
    ///
    /// [`HandshakePayload`]: super::super::metadata::HandshakePayload
    ///
    /// # Errors
    /// When the address cannot be bound, or there is no thread.
    pub fn bind(host: &str, port: u16, payload: Arc<[u8]>, clock: Clock) -> io::Result<Self> {
        let socket = TcpListener::bind(&addresses(host, port)?[..])?;
        socket.set_nonblocking(true)?;
        let port = socket.local_addr()?.port();
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let (stop, stopped) = oneshot::channel();
        let thread =
            std::thread::Builder::new().name("nixl-handshake".to_owned()).spawn(move || {
                let served = async {
                    tokio::select! {
                        () = serve(socket, payload, clock) => {}
                        _ = stopped => {}
                    }
                };
                LocalSet::new().block_on(&runtime, served);
            })?;
        Ok(Self { port, stop: Some(stop), thread: Some(thread) })
    }

    /// Where it listens, also when the system chose.
    pub fn port(&self) -> u16 {
        self.port
    }
}

async fn serve(socket: TcpListener, payload: Arc<[u8]>, clock: Clock) {
    let socket = match tokio::net::TcpListener::from_std(socket) {
        Ok(socket) => socket,
        Err(error) => return log::error!("{}: {error}", PEERS.what),
    };
    let accept = async || {
        let (stream, _) = socket.accept().await?;
        zmq::tune(&stream);
        Ok(Box::new(stream) as Stream)
    };
    let role = || Router::new(Arc::clone(&payload), clock.clone());
    zmq::serve_all(PEERS, accept, role).await;
}

impl Drop for Listener {
    fn drop(&mut self) {
        // Gone with the sender, the thread ends between two messages.
        drop(self.stop.take());
        if let Some(thread) = self.thread.take()
            && thread.join().is_err()
        {
            log::error!("{}: the thread had failed", PEERS.what);
        }
    }
}

/// A connection.
struct Router {
    payload: Arc<[u8]>,
    clock: Clock,
    frames: Frames,
    /// What the last message came to, until it is told.
    verdict: Option<Result<(), String>>,
    complained: bool,
}

impl Router {
    fn new(payload: Arc<[u8]>, clock: Clock) -> Self {
        Self { payload, clock, frames: Frames::default(), verdict: None, complained: false }
    }

    fn message(&mut self, frames: &[Bytes]) {
        let asked = match frames {
            // What the first frame holds does not matter to vLLM.
            [_, query] => answer(query),
            frames => Err(format!("a query has 2 frames, not {}", frames.len())),
        };
        match &asked {
            Ok(Asked::Metadata) => {}
            Ok(Asked::Other(what)) => {
                self.complain(&format!("Connection listener got unexpected message {what:?}"));
            }
            Err(error) => self.complain(&format!("a query cannot be answered: {error}")),
        }
        self.verdict = Some(asked.map(|_| ()));
    }

    /// One line for each connection, so that nobody fills the log.
    fn complain(&mut self, what: &str) {
        if !std::mem::replace(&mut self.complained, true) {
            log::warn!("{}: {what}", PEERS.what);
        }
    }
}

/// What a query wants.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Asked {
    Metadata,
    /// Something unknown, which vLLM answers all the same.
    Other(String),
}

/// Reads a query: `["get_meta_msg", pp_rank, tp_rank]`, of the only rank.
///
/// # Errors
/// Why it cannot be answered, for the log and for the peer.
pub fn answer(query: &[u8]) -> Result<Asked, String> {
    match read(query) {
        Ok((asked, 0, 0)) => Ok(asked),
        Ok((_, pp, tp)) => {
            Err(format!("there is no rank pp {pp}, tp {tp}: this engine has one rank, 0"))
        }
        Err(error) => Err(error.to_string()),
    }
}

fn read(query: &[u8]) -> Result<(Asked, u64, u64), DecodeError> {
    let mut reader = Reader::new(query);
    let len = reader.array("$")?;
    if len != 3 {
        return Err(DecodeError::new(format_args!("Expected `array` of length 3, got {len}")));
    }
    let what = reader.skip()?;
    let asked = match Reader::new(what).binary("$[0]") {
        Ok(GET_META) => Asked::Metadata,
        _ => Asked::Other(String::from_utf8_lossy(&what[..what.len().min(64)]).into_owned()),
    };
    let (pp, tp) = (reader.uint("$[1]")?, reader.uint("$[2]")?);
    reader.end()?;
    Ok((asked, pp, tp))
}

impl Role for Router {
    const SOCKET: &'static str = "ROUTER";
    const PEERS: &'static [&'static str] = &["REQ", "DEALER", "ROUTER"];

    fn message_frame(&mut self, frame: Frame) -> Result<(), Violation> {
        if let Some(frames) = self.frames.add(frame)? {
            self.message(&frames);
        }
        Ok(())
    }

    /// One query after the other, so that a peer cannot pile them up here.
    fn listens(&self) -> bool {
        self.verdict.is_none()
    }

    fn fill(&mut self, out: &mut BytesMut) {
        match self.verdict.take() {
            None => {}
            Some(Ok(())) => {
                let mut time = Vec::with_capacity(9);
                pack::write_f64(&mut time, self.clock.now().seconds())
                    .expect("memory takes all bytes");
                zmtp::put_message(out, &[b"", &self.payload, &time]);
            }
            Some(Err(error)) => zmtp::put_message(out, &[b"", error.as_bytes()]),
        }
    }
}
