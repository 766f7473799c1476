//! The transports, over real sockets and between real processes.

mod host;
mod memory;
mod nixl;
mod process;
mod raw;
mod tcp;
mod tcp_dialled;
mod tcp_served;
mod vram;
