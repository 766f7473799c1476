//! A network that loses, delays and stalls, between nodes that die.
//!
//! What a node sends to another travels on one connection, in order, and takes up to a third of a
//! lease. A message that is lost takes the connection with it: who sent it hears of that with what
//! comes next. That is what a reliable transport promises, and no more.

use crate::dice::Dice;
use glassbox::transfer::transport::{
    BlockPair, PeerId, ReadId, ReadStats, Transport, TransportError, TransportEvent,
};
use glassbox::types::{BlockId, Clock, KvMemory, KvRegion, Moment};
use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

/// A node's life: a restarted one is another.
pub type NodeId = u64;

pub const LEASE: Duration = Duration::from_secs(30);

struct Site {
    memory: KvMemory,
    /// Heard and not yet looked at.
    heard: Vec<Vec<u8>>,
    /// What readers may read, where the transport can tell; with how many reads under way.
    grants: HashMap<Arc<str>, (HashSet<BlockId>, u32)>,
}

struct Message {
    to: NodeId,
    bytes: Vec<u8>,
}

struct Read {
    from: NodeId,
    by: NodeId,
    pairs: Vec<BlockPair>,
    notification: Vec<u8>,
    grant: Option<Arc<str>>,
    is_cancelled: bool,
}

/// All nodes and what is between them.
pub struct Net {
    dice: Dice,
    clock: Clock,
    /// Readers are checked against grants, as our own transport does; others cannot.
    knows_readers: bool,
    /// In a hundred.
    losses: u64,
    sites: BTreeMap<NodeId, Site>,
    messages: BTreeMap<(Moment, u64), Message>,
    reads: BTreeMap<(Moment, u64), Read>,
    /// When the last message on a connection arrives.
    last: HashMap<(NodeId, NodeId), Moment>,
    broken: HashSet<(NodeId, NodeId)>,
    over: HashMap<NodeId, Vec<TransportEvent>>,
    next: u64,
}

pub type SharedNet = Arc<Mutex<Net>>;

impl Net {
    pub fn new(seed: u64, clock: Clock, knows_readers: bool, losses: u64) -> SharedNet {
        Arc::new(Mutex::new(Self {
            dice: Dice(seed),
            clock,
            knows_readers,
            losses,
            sites: BTreeMap::new(),
            messages: BTreeMap::new(),
            reads: BTreeMap::new(),
            last: HashMap::new(),
            broken: HashSet::new(),
            over: HashMap::new(),
            next: 0,
        }))
    }

    /// A node dies; what was on its way to or from it is no more.
    pub fn kill(&mut self, node: NodeId) {
        self.sites.remove(&node);
        self.over.remove(&node);
        let its_own = self.reads.extract_if(.., |_, read| read.by == node);
        for read in its_own.map(|(_, read)| read).collect::<Vec<_>>() {
            self.stops_reading(&read);
        }
        self.messages.retain(|_, message| message.to != node);
    }

    pub fn is_alive(&self, node: NodeId) -> bool {
        self.sites.contains_key(&node)
    }

    pub fn regions(&self, node: NodeId) -> Vec<KvRegion> {
        self.sites[&node].memory.regions.clone()
    }

    /// No more losses from here on.
    pub fn calm(&mut self) {
        self.losses = 0;
    }

    /// Lets everything arrive that is due.
    pub fn turn(&mut self) {
        let now = self.clock.now();
        while let Some(entry) = self.messages.first_entry().filter(|entry| entry.key().0 <= now) {
            let Message { to, bytes } = entry.remove();
            if let Some(site) = self.sites.get_mut(&to) {
                site.heard.push(bytes);
            }
        }
        while let Some(entry) = self.reads.first_entry().filter(|entry| entry.key().0 <= now) {
            let ((_, id), read) = entry.remove_entry();
            self.end_read(ReadId(id), read);
        }
    }

    fn stops_reading(&mut self, read: &Read) {
        if let (Some(grant), Some(site)) = (&read.grant, self.sites.get_mut(&read.from))
            && let Some((_, readers)) = site.grants.get_mut(grant)
        {
            *readers -= 1;
        }
    }

    fn end_read(&mut self, id: ReadId, read: Read) {
        self.stops_reading(&read);
        let result = if read.is_cancelled {
            Err(TransportError::Failed("given up".to_owned()))
        } else if !self.is_alive(read.from) || self.broken.contains(&(read.by, read.from)) {
            Err(TransportError::Disconnected("no answer".to_owned()))
        } else {
            Ok(self.copy(&read))
        };
        if result.is_ok() {
            self.send(read.by, read.from, read.notification);
        }
        self.over.entry(read.by).or_default().push(TransportEvent::Read { read: id, result });
    }

    fn copy(&self, read: &Read) -> ReadStats {
        let from = &self.sites[&read.from].memory.regions;
        let to = &self.sites[&read.by].memory.regions;
        let mut stats = ReadStats::default();
        for (from, to) in from.iter().zip(to) {
            for pair in &read.pairs {
                let source = from.block_address(pair.remote) as *const u8;
                let target = to.block_address(pair.local) as *mut u8;
                // SAFETY: blocks of two simulated devices, which the sites keep alive; this thread
                // is the only one.
                unsafe { std::ptr::copy_nonoverlapping(source, target, from.block_len) };
                stats.bytes += from.block_len as u64;
            }
        }
        stats
    }

