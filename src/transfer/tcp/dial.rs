//! How D reaches P.

use super::stream::Stream;
use super::wire::{self, Hello, Metadata, Role, Verdict};
use crate::transfer::transport::TransportError;
use socket2::{Domain, Protocol, Socket, Type};
use std::io;
use std::sync::Arc;
use std::time::Duration;

/// An address that does not answer is given up.
const DIAL: Duration = Duration::from_secs(2);

/// A connection to the peer, greeted. `enter` takes each socket before anything is waited for on
/// it, so that whoever shuts it down ends the waiting; its error ends the dialling.
pub(super) fn dial(
    peer: &Metadata,
    role: Role,
    stall: Duration,
    enter: impl Fn(&Arc<Socket>) -> Result<(), TransportError>,
) -> Result<Arc<Socket>, TransportError> {
    let mut why = String::new();
    for address in &peer.addresses {
        let kind = (Domain::for_address(*address), Type::STREAM, Some(Protocol::TCP));
        let socket = Socket::new(kind.0, kind.1, kind.2)
            .map_err(|e| TransportError::Failed(format!("no socket: {e}")))?;
        let socket = Arc::new(socket);
        enter(&socket)?;
        let connected = socket.connect_timeout(&(*address).into(), DIAL.min(stall));
        // A socket that was shut down before it was connected is not shut any more.
        enter(&socket)?;
        let hello = Hello { role, token: peer.token };
        let greeted = connected.and_then(|()| greet(&socket, &hello, stall));
        let problem = match greeted {
            Ok(Verdict::Welcome) => return Ok(socket),
            Ok(Verdict::Version) => "it speaks another version of the protocol".to_owned(),
            // Where the peer was, or on an address that is another host's here.
            Ok(Verdict::Stranger) => "somebody else answers".to_owned(),
            Err(e) => e.to_string(),
        };
        why += &format!("{}{address}: {problem}", if why.is_empty() { "" } else { "; " });
    }
    Err(TransportError::Disconnected(why))
}

fn greet(socket: &Socket, hello: &Hello, stall: Duration) -> io::Result<Verdict> {
    let stream = Stream::new(socket, stall)?;
    stream.write_all(&hello.encode())?;
    let mut welcome = [0; wire::WELCOME];
    stream.read_exact(&mut welcome)?;
    match Verdict::parse(&welcome) {
        Ok(verdict) => Ok(verdict),
        Err(wire::Malformed::Version(_)) => Ok(Verdict::Version),
        Err(malformed) => Err(io::Error::other(malformed)),
    }
}
