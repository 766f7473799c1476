//! One connection: the handshake, then reading and writing at once on one task.

use super::zmtp::{self, Frame, SHORT_FRAME, Violation};
use bytes::{Buf, BytesMut};
use std::io;
use std::time::Duration;
use thiserror::Error;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::task::yield_now;
use tokio::time::timeout;

/// A connection of any transport.
pub type Stream = Box<dyn Connection>;

/// What carries bytes both ways.
pub trait Connection: AsyncRead + AsyncWrite + Unpin {}
impl<T: AsyncRead + AsyncWrite + Unpin> Connection for T {}

/// Bytes that are put together before they are written.
pub const WRITE: usize = 64 * 1024;
const READ: usize = 4096;
const HANDSHAKE: Duration = Duration::from_secs(10);

/// Why a connection ended before the peer closed it.
#[derive(Debug, Error)]
pub enum Broken {
    #[error(transparent)]
    Io(#[from] io::Error),
    #[error("the peer is wrong: {0}")]
    Peer(#[from] Violation),
    #[error("the peer did not say what it is within {} s", HANDSHAKE.as_secs())]
    Silent,
}

/// What a socket does with one connection.
#[allow(async_fn_in_trait, reason = "one thread runs both sides")]
pub trait Role {
    /// Its ZeroMQ type.
    const SOCKET: &'static str;
    /// The types of peers that fit.
    const PEERS: &'static [&'static str];

    /// A frame of a message arrived.
    fn message_frame(&mut self, frame: Frame) -> Result<(), Violation>;

    /// A command arrived that is not about the connection itself; most sockets know none.
    fn command(&mut self, name: &[u8], data: &[u8]) -> Result<(), Violation> {
        let _ = (name, data);
        Ok(())
    }

    /// Whether to read now.
    fn listens(&self) -> bool;

    /// Appends messages, to about [`WRITE`] bytes; nothing when there is nothing to say.
    fn fill(&mut self, out: &mut BytesMut);

    /// Waits until there may be something to say; forever where only the peer makes that happen.
    async fn woken(&self) {
        std::future::pending().await
    }
}

/// Serves a connection until the peer closes it.
pub async fn serve<R: Role>(mut stream: Stream, role: &mut R) -> Result<(), Broken> {
    let mut input = BytesMut::with_capacity(READ);
    timeout(HANDSHAKE, handshake::<R>(&mut stream, &mut input))
        .await
        .map_err(|_| Broken::Silent)??;
    let (mut reader, mut writer) = tokio::io::split(stream);
    let mut out = BytesMut::new();
    let mut pong = None;
    loop {
        while role.listens()
            && let Some(frame) = zmtp::take_frame(&mut input, SHORT_FRAME)?
        {
            pong = react(role, frame)?.or(pong);
        }
        if out.is_empty() {
            pong.take().into_iter().for_each(|pong: Vec<u8>| out.extend_from_slice(&pong));
            role.fill(&mut out);
            // Each has its turn: nobody waits for what is told to somebody else.
            if !out.is_empty() {
                yield_now().await;
            }
        }
        input.reserve(READ);
        tokio::select! {
            read = reader.read_buf(&mut input), if role.listens() => {
                if read? == 0 {
                    return Ok(());
                }
            }
            written = writer.write_buf(&mut out), if out.has_remaining() => {
                if written? == 0 {
                    return Err(io::Error::from(io::ErrorKind::WriteZero).into());
                }
            }
            () = role.woken(), if !out.has_remaining() => {}
        }
    }
}

/// The answer to a ping, if it was one.
fn react<R: Role>(role: &mut R, frame: Frame) -> Result<Option<Vec<u8>>, Violation> {
    if !frame.command {
        role.message_frame(frame)?;
        return Ok(None);
    }
    let (name, data) = zmtp::command(&frame.body)?;
    if name == b"PING" {
        return Ok(Some(zmtp::pong(data)));
    }
    role.command(name, data)?;
    Ok(None)
}

async fn handshake<R: Role>(stream: &mut Stream, input: &mut BytesMut) -> Result<(), Broken> {
    stream.write_all(&zmtp::greeting()).await?;
    // A peer of another version sends less and waits, so each piece is checked when it comes.
    while input.len() < zmtp::GREETING {
        read_more(stream, input).await?;
        zmtp::check_greeting(&input[..input.len().min(zmtp::GREETING)])?;
    }
    input.advance(zmtp::GREETING);
    stream.write_all(&zmtp::ready(R::SOCKET)).await?;
    loop {
        if let Some(frame) = zmtp::take_frame(input, SHORT_FRAME)? {
            if !frame.command {
                return Err(Violation::Command.into());
            }
            return Ok(zmtp::check_ready(&frame.body, R::PEERS)?);
        }
        read_more(stream, input).await?;
    }
}

async fn read_more(stream: &mut Stream, input: &mut BytesMut) -> Result<(), Broken> {
    match stream.read_buf(input).await? {
        0 => Err(io::Error::from(io::ErrorKind::UnexpectedEof).into()),
        _ => Ok(()),
    }
}

/// Logs how a connection ended.
pub fn report<R: Role>(what: &str, end: Result<(), Broken>) {
    match end {
        Ok(()) => log::debug!("{what}: a peer of the {} socket left", R::SOCKET),
        Err(Broken::Io(error)) => log::debug!("{what}: a peer is gone: {error}"),
        Err(error) => log::warn!("{what}: a peer of the {} socket: {error}", R::SOCKET),
    }
}