    /// Sends a message, or loses it and the connection.
    fn send(&mut self, from: NodeId, to: NodeId, bytes: Vec<u8>) {
        if self.dice.chance(self.losses) {
            self.broken.insert((from, to));
            return;
        }
        let at = self.arrival(from, to);
        self.next += 1;
        self.messages.insert((at, self.next), Message { to, bytes });
    }

    fn arrival(&mut self, from: NodeId, to: NodeId) -> Moment {
        let most = match self.dice.chance(10) {
            true => LEASE.as_millis() as usize / 3 - 1,
            false => 30,
        };
        let delay = Duration::from_millis(self.dice.range(0, most) as u64);
        let at = self.clock.now() + delay;
        let last = self.last.entry((from, to)).or_default();
        *last = at.max(*last);
        *last
    }
}

/// One node's end of the network.
pub struct Wire {
    net: SharedNet,
    me: NodeId,
    metadata: Vec<u8>,
}

impl Wire {
    pub fn new(net: SharedNet, me: NodeId, memory: KvMemory) -> Self {
        let site = Site { memory, heard: Vec::new(), grants: HashMap::new() };
        net.lock().unwrap().sites.insert(me, site);
        Self { net, me, metadata: me.to_le_bytes().to_vec() }
    }

    fn net(&self) -> MutexGuard<'_, Net> {
        self.net.lock().unwrap()
    }
}

impl Transport for Wire {
    fn metadata(&self) -> &[u8] {
        &self.metadata
    }

    fn connect(&mut self, metadata: &[u8], _: &[KvRegion]) -> Result<PeerId, TransportError> {
        let peer = u64::from_le_bytes(metadata.try_into().expect("a node's id"));
        self.net().broken.remove(&(self.me, peer));
        Ok(PeerId(peer))
    }

    fn disconnect(&mut self, peer: PeerId) {
        let me = self.me;
        let mut net = self.net();
        net.broken.insert((me, peer.0));
    }

    fn read(
        &mut self,
        peer: PeerId,
        blocks: &[BlockPair],
        notification: &[u8],
    ) -> Result<ReadId, TransportError> {
        let me = self.me;
        let mut net = self.net();
        if !net.is_alive(peer.0) || net.broken.contains(&(me, peer.0)) {
            return Err(TransportError::Disconnected("the connection is broken".to_owned()));
        }
        let text = std::str::from_utf8(notification).expect("a name and a number");
        let name = text.rsplit_once(':').expect("a name and a number").0;
        let mut grant = None;
        if net.knows_readers {
            let site = net.sites.get_mut(&peer.0).expect("it lives");
            let Some((granted, readers)) = site.grants.get_mut(name) else {
                return Err(TransportError::Refused("no such grant".to_owned()));
            };
            assert!(blocks.iter().all(|pair| granted.contains(&pair.remote)));
            *readers += 1;
            grant = Some(Arc::from(name));
        }
        let most = if net.dice.chance(5) { 40_000 } else { 50 };
        let delay = Duration::from_millis(net.dice.range(0, most) as u64);
        let at = net.clock.now() + delay;
        net.next += 1;
        let id = net.next;
        let (pairs, notification) = (blocks.to_vec(), notification.to_vec());
        let read = Read { from: peer.0, by: me, pairs, notification, grant, is_cancelled: false };
        net.reads.insert((at, id), read);
        Ok(ReadId(id))
    }

    fn cancel(&mut self, read: ReadId) {
        let mut net = self.net();
        let found = net.reads.iter_mut().find(|((_, id), _)| *id == read.0);
        if let Some((_, read)) = found {
            read.is_cancelled = true;
        }
    }

    fn notify(&mut self, peer: PeerId, message: &[u8]) -> Result<(), TransportError> {
        let me = self.me;
        let mut net = self.net();
        if !net.is_alive(peer.0) || net.broken.contains(&(me, peer.0)) {
            return Err(TransportError::Disconnected("the connection is broken".to_owned()));
        }
        net.send(me, peer.0, message.to_vec());
        Ok(())
    }

    fn poll(&mut self, events: &mut Vec<TransportEvent>) {
        let me = self.me;
        let mut net = self.net();
        events.append(net.over.entry(me).or_default());
        let heard = net.sites.get_mut(&me).map(|site| std::mem::take(&mut site.heard));
        events.extend(heard.unwrap_or_default().into_iter().map(TransportEvent::Notification));
    }

    fn poll_interval(&self, _: bool) -> Option<Duration> {
        None
    }

    fn grant(&mut self, request_id: &Arc<str>, blocks: &[BlockId]) {
        let me = self.me;
        let blocks = blocks.iter().copied().collect();
        self.net()
            .sites
            .get_mut(&me)
            .expect("it lives")
            .grants
            .insert(request_id.clone(), (blocks, 0));
    }

    fn revoke(&mut self, request_id: &str) -> bool {
        let me = self.me;
        let mut net = self.net();
        let grants = &mut net.sites.get_mut(&me).expect("it lives").grants;
        if grants.get(request_id).is_some_and(|(_, readers)| *readers > 0) {
            return false;
        }
        grants.remove(request_id);
        true
    }
}
