//! KV on its way between a device and the host, and from pool to pool over TCP.

use crate::cpu_support::limits;
use crate::gpu::{apart, configure, dims, random};
use crate::memory::{Memory, Shape};
use glassbox::runner::Backend;
use glassbox::runner::cuda::CudaBackend;
use glassbox::transfer::tcp::{TcpOptions, TcpTransport};
use glassbox::transfer::transport::{
    BlockPair, PeerId, ReadStats, Transport, TransportError, TransportEvent,
};
use glassbox::types::{BlockId, KvLane, KvMemory, KvPiece, KvPlace};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, channel};
use std::time::Duration;

/// Nothing here should take long.
const LONG: Duration = Duration::from_secs(60);

fn pool() -> CudaBackend {
    let dims = dims();
    random(&dims, limits(&dims, 64, 16, 4), true)
}

fn memory_of(backend: &CudaBackend) -> KvMemory {
    backend.kv_memory().expect("a pool")
}

/// The same pool in main memory.
fn beside(there: &KvMemory) -> (Arc<Memory>, KvMemory) {
    let first = there.regions[0];
    let memory = Memory::new(Shape::plain(there.regions.len(), first.num_blocks, first.block_len));
    let kv = memory.kv();
    (memory, kv)
}

fn lane(memory: &KvMemory) -> Box<dyn KvLane> {
    memory.copies.clone().expect("of a device").lane(LONG).expect("a lane")
}

fn piece(memory: &KvMemory, region: usize, block: BlockId) -> KvPiece {
    let region = memory.regions[region];
    KvPiece { address: region.block_address(block), len: region.block_len }
}

/// Bytes that say where they belong and what filled them.
fn bytes(seed: u8, region: usize, block: BlockId, len: usize) -> Vec<u8> {
    (0..len).map(|at| seed ^ (region * 31 + block as usize * 7 + at + at / 251) as u8).collect()
}

/// Every block, by one small copy each.
fn each(memory: &KvMemory, mut visit: impl FnMut(usize, BlockId, KvPiece)) {
    for (region, of) in memory.regions.iter().enumerate() {
        (0..of.num_blocks as BlockId)
            .for_each(|block| visit(region, block, piece(memory, region, block)));
    }
}

fn fill(memory: &KvMemory, seed: u8) {
    let mut lane = lane(memory);
    each(memory, |region, block, piece| {
        let to = lane.buffer(0).expect("a buffer");
        to[..piece.len].copy_from_slice(&bytes(seed, region, block, piece.len));
        lane.store(0, &[piece]).expect("a copy");
    });
}

/// What each block holds must be what `seed` fills it with, where it says something.
fn check(memory: &KvMemory, seed: impl Fn(BlockId) -> Option<u8>) {
    let mut lane = lane(memory);
    each(memory, |region, block, piece| {
        let Some(seed) = seed(block) else { return };
        lane.fetch(1, &[piece]).expect("a copy");
        let found = &lane.buffer(1).expect("a buffer")[..piece.len];
        assert!(found == bytes(seed, region, block, piece.len), "{region} {block}");
    });
}

struct Side {
    transport: TcpTransport,
    woken: Receiver<()>,
}

impl Side {
    fn new(memory: &KvMemory) -> Self {
        let (wake, woken) = channel();
        let options = TcpOptions { host: "127.0.0.1".to_owned(), ..TcpOptions::default() };
        // Nobody listens any more when it ends.
        let waker = Arc::new(move || {
            let _ = wake.send(());
        });
        let transport = TcpTransport::new(memory.clone(), options, waker).expect("a free port");
        Self { transport, woken }
    }

    fn meet(&mut self, peer: &Side, memory: &KvMemory) -> PeerId {
        self.transport.connect(peer.transport.metadata(), &memory.regions).expect("a peer")
    }

