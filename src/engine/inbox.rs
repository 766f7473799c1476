//! What the engine thread can be told.

use super::control::Command;
use super::handle::NewRequest;
use crate::types::{Generated, RemoteBlocks, RequestId, TransferEvent};
use std::sync::Arc;
use std::sync::mpsc::Sender as Reply;
use tokio::sync::mpsc::UnboundedSender;

/// One message to the engine. The channel itself has no bound: new requests are bounded by the
/// reservations they carry, aborts by the requests, and the others are rare.
pub enum Message {
    New {
        id: RequestId,
        request: Box<NewRequest>,
        /// Bounded by the request's `max_tokens`.
        events: UnboundedSender<Generated>,
    },
    /// The client is gone; nothing more is sent for this request.
    Cancel(RequestId),
    /// End these with finish reason `abort`; those that have ended are none of them.
    Abort(Vec<RequestId>),
    /// End everything in flight with finish reason `abort`; later requests end the same way.
    AbortAll,
    /// Later requests end with finish reason `abort`; what is in flight goes on.
    RefuseNew,
    /// Forget all cached blocks; answers whether that was possible (no block is held). With
    /// `preempt` those that run give theirs up first.
    ResetPrefixCache { preempt: bool, reply: Reply<bool> },
    /// A request with this to pull was refused before it became a generation.
    Discard(RequestId, Arc<RemoteBlocks>),
    /// Something came of a pull or a lease.
    Transferred(TransferEvent),
    /// Pause, sleep and their opposites.
    Control(Command),
    /// End the thread once nothing is in flight.
    Stop,
}
