//! Which generations are in flight under which id, for those who abort them by it.

use crate::types::RequestId;
use std::collections::{HashMap, HashSet};
use std::sync::{Arc, Mutex, PoisonError};

/// The names of generations; kept only where somebody may ask.
#[derive(Clone, Debug, Default)]
pub struct InFlight(Option<Arc<Mutex<HashMap<RequestId, Name>>>>);

#[derive(Clone, Debug)]
struct Name {
    /// vLLM's external request id.
    id: Arc<str>,
    /// One of several under this id: then vLLM counts their parent, too.
    is_child: bool,
}

impl InFlight {
    /// Names are kept if `kept`.
    pub fn new(kept: bool) -> Self {
        Self(kept.then(Arc::default))
    }

    /// Notes a generation until the result is dropped.
    pub fn add(&self, generation: RequestId, id: &str, is_child: bool) -> Option<Noted> {
        let names = self.0.as_ref()?;
        let name = Name { id: Arc::from(id), is_child };
        names.lock().unwrap_or_else(PoisonError::into_inner).insert(generation, name);
        Some(Noted { generation, names: names.clone() })
    }

    /// The generations under these ids.
    pub fn named(&self, ids: &[&str]) -> Vec<RequestId> {
        let ids: HashSet<&str> = ids.iter().copied().collect();
        let names =
            self.0.as_ref().map(|names| names.lock().unwrap_or_else(PoisonError::into_inner));
        let all = names.iter().flat_map(|names| names.iter());
        all.filter(|(_, name)| ids.contains(&*name.id)).map(|(generation, _)| *generation).collect()
    }

    /// All generations, and how many requests they are to vLLM.
    pub fn all(&self) -> (Vec<RequestId>, usize) {
        let names =
            self.0.as_ref().map(|names| names.lock().unwrap_or_else(PoisonError::into_inner));
        let all: Vec<_> = names.iter().flat_map(|names| names.iter()).collect();
        let parents: HashSet<&str> =
            all.iter().filter(|(_, name)| name.is_child).map(|(_, name)| &*name.id).collect();
        let count = all.len() + parents.len();
        (all.into_iter().map(|(generation, _)| *generation).collect(), count)
    }
}

/// A generation that is noted.
#[derive(Debug)]
pub struct Noted {
    generation: RequestId,
    names: Arc<Mutex<HashMap<RequestId, Name>>>,
}

impl Drop for Noted {
    fn drop(&mut self) {
        self.names.lock().unwrap_or_else(PoisonError::into_inner).remove(&self.generation);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_parents_as_vllm_does() {
        let in_flight = InFlight::new(true);
        let _alone = in_flight.add(RequestId(1), "a", false);
        let first = in_flight.add(RequestId(2), "b", true);
        let _second = in_flight.add(RequestId(3), "b", true);
        assert_eq!((in_flight.all().0.len(), in_flight.all().1), (3, 4));
        assert_eq!(in_flight.named(&["a", "x"]), [RequestId(1)]);
        drop(first);
        assert_eq!(in_flight.named(&["b"]), [RequestId(3)]);
        assert!(InFlight::new(false).add(RequestId(1), "a", false).is_none());
    }
}
