//! A peer in a process of its own: this test program, started again.

use crate::host::Host;
use crate::memory::{Memory, Shape};
use glassbox::types::{KvPlace, KvRegion};
use std::io::{BufRead, BufReader};
use std::process::{Child, ChildStdin, ChildStdout, Command, ExitStatus, Stdio};
use std::sync::Arc;
use std::time::Instant;

/// What the process is: the transport, and the shape of its pool.
const PEER: &str = "GLASSBOX_TEST_PEER";

/// What its memory is filled with.
const SEED: u64 = 11;

pub struct Process {
    child: Child,
    /// Closed, it ends the process.
    input: Option<ChildStdin>,
    output: BufReader<ChildStdout>,
    shape: Shape,
    pub metadata: Vec<u8>,
    pub regions: Vec<KvRegion>,
}

/// This program once more, for one of its tests.
pub fn again(test: &str) -> Command {
    let mut command = Command::new(std::env::current_exe().expect("this program"));
    command.args([test, "--exact", "--nocapture"]);
    command
}

/// Metadata and regions, out of lists of numbers.
pub fn parse(metadata: &str, addresses: &str, shape: Shape) -> (Vec<u8>, Vec<KvRegion>) {
    let number = |text: &str| text.parse::<u64>().expect("a number");
    let Shape { blocks, block_len, .. } = shape;
    let region = |address: &str| KvRegion {
        place: KvPlace::Main,
        address: number(address),
        block_len,
        stride: block_len,
        num_blocks: blocks,
    };
    let metadata = metadata.split(' ').map(|byte| number(byte) as u8).collect();
    (metadata, addresses.split(' ').map(region).collect())
}

/// The lists of numbers.
fn words(metadata: &[u8], regions: &[KvRegion]) -> [String; 2] {
    let join = |numbers: &mut dyn Iterator<Item = u64>| {
        numbers.map(|number| number.to_string()).collect::<Vec<_>>().join(" ")
    };
    let metadata = join(&mut metadata.iter().map(|&byte| byte.into()));
    [metadata, join(&mut regions.iter().map(|region| region.address))]
}

impl Process {
    /// Grants all blocks to the request "a".
    pub fn start(transport: &str, shape: Shape) -> Self {
        let Shape { regions, blocks, block_len, .. } = shape;
        let mut child = again("process::is_a_peer")
            .env(PEER, format!("{transport} {regions} {blocks} {block_len}"))
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("a process");
        let (input, output) = (child.stdin.take(), child.stdout.take().expect("piped"));
        let mut process = Self {
            child,
            input,
            output: BufReader::new(output),
            shape,
            metadata: Vec::new(),
            regions: Vec::new(),
        };
        let (metadata, regions) = (process.line("metadata "), process.line("regions "));
        (process.metadata, process.regions) = parse(&metadata, &regions, shape);
        process
    }

    /// The rest of the next line that begins so; `None`: it has ended.
    fn next_line(&mut self, start: &str) -> Option<String> {
        loop {
            let mut line = String::new();
            let read = self.output.read_line(&mut line).expect("text");
            if read == 0 {
                return None;
            }
            if let Some((_, rest)) = line.split_once(start) {
                return Some(rest.trim_end().to_owned());
            }
        }
    }

    fn line(&mut self, start: &str) -> String {
        self.next_line(start).unwrap_or_else(|| panic!("the peer ended before {start}"))
    }

    /// The next notification there.
    pub fn heard(&mut self) -> String {
        self.line("heard ")
    }

    /// The same; `None`: it has ended.
    pub fn hears(&mut self) -> Option<String> {
        self.next_line("heard ")
    }

    /// Lets it end, if it has not; how it did.
    pub fn end(mut self) -> ExitStatus {
        self.input.take();
        self.child.wait().expect("it ends")
    }

    /// Its metadata and regions, for [`parse`], with `|` between.
    pub fn text(&self) -> String {
        words(&self.metadata, &self.regions).join("|")
    }

    /// What its memory holds.
    pub fn memory(&self) -> Arc<Memory> {
        let memory = Memory::new(self.shape);
        memory.fill(SEED);
        memory
    }

    /// All of its memory is here.
    pub fn check(&self, memory: &Memory) {
        assert!(memory.bytes() == self.memory().bytes());
    }

    /// Lets it do nothing any more.
    pub fn stop(&mut self) {
        let (child, mut status) = (self.child.id() as i32, 0);
        // SAFETY: a signal to a child that was not waited for, and room for what became of it.
        let stopped = unsafe {
            assert_eq!(libc::kill(child, libc::SIGSTOP), 0);
            libc::waitpid(child, &mut status, libc::WUNTRACED)
        };
        assert!(stopped == child && libc::WIFSTOPPED(status));
    }

    /// Lets it go on.
    pub fn go_on(&mut self) {
        // SAFETY: a signal to a child that was not waited for.
        assert_eq!(unsafe { libc::kill(self.child.id() as i32, libc::SIGCONT) }, 0);
    }

    /// Kills it; when.
    pub fn kill(&mut self) -> Instant {
        self.child.kill().expect("it runs");
        Instant::now()
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // Dead already, perhaps.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Not a test of its own: a peer, where [`Process`] starts it, and nothing otherwise.
#[test]
fn is_a_peer() {
    let Ok(text) = std::env::var(PEER) else { return };
    let fields: Vec<&str> = text.split(' ').collect();
    let [transport, regions, blocks, block_len] = fields[..] else { panic!("{text}") };
    let number = |text: &str| text.parse::<usize>().expect("a number");
    let shape = Shape::plain(number(regions), number(blocks), number(block_len));
    let mut host = match transport {
        "tcp" => Host::tcp(shape),
        "nixl" => Host::nixl(shape),
        other => panic!("{other}"),
    };
    host.memory.fill(SEED);
    host.grant("a", 0..shape.blocks as u32);
    let [metadata, addresses] = words(host.transport.metadata(), &host.memory.regions());
    println!("\nmetadata {metadata}\nregions {addresses}");
    // It ends with the process that started it, however that ends.
    std::thread::spawn(|| {
        std::io::stdin().lines().for_each(drop);
        std::process::exit(0);
    });
    loop {
        for message in host.hear(1) {
            println!("heard {message}");
        }
    }
}
