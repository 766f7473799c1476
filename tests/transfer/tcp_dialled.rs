//! D of tcp, when P is not as it should be.

use crate::host::{Host, options};
use crate::memory::Shape;
use crate::process::Process;
use crate::raw::{FakeServer, WELCOME, answer, is_closed, metadata, read_frame, take, take_read};
use glassbox::transfer::transport::{BlockPair, PeerId, TransportError};
use std::io::Write;
use std::net::TcpStream;
use std::time::{Duration, Instant};

const SHAPE: Shape = Shape::plain(2, 4, 1000);
const LONG: Duration = Duration::from_secs(60);

fn reader(server: &FakeServer, stall: Duration) -> (Host, PeerId) {
    let mut d = Host::tcp_with(SHAPE, options(stall));
    let theirs = crate::memory::Memory::new(SHAPE).regions();
    let metadata = metadata(server.port(), 2, 4, 1000);
    let peer = d.transport.connect(&metadata, &theirs).expect("a peer");
    (d, peer)
}

/// A read of block 1 for "a" with what `serve` does about it.
fn served(stall: Duration, serve: impl FnOnce(&mut TcpStream)) -> (Host, PeerId, TransportError) {
    let server = FakeServer::new();
    let (mut d, peer) = reader(&server, stall);
    let read = d.begin(peer, "a", &[1]);
    let (mut reads, _notifications) = server.welcome_both();
    assert_eq!(take_read(&mut reads), read_frame("a", &[1]));
    serve(&mut reads);
    let why = d.result(read).expect_err("a failure");
    (d, peer, why)
}

fn is_gone(d: &mut Host, peer: PeerId) {
    let again = d.transport.read(peer, &[BlockPair { local: 1, remote: 1 }], b"a:1");
    assert!(again.is_err());
    assert!(d.transport.notify(peer, b"HB:a").is_err());
}

#[test]
fn a_peer_that_stalls_is_gone() {
    let stall = Duration::from_millis(100);
    for bytes in [vec![], answer(0, 2000), [answer(0, 2000), vec![1; 1500]].concat()] {
        let mut kept = None;
        let begin = Instant::now();
        let (mut d, peer, why) = served(stall, |reads| {
            reads.write_all(&bytes).expect("written");
            kept = reads.try_clone().ok();
        });
        assert!(matches!(why, TransportError::Disconnected(_)), "{why:?}");
        assert!(begin.elapsed() > stall);
        is_gone(&mut d, peer);
        assert!(is_closed(&mut kept.expect("a connection")));
    }
}

#[test]
fn a_peer_that_closes_is_gone() {
    for bytes in [vec![], answer(0, 2000), [answer(0, 2000), vec![1; 1999]].concat()] {
        let (mut d, peer, why) = served(LONG, |reads| {
            reads.write_all(&bytes).expect("written");
            reads.shutdown(std::net::Shutdown::Both).expect("open");
        });
        assert!(matches!(why, TransportError::Disconnected(_)), "{why:?}");
        is_gone(&mut d, peer);
    }
}

#[test]
fn a_peer_that_lies_is_gone() {
    for bytes in [answer(0, 1999), answer(0, u64::MAX), answer(3, 0), answer(2, 0)] {
        let (mut d, peer, why) = served(LONG, |reads| reads.write_all(&bytes).expect("written"));
        assert!(matches!(why, TransportError::Failed(_)), "{why:?}");
        is_gone(&mut d, peer);
    }
}

#[test]
fn a_peer_that_is_somebody_else_is_gone() {
    let versions = b"GBKV\x02\x00\x00";
    for welcome in [b"HTTP/1.".as_slice(), b"GBKV\x01\x00\x02", b"GBKV\x01\x00\x09", versions] {
        let server = FakeServer::new();
        let (mut d, peer) = reader(&server, LONG);
        let (mut stream, _) = server.accept();
        stream.write_all(welcome).expect("written");
        d.until("the end of the peer", |d| d.transport.notify(peer, b"HB:a").err());
        is_gone(&mut d, peer);
    }
}

