//! Which blocks may be read for which request.

use super::super::transport::Waker;
use crate::types::BlockId;
use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

struct Grant {
    /// In order.
    blocks: Box<[BlockId]>,
    /// Reads under way.
    reads: usize,
    /// It is wanted back: nothing more is read under it.
    revoked: bool,
}

/// What peers may read. Asked by the threads that serve them.
pub(super) struct Grants {
    held: Mutex<HashMap<Arc<str>, Grant>>,
    /// Told when the last read under a grant that is wanted back has ended.
    waker: Waker,
}

impl Grants {
    pub fn new(waker: Waker) -> Self {
        Self { held: Mutex::default(), waker }
    }

    fn held(&self) -> MutexGuard<'_, HashMap<Arc<str>, Grant>> {
        self.held.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Lets `blocks` be read, in place of what was granted to the request before.
    pub fn grant(&self, request_id: &Arc<str>, blocks: &[BlockId]) {
        let mut blocks: Box<[BlockId]> = blocks.into();
        blocks.sort_unstable();
        let mut held = self.held();
        let reads = held.get(request_id).map_or(0, |grant| grant.reads);
        held.insert(request_id.clone(), Grant { blocks, reads, revoked: false });
    }

    /// From here on nothing begins to be read under the grant. Whether nothing is read any more.
    pub fn revoke(&self, request_id: &str) -> bool {
        let mut held = self.held();
        let Some(grant) = held.get_mut(request_id) else { return true };
        if grant.reads > 0 {
            grant.revoked = true;
            return false;
        }
        held.remove(request_id);
        true
    }

    /// Begins a read, if all of it is granted.
    pub fn begin<'a>(&'a self, request_id: &str, blocks: &[BlockId]) -> Option<Reading<'a>> {
        let mut held = self.held();
        let key = held.get_key_value(request_id)?.0.clone();
        let grant = held.get_mut(request_id)?;
        let granted = |block| grant.blocks.binary_search(block).is_ok();
        if grant.revoked || !blocks.iter().all(granted) {
            return None;
        }
        grant.reads += 1;
        Some(Reading { grants: self, request_id: key })
    }
}

/// A read under way: its grant cannot be taken back before it ends.
pub(super) struct Reading<'a> {
    grants: &'a Grants,
    request_id: Arc<str>,
}

impl Drop for Reading<'_> {
    fn drop(&mut self) {
        let mut held = self.grants.held();
        let Some(grant) = held.get_mut(&self.request_id) else { return };
        grant.reads -= 1;
        let awaited = grant.revoked && grant.reads == 0;
        drop(held);
        if awaited {
            (self.grants.waker)();
        }
    }
}
