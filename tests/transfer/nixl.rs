//! The real NIXL, between processes, over shared memory and over TCP alone.
//!
//! Runs where GLASSBOX_NIXL_LIB names the library, and, with GLASSBOX_PEERS, must find one.

use crate::host::{Host, NO_THREADS, nixl_options};
use crate::memory::Shape;
use crate::process::{Process, again};
use glassbox::transfer::nixl::{NixlError, NixlOptions, NixlTransport};
use glassbox::transfer::transport::{BlockPair, TransportError};
use glassbox::types::KvRegion;
use std::os::unix::process::ExitStatusExt;
use std::sync::Arc;
use std::time::Duration;

const SHAPE: Shape = Shape::plain(4, 64, 1 << 16);

/// A killed peer is noticed within this.
const SOON: Duration = Duration::from_secs(1);

fn is_wanted() -> bool {
    ["GLASSBOX_NIXL_LIB", "GLASSBOX_PEERS"].iter().any(|name| std::env::var_os(name).is_some())
}

/// UCX reads its variables when it is opened, so each setting has a process of its own.
fn with_transports(test: &str, transports: &str, threads: bool) {
    if !is_wanted() {
        return;
    }
    let mut reader = again(test);
    reader.env("UCX_TLS", transports).env(READER, "1");
    if !threads {
        reader.env(NO_THREADS, "1");
    }
    let output = reader.output().expect("a process");
    let (out, err) = (&output.stdout, &output.stderr);
    let text = format!("{}\n{}", String::from_utf8_lossy(out), String::from_utf8_lossy(err));
    assert!(output.status.success() && text.contains("1 passed"), "{transports}: {text}");
}

/// Set in the processes of [`with_transports`].
const READER: &str = "GLASSBOX_TEST_READER";

fn is_reader() -> bool {
    std::env::var_os(READER).is_some()
}

#[test]
fn shared_memory() {
    with_transports("nixl::reads_and_ends", "tcp,self,sm", true);
}

#[test]
fn shared_memory_and_no_threads() {
    with_transports("nixl::reads_and_ends", "tcp,self,sm", false);
}

#[test]
fn tcp_alone() {
    with_transports("nixl::reads_and_ends", "tcp,self", true);
}

#[test]
fn tcp_alone_and_no_threads() {
    with_transports("nixl::reads_and_ends", "tcp,self", false);
}

/// Not a test of its own: D, where [`with_transports`] starts it, and nothing otherwise.
#[test]
fn reads_and_ends() {
    if !is_reader() {
        return;
    }
    let mut p = Process::start("nixl", SHAPE);
    let mut d = Host::nixl(SHAPE);
    lies_are_refused(&mut d, &p);
    let peer = d.transport.connect(&p.metadata, &p.regions).expect("a peer");
    let again = d.transport.connect(&p.metadata, &p.regions);
    assert!(again.is_err(), "it is known");

    let blocks: Vec<u32> = (0..64).map(|i| i * 37 % 64).collect();
    let stats = d.read(peer, "a", &blocks).expect("a success");
    assert_eq!((stats.bytes, stats.descriptors), (16 << 20, 256));
    assert!(stats.transfer > Duration::ZERO);
    p.check(&d.memory);
    assert_eq!(p.heard(), "a:1");

    // Blocks go where they are told, several reads at once.
    d.memory.fill(5);
    let mut expected = d.memory.bytes();
    let theirs = p.memory().bytes();
    let pairs = |first: u32| [(first, 63 - first), (first + 1, first)];
    let reads: Vec<_> = (0..32)
        .map(|i| {
            let pairs = pairs(2 * i).map(|(local, remote)| BlockPair { local, remote });
            for (region, pair) in (0..4).flat_map(|region| pairs.map(|pair| (region, pair))) {
                expected[d.memory.range(region, pair.local)]
                    .copy_from_slice(&theirs[d.memory.range(region, pair.remote)]);
            }
            d.transport.read(peer, &pairs, format!("r{i}:1").as_bytes()).expect("a read")
        })
        .collect();
    for read in reads {
        d.result(read).expect("a success");
    }
    assert!(d.memory.bytes() == expected);
    let mut heard: Vec<String> = (0..32).map(|_| p.heard()).collect();
    heard.sort();
    let mut wanted: Vec<String> = (0..32).map(|i| format!("r{i}:1")).collect();
    wanted.sort();
    assert_eq!(heard, wanted);

    for i in 0..100 {
        d.transport.notify(peer, format!("HB:{i}").as_bytes()).expect("a peer");
    }
    (0..100).for_each(|i| assert_eq!(p.heard(), format!("HB:{i}")));

    given_up(&mut d, &mut p);
    killed(&mut d, p);
    stopped();
    bereaved();
}

