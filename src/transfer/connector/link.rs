//! The way to the connector from other threads.

use super::core::Core;
use super::peer::Met;
use crate::types::{KvConnector, Lease, OnGranted, Pull, RemoteBlocks, RequestId};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, Sender, channel};

/// What the connector can be told.
pub enum Command {
    /// A request came that will pull.
    Announce(RequestId, Arc<RemoteBlocks>),
    /// It has blocks to pull into.
    Pull(Pull),
    /// Nobody wants its pull any more.
    Cancel(RequestId),
    /// A request will not pull.
    Discard(RequestId, Arc<RemoteBlocks>),
    /// Blocks are to be kept for a peer.
    Lease(Lease, OnGranted),
    /// A handshake with an engine ended.
    Met(Arc<str>, Result<Met, String>),
    /// The transport has news.
    Wake,
    /// The end.
    Stop,
}

/// Sends commands. What is sent after the connector ended is lost: the process ends then too.
#[derive(Clone)]
pub struct Link(Sender<Command>);

impl Link {
    /// A link, and where its commands come out.
    pub fn new() -> (Self, Receiver<Command>) {
        let (sender, receiver) = channel();
        (Self(sender), receiver)
    }

    /// Tells the connector something.
    pub fn send(&self, command: Command) {
        let _ = self.0.send(command);
    }
}

impl KvConnector for Link {
    fn announce(&mut self, id: RequestId, remote: &Arc<RemoteBlocks>) {
        self.send(Command::Announce(id, remote.clone()));
    }

    fn pull(&mut self, pull: Pull) {
        self.send(Command::Pull(pull));
    }

    fn cancel(&mut self, id: RequestId) {
        self.send(Command::Cancel(id));
    }

    fn discard(&mut self, id: RequestId, remote: &Arc<RemoteBlocks>) {
        self.send(Command::Discard(id, remote.clone()));
    }

    fn lease(&mut self, lease: Lease, granted: OnGranted) {
        self.send(Command::Lease(lease, granted));
    }
}

impl Core {
    /// Does what it is told; true when that is to end.
    pub fn take(&mut self, command: Command) -> bool {
        match command {
            Command::Announce(id, remote) => self.announce(id, remote),
            Command::Pull(pull) => self.pull(pull),
            Command::Cancel(id) => self.cancel(id),
            Command::Discard(id, remote) => self.discard(id, &remote),
            Command::Lease(lease, granted) => self.lease(lease, granted),
            Command::Met(engine_id, result) => self.met(&engine_id, result),
            Command::Wake => {}
            Command::Stop => return true,
        }
        false
    }
}
