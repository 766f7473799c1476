//! What the connector does, as a state machine: it is told things, looks at the clock, and says
//! when it wants to look again.

use super::lease::{Consumed, Leases};
use super::parts::{Parts, Settings};
use super::peer::{Address, Met, Notification, Peer, State, done};
use super::pull::{Pulling, Stage, pairs};
use super::sums;
use crate::transfer::transport::{ReadId, ReadStats, TransportError, TransportEvent};
use crate::types::{
    Granted, Lease, Moment, OnGranted, Pull, PullStats, RemoteBlocks, RequestId, TransferEvent,
};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

/// How soon to ask again for what a peer is reading just now.
const RETRY: Duration = Duration::from_millis(1);

/// The connector.
pub struct Core {
    pub(super) settings: Settings,
    pub(super) parts: Parts,
    leases: Leases,
    /// Leases that are over but for a read under way.
    ending: Vec<Arc<str>>,
    pub(super) peers: BTreeMap<Arc<str>, Peer>,
    pub(super) pulls: BTreeMap<RequestId, Pulling>,
    reads: BTreeMap<ReadId, RequestId>,
    events: Vec<TransportEvent>,
}

impl Core {
    /// One that knows nobody.
    pub fn new(settings: Settings, parts: Parts) -> Self {
        let leases = Leases::new(settings.lease);
        Self {
            settings,
            parts,
            leases,
            ending: Vec::new(),
            peers: BTreeMap::new(),
            pulls: BTreeMap::new(),
            reads: BTreeMap::new(),
            events: Vec::new(),
        }
    }

    /// Whether nothing is under way or kept.
    pub fn is_idle(&self) -> bool {
        self.pulls.is_empty() && self.leases.is_empty() && self.ending.is_empty()
    }

    /// Keeps blocks for a peer.
    pub fn lease(&mut self, lease: Lease, granted: OnGranted) {
        let Lease { request_id, blocks } = lease;
        self.parts.codec.export(&blocks);
        let checksums = match self.settings.checksums {
            true => sums::of(&mut *self.parts.codec, &blocks),
            false => Vec::new(),
        };
        self.parts.transport.grant(&request_id, &blocks);
        let deadline = self.leases.begin(request_id.clone(), self.parts.clock.now());
        if !granted(Granted { expiry: seconds(deadline), checksums }) {
            self.leases.end(&request_id);
            self.ending.push(request_id);
        }
    }

    /// A request came that will pull.
    pub fn announce(&mut self, id: RequestId, remote: Arc<RemoteBlocks>) {
        let now = self.parts.clock.now();
        // P's reply went through a proxy before it came here, which we allow this much for.
        let deadline = remote.told + self.settings.lease * 5 / 6;
        let peer = self.peer(&remote, now);
        peer.awaited.insert(id, remote.request_id.clone());
        let engine_id = remote.engine_id.clone();
        let (stage, handshake) = (Stage::Announced, Duration::ZERO);
        let pulling =
            Pulling { remote, stage, announced: now, handshake, deadline, is_exact: false };
        self.pulls.insert(id, pulling);
        self.correct_deadline(id);
        self.get_to_know(&engine_id);
    }

    /// An announced request has blocks to read into.
    pub fn pull(&mut self, pull: Pull) {
        let (id, engine_id) = (pull.id, pull.remote.engine_id.clone());
        let pulling = self.pulls.get_mut(&id).expect("a pull was announced");
        pulling.stage = Stage::Meeting(pull);
        match self.peers.get(&engine_id).and_then(Peer::id) {
            Some(_) => self.read(id),
            None => {
                // Where this request was told to go, whatever others were told since.
                let (remote, now) = (pulling.remote.clone(), self.parts.clock.now());
                self.peer(&remote, now);
                self.get_to_know(&engine_id);
            }
        }
    }

    /// Nobody wants a pull any more.
    pub fn cancel(&mut self, id: RequestId) {
        let Some(pulling) = self.pulls.get_mut(&id) else { return };
        match std::mem::replace(&mut pulling.stage, Stage::GivenUp) {
            Stage::Reading { read, .. } => self.parts.transport.cancel(read),
            Stage::GivenUp => {}
            Stage::Announced | Stage::Meeting(_) => {
                self.fail(id, "the request is gone".to_owned());
            }
        }
    }

    /// A request will not pull.
    pub fn discard(&mut self, id: RequestId, remote: &Arc<RemoteBlocks>) {
        self.pulls.remove(&id);
        self.let_go(id, remote);
    }