/// D, in a process of its own: P's metadata, and the addresses of its regions.
const READS_ON: &str = "GLASSBOX_TEST_READS_ON";

/// Not a test of its own: a D that reads until it is killed, where [`bereaved`] starts it.
#[test]
fn reads_on() {
    let Ok(text) = std::env::var(READS_ON) else { return };
    let (metadata, regions) = text.split_once('|').expect("two lists");
    let (metadata, regions) = crate::process::parse(metadata, regions, SHAPE);
    let mut d = Host::nixl(SHAPE);
    let peer = d.transport.connect(&metadata, &regions).expect("a peer");
    loop {
        d.read(peer, "d", &(0..64).collect::<Vec<_>>()).expect("a success");
    }
}

/// P goes on when its D is killed amid a read.
///
/// Over TCP alone UCX emulates reads by messages, and aborts the process that answers one when its
/// `send` is the first to learn of the death (`ucp_request_try_send`: "Endpoint timeout"). Nothing
/// that UCX can be told keeps it from that, so there P may end so, and in no other way.
fn bereaved() {
    let mut p = Process::start("nixl", SHAPE);
    for _ in 0..3 {
        if survives(&mut p).is_none() {
            let ended = p.end();
            assert!(!shares_memory() && ended.signal() == Some(libc::SIGABRT), "{ended}");
            p = Process::start("nixl", SHAPE);
        }
    }
}

/// A D reads and is killed, and another reads; `None`: P does not go on.
fn survives(p: &mut Process) -> Option<()> {
    let mut reader = again("nixl::reads_on");
    let mut reader = reader.env(READS_ON, p.text()).spawn().expect("a process");
    let heard = (0..3).try_for_each(|_| p.hears().map(|text| assert_eq!(text, "d:1")));
    reader.kill().expect("it was not waited for");
    reader.wait().expect("it ends");
    heard?;
    let mut d = Host::nixl(SHAPE);
    let peer = d.transport.connect(&p.metadata, &p.regions).ok()?;
    d.read(peer, "a", &(0..64).collect::<Vec<_>>()).ok()?;
    p.check(&d.memory);
    while p.hears()? != "a:1" {}
    Some(())
}

/// Whether this process and its peers read each other's memory, and not only over sockets.
fn shares_memory() -> bool {
    std::env::var("UCX_TLS").is_ok_and(|transports| transports.contains("sm"))
}

/// A peer that neither answers nor ends is given up, for good, and others are not.
fn stopped() {
    let (mut p, mut other) = (Process::start("nixl", SHAPE), Process::start("nixl", SHAPE));
    let options = NixlOptions { stall: Duration::from_secs(5), ..nixl_options() };
    let mut d = Host::nixl_with(SHAPE, options);
    let peer = d.transport.connect(&p.metadata, &p.regions).expect("a peer");
    let second = d.transport.connect(&other.metadata, &other.regions).expect("a peer");
    d.read(peer, "a", &[1]).expect("a success");
    d.read(second, "a", &[2]).expect("a success");
    p.stop();
    let begun = d.try_begin(peer, "a", &[3]);
    let result = begun.and_then(|read| d.result(read));
    // The memory of a process that sleeps can be read, where it is shared.
    match &result {
        Ok(_) => assert!(shares_memory()),
        Err(why) => assert!(matches!(why, TransportError::Disconnected(_)), "{why:?}"),
    }
    let mut expected = d.memory.bytes();
    d.transport.disconnect(peer);
    // What is over stays so, also when the peer goes on.
    p.go_on();
    d.read(second, "a", &[5]).expect("a success");
    assert_eq!([other.heard(), other.heard()], ["a:1", "a:1"]);
    let p = Process::start("nixl", SHAPE);
    let peer = d.transport.connect(&p.metadata, &p.regions).expect("a peer");
    d.read(peer, "a", &[6]).expect("a success");
    let theirs = p.memory().bytes();
    for (region, block) in (0..4).flat_map(|region| [(region, 5), (region, 6)]) {
        let range = d.memory.range(region, block);
        expected[range.clone()].copy_from_slice(&theirs[range]);
    }
    assert!(d.memory.bytes() == expected);
}

