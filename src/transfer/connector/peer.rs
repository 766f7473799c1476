//! A server whose KV is pulled: where it is, whether it is known, and what it still wants to hear.

use crate::transfer::transport::PeerId;
use crate::types::{KvRegion, Moment, RemoteBlocks, RequestId};
use std::collections::BTreeMap;
use std::sync::Arc;

/// Where an engine says that it can be met.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Address {
    pub engine_id: Arc<str>,
    pub host: Arc<str>,
    pub port: u16,
}

impl Address {
    /// Where the engine of these blocks is, as the request was told.
    pub fn of(remote: &RemoteBlocks) -> Self {
        let RemoteBlocks { engine_id, host, port, .. } = remote;
        Self { engine_id: engine_id.clone(), host: host.clone(), port: *port }
    }
}

/// What a handshake gave, checked.
#[derive(Clone, Debug)]
pub struct Met {
    /// For the transport.
    pub agent: Vec<u8>,
    pub regions: Vec<KvRegion>,
    /// Seconds by which the peer's monotonic clock is ahead of ours, at most.
    pub clock_offset: f64,
}

/// How far a peer is known.
#[derive(Debug)]
pub enum State {
    /// Nobody asked yet, or it was lost.
    Unknown,
    /// A handshake is under way, where somebody said that it can be met.
    Meeting(Address),
    Known {
        id: PeerId,
        num_blocks: usize,
        clock_offset: f64,
    },
}

/// One peer.
#[derive(Debug)]
pub struct Peer {
    pub address: Address,
    pub state: State,
    /// Requests whose leases there are kept alive, with their names there.
    pub awaited: BTreeMap<RequestId, Arc<str>>,
    /// Said as soon as it is known.
    pub unsaid: Vec<Vec<u8>>,
    pub heartbeat_at: Moment,
    /// When it was last of use.
    pub used: Moment,
}

impl Peer {
    /// One that nothing is known of.
    pub fn new(address: Address, now: Moment) -> Self {
        Self {
            address,
            state: State::Unknown,
            awaited: BTreeMap::new(),
            unsaid: Vec::new(),
            heartbeat_at: now,
            used: now,
        }
    }

    /// The transport's name for it, when it is known.
    pub fn id(&self) -> Option<PeerId> {
        match self.state {
            State::Known { id, .. } => Some(id),
            State::Unknown | State::Meeting(_) => None,
        }
    }

    /// The notification that keeps its leases alive.
    pub fn heartbeat(&self) -> Vec<u8> {
        let names: Vec<&str> = self.awaited.values().map(|name| &**name).collect();
        format!("HB:{}", names.join(",")).into_bytes()
    }
}

/// The notification that a request's blocks have been read, or are not wanted. One reader reads
/// all of a peer.
pub fn done(request_id: &str) -> Vec<u8> {
    format!("{request_id}:1").into_bytes()
}

/// What a peer said.
#[derive(Debug, PartialEq, Eq)]
pub enum Notification<'a> {
    Heartbeat(Vec<&'a str>),
    /// One of `readers` has read what the request's blocks hold.
    Done {
        request_id: &'a str,
        readers: u32,
    },
}

impl<'a> Notification<'a> {
    /// Reads one; `None` for what makes no sense.
    pub fn read(bytes: &'a [u8]) -> Option<Self> {
        let text = std::str::from_utf8(bytes).ok()?;
        if let Some(names) = text.strip_prefix("HB:") {
            return Some(Self::Heartbeat(names.split(',').filter(|n| !n.is_empty()).collect()));
        }
        let (request_id, readers) = text.rsplit_once(':')?;
        let readers = readers.parse().ok().filter(|readers| *readers > 0)?;
        Some(Self::Done { request_id, readers })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn notifications_are_read_as_they_are_written() {
        let read = |bytes: &'static [u8]| Notification::read(bytes);
        let one = Notification::Done { request_id: "cmpl-a:b-0", readers: 2 };
        assert_eq!(read(b"cmpl-a:b-0:2"), Some(one));
        assert_eq!(read(b"HB:a,b"), Some(Notification::Heartbeat(vec!["a", "b"])));
        assert_eq!(read(b"HB:"), Some(Notification::Heartbeat(vec![])));
        for bad in [&b""[..], b"a", b"a:", b"a:0", b"a:-1", b"\xff:1", b"PUSH_REG:\x80"] {
            assert_eq!(Notification::read(bad), None, "{bad:?}");
        }
        let id = "cmpl-x-0-12345678";
        let bytes = done(id);
        let done = Notification::Done { request_id: id, readers: 1 };
        assert_eq!(Notification::read(&bytes), Some(done));
    }
}
