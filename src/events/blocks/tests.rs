use super::*;
use proptest::prelude::*;
use std::collections::BTreeMap;

fn hash(n: u8) -> BlockHash {
    BlockHash::new([n; 32])
}

fn run(parent: Option<u8>, blocks: &[u8]) -> KvEvent {
    KvEvent::Stored(StoredBlocks {
        parent: parent.map(hash),
        hashes: blocks.iter().map(|&n| hash(n)).collect(),
        tokens: blocks.iter().flat_map(|&n| [n.into(), 7]).collect(),
        salt: None,
        lora: None,
        session: None,
    })
}

fn removed(blocks: &[u8]) -> KvEvent {
    KvEvent::Removed { hashes: blocks.iter().map(|&n| hash(n)).collect() }
}

/// Block 0 has no parent; that of block n is n / 2: a tree, so that runs branch.
fn parent_of(n: u8) -> Option<u8> {
    (n > 0).then_some(n / 2)
}

/// Turns dice into events that an engine could emit: stores and removals of a hash alternate.
fn engine(dice: &[(u8, u8)]) -> Vec<KvEvent> {
    let mut resident = [false; 64];
    let mut events = Vec::new();
    for &(kind, n) in dice {
        let n = n % 64;
        match (kind % 32, resident[usize::from(n)]) {
            (0, _) => {
                resident.fill(false);
                events.push(KvEvent::Cleared);
            }
            (_, true) => {
                resident[usize::from(n)] = false;
                events.push(removed(&[n]));
            }
            (_, false) => {
                resident[usize::from(n)] = true;
                events.push(run(parent_of(n), &[n]));
            }
        }
    }
    events
}

/// Resident hashes with their tokens.
fn content(blocks: &Blocks) -> BTreeMap<BlockHash, Vec<Token>> {
    let all = blocks.parts.iter().flat_map(|part| part.values());
    all.map(|block| (block.hash, block.tokens.to_vec())).collect()
}

fn follow<'a>(events: impl IntoIterator<Item = &'a KvEvent>) -> Blocks {
    let mut blocks = Blocks::default();
    events.into_iter().for_each(|event| blocks.apply(event));
    blocks
}

fn told(blocks: &Blocks) -> Vec<KvEvent> {
    stores(&blocks.parents_first().collect::<Vec<_>>())
}

#[test]
fn runs_are_put_together_again() {
    let events = [run(None, &[0, 1, 2]), run(Some(1), &[9]), run(Some(9), &[10, 11])];
    // The walk begins anywhere, and what it comes by later continues what it told.
    let blocks: Vec<Arc<Block>> = events
        .iter()
        .flat_map(|event| match event {
            KvEvent::Stored(run) => split(run).map(Arc::new).collect::<Vec<_>>(),
            _ => Vec::new(),
        })
        .collect();
    assert_eq!(stores(&blocks), [run(None, &[0, 1, 2]), run(Some(1), &[9, 10, 11])]);
}

#[test]
fn a_parent_that_came_back_is_told_before_its_child() {
    let events = [run(None, &[0, 1]), removed(&[0]), run(None, &[0])];
    assert_eq!(told(&follow(&events)), [run(None, &[0, 1])]);
    let orphan = [run(None, &[0, 1]), removed(&[0])];
    assert_eq!(told(&follow(&orphan)), [run(Some(0), &[1])]);
}

#[test]
fn a_store_and_a_removal_cancel() {
    let mut merged = Merged::default();
    for event in [run(None, &[0, 1, 2]), removed(&[2]), removed(&[40]), removed(&[41])] {
        merged.fold(&event);
    }
    // 41 was resident before: nothing happened to it.
    merged.fold(&run(None, &[41]));
    assert_eq!(merged.stored.len(), 2);
    let (gone, blocks) = merged.into_parts();
    assert_eq!(gone, [removed(&[40])]);
    assert_eq!(stores(&blocks), [run(None, &[0, 1])]);
}

#[test]
fn a_clear_forgets_what_was_before() {
    let mut merged = Merged::default();
    for event in [run(None, &[0]), removed(&[9]), KvEvent::Cleared, run(None, &[3])] {
        merged.fold(&event);
    }
    let (gone, blocks) = merged.into_parts();
    assert_eq!(gone, [KvEvent::Cleared]);
    assert_eq!(stores(&blocks), [run(None, &[3])]);
}

proptest! {
    #[test]
    fn merged_events_lead_where_the_events_lead(
        dice in prop::collection::vec(any::<(u8, u8)>(), 0..300),
        from in 0..300usize,
    ) {
        let events = engine(&dice);
        let from = from.min(events.len());
        let wanted = content(&follow(&events));
        let mut merged = Merged::default();
        events[from..].iter().for_each(|event| merged.fold(event));
        let bound = follow(&events[..from]).len() + 64;
        prop_assert!(merged.removed.len() + merged.stored.len() <= bound);
        let (gone, blocks) = merged.into_parts();
        let rest = stores(&blocks);
        let all = events[..from].iter().chain(&gone).chain(&rest);
        prop_assert_eq!(content(&follow(all)), wanted);
    }

    #[test]
    fn a_snapshot_names_each_resident_block_once_after_its_parent(
        dice in prop::collection::vec(any::<(u8, u8)>(), 0..300),
        size in 1..10usize,
        at in 0..300usize,
    ) {
        // The walk goes on beside what happens after it began, and does not see it.
        let events = engine(&dice);
        let (before, after) = events.split_at(at.min(events.len()));
        let blocks = follow(before);
        let (mut walk, mut live) = (blocks.parents_first(), blocks.clone());
        let mut ordered = Vec::new();
        for event in after {
            ordered.extend(walk.next());
            live.apply(event);
        }
        ordered.extend(walk);
        prop_assert_eq!(content(&live), content(&follow(&events)));
        prop_assert_eq!(live.len(), content(&live).len());
        let told: Vec<KvEvent> = ordered.chunks(size).flat_map(stores).collect();
        prop_assert_eq!(content(&follow(&told)), content(&blocks));
        prop_assert_eq!(ordered.len(), blocks.len());
        let mut seen = HashSet::new();
        for block in &ordered {
            let parent = block.parent.filter(|parent| blocks.get(parent).is_some());
            prop_assert!(parent.is_none_or(|parent| seen.contains(&parent)));
            seen.insert(block.hash);
        }
    }
}