fn lies_are_refused(d: &mut Host, p: &Process) {
    let mut connect = |metadata: &[u8], regions: &[KvRegion]| {
        let outcome = d.transport.connect(metadata, regions);
        assert!(matches!(outcome, Err(TransportError::Failed(_))), "{outcome:?}");
    };
    connect(b"", &p.regions);
    connect(b"nixlSerDes|and so on", &p.regions);
    connect(&p.metadata, &p.regions[1..]);
    connect(&p.metadata, &[]);
    let changed = |change: fn(&mut KvRegion)| {
        let mut regions = p.regions.clone();
        regions.iter_mut().for_each(change);
        regions
    };
    connect(&p.metadata, &changed(|region| region.block_len *= 2));
    connect(&p.metadata, &changed(|region| region.num_blocks = usize::MAX));
    // Blocks where the peer has no memory.
    connect(&p.metadata, &changed(|region| region.address = 4096));
    connect(&p.metadata, &changed(|region| region.num_blocks *= 5));
}

/// Reads that nobody waits for any more, and a peer that is forgotten and met again.
fn given_up(d: &mut Host, p: &mut Process) {
    let blocks: Vec<u32> = (0..64).collect();
    let peer = d.transport.connect(&p.metadata, &p.regions);
    assert!(peer.is_err(), "it is known");
    let known = glassbox::transfer::transport::PeerId(0);
    let read = d.begin(known, "a", &blocks);
    d.transport.cancel(read);
    assert!(d.result(read).is_err());
    assert_eq!(p.heard(), "a:1");
    let read = d.begin(known, "b", &blocks);
    d.transport.disconnect(known);
    assert!(d.result(read).is_err());
    let before = d.memory.bytes();
    let gone = d.transport.read(known, &[BlockPair { local: 0, remote: 0 }], b"a:1");
    assert!(matches!(gone, Err(TransportError::Disconnected(_))), "{gone:?}");
    let peer = d.transport.connect(&p.metadata, &p.regions).expect("a peer");
    assert!(d.memory.bytes() == before);
    d.memory.fill(6);
    d.read(peer, "c", &blocks).expect("a success");
    p.check(&d.memory);
    while p.heard() != "c:1" {}
    d.transport.disconnect(peer);
}

fn killed(d: &mut Host, mut p: Process) {
    let peer = d.transport.connect(&p.metadata, &p.regions).expect("a peer");
    let blocks: Vec<u32> = (0..64).collect();
    d.read(peer, "a", &blocks).expect("a success");
    let mut killed = None;
    let (why, at) = loop {
        let begun = d.try_begin(peer, "a", &blocks);
        let at = *killed.get_or_insert_with(|| p.kill());
        if let Err(why) = begun.and_then(|read| d.result(read)) {
            break (why, at);
        }
    };
    assert!(at.elapsed() < SOON, "{:?}", at.elapsed());
    assert!(matches!(why, TransportError::Disconnected(_)), "{why:?}");
    assert!(d.transport.notify(peer, b"HB:a").is_err());
    d.transport.disconnect(peer);
    // Its successor is another, wherever it is.
    let p = Process::start("nixl", SHAPE);
    let peer = d.transport.connect(&p.metadata, &p.regions).expect("a peer");
    d.memory.fill(7);
    d.read(peer, "a", &blocks).expect("a success");
    p.check(&d.memory);
}

#[test]
fn without_the_library_there_is_a_reason_and_a_remedy() {
    let options = || NixlOptions {
        library: Some("/nowhere/libnixl_capi.so".into()),
        ..NixlOptions::default()
    };
    let memory = crate::memory::Memory::new(SHAPE);
    let outcome = NixlTransport::new(memory.kv(), options(), Arc::new(|| {}));
    let Err(why @ NixlError::Missing { .. }) = outcome else { panic!("a library") };
    let text = why.to_string();
    assert!(text.contains("/nowhere/libnixl_capi.so: "), "{text}");
    assert!(text.contains("GLASSBOX_NIXL_LIB"), "{text}");
    // Something else under that name.
    let other = NixlOptions { library: Some("libc.so.6".into()), ..options() };
    let outcome = NixlTransport::new(memory.kv(), other, Arc::new(|| {}));
    let Err(why @ NixlError::Symbols { .. }) = outcome else { panic!("NIXL") };
    assert!(why.to_string().contains("nixl_capi_"), "{why}");
}
