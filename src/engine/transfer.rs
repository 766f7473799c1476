//! The engine's part in moving KV between servers: what it pulls, and what it keeps for others.
//!
//! Blocks that a peer may read, or that are written to from outside, belong to nobody in the
//! scheduler's queues. They are held here until the connector says that they are left alone.

use super::core::Core;
use super::handle::Transfer;
use super::request::{Last, Request};
use crate::kv::SequenceBlocks;
use crate::scheduler::{RemoteKv, Sequence, Slot};
use crate::types::{
    FinishReason, Generated, KvConnector, Lease, LeasedBlocks, Moment, Phase, Pull, PullStats,
    RequestId, TransferEvent,
};
use std::collections::HashMap;
use std::sync::Arc;

/// What the engine has to do with other servers.
#[derive(Default)]
pub struct Transfers {
    connector: Option<Box<dyn KvConnector>>,
    /// A prompt whose KV does not come is computed here, instead of failing its request.
    recomputes: bool,
    /// Kept for peers, by the name of the request that computed them.
    leased: HashMap<Arc<str>, SequenceBlocks>,
    /// Requests that wait for blocks to pull into.
    wanted: u64,
    /// Of requests that ended while their KV was on its way.
    orphans: HashMap<RequestId, SequenceBlocks>,
}

impl Transfers {
    /// Blocks that no sequence has and that are in use all the same.
    pub fn held(&self) -> impl Iterator<Item = &SequenceBlocks> {
        self.leased.values().chain(self.orphans.values())
    }

    /// Requests that wait for blocks to pull into.
    pub fn wanted(&self) -> u64 {
        self.wanted
    }

    /// Prompts whose blocks are kept for a peer.
    pub fn leased(&self) -> u64 {
        self.leased.len() as u64
    }

    /// Whether memory must stay as it is for others.
    pub fn holds_any(&self) -> bool {
        !self.leased.is_empty() || !self.orphans.is_empty()
    }
}

impl Core {
    /// Moves KV through `connector` from now on, which tells [`super::EngineHandle::transferred`]
    /// what came of it. With `recomputes`, prompts whose KV does not come are computed here.
    pub fn transfer_by(&mut self, connector: Box<dyn KvConnector>, recomputes: bool) {
        self.transfers.connector = Some(connector);
        self.transfers.recomputes = recomputes;
    }

    /// Takes what a request says about transfer, as far as it can be done.
    pub(super) fn announce(
        &mut self,
        id: RequestId,
        transfer: &Transfer,
        reads_cache: bool,
    ) -> RemoteKv {
        let (Transfer::Pull(remote), Some(connector)) = (transfer, &mut self.transfers.connector)
        else {
            return RemoteKv::None;
        };
        connector.announce(id, remote);
        if reads_cache {
            self.transfers.wanted += 1;
            return RemoteKv::Wanted;
        }
        // The logits of the whole prompt are wanted: it must be computed here.
        connector.discard(id, remote);
        RemoteKv::None
    }

    /// A request with something to pull never came to it: its blocks elsewhere may be freed.
    pub(super) fn discard(&mut self, id: RequestId, transfer: &Transfer) {
        if let (Transfer::Pull(remote), Some(connector)) = (transfer, &mut self.transfers.connector)
        {
            connector.discard(id, remote);
        }
    }

    /// Starts the pulls of the plan that was made at `begin`. No step is under way then, so nothing
    /// writes to their blocks any more on behalf of who had them before; and no step looks at them
    /// before [`Core::transferred`] is told that they are there.
    pub(super) fn start_pulls(&mut self, begin: Moment) {
        self.transfers.wanted -= self.plan.pulls.len() as u64;
        for &slot in &self.plan.pulls {
            let sequence = self.scheduler.sequence(slot);
            let request = self.requests[slot].as_mut().expect("planned slots are in use");
            let cached = sequence.cached / self.kv.block_size();
            let local = sequence.blocks.table()[cached..].to_vec();
            request.enter(Phase::Transfer, begin, &self.waits);
            let Transfer::Pull(remote) = request.transfer() else { continue };
            // The last token is computed here.
            let tokens = sequence.prompt_len - 1;
            let (id, remote) = (sequence.id, remote.clone());
            let pull = Pull { id, remote, skipped: cached, local, tokens };
            self.transfers.connector.as_mut().expect("it was announced to").pull(pull);
        }
    }