    fn read(
        &mut self,
        peer: PeerId,
        blocks: &[(BlockId, BlockId)],
    ) -> Result<ReadStats, TransportError> {
        let pair = |&(remote, local): &(BlockId, BlockId)| BlockPair { local, remote };
        let pairs: Vec<BlockPair> = blocks.iter().map(pair).collect();
        self.transport.read(peer, &pairs, b"a:1").expect("a read");
        loop {
            let mut events = Vec::new();
            self.transport.poll(&mut events);
            for event in events {
                if let TransportEvent::Read { result, .. } = event {
                    return result;
                }
            }
            self.woken.recv_timeout(LONG).expect("an end");
        }
    }
}

/// All blocks of one pool into another, and some into other places.
fn moves(from: &KvMemory, to: &KvMemory) {
    let last = from.regions[0].num_blocks as BlockId - 1;
    let (mut p, mut d) = (Side::new(from), Side::new(to));
    p.transport.grant(&"a".into(), &(0..=last).collect::<Vec<_>>());
    let peer = d.meet(&p, from);
    let all: Vec<(BlockId, BlockId)> = (0..=last).map(|block| (block, block)).collect();
    let stats = d.read(peer, &all).expect("a read");
    let len = from.regions[0].block_len as u64;
    assert_eq!(stats.bytes, (u64::from(last) + 1) * from.regions.len() as u64 * len);
    // The first and the last one, turned around, and one from the middle.
    let some = [(last, 0), (0, last), (5, 6)];
    d.read(peer, &some).expect("a read");
}

/// Larger than what it goes through.
fn large() -> CudaBackend {
    let dims = dims();
    random(&dims, limits(&dims, 64, 16, 60), true)
}

#[test]
fn blocks_move_from_gpu_to_gpu() {
    let (p, d) = (large(), large());
    let (from, to) = (memory_of(&p), memory_of(&d));
    assert!(from.regions.iter().all(|region| region.place == KvPlace::Gpu(0)));
    assert!(from.regions[0].len() > 2 << 20, "more than a buffer");
    fill(&from, 3);
    fill(&to, 9);
    moves(&from, &to);
    let last = from.regions[0].num_blocks as BlockId - 1;
    let mut lane = lane(&to);
    each(&to, |region, block, piece| {
        let source = [(0, last), (last, 0), (6, 5)].into_iter().find(|(to, _)| *to == block);
        let source = source.map_or(block, |(_, from)| from);
        lane.fetch(0, &[piece]).expect("a copy");
        let found = &lane.buffer(0).expect("a buffer")[..piece.len];
        assert!(found == bytes(3, region, source, piece.len), "{region} {block}");
    });
    check(&from, |_| Some(3));
}

#[test]
fn blocks_move_between_a_gpu_and_main_memory() {
    let backend = pool();
    let there = memory_of(&backend);
    let (here, kv) = beside(&there);
    fill(&there, 3);
    moves(&there, &kv);
    let found = here.bytes();
    for region in 0..there.regions.len() {
        let len = there.regions[0].block_len;
        assert!(found[here.range(region, 6)] == bytes(3, region, 5, len));
        assert!(found[here.range(region, 2)] == bytes(3, region, 2, len));
    }
    // And back, over what was there.
    fill(&there, 9);
    let (mut p, mut d) = (Side::new(&kv), Side::new(&there));
    p.transport.grant(&"a".into(), &[1, 2, 3]);
    let peer = d.meet(&p, &kv);
    d.read(peer, &[(1, 1), (2, 2), (3, 3)]).expect("a read");
    check(&there, |block| Some(if (1..=3).contains(&block) { 3 } else { 9 }));
}

