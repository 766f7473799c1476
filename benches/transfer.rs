//! What a transport makes of a loopback: reads from one pool into another, beside a plain socket
//! and a plain copy of the same bytes, in turns, so that all meet the same machine.
//!
//! Both sides, and what they are compared with, are threads of this process; NIXL is measured where
//! it is found, with the UCX_TLS that is set. The best of all rounds says most on a machine that
//! does other things.

#[path = "../tests/transfer/memory.rs"]
mod memory;

use glassbox::transfer::nixl::{NixlError, NixlOptions, NixlTransport};
use glassbox::transfer::tcp::{TcpOptions, TcpTransport};
use glassbox::transfer::transport::{BlockPair, PeerId, Transport, TransportEvent, Waker};
use memory::{Memory, Shape};
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::mpsc::{Receiver, sync_channel};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

/// What is read at once: blocks of how many bytes.
const CASES: [(usize, usize); 3] = [(1, 64 << 10), (64, 256 << 10), (1, 64 << 20)];

const ROUNDS: usize = 101;

/// A transport, and what its waker fills.
struct Side {
    transport: Box<dyn Transport>,
    memory: Arc<Memory>,
    woken: Receiver<()>,
}

type Start = fn(&Arc<Memory>, Waker) -> Box<dyn Transport>;

impl Side {
    fn new(shape: Shape, start: Start) -> Self {
        let (wake, woken) = sync_channel(1);
        let wake = Mutex::new(wake);
        let waker: Waker = Arc::new(move || {
            // Full: there is something to look at already.
            let _ = wake.lock().expect("not poisoned").try_send(());
        });
        let memory = Memory::new(shape);
        Self { transport: start(&memory, waker), memory, woken }
    }

    fn wait(&mut self, wanted: impl Fn(&TransportEvent) -> bool) {
        let mut events = Vec::new();
        loop {
            self.transport.poll(&mut events);
            let mut found = false;
            for event in events.drain(..) {
                if let TransportEvent::Read { result, .. } = &event {
                    result.as_ref().expect("a success");
                }
                found |= wanted(&event);
            }
            if found {
                return;
            }
            let most = self.transport.poll_interval(true).unwrap_or(Duration::from_secs(60));
            // Woken or not: the next look tells.
            let _ = self.woken.recv_timeout(most);
        }
    }
}

/// Two sides of which one reads the other.
struct Pair {
    p: Side,
    d: Side,
    peer: PeerId,
    blocks: Vec<BlockPair>,
}

impl Pair {
    fn new(start: Start, blocks: usize, block_len: usize) -> Self {
        // Every other block, so that neighbours are not one piece.
        let shape = Shape::plain(1, 2 * blocks, block_len);
        let (mut p, mut d) = (Side::new(shape, start), Side::new(shape, start));
        let peer = d.transport.connect(p.transport.metadata(), &p.memory.regions());
        p.memory.fill(1);
        let numbers: Vec<u32> = (0..blocks as u32).map(|i| 2 * i).collect();
        p.transport.grant(&"a".into(), &numbers);
        let blocks = numbers.iter().map(|&i| BlockPair { local: i, remote: i }).collect();
        Self { p, d, peer: peer.expect("a peer"), blocks }
    }

    fn read(&mut self) -> Duration {
        let begin = Instant::now();
        self.d.transport.read(self.peer, &self.blocks, b"a:1").expect("a read");
        self.d.wait(|event| matches!(event, TransportEvent::Read { .. }));
        let took = begin.elapsed();
        self.p.wait(|event| matches!(event, TransportEvent::Notification(_)));
        took
    }

    /// What was read is there.
    fn check(&self) {
        let (ours, theirs) = (self.d.memory.bytes(), self.p.memory.bytes());
        for pair in &self.blocks {
            let (to, from) =
                (self.d.memory.range(0, pair.local), self.p.memory.range(0, pair.remote));
            assert!(ours[to] == theirs[from], "{pair:?}");
        }
    }