#[test]
fn nobody_where_the_peer_was() {
    let server = FakeServer::new();
    let address = server.port();
    drop(server);
    let mut d = Host::tcp(SHAPE);
    let theirs = crate::memory::Memory::new(SHAPE).regions();
    let peer = d.transport.connect(&metadata(address, 2, 4, 1000), &theirs).expect("a way");
    let why = d.until("an error", |d| d.transport.notify(peer, b"HB:a").err());
    assert!(matches!(why, TransportError::Disconnected(_)), "{why:?}");
}

#[test]
fn a_read_that_is_given_up_writes_nothing_more_and_others_go_on() {
    let server = FakeServer::new();
    let (mut d, peer) = reader(&server, LONG);
    let first = d.begin(peer, "a", &[1]);
    let (mut reads, _notifications) = server.welcome_both();
    take_read(&mut reads);
    reads.write_all(&[answer(0, 2000), vec![1; 500]].concat()).expect("written");
    let second = d.begin(peer, "b", &[2]);
    let (mut others, _) = server.accept();
    others.write_all(WELCOME).expect("written");
    take_read(&mut others);
    d.transport.cancel(first);
    let why = d.result(first).expect_err("a failure");
    assert!(matches!(why, TransportError::Failed(_)), "{why:?}");
    let before = d.memory.bytes();
    // Refused sooner or later, and never read.
    let _ = reads.write_all(&[2; 1500]);
    assert!(is_closed(&mut reads));
    assert!(d.memory.bytes() == before);
    others.write_all(&[answer(0, 2000), vec![5; 2000]].concat()).expect("written");
    d.result(second).expect("a success");
    assert_eq!(d.memory.bytes()[d.memory.range(1, 2)], [5; 1000]);
    // Over already: nothing happens.
    d.transport.cancel(second);
}

#[test]
fn a_read_that_waits_for_a_connection_is_given_up_at_once() {
    let server = FakeServer::new();
    let mut d = Host::tcp_with(
        SHAPE,
        glassbox::transfer::tcp::TcpOptions { connections: 1, ..options(LONG) },
    );
    let theirs = crate::memory::Memory::new(SHAPE).regions();
    let metadata = metadata(server.port(), 2, 4, 1000);
    let peer = d.transport.connect(&metadata, &theirs).expect("a peer");
    let (first, second, third) =
        (d.begin(peer, "a", &[1]), d.begin(peer, "b", &[2]), d.begin(peer, "c", &[3]));
    let (mut reads, mut notifications) = server.welcome_both();
    take_read(&mut reads);
    d.transport.cancel(second);
    d.result(second).expect_err("a failure");
    reads.write_all(&[answer(0, 2000), vec![5; 2000]].concat()).expect("written");
    d.result(first).expect("a success");
    assert_eq!(take_read(&mut reads), read_frame("c", &[3]));
    assert_eq!(take(&mut notifications, 8), b"\x02\x03\x00\x00\x00a:1");
    // Forgetting the peer ends the rest.
    d.transport.disconnect(peer);
    let why = d.result(third).expect_err("a failure");
    assert!(matches!(why, TransportError::Disconnected(_)), "{why:?}");
    assert!(is_closed(&mut reads));
}

#[test]
fn a_process_that_is_killed_is_gone_at_once() {
    let shape = Shape::plain(4, 64, 1 << 18);
    let mut p = Process::start("tcp", shape);
    let mut d = Host::tcp(shape);
    let peer = d.transport.connect(&p.metadata, &p.regions).expect("a peer");
    let blocks: Vec<u32> = (0..64).collect();
    d.read(peer, "a", &blocks).expect("a success");
    p.check(&d.memory);
    assert_eq!(p.heard(), "a:1");
    let mut killed = None;
    loop {
        let reads = [d.begin(peer, "a", &blocks), d.begin(peer, "a", &blocks)];
        let at = *killed.get_or_insert_with(|| p.kill());
        let results = reads.map(|read| d.result(read));
        if let Some(why) = results.into_iter().find_map(Result::err) {
            assert!(at.elapsed() < Duration::from_secs(1), "{:?}", at.elapsed());
            assert!(matches!(why, TransportError::Disconnected(_)), "{why:?}");
            break;
        }
    }
    is_gone(&mut d, peer);
}