    /// A handshake ended.
    pub fn met(&mut self, engine_id: &Arc<str>, result: Result<Met, String>) {
        let now = self.parts.clock.now();
        self.forget_idle(engine_id, now);
        let Some(peer) = self.peers.get_mut(engine_id) else { return };
        let connected = result.and_then(|met| {
            let id = self.parts.transport.connect(&met.agent, &met.regions);
            let num_blocks = met.regions.first().map_or(0, |region| region.num_blocks);
            let clock_offset = met.clock_offset;
            id.map(|id| State::Known { id, num_blocks, clock_offset })
                .map_err(|error| error.to_string())
        });
        // To connect takes time too.
        let now = self.parts.clock.now();
        match connected {
            Ok(state) => {
                peer.state = state;
                (peer.used, peer.heartbeat_at) = (now, now);
                let waiting: Vec<RequestId> = peer.awaited.keys().copied().collect();
                let unsaid = std::mem::take(&mut peer.unsaid);
                unsaid.into_iter().for_each(|message| self.say(engine_id, message));
                for id in waiting {
                    if let Some(pulling) = self.pulls.get_mut(&id) {
                        pulling.handshake = now.since(pulling.announced);
                    }
                    self.correct_deadline(id);
                    self.read(id);
                }
            }
            Err(reason) => {
                self.parts.stats.failed_transfer();
                self.not_met(engine_id, &format!("no handshake with {engine_id}: {reason}"));
            }
        }
    }

    /// Does what is due; returns when to call again at the latest, if nothing else happens.
    pub fn turn(&mut self) -> Option<Moment> {
        let mut events = std::mem::take(&mut self.events);
        self.parts.transport.poll(&mut events);
        for event in events.drain(..) {
            match event {
                TransportEvent::Read { read, result } => self.read_ended(read, result),
                TransportEvent::Notification(bytes) => self.heard(&bytes),
            }
        }
        self.events = events;
        let now = self.parts.clock.now();
        while let Some(request_id) = self.leases.expire(now) {
            log::warn!("the blocks of {request_id} are freed: no peer read them in time");
            self.parts.stats.expired();
            self.ending.push(request_id);
        }
        self.end_leases();
        self.beat(now);
        self.give_up_late(now);
        self.next_turn(now)
    }

    fn next_turn(&self, now: Moment) -> Option<Moment> {
        let expects_peers = !self.leases.is_empty();
        let poll = self.parts.transport.poll_interval(expects_peers).map(|after| now + after);
        let retry = (!self.ending.is_empty()).then(|| now + RETRY);
        let beats = self.peers.values().filter(|peer| !peer.awaited.is_empty());
        let beat = beats.filter(|peer| peer.id().is_some()).map(|peer| peer.heartbeat_at).min();
        let reads = self.pulls.values().filter(|pulling| pulling.is_timely());
        let late = reads.map(|pulling| pulling.deadline).min();
        [poll, retry, beat, late, self.leases.next_deadline()].into_iter().flatten().min()
    }

    /// What a peer says of its leases here.
    fn heard(&mut self, bytes: &[u8]) {
        let now = self.parts.clock.now();
        match Notification::read(bytes) {
            Some(Notification::Heartbeat(names)) => {
                for name in names {
                    self.leases.extend(name, now);
                }
            }
            Some(Notification::Done { request_id, readers }) => {
                match self.leases.consumed(request_id, readers) {
                    Consumed::Over => self.ending.push(request_id.into()),
                    Consumed::Partly => {}
                    Consumed::Late => {
                        log::error!("{request_id} was read after its blocks were freed");
                        self.parts.stats.late();
                    }
                    Consumed::Unknown => {
                        log::warn!("a peer is done with {request_id}, which is not kept here");
                    }
                }
            }
            None => log::warn!("a peer's notification of {} bytes makes no sense", bytes.len()),
        }
    }

    /// Gives blocks back whose lease is over, unless somebody reads them just now.
    fn end_leases(&mut self) {
        let Parts { transport, tell, .. } = &mut self.parts;
        self.ending.retain(|request_id| {
            let is_free = transport.revoke(request_id);
            if is_free {
                tell(TransferEvent::Released { request_id: request_id.clone() });
            }
            !is_free
        });
    }

    /// The peer of some blocks, which may be new.
    pub(super) fn peer(&mut self, remote: &RemoteBlocks, now: Moment) -> &mut Peer {
        let address = Address::of(remote);
        let peer = self.peers.entry(remote.engine_id.clone());
        let peer = peer.or_insert_with(|| Peer::new(address.clone(), now));
        // It may have moved. What is known stays good for as long as it works.
        peer.address = address;
        peer.used = now;
        peer
    }

    /// Starts a handshake, unless the peer is known or being met.
    pub(super) fn get_to_know(&mut self, engine_id: &str) {
        let peer = self.peers.get_mut(engine_id).expect("the peer is listed");
        if matches!(peer.state, State::Unknown) {
            peer.state = State::Meeting(peer.address.clone());
            (self.parts.meet)(&peer.address);
        }
    }

    /// Peers that nobody needs make room when another is met: those of the same address, which it
    /// replaces, and those that were of no use for long.
    fn forget_idle(&mut self, met: &str, now: Moment) {
        let Some(address) = self.peers.get(met).map(|peer| peer.address.clone()) else { return };
        let ttl = self.settings.engine_ttl;
        let transport = &mut self.parts.transport;
        self.peers.retain(|engine_id, peer| {
            let is_replaced =
                (&peer.address.host, peer.address.port) == (&address.host, address.port);
            let is_old = now.since(peer.used) > ttl;
            let is_needed = **engine_id == *met || !peer.awaited.is_empty();
            let stays =
                is_needed || !(is_replaced || is_old) || matches!(peer.state, State::Meeting(_));
            if let Some(id) = peer.id().filter(|_| !stays) {
                transport.disconnect(id);
            }
            stays
        });
    }