#[test]
fn lanes_are_few_and_come_back() {
    let backend = pool();
    let copies = memory_of(&backend).copies.expect("of a device");
    let take_all = || {
        let mut lanes = Vec::new();
        let why = loop {
            match copies.clone().lane(Duration::ZERO) {
                Ok(lane) => lanes.push(lane),
                Err(why) => break why,
            }
        };
        assert!(why.starts_with("all ways to the GPU were in use"), "{why}");
        lanes
    };
    let lanes = take_all();
    let most = lanes.len();
    assert!((2..=16).contains(&most), "{most}");
    drop(lanes);
    // Who waits has one as soon as another gives it back.
    let mut lanes = take_all();
    assert_eq!(lanes.len(), most);
    std::thread::scope(|scope| {
        let waits = scope.spawn(|| copies.clone().lane(LONG).map(drop));
        lanes.pop();
        waits.join().expect("no panic").expect("a lane");
    });
}

/// As when a peer is gone in the middle: nobody waits for its last copies but who lets go.
#[test]
fn a_lane_that_is_let_go_has_done_what_it_was_asked_for() {
    let backend = pool();
    let memory = memory_of(&backend);
    let piece = piece(&memory, 0, 3);
    let (mut writer, mut reader) = (lane(&memory), lane(&memory));
    let wanted = bytes(3, 0, 3, piece.len);
    writer.buffer(0).expect("a buffer")[..piece.len].copy_from_slice(&wanted);
    writer.store(0, &[piece]).expect("a copy");
    drop(writer);
    reader.fetch(0, &[piece]).expect("a copy");
    assert!(reader.buffer(0).expect("a buffer")[..piece.len] == wanted);
}

#[test]
fn what_is_not_of_the_pool_is_not_copied() {
    let backend = pool();
    let memory = memory_of(&backend);
    let (first, last) = (memory.regions[0], memory.regions[memory.regions.len() - 1]);
    let end = last.address + last.len() as u64;
    for wrong in [
        KvPiece { address: first.address - 1, len: 1 },
        KvPiece { address: end.next_multiple_of(256), len: 1 },
        KvPiece { address: end - 1, len: 1 << 20 },
        KvPiece { address: u64::MAX, len: 2 },
    ] {
        let mut lane = lane(&memory);
        let fetch = std::panic::AssertUnwindSafe(|| lane.fetch(0, &[wrong]));
        std::panic::catch_unwind(fetch).expect_err("it is refused");
    }
}

#[test]
fn a_copy_that_fails_ends_the_read_and_nothing_else() {
    apart("copies::a_copy_that_fails_ends_the_read_and_nothing_else", "", || {
        let (p, d) = (pool(), pool());
        let (from, to) = (memory_of(&p), memory_of(&d));
        fill(&from, 3);
        fill(&to, 9);
        let (mut server, mut reader) = (Side::new(&from), Side::new(&to));
        server.transport.grant(&"a".into(), &[1, 2]);
        for (failing, on_reader) in [
            ("cuMemcpyHtoDAsync:1:1", true),
            ("cuMemcpyHtoDAsync:2:1", true),
            ("cuMemcpyDtoHAsync:1:1", false),
            ("cuMemcpyDtoHAsync:2:1", false),
        ] {
            let peer = reader.meet(&server, &from);
            configure(&format!("fail={failing}"));
            let error = reader.read(peer, &[(1, 1)]).expect_err("it fails");
            let call = failing.split(':').next().expect("a name");
            let said = format!("KV could not be copied: {call}: CUDA_ERROR_INVALID_VALUE");
            match &error {
                TransportError::Copy(why) => assert!(on_reader && why.starts_with(&said), "{why}"),
                other => assert!(!on_reader, "{failing}: {other}"),
            }
            // Whatever came, the blocks around it are as they were.
            check(&to, |block| (block != 1).then_some(9));
            // A peer is not to blame for what fails here.
            let peer = match on_reader {
                true => peer,
                false => {
                    reader.transport.disconnect(peer);
                    reader.meet(&server, &from)
                }
            };
            reader.read(peer, &[(1, 1)]).expect("it was that one copy");
            check(&to, |block| Some(if block == 1 { 3 } else { 9 }));
            reader.transport.disconnect(peer);
        }
        while !server.transport.revoke("a") {
            server.woken.recv_timeout(LONG).expect("nothing stays under way");
        }
    });
}
