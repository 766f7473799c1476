//! The threads of D for one peer: some read blocks, one says notifications.

use super::dial::dial;
use super::peer::{Job, Peer};
use super::stream::Stream;
use super::wire::{self, Kind, Role, Status};
use crate::transfer::staging::CopyFailed;
use crate::transfer::transport::TransportError;
use socket2::Socket;
use std::io;
use std::sync::Arc;

/// Notifications that are sent before the first of them is acknowledged.
const AT_ONCE: usize = 64;

fn gone(e: io::Error) -> TransportError {
    TransportError::Disconnected(match e.kind() {
        io::ErrorKind::UnexpectedEof => "it closed the connection".to_owned(),
        _ => e.to_string(),
    })
}

/// What ended the arrival of blocks: the peer, or this side.
fn broken(e: io::Error) -> TransportError {
    if CopyFailed::is(&e) { TransportError::Copy(e.to_string()) } else { gone(e) }
}

fn lies(malformed: wire::Malformed) -> TransportError {
    TransportError::Failed(format!("what the peer sends is malformed: {malformed}"))
}

/// Does one read after the other, over one connection as long as it is good.
pub(super) fn read_jobs(peer: Arc<Peer>) {
    let mut socket = None;
    while let Some(job) = peer.next_job() {
        let result = perform(&peer, &job, &mut socket);
        if !peer.finish(job, result) {
            socket = None;
        }
    }
}

fn perform(peer: &Peer, job: &Job, kept: &mut Option<Arc<Socket>>) -> Result<(), TransportError> {
    let enter = |socket: &Arc<Socket>| peer.enter(job.read, socket);
    let socket = match kept {
        Some(socket) => {
            enter(socket)?;
            socket
        }
        None => kept.insert(dial(&peer.metadata, Role::Reads, peer.home.stall, enter)?),
    };
    let mut stream = Stream::new(socket, peer.home.stall).map_err(gone)?;
    stream.write_all(&wire::read_frame(&job.request_id, &job.remote)).map_err(gone)?;
    let mut head = [0; wire::ANSWER_HEAD];
    stream.read_exact(&mut head).map_err(gone)?;
    let wanted = peer.home.pool.bytes(job.local.len());
    match wire::parse_answer(&head).map_err(lies)? {
        (Status::Granted, len) if len == wanted => {}
        (Status::Granted, len) => {
            let text = format!("it sends {len} bytes, and not {wanted}");
            return Err(TransportError::Failed(text));
        }
        (Status::NotGranted, _) => {
            let text = format!("these blocks are not there for {}", job.request_id);
            return Err(TransportError::Refused(text));
        }
        (Status::Malformed, _) => {
            return Err(TransportError::Failed("it does not understand a read".to_owned()));
        }
    }
    stream.receive_blocks(&peer.home.pool, &job.local).map_err(broken)
}

/// Says one notification after the other.
pub(super) fn say_messages(peer: Arc<Peer>) {
    if let Err(why) = say_all(&peer) {
        peer.end(why);
    }
}

fn say_all(peer: &Peer) -> Result<(), TransportError> {
    let enter = |socket: &Arc<Socket>| peer.enter_speaker(socket);
    let socket = dial(&peer.metadata, Role::Notifications, peer.home.stall, enter)?;
    let stream = Stream::new(&socket, peer.home.stall).map_err(gone)?;
    let mut frames = Vec::new();
    loop {
        let messages = peer.next_messages(AT_ONCE);
        if messages.is_empty() {
            return Ok(());
        }
        frames.clear();
        messages.iter().for_each(|message| Kind::Notification.frame(&mut frames, message));
        stream.write_all(&frames).map_err(gone)?;
        let mut acknowledged = vec![0; messages.len()];
        stream.read_exact(&mut acknowledged).map_err(gone)?;
        if let Some(other) = acknowledged.iter().find(|byte| **byte != wire::ACKNOWLEDGED) {
            return Err(lies(wire::Malformed::Code(*other)));
        }
    }
}