    /// Puts the peer's own deadline in place of our guess, once its clock is known.
    fn correct_deadline(&mut self, id: RequestId) {
        let Some(pulling) = self.pulls.get_mut(&id).filter(|pulling| !pulling.is_exact) else {
            return;
        };
        let state = self.peers.get(&pulling.remote.engine_id).map(|peer| &peer.state);
        if let (Some(State::Known { clock_offset, .. }), Some(expiry)) =
            (state, pulling.remote.expiry)
        {
            pulling.deadline = moment(expiry - clock_offset);
            pulling.is_exact = true;
        }
    }

    /// Starts the read of a pull whose peer is known.
    fn read(&mut self, id: RequestId) {
        let Some(pulling) = self.pulls.get_mut(&id) else { return };
        if !matches!(pulling.stage, Stage::Meeting(_)) {
            return;
        }
        let Stage::Meeting(pull) = std::mem::replace(&mut pulling.stage, Stage::GivenUp) else {
            unreachable!("just looked");
        };
        let remote = pulling.remote.clone();
        let peer = &self.peers[&remote.engine_id];
        let State::Known { id: peer_id, num_blocks, .. } = peer.state else {
            unreachable!("a pull is read from a peer that is known");
        };
        if self.parts.clock.now() >= pulling.deadline {
            return self.fail(id, LATE.to_owned());
        }
        let blocks = match pairs(&pull, num_blocks) {
            Ok(blocks) => blocks,
            Err(reason) => return self.fail(id, reason),
        };
        match self.parts.transport.read(peer_id, &blocks, &done(&remote.request_id)) {
            Ok(read) => {
                pulling.stage = Stage::Reading { pull, read, is_late: false };
                self.reads.insert(read, id);
            }
            Err(error) => self.read_failed(id, &error),
        }
    }

    fn read_ended(&mut self, read: ReadId, result: Result<ReadStats, TransportError>) {
        let id = self.reads.remove(&read).expect("a read ends once");
        let pulling = &self.pulls[&id];
        let now = self.parts.clock.now();
        let stats = match result {
            Ok(stats) => stats,
            Err(error) => return self.read_failed(id, &error),
        };
        self.parts.stats.transferred(&stats);
        let Stage::Reading { pull, .. } = &pulling.stage else {
            return self.end(id, Err("the request is gone".to_owned()));
        };
        if now >= pulling.deadline {
            return self.end(id, Err(LATE.to_owned()));
        }
        let sums = pulling.remote.checksums.get(pull.skipped..).unwrap_or_default();
        if let Err(reason) = sums::check(&mut *self.parts.codec, &pull.local, sums) {
            return self.end(id, Err(reason));
        }
        self.parts.codec.import(&pull.local);
        let (blocks, handshake) = (pull.local.len() as u32, pulling.handshake);
        let transfer = stats.transfer;
        self.end(id, Ok(PullStats { bytes: stats.bytes, blocks, handshake, transfer }));
    }

    fn read_failed(&mut self, id: RequestId, error: &TransportError) {
        self.parts.stats.failed_transfer();
        let pulling = &self.pulls[&id];
        let engine_id = pulling.remote.engine_id.clone();
        let is_late = self.parts.clock.now() >= pulling.deadline;
        if matches!(error, TransportError::Disconnected(_)) {
            self.lose(&engine_id, &error.to_string());
        }
        self.fail(id, if is_late { LATE.to_owned() } else { error.to_string() });
    }

    /// Ends a pull that read nothing, and tells the peer.
    fn fail(&mut self, id: RequestId, reason: String) {
        let pulling = &self.pulls[&id];
        let (remote, has_blocks) =
            (pulling.remote.clone(), !matches!(pulling.stage, Stage::Announced));
        if has_blocks {
            self.end(id, Err(reason));
        } else {
            self.pulls.remove(&id);
        }
        self.let_go(id, &remote);
    }

    /// Ends a pull; the peer knows.
    pub(super) fn end(&mut self, id: RequestId, result: Result<PullStats, String>) {
        let pulling = self.pulls.remove(&id).expect("a pull ends once");
        if let Some(peer) = self.peers.get_mut(&pulling.remote.engine_id) {
            peer.awaited.remove(&id);
            peer.used = self.parts.clock.now();
        }
        (self.parts.tell)(TransferEvent::Pulled { id, result });
    }
}

const LATE: &str = "the peer's lease on the blocks may have run out";

/// A moment in seconds of the monotonic clock.
fn seconds(moment: Moment) -> f64 {
    moment.nanos() as f64 / 1e9
}

/// The moment of some seconds.
fn moment(seconds: f64) -> Moment {
    Moment::from_nanos((seconds.max(0.0) * 1e9) as u64)
}
