//! P of tcp, when D is not as it should be.

use crate::host::{Host, options};
use crate::memory::Shape;
use crate::raw::{
    NOTIFICATIONS, READS, agent, answer, dial, frame, greeted, hello, is_closed, read_frame, take,
};
use proptest::prelude::*;
use std::io::Write;
use std::time::Duration;

/// More than sockets hold.
const LARGE: Shape = Shape::plain(4, 16, 1 << 20);
const LARGE_BYTES: u64 = 64 << 20;

fn large(stall: Duration) -> (Host, Vec<u32>) {
    let mut p = Host::tcp_with(LARGE, options(stall));
    p.memory.fill(3);
    p.grant("a", 0..16);
    (p, (0..16).collect())
}

#[test]
fn a_grant_that_is_being_read_is_not_taken_back() {
    let (mut p, blocks) = large(Duration::from_secs(60));
    let mut reader = greeted(&*p.transport, READS);
    reader.write_all(&read_frame("a", &blocks)).expect("written");
    assert_eq!(take(&mut reader, 9), answer(0, LARGE_BYTES));
    assert!(!p.transport.revoke("a"));
    // From here on nothing else is read under it.
    let mut other = greeted(&*p.transport, READS);
    other.write_all(&read_frame("a", &[0])).expect("written");
    assert_eq!(take(&mut other, 9), answer(1, 0));
    let bytes = take(&mut reader, LARGE_BYTES as usize);
    assert!(bytes == p.memory.bytes());
    p.until("the end of the grant", |p| p.transport.revoke("a").then_some(()));
}

#[test]
fn a_reader_that_stalls_or_leaves_holds_a_grant_for_a_bounded_time() {
    for leaves in [false, true] {
        let stall = if leaves { 60_000 } else { 100 };
        let (mut p, blocks) = large(Duration::from_millis(stall));
        let mut reader = greeted(&*p.transport, READS);
        reader.write_all(&read_frame("a", &blocks)).expect("written");
        take(&mut reader, 9);
        p.transport.revoke("a");
        if leaves {
            drop(reader);
        }
        p.until("the end of the grant", |p| p.transport.revoke("a").then_some(()));
    }
}

#[test]
fn a_peer_that_says_nothing_is_not_waited_for() {
    let p = Host::tcp_with(LARGE, options(Duration::from_millis(100)));
    let (token, address) = agent(&*p.transport);
    assert!(is_closed(&mut dial(address)));
    // Nor is one that stops amid a frame; between frames there is no end.
    let mut stream = greeted(&*p.transport, NOTIFICATIONS);
    stream.write_all(&frame(2, b"HB:a")[..7]).expect("written");
    assert!(is_closed(&mut stream));
    let mut stream = dial(address);
    stream.write_all(&hello(READS, &token)[..22]).expect("written");
    assert!(is_closed(&mut stream));
}

#[test]
fn who_does_not_know_the_token_is_turned_away() {
    let p = Host::tcp(LARGE);
    let (token, address) = agent(&*p.transport);
    let mut other = token;
    other[15] ^= 1;
    let mut stream = dial(address);
    stream.write_all(&hello(READS, &other)).expect("written");
    assert_eq!(take(&mut stream, 7), b"GBKV\x01\x00\x02");
    assert!(is_closed(&mut stream));
    let mut versions = hello(READS, &token);
    versions[4] = 2;
    let mut stream = dial(address);
    stream.write_all(&versions).expect("written");
    assert_eq!(take(&mut stream, 7), b"GBKV\x01\x00\x01");
    assert!(is_closed(&mut stream));
}

#[test]
fn malformed_reads_are_answered_and_end_the_connection() {
    let (p, _) = large(Duration::from_secs(60));
    let with = |at: usize, bytes: &[u8]| {
        let mut frame = read_frame("a", &[1, 2]);
        frame[at..at + bytes.len()].copy_from_slice(bytes);
        frame
    };
    for bad in [
        with(0, &[9]),
        // A length that would be 4 GiB.
        with(1, &[0xff; 4]),
        // An id beyond the frame; more blocks than there are; more than were sent; no such block.
        with(5, &[200, 0]),
        with(8, &[17, 0, 0, 0]),
        with(8, &[3, 0, 0, 0]),
        with(12, &[16, 0, 0, 0]),
        with(7, &[0xff]),
    ] {
        let mut stream = greeted(&*p.transport, READS);
        stream.write_all(&bad).expect("written");
        assert_eq!(take(&mut stream, 9), answer(2, 0), "{bad:?}");
        assert!(is_closed(&mut stream));
    }
    let mut stream = greeted(&*p.transport, NOTIFICATIONS);
    stream.write_all(&[2, 1, 0, 4, 0]).expect("written");
    assert!(is_closed(&mut stream), "256 KiB and a byte are too long");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    /// Whatever is sent, others are served.
    #[test]
    fn garbage_ends_its_own_connection(
        garbage in prop::collection::vec(any::<u8>(), 0..200),
        greet in prop_oneof![Just(None), Just(Some(READS)), Just(Some(NOTIFICATIONS))],
    ) {
        let shape = Shape::plain(2, 4, 100);
        let mut p = Host::tcp_with(shape, options(Duration::from_millis(50)));
        p.grant("a", [0]);
        let mut stream = match greet {
            Some(role) => greeted(&*p.transport, role),
            None => dial(agent(&*p.transport).1),
        };
        // Closed already, perhaps.
        let _ = stream.write_all(&garbage);
        let _ = stream.shutdown(std::net::Shutdown::Write);
        prop_assert!(is_closed(&mut stream));
        let mut good = greeted(&*p.transport, READS);
        good.write_all(&read_frame("a", &[0])).expect("written");
        prop_assert_eq!(take(&mut good, 9), answer(0, 200));
    }
}

#[test]
fn who_speaks_faster_than_is_listened_waits_and_loses_nothing() {
    let mut p = Host::tcp(Shape::plain(1, 1, 16));
    let mut stream = greeted(&*p.transport, NOTIFICATIONS);
    let said = 2000;
    let frames: Vec<u8> = (0..said).flat_map(|i| frame(2, format!("{i}").as_bytes())).collect();
    stream.write_all(&frames).expect("written");
    assert_eq!(p.hear(said), (0..said).map(|i| format!("{i}")).collect::<Vec<_>>());
    assert!(take(&mut stream, said).iter().all(|byte| *byte == 6));
}
