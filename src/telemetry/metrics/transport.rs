//! `glassbox_http_*`: connections, and what met a limit.

use super::text::{Counted, Page};
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering::Relaxed};

/// A limit that a client can meet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Limit {
    Connections,
    Handshake,
    HeadSize,
    HeadTime,
    BodySize,
    BodyTime,
    SendTime,
    IdleTime,
}

impl Limit {
    /// All of them.
    pub const ALL: [Self; 8] = [
        Self::Connections,
        Self::Handshake,
        Self::HeadSize,
        Self::HeadTime,
        Self::BodySize,
        Self::BodyTime,
        Self::SendTime,
        Self::IdleTime,
    ];

    /// Its label.
    pub fn name(self) -> &'static str {
        match self {
            Self::Connections => "connections",
            Self::Handshake => "handshake",
            Self::HeadSize => "head_size",
            Self::HeadTime => "head_time",
            Self::BodySize => "body_size",
            Self::BodyTime => "body_time",
            Self::SendTime => "send_time",
            Self::IdleTime => "idle_time",
        }
    }
}

/// Connections and limits, counted by the server.
#[derive(Debug, Default)]
pub struct TransportMetrics {
    open: AtomicI64,
    met: [AtomicU64; Limit::ALL.len()],
}

impl TransportMetrics {
    /// A client met `limit`.
    pub fn met(&self, limit: Limit) {
        self.met[limit as usize].fetch_add(1, Relaxed);
    }

    /// How often that has happened.
    pub fn count(&self, limit: Limit) -> u64 {
        self.met[limit as usize].load(Relaxed)
    }

    /// A connection has begun (1) or ended (-1).
    pub fn connections(&self, change: i64) {
        self.open.fetch_add(change, Relaxed);
    }

    pub(super) fn write(&self, page: &mut Page, created: f64) {
        let open = self.open.load(Relaxed) as f64;
        page.gauge("glassbox_http_connections", "Connections that are open.", &[(&[], open)]);
        let labels = Limit::ALL.map(|limit| [("limit", limit.name())]);
        let met = std::array::from_fn::<_, { Limit::ALL.len() }, _>(|i| Counted {
            labels: &labels[i],
            value: self.count(Limit::ALL[i]) as f64,
            created,
        });
        let help = "Connections and requests that were refused or cut off, by limit.";
        page.counter("glassbox_http_limits", help, &met);
    }
}
