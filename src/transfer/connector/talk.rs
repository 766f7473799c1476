//! The connector and its peers: heartbeats, farewells, and peers that are lost.

use super::core::Core;
use super::peer::{Address, State, done};
use super::pull::Stage;
use crate::types::{Moment, RemoteBlocks, RequestId};
use std::sync::Arc;

/// Things left to say to one peer that is not met; more are dropped, and its leases run out.
const MOST_UNSAID: usize = 4096;

impl Core {
    /// Says that a request's blocks are not wanted: they may be freed at once.
    pub(super) fn let_go(&mut self, id: RequestId, remote: &Arc<RemoteBlocks>) {
        let now = self.parts.clock.now();
        let peer = self.peer(remote, now);
        peer.awaited.remove(&id);
        let (is_known, message) = (peer.id().is_some(), done(&remote.request_id));
        if is_known {
            return self.say(&remote.engine_id, message);
        }
        if peer.unsaid.len() < MOST_UNSAID {
            peer.unsaid.push(message);
        }
        self.get_to_know(&remote.engine_id);
    }

    /// Tells a peer that is known; loses it if it cannot be told.
    pub(super) fn say(&mut self, engine_id: &Arc<str>, message: Vec<u8>) {
        let Some(peer) = self.peers.get(engine_id).and_then(|peer| peer.id()) else { return };
        if let Err(error) = self.parts.transport.notify(peer, &message) {
            self.parts.stats.failed_notification();
            self.lose(engine_id, &error.to_string());
        }
    }

    /// Keeps the leases of requests alive that wait here.
    pub(super) fn beat(&mut self, now: Moment) {
        let due = |peer: &&super::peer::Peer| {
            peer.id().is_some() && !peer.awaited.is_empty() && peer.heartbeat_at <= now
        };
        let due: Vec<Arc<str>> =
            self.peers.values().filter(due).map(|peer| peer.address.engine_id.clone()).collect();
        for engine_id in due {
            let peer = self.peers.get_mut(&engine_id).expect("just listed");
            peer.heartbeat_at = now + self.settings.lease / 6;
            let (message, ids) = (peer.heartbeat(), peer.awaited.keys().copied());
            let ids: Vec<RequestId> = ids.collect();
            self.say(&engine_id, message);
            let is_told = self.peers.get(&engine_id).is_some_and(|peer| peer.id().is_some());
            for id in ids.into_iter().filter(|_| is_told) {
                if let Some(pulling) = self.pulls.get_mut(&id) {
                    let lease = self.settings.lease;
                    pulling.extend(now, lease * 2 / 3, lease / 3);
                }
            }
        }
    }

    /// Gives up reads whose lease has run out: whatever they bring would not be used.
    pub(super) fn give_up_late(&mut self, now: Moment) {
        for pulling in self.pulls.values_mut() {
            if let Stage::Reading { read, is_late, .. } = &mut pulling.stage
                && now >= pulling.deadline
                && !std::mem::replace(is_late, true)
            {
                self.parts.transport.cancel(*read);
            }
        }
    }

    /// A handshake failed. Who waits for the peer where it was tried fails; who was told of another
    /// address has it tried there: one request with a wrong address must not fail the others.
    pub(super) fn not_met(&mut self, engine_id: &Arc<str>, reason: &str) {
        let Some(State::Meeting(tried)) = self.peers.get(engine_id).map(|peer| &peer.state) else {
            return self.lose(engine_id, reason);
        };
        let tried = tried.clone();
        let (there, elsewhere) = self.waiting(engine_id, &tried);
        let Some(next) = elsewhere else { return self.lose(engine_id, reason) };
        log::warn!("peer {engine_id} at {}:{}: {reason}", tried.host, tried.port);
        for id in there {
            self.end(id, Err(reason.to_owned()));
        }
        let peer = self.peers.get_mut(engine_id).expect("somebody waits for it");
        (peer.address, peer.state) = (next, State::Unknown);
        self.get_to_know(engine_id);
    }

    /// Those that have blocks and wait for the peer at the address `tried`, and another address of
    /// one that does.
    fn waiting(&self, engine_id: &str, tried: &Address) -> (Vec<RequestId>, Option<Address>) {
        let (mut there, mut elsewhere) = (Vec::new(), None);
        for id in self.peers[engine_id].awaited.keys() {
            let Some(pulling) = self.pulls.get(id) else { continue };
            // One without blocks may wait for long, and tries its own address when it has some.
            if !matches!(pulling.stage, Stage::Meeting(_)) {
                continue;
            }
            let address = Address::of(&pulling.remote);
            if address == *tried {
                there.push(*id);
            } else {
                elsewhere.get_or_insert(address);
            }
        }
        (there, elsewhere)
    }

    /// A peer is gone or was never there: what waits for it fails, and the next to want it meets it
    /// anew.
    pub(super) fn lose(&mut self, engine_id: &Arc<str>, reason: &str) {
        let Some(peer) = self.peers.get_mut(engine_id) else { return };
        log::warn!("peer {engine_id}: {reason}");
        if !peer.unsaid.is_empty() {
            self.parts.stats.failed_notification();
        }
        peer.unsaid.clear();
        let waiting: Vec<RequestId> = peer.awaited.keys().copied().collect();
        if let State::Known { id, .. } = std::mem::replace(&mut peer.state, State::Unknown) {
            self.parts.transport.disconnect(id);
        }
        for id in waiting {
            let stage = self.pulls.get(&id).map(|pulling| &pulling.stage);
            if matches!(stage, Some(Stage::Meeting(_))) {
                self.end(id, Err(reason.to_owned()));
            }
        }
        let peer = &self.peers[engine_id];
        if peer.awaited.is_empty() {
            self.peers.remove(engine_id);
        }
    }
}
