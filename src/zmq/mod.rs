//! ZMTP, ZeroMQ's wire protocol, for the few sockets that Glassbox has: PUB and ROUTER, which serve
//! whoever connects, and what a REQ needs to ask once.

mod accept;
mod connection;
#[doc(hidden)]
pub mod fuzz;
mod message;
pub mod zmtp;

pub use accept::{Peers, serve_all, tune};
pub use connection::{Broken, Connection, Role, Stream, WRITE, report, serve};
pub use message::Frames;
pub use zmtp::{Frame, Violation};
