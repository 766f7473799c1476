//! Looks after a connection now and then: is its client still there, and does it read?
//!
//! The server sees the end of a connection only where it reads, and it does not read while bytes
//! behind a request's body wait for that request to be answered. So the system is asked. And a
//! client that takes nothing of its reply would keep it for ever.

use super::egress::Egress;
use std::os::fd::RawFd;
use std::time::Duration;
use tokio::time::sleep;

/// Why a connection is given up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Trouble {
    /// The client has closed its end.
    Gone,
    /// It has taken nothing for too long.
    Stalled,
}

/// What to look at.
pub struct Watchdog<'a> {
    pub egress: &'a Egress,
    /// The connection's socket, open for as long as this is watched.
    pub descriptor: RawFd,
    /// How long a client may take nothing.
    pub limit: Duration,
}

impl Watchdog<'_> {
    /// Looks every `interval` until there is trouble.
    pub async fn watch(self, interval: Duration) -> Trouble {
        loop {
            sleep(interval.min(self.limit)).await;
            if self.egress.stalled_for() >= self.limit {
                return Trouble::Stalled;
            }
            if self.egress.is_blind() && has_hung_up(self.descriptor) {
                return Trouble::Gone;
            }
        }
    }
}

/// Whether the other end has closed its half of the connection, read or not.
#[cfg(target_os = "linux")]
fn has_hung_up(descriptor: RawFd) -> bool {
    let mut asked = libc::pollfd { fd: descriptor, events: libc::POLLRDHUP, revents: 0 };
    // SAFETY: one valid entry that the call writes to, and no waiting.
    let found = unsafe { libc::poll(&mut asked, 1, 0) };
    found > 0 && asked.revents & (libc::POLLRDHUP | libc::POLLHUP | libc::POLLERR) != 0
}

/// Elsewhere only a connection that has failed shows.
#[cfg(not(target_os = "linux"))]
fn has_hung_up(descriptor: RawFd) -> bool {
    let mut asked = libc::pollfd { fd: descriptor, events: 0, revents: 0 };
    // SAFETY: one valid entry that the call writes to, and no waiting.
    let found = unsafe { libc::poll(&mut asked, 1, 0) };
    found > 0 && asked.revents & (libc::POLLHUP | libc::POLLERR) != 0
}
