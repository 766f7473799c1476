//! KV cache events: routers learn over ZeroMQ what the prefix cache of this process holds.
//!
//! The engine pushes what each step changed into an [`EventSink`], which never makes it wait. One
//! thread, the [`Publisher`], numbers the batches, encodes them as vLLM does, sends them to
//! subscribers (PUB) and answers those who missed some (ROUTER). It mirrors the cache from the
//! events alone; so whoever comes late or falls behind gets what is resident, parents first, and
//! ends up right. Where vLLM leaves a listener wrong:
//!
//! * Batch 0 of a process says that nothing is cached: what an earlier process told is void.
//! * A subscription is answered with the resident blocks, to this subscriber alone, after a clear.
//!   These batches repeat the number of the newest batch: they say what is true as of that batch,
//!   and a listener that has it already can tell.
//! * So is a subscriber for whom batches were dropped, once it reads again.
//! * A replay from before the oldest kept batch starts with a clear and the resident blocks, under
//!   consecutive numbers; what remains of the numbers up to the newest is empty batches.
//!
//! ZMTP is spoken by [`crate::zmq`]. `zeromq`, the library in pure Rust, offers no way to do the
//! above: its PUB has no send to one subscriber, tells nobody of subscriptions, and drops without a
//! trace at a fixed bound.

mod address;
mod blocks;
mod core;
mod encode;
mod publisher;
mod queue;
mod replay;
mod stats;
mod subscriber;

pub use publisher::{Publisher, Source, StartError};
pub use queue::EventSink;
pub use stats::{EventCounts, EventStats};
