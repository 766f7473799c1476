//! The HTTP face over real sockets, with the simulated device behind it.

mod bad_input;
mod golden;
mod lifecycle;
mod replies;
mod support;