    /// What the connector says.
    pub(super) fn transferred(&mut self, event: TransferEvent) {
        match event {
            TransferEvent::Pulled { id, result } => match self.transfers.orphans.remove(&id) {
                Some(mut blocks) => self.kv.release(&mut blocks),
                None => self.pulled(id, result),
            },
            TransferEvent::Released { request_id } => {
                if let Some(mut blocks) = self.transfers.leased.remove(&request_id) {
                    self.kv.release(&mut blocks);
                }
            }
        }
    }

    fn pulled(&mut self, id: RequestId, result: Result<PullStats, String>) {
        let slot = self.slots[&id];
        let now = self.clock.now();
        let request = self.requests[slot].as_mut().expect("slots are in step");
        request.enter(Phase::Queue, now, &self.waits);
        match result {
            Ok(stats) => {
                request.note_pull(stats);
                self.scheduler.pulled(slot, &mut self.kv);
            }
            Err(reason) if self.transfers.recomputes => {
                log::warn!("request {}: its KV did not come and is computed here: {reason}", id.0);
                self.scheduler.pull_failed(slot, &mut self.kv);
            }
            Err(reason) => {
                log::error!("request {} fails, since its KV did not come: {reason}", id.0);
                self.scheduler.pull_failed(slot, &mut self.kv);
                self.end(slot, FinishReason::Error);
            }
        }
    }

    /// Takes a request out of all lists; its blocks are the caller's.
    fn detach(&mut self, slot: Slot) -> (Sequence, Request) {
        let sequence = self.scheduler.take(slot);
        self.slots.remove(&sequence.id);
        let request = self.requests[slot].take().expect("slots are in step with the scheduler's");
        (sequence, request)
    }

    /// Takes a request out, wherever it is. Blocks that are written to from outside stay held;
    /// what was to be pulled is not.
    pub(super) fn remove(&mut self, slot: Slot) -> Request {
        let (mut sequence, request) = self.detach(slot);
        let Sequence { id, remote, .. } = sequence;
        match remote {
            RemoteKv::Pulling => {
                self.transfers.orphans.insert(id, sequence.blocks);
                self.transfers.connector.as_mut().expect("it pulls").cancel(id);
            }
            RemoteKv::Wanted => {
                self.transfers.wanted -= 1;
                self.discard(id, request.transfer());
            }
            RemoteKv::None | RemoteKv::Pulled => self.kv.release(&mut sequence.blocks),
        }
        request
    }

    /// Ends a request that has all its tokens. Blocks that a peer will read are kept, and the last
    /// token is sent when that is certain: the peer may come at once.
    pub(super) fn complete(&mut self, slot: Slot) {
        let (mut sequence, request) = self.detach(slot);
        let last = request.into_last();
        let (Some(Last { request_id, events, event }), Some(connector)) =
            (last, &mut self.transfers.connector)
        else {
            return self.kv.release(&mut sequence.blocks);
        };
        let num_tokens = sequence.computed;
        self.kv.shrink(&mut sequence.blocks, num_tokens);
        let blocks = sequence.blocks.table().to_vec();
        let lease = Lease { request_id: request_id.clone(), blocks: blocks.clone() };
        self.transfers.leased.insert(request_id.clone(), sequence.blocks);
        let granted = move |granted| {
            let leased = LeasedBlocks { request_id, blocks, num_tokens, granted };
            events.send(Generated::Leased(Box::new(leased))).is_ok() && events.send(event).is_ok()
        };
        connector.lease(lease, Box::new(granted));
    }
}
