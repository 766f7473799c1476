//! Everybody who connects to one socket.

use super::connection::{Role, Stream, report, serve};
use socket2::{SockRef, TcpKeepalive};
use std::cell::Cell;
use std::io;
use std::rc::Rc;
use std::time::Duration;
use tokio::net::TcpStream;
use tokio::task::spawn_local;
use tokio::time::{sleep, timeout};

/// A peer that is gone without a word is noticed after about this long.
const SILENCE: Duration = Duration::from_secs(30);
/// Before the next attempt to accept, after one that failed: descriptors may have run out.
const RETRY: Duration = Duration::from_millis(100);

/// The peers of a socket.
#[derive(Clone, Copy, Debug)]
pub struct Peers {
    /// What the socket is for, in front of log lines.
    pub what: &'static str,
    /// Most of them at one time.
    pub most: usize,
    /// How long one may stay; `None`: for as long as it likes.
    pub stay: Option<Duration>,
}

/// Serves whoever connects, each on a task of this thread, for ever.
pub async fn serve_all<R: Role + 'static>(
    peers: Peers,
    accept: impl AsyncFn() -> io::Result<Stream>,
    role: impl Fn() -> R,
) {
    let Peers { what, most, stay } = peers;
    let open = Rc::new(Cell::new(0));
    loop {
        match accept().await {
            Ok(stream) if open.get() < most => {
                open.set(open.get() + 1);
                let (mut role, open) = (role(), Rc::clone(&open));
                spawn_local(async move {
                    let served = serve(stream, &mut role);
                    match stay {
                        None => report::<R>(what, served.await),
                        Some(stay) => match timeout(stay, served).await {
                            Ok(end) => report::<R>(what, end),
                            Err(_) => log::debug!("{what}: a peer has stayed for long enough"),
                        },
                    }
                    open.set(open.get() - 1);
                });
            }
            Ok(_) => log::warn!("{what}: more than {most} peers; one is sent away"),
            Err(error) => {
                log::warn!("{what}: no connection accepted: {error}");
                sleep(RETRY).await;
            }
        }
    }
}

/// No delay, and an end for peers that vanish. A system that knows an option not does without.
pub fn tune(stream: &TcpStream) {
    let _ = stream.set_nodelay(true);
    let socket = SockRef::from(stream);
    let keepalive =
        TcpKeepalive::new().with_time(SILENCE / 2).with_interval(SILENCE / 6).with_retries(3);
    let _ = socket.set_tcp_keepalive(&keepalive);
    #[cfg(target_os = "linux")]
    let _ = socket.set_tcp_user_timeout(Some(SILENCE));
}
