//! Two tcp transports: blocks and notifications arrive, and only what is granted is read.

use crate::host::{Host, options};
use crate::memory::Shape;
use glassbox::transfer::transport::{BlockPair, TransportError};
use glassbox::types::BlockId;
use proptest::prelude::*;
use proptest::sample::{Index, subsequence};
use std::sync::Arc;
use std::time::Duration;

/// Shapes of both sides, and pairs whose local blocks are all different.
fn transfers() -> impl Strategy<Value = (Shape, Shape, Vec<BlockPair>)> {
    let sizes = (1..5usize, 1..40usize, 1..40usize, prop_oneof![1..64usize, 1..9000usize]);
    let gaps = (0..3usize, 0..3usize, 0..3usize, 0..3usize);
    (sizes, gaps).prop_flat_map(|((regions, ours, theirs, block_len), gaps)| {
        let shape = |blocks, gap, apart| Shape {
            regions,
            blocks,
            block_len,
            gap: gap * 5,
            apart: apart * 7,
        };
        let (ours_shape, theirs_shape) =
            (shape(ours, gaps.0, gaps.1), shape(theirs, gaps.2, gaps.3));
        let most = ours.min(theirs);
        let locals = subsequence((0..ours as BlockId).collect::<Vec<_>>(), 1..=most).prop_shuffle();
        let remotes = prop::collection::vec(any::<Index>(), ours);
        (locals, remotes, any::<bool>()).prop_map(move |(locals, remotes, in_a_row)| {
            let pair = |(at, (&local, remote)): (usize, (&BlockId, &Index))| {
                let remote = if in_a_row { at % theirs } else { remote.index(theirs) };
                BlockPair { local, remote: remote as BlockId }
            };
            let pairs = locals.iter().zip(&remotes).enumerate().map(pair).collect();
            (ours_shape, theirs_shape, pairs)
        })
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    /// What is read is what was there, and nothing else is written.
    #[test]
    fn blocks_arrive((ours, theirs, pairs) in transfers(), seed: u64) {
        let (mut p, mut d) = (Host::tcp(theirs), Host::tcp(ours));
        p.memory.fill(seed);
        d.memory.fill(!seed);
        p.grant("a:b", pairs.iter().map(|pair| pair.remote));
        let peer = d.connect(&p);
        let before = (p.memory.bytes(), d.memory.bytes());
        let read = d.transport.read(peer, &pairs, b"a:b:1").expect("a read");
        let stats = d.result(read).expect("a success");
        prop_assert_eq!(stats.bytes, (pairs.len() * ours.regions * ours.block_len) as u64);
        prop_assert_eq!(stats.descriptors as usize, pairs.len() * ours.regions);
        let mut expected = before.1;
        for region in 0..ours.regions {
            for pair in &pairs {
                expected[d.memory.range(region, pair.local)]
                    .copy_from_slice(&before.0[p.memory.range(region, pair.remote)]);
            }
        }
        prop_assert!(d.memory.bytes() == expected);
        prop_assert!(p.memory.bytes() == before.0);
        prop_assert_eq!(p.hear(1), ["a:b:1"]);
    }
}

const SHAPE: Shape = Shape::plain(3, 64, 10_000);

fn both() -> (Host, Host) {
    let (p, d) = (Host::tcp(SHAPE), Host::tcp(SHAPE));
    p.memory.fill(1);
    (p, d)
}

#[test]
fn many_reads_at_once() {
    let (mut p, mut d) = both();
    let peer = d.connect(&p);
    let mut reads = Vec::new();
    for block in 0..64 {
        let request = format!("r{block}");
        p.grant(&request, [block]);
        reads.push(d.begin(peer, &request, &[block]));
    }
    for read in reads {
        d.result(read).expect("a success");
    }
    d.assert_same_blocks(&p, &(0..64).collect::<Vec<_>>());
    let mut heard = p.hear(64);
    heard.sort_by_key(|message| message.len());
    assert_eq!(heard.iter().collect::<std::collections::HashSet<_>>().len(), 64);
    assert!(heard.iter().all(|message| message.starts_with('r') && message.ends_with(":1")));
}

#[test]
fn both_sides_read_each_other() {
    let (mut p, mut d) = both();
    d.memory.fill(2);
    let (to_p, to_d) = (d.connect(&p), p.connect(&d));
    p.grant("up", 0..32);
    d.grant("down", 32..64);
    let (up, down): (Vec<_>, Vec<_>) = ((0..32).collect(), (32..64).collect());
    let (first, second) = (d.begin(to_p, "up", &up), p.begin(to_d, "down", &down));
    d.result(first).expect("a success");
    p.result(second).expect("a success");
    d.assert_same_blocks(&p, &(0..64).collect::<Vec<_>>());
}

#[test]
fn notifications_come_in_order_and_after_the_reads_before() {
    let (mut p, mut d) = both();
    let peer = d.connect(&p);
    p.grant("r", [5]);
    d.read(peer, "r", &[5]).expect("a success");
    let said: Vec<String> = (0..1000).map(|i| format!("HB:{i}")).collect();
    for message in &said {
        d.transport.notify(peer, message.as_bytes()).expect("queued");
    }
    assert_eq!(p.hear(1), ["r:1"]);
    assert_eq!(p.hear(1000), said);
}

#[test]
fn only_what_is_granted_is_read() {
    let (mut p, mut d) = both();
    let peer = d.connect(&p);
    p.grant("a", [1, 2, 3]);
    p.grant("b", [4]);
    let refused = |result| match result {
        Err(TransportError::Refused(_)) => {}
        other => panic!("{other:?}"),
    };
    refused(d.read(peer, "a", &[1, 4]));
    refused(d.read(peer, "b", &[1]));
    refused(d.read(peer, "c", &[1]));
    refused(d.read(peer, "", &[1]));
    // None of that has put an end to anything.
    d.read(peer, "a", &[3, 1]).expect("a success");
    d.assert_same_blocks(&p, &[3, 1]);
    // D may have all bytes a moment before P's thread is done with them.
    p.until("the end of the grant", |p| p.transport.revoke("a").then_some(()));
    assert!(p.transport.revoke("never granted"));
    refused(d.read(peer, "a", &[1]));
    d.read(peer, "b", &[4]).expect("a success");
    // What is granted anew replaces what was.
    p.grant("b", [5]);
    refused(d.read(peer, "b", &[4]));
    d.read(peer, "b", &[5]).expect("a success");
    assert_eq!(p.hear(3), ["a:1", "b:1", "b:1"]);
    assert!(d.memory.bytes()[d.memory.range(0, 2)].iter().all(|byte| *byte == 0));
}

#[test]
fn what_makes_no_sense_is_refused_at_once() {
    let (p, mut d) = both();
    let peer = d.connect(&p);
    let pair = |local, remote| [BlockPair { local, remote }];
    for (pairs, notification) in [
        (pair(64, 0).as_slice(), b"a:1".as_slice()),
        (&pair(0, 64), b"a:1"),
        (&[], b"a:1"),
        (&pair(0, 0), b"no colon"),
        (&pair(0, 0), b"\xff:1"),
        (&pair(0, 0), &[b':'; (256 << 10) + 1]),
    ] {
        assert!(d.transport.read(peer, pairs, notification).is_err(), "{pairs:?}");
    }
    assert!(d.transport.notify(peer, &[0; (256 << 10) + 1]).is_err());
    let good = p.transport.metadata().to_vec();
    for cut in 0..good.len() {
        assert!(d.transport.connect(&good[..cut], &p.memory.regions()).is_err(), "{cut}");
    }
    for other in [Shape::plain(2, 64, 10_000), Shape::plain(3, 63, 10_000), Shape::plain(3, 64, 9)]
    {
        let other = Host::tcp(other);
        assert!(d.transport.connect(&good, &other.memory.regions()).is_err());
        let regions = p.memory.regions();
        assert!(d.transport.connect(other.transport.metadata(), &regions).is_err());
    }
}

#[test]
fn a_peer_that_is_forgotten_is_not_read() {
    let (mut p, mut d) = both();
    p.grant("a", [1]);
    let peer = d.connect(&p);
    d.read(peer, "a", &[1]).expect("a success");
    d.transport.disconnect(peer);
    let again = d.transport.read(peer, &[BlockPair { local: 1, remote: 1 }], b"a:1");
    assert!(matches!(again, Err(TransportError::Disconnected(_))), "{again:?}");
    let peer = d.connect(&p);
    d.read(peer, "a", &[1]).expect("a success");
}

#[test]
fn the_successor_of_a_peer_is_not_taken_for_it() {
    let (mut p, mut d) = both();
    p.grant("a", [1]);
    let peer = d.connect(&p);
    d.read(peer, "a", &[1]).expect("a success");
    let (_, address) = crate::raw::agent(&*p.transport);
    drop(p);
    let options = || glassbox::transfer::tcp::TcpOptions {
        port: address.port(),
        ..options(Duration::from_secs(10))
    };
    let mut successor = Host::tcp_with(SHAPE, options());
    successor.grant("a", [1]);
    // The connection of before is closed; a new one meets somebody else.
    let gone = |result| assert!(matches!(result, Err(TransportError::Disconnected(_))));
    let pair = [BlockPair { local: 1, remote: 1 }];
    match d.transport.read(peer, &pair, b"a:1") {
        Ok(read) => gone(d.result(read)),
        Err(why) => gone(Err(why)),
    }
    let peer = d.connect(&successor);
    d.read(peer, "a", &[1]).expect("a success");
}

#[test]
fn nothing_is_left_of_a_transport() {
    let (mut p, mut d) = both();
    let (to_p, to_d) = (d.connect(&p), p.connect(&d));
    p.grant("a", [1]);
    d.read(to_p, "a", &[1]).expect("a success");
    p.transport.notify(to_d, b"hello").expect("queued");
    // What is queued is said before the end.
    d.transport.notify(to_p, b"farewell").expect("queued");
    let memory = d.memory.clone();
    drop(d);
    assert_eq!(Arc::strong_count(&memory), 1);
    assert_eq!(p.hear(2), ["a:1", "farewell"]);
    let memory = p.memory.clone();
    drop(p);
    assert_eq!(Arc::strong_count(&memory), 1);
}
