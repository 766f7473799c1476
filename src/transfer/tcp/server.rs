//! P's side: a thread that listens, and one for each connection.

use super::grants::Grants;
use super::pool::Pool;
use super::stream::Stream;
use super::wire::{self, AgentToken, Hello, Kind, Malformed, Role, Status, Verdict};
use crate::transfer::staging::CopyFailed;
use crate::transfer::transport::Waker;
use socket2::{SockRef, Socket};
use std::collections::HashMap;
use std::io;
use std::net::{Shutdown, TcpListener};
use std::sync::mpsc::SyncSender;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;
use thiserror::Error;

/// More are turned away.
const MOST_CONNECTIONS: usize = 1024;

/// What connections are served from.
pub(super) struct Source {
    pub pool: Arc<Pool>,
    pub grants: Arc<Grants>,
    pub token: AgentToken,
    pub stall: Duration,
    /// Bounded: who speaks faster than is listened waits.
    pub notifications: SyncSender<Vec<u8>>,
    pub waker: Waker,
}

/// Serves until dropped.
pub(super) struct Server {
    shared: Arc<Shared>,
    thread: Option<JoinHandle<()>>,
}

struct Shared {
    source: Source,
    listener: TcpListener,
    open: Mutex<Open>,
}

#[derive(Default)]
struct Open {
    stopping: bool,
    /// By number.
    sockets: HashMap<u64, Arc<Socket>>,
    next: u64,
}

/// Why a connection ended, other than that the peer closed it.
#[derive(Debug, Error)]
enum Ended {
    #[error(transparent)]
    Io(#[from] io::Error),
    #[error("what the peer sends is malformed: {0}")]
    Malformed(#[from] Malformed),
    #[error("it was turned away: {0:?}")]
    Refused(Verdict),
    #[error("nobody listens to notifications any more")]
    Stopped,
}

impl Server {
    pub fn start(listener: TcpListener, source: Source) -> io::Result<Self> {
        let shared = Arc::new(Shared { source, listener, open: Mutex::default() });
        let listening = shared.clone();
        let thread = std::thread::Builder::new()
            .name("kv-listen".to_owned())
            .spawn(move || listening.listen())?;
        Ok(Self { shared, thread: Some(thread) })
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let mut open = self.shared.open();
        open.stopping = true;
        for socket in open.sockets.values() {
            // Fails when the peer has closed it, which is as good.
            let _ = socket.shutdown(Shutdown::Both);
        }
        drop(open);
        // Wakes the thread that waits for connections.
        let _ = SockRef::from(&self.shared.listener).shutdown(Shutdown::Both);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

impl Shared {
    fn open(&self) -> MutexGuard<'_, Open> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn listen(self: Arc<Self>) {
        let mut threads: Vec<JoinHandle<()>> = Vec::new();
        loop {
            let accepted = self.listener.accept();
            threads.retain(|thread| !thread.is_finished());
            if self.open().stopping {
                break;
            }
            match accepted {
                Ok((stream, _)) => threads.extend(self.clone().begin(stream.into())),
                Err(e) => {
                    // Of the connection, or too many open files: not a reason to stop, but one
                    // not to try again at once.
                    log::warn!("[transfer] a peer could not connect: {e}");
                    std::thread::sleep(Duration::from_millis(50));
                }
            }
        }
        threads.into_iter().for_each(|thread| drop(thread.join()));
    }

    /// Serves a connection on a thread of its own.
    fn begin(self: Arc<Self>, socket: Socket) -> Option<JoinHandle<()>> {
        let socket = Arc::new(socket);
        let number = {
            let mut open = self.open();
            if open.stopping || open.sockets.len() >= MOST_CONNECTIONS {
                return None;
            }
            open.next += 1;
            let number = open.next;
            open.sockets.insert(number, socket.clone());
            number
        };
        let serving = self.clone();
        let thread =
            std::thread::Builder::new().name(format!("kv-peer-{number}")).spawn(move || {
                match serving.source.serve(&socket) {
                    Ok(()) => {}
                    // This side's own fault, which the peer does not learn of.
                    Err(Ended::Io(why)) if CopyFailed::is(&why) => {
                        log::error!("[transfer] blocks could not be served: {why}");
                    }
                    Err(why) => log::debug!("[transfer] a connection of a peer ended: {why}"),
                }
                serving.open().sockets.remove(&number);
            });
        thread
            .inspect_err(|e| {
                log::warn!("[transfer] no thread for a peer: {e}");
                self.open().sockets.remove(&number);
            })
            .ok()
    }
}

impl Source {
    fn serve(&self, socket: &Socket) -> Result<(), Ended> {
        let mut stream = Stream::new(socket, self.stall)?;
        let mut hello = [0; wire::HELLO];
        stream.read_exact(&mut hello)?;
        let (verdict, role) = match Hello::parse(&hello) {
            Ok(hello) if hello.token == self.token => (Verdict::Welcome, Some(hello.role)),
            Ok(_) => (Verdict::Stranger, None),
            Err(Malformed::Version(_)) => (Verdict::Version, None),
            Err(malformed) => return Err(malformed.into()),
        };
        stream.write_all(&verdict.encode())?;
        match role {
            Some(Role::Reads) => self.serve_reads(&mut stream),
            Some(Role::Notifications) => self.listen(&stream),
            None => Err(Ended::Refused(verdict)),
        }
    }

    fn serve_reads(&self, stream: &mut Stream<'_>) -> Result<(), Ended> {
        let num_blocks = self.pool.geometry().blocks;
        let (mut head, mut body, mut blocks) = ([0; wire::FRAME_HEAD], Vec::new(), Vec::new());
        while stream.wait_exact(&mut head)? {
            let refuse = |malformed: Malformed| {
                stream.write_all(&wire::answer_head(Status::Malformed, 0))?;
                Err(Ended::from(malformed))
            };
            let len = match Kind::Read.parse(&head, wire::longest_read(num_blocks)) {
                Ok(len) => len,
                Err(malformed) => return refuse(malformed),
            };
            body.resize(len, 0);
            stream.read_exact(&mut body)?;
            let request_id = match wire::parse_read(&body, num_blocks, &mut blocks) {
                Ok(request_id) => request_id,
                Err(malformed) => return refuse(malformed),
            };
            let Some(_reading) = self.grants.begin(request_id, &blocks) else {
                stream.write_all(&wire::answer_head(Status::NotGranted, 0))?;
                continue;
            };
            let len = self.pool.bytes(blocks.len());
            stream.write_all(&wire::answer_head(Status::Granted, len))?;
            stream.send_blocks(&self.pool, &blocks)?;
        }
        Ok(())
    }

    fn listen(&self, stream: &Stream<'_>) -> Result<(), Ended> {
        let mut head = [0; wire::FRAME_HEAD];
        while stream.wait_exact(&mut head)? {
            let len = Kind::Notification.parse(&head, wire::LONGEST_NOTIFICATION as u64)?;
            let mut message = vec![0; len];
            stream.read_exact(&mut message)?;
            self.notifications.send(message).map_err(|_| Ended::Stopped)?;
            (self.waker)();
            stream.write_all(&[wire::ACKNOWLEDGED])?;
        }
        Ok(())
    }
}