    /// The same bytes by the processor.
    fn copy(&self) -> Duration {
        let (from, to) = (self.p.memory.regions()[0], self.d.memory.regions()[0]);
        let begin = Instant::now();
        for pair in &self.blocks {
            let [from, to] = [from.block_address(pair.remote), to.block_address(pair.local)]
                .map(|address| std::ptr::with_exposed_provenance_mut::<u8>(address as usize));
            // SAFETY: a block of each of two pools, which nobody else uses now.
            unsafe { from.copy_to_nonoverlapping(to, self.d.memory.regions()[0].block_len) };
        }
        begin.elapsed()
    }
}

/// A socket on which one byte asks for `len` others.
struct Socket {
    stream: TcpStream,
    buffer: Vec<u8>,
}

impl Socket {
    fn new(len: usize) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
        let address = listener.local_addr().expect("an address");
        std::thread::spawn(move || {
            let (mut stream, _) = listener.accept().expect("a connection");
            stream.set_nodelay(true).expect("a socket");
            let (bytes, mut asked) = (vec![1; len], [0]);
            while stream.read_exact(&mut asked).is_ok() {
                stream.write_all(&bytes).expect("written");
            }
        });
        let stream = TcpStream::connect(address).expect("a listener");
        stream.set_nodelay(true).expect("a socket");
        Self { stream, buffer: vec![0; len] }
    }

    fn read(&mut self) -> Duration {
        let begin = Instant::now();
        self.stream.write_all(&[0]).expect("written");
        self.stream.read_exact(&mut self.buffer).expect("read");
        begin.elapsed()
    }
}

/// Of one thing over all rounds.
struct Times(Vec<Duration>);

impl Times {
    fn median(&self) -> f64 {
        let mut sorted = self.0.clone();
        sorted.sort_unstable();
        sorted[sorted.len() / 2].as_secs_f64()
    }

    fn best(&self) -> f64 {
        self.0.iter().min().expect("rounds").as_secs_f64()
    }

    fn show(&self, name: &str, bytes: usize) {
        let gigabytes = bytes as f64 / 1e9;
        println!(
            "  {name:<14} median {:>9.1} us {:>6.2} GB/s   best {:>9.1} us {:>6.2} GB/s",
            self.median() * 1e6,
            gigabytes / self.median(),
            self.best() * 1e6,
            gigabytes / self.best(),
        );
    }

    /// How fast this is beside another.
    fn beside(&self, other: &Times) -> String {
        let (median, best) = (other.median() / self.median(), other.best() / self.best());
        format!("median {median:.2}, best {best:.2}")
    }
}

fn measure(name: &str, start: Start) {
    for (blocks, block_len) in CASES {
        let bytes = blocks * block_len;
        let (mut pair, mut socket) = (Pair::new(start, blocks, block_len), Socket::new(bytes));
        pair.read();
        pair.check();
        let mut times = [const { Times(Vec::new()) }; 3];
        // The first rounds make connections and touch memory.
        for round in 0..ROUNDS + 3 {
            let took = [pair.read(), socket.read(), pair.copy()];
            if round >= 3 {
                times.iter_mut().zip(took).for_each(|(times, took)| times.0.push(took));
            }
        }
        let [transport, plain, copy] = &times;
        println!("{name}: {blocks} x {} KiB, {ROUNDS} rounds", block_len >> 10);
        transport.show(name, bytes);
        plain.show("plain socket", bytes);
        copy.show("plain copy", bytes);
        println!("  of a plain socket: {}", transport.beside(plain));
        println!("  of a plain copy:   {}", transport.beside(copy));
    }
}

fn main() {
    measure("tcp", |memory, waker| {
        let options = TcpOptions { host: "127.0.0.1".to_owned(), ..TcpOptions::default() };
        Box::new(TcpTransport::new(memory.kv(), options, waker).expect("a free port"))
    });
    let memory = Memory::new(Shape::plain(1, 1, 4096));
    if let Err(e @ NixlError::Missing { .. }) =
        NixlTransport::new(memory.kv(), NixlOptions::default(), Arc::new(|| {}))
    {
        println!("nixl is not measured: {e}");
        return;
    }
    measure("nixl", |memory, waker| {
        let transport = NixlTransport::new(memory.kv(), NixlOptions::default(), waker);
        Box::new(transport.unwrap_or_else(|e| panic!("{e}")))
    });
}
