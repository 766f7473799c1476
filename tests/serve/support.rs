//! The real program as a child process, and a client of a few lines.

use serde_json::Value;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::process::{Child, ChildStdout, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

/// Nothing here should take long; a test that waits for more is stuck.
pub const PATIENCE: Duration = Duration::from_secs(60);
const READY: &str = "Starting vLLM server on http://";

/// A running `glassbox serve`; killed when dropped.
pub struct Server {
    child: Child,
    pub address: String,
    /// Kept open, so that the server can go on writing its log.
    stdout: Option<BufReader<ChildStdout>>,
}

/// `glassbox serve models/qwen3-tiny` on a free port, unless `args` say otherwise.
pub fn command(args: &[&str]) -> Command {
    let mut command = program();
    command.args(["serve", "models/qwen3-tiny", "--host", "127.0.0.1"]);
    for default in [["--port", "0"], ["--kv-cache-memory-bytes", "64M"]] {
        if !args.contains(&default[0]) {
            command.args(default);
        }
    }
    command.args(args);
    command.stdout(Stdio::piped()).stderr(Stdio::piped());
    command
}

/// The program, where its models are.
pub fn program() -> Command {
    // What cargo says now, where these tests were built elsewhere than they run.
    let now = |name, built: &str| std::env::var_os(name).unwrap_or_else(|| built.into());
    let mut command = Command::new(now("CARGO_BIN_EXE_glassbox", env!("CARGO_BIN_EXE_glassbox")));
    command.current_dir(now("CARGO_MANIFEST_DIR", env!("CARGO_MANIFEST_DIR")));
    command
}

/// Starts it and waits until it listens.
pub fn start(args: &[&str]) -> Server {
    spawn(command(args))
}

/// The same for a command that is there already.
pub fn spawn(mut command: Command) -> Server {
    let child = command.stderr(Stdio::inherit()).spawn().expect("the binary is built");
    let mut server = Server { child, address: String::new(), stdout: None };
    let mut stdout = BufReader::new(server.child.stdout.take().expect("piped"));
    let mut line = String::new();
    while !line.contains(READY) {
        line.clear();
        let read = stdout.read_line(&mut line).expect("lines of text");
        assert!(read > 0, "the server ended before it listened");
    }
    let address = line.split(READY).last().unwrap_or_default();
    // In a log of JSON, a quote follows.
    server.address = address.split(['"', '\n']).next().unwrap_or_default().to_owned();
    server.stdout = Some(stdout);
    server
}

impl Server {
    pub fn connect(&self) -> TcpStream {
        let stream = TcpStream::connect(&self.address).expect("the server listens");
        stream.set_read_timeout(Some(PATIENCE)).expect("a timeout");
        stream
    }

    /// Sends a request and leaves the reply unread.
    pub fn send(&self, method: &str, path: &str, body: &str) -> TcpStream {
        self.send_with(method, path, "content-type: application/json\r\n", body)
    }

    /// The same with these headers, each with its line's end.
    pub fn send_with(&self, method: &str, path: &str, headers: &str, body: &str) -> TcpStream {
        let mut stream = self.connect();
        let length = body.len();
        let request = format!(
            "{method} {path} HTTP/1.1\r\nhost: test\r\nconnection: close\r\n{headers}\
             content-length: {length}\r\n\r\n{body}"
        );
        stream.write_all(request.as_bytes()).expect("the server reads");
        stream
    }

    pub fn get(&self, path: &str) -> Reply {
        Reply::read(self.send("GET", path, ""))
    }

    pub fn post(&self, path: &str, body: &Value) -> Reply {
        Reply::read(self.send("POST", path, &body.to_string()))
    }

    /// The value of a series in `/metrics`, which must be there.
    pub fn metric(&self, name: &str) -> f64 {
        let page = self.get("/metrics").body;
        let line = page.lines().find(|line| line.starts_with(&format!("{name}{{")));
        let value = line.and_then(|line| line.rsplit(' ').next()?.parse().ok());
        value.unwrap_or_else(|| panic!("no {name} in {page}"))
    }

    pub fn signal(&self, signal: i32) {
        // SAFETY: a signal to our own child, which has not been waited for.
        assert_eq!(unsafe { libc::kill(self.child.id() as i32, signal) }, 0);
    }

    /// Waits for the end of the process; what it logged meanwhile comes along.
    pub fn wait(mut self) -> (ExitStatus, String) {
        let mut rest = String::new();
        let stdout = self.stdout.take().expect("waited for once");
        stdout.take(1 << 20).read_to_string(&mut rest).expect("lines of text");
        (self.child.wait().expect("a child"), rest)
    }

    /// The most memory that the process has held, in bytes.
    pub fn peak_memory(&self) -> u64 {
        let path = format!("/proc/{}/status", self.child.id());
        let status = std::fs::read_to_string(path).expect("it runs");
        let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).expect("a peak");
        line.trim().trim_end_matches(" kB").trim().parse::<u64>().expect("a number") << 10
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A whole reply.
#[derive(Debug)]
pub struct Reply {
    pub status: u16,
    /// The status line and the headers.
    pub head: String,
    pub body: String,
}

impl Reply {
    /// Reads to the end of the connection.
    pub fn read(mut stream: TcpStream) -> Self {
        let mut bytes = Vec::new();
        stream.read_to_end(&mut bytes).expect("a reply");
        let text = String::from_utf8(bytes).expect("text");
        let (head, body) = text.split_once("\r\n\r\n").expect("a head and a body");
        let status = head.split(' ').nth(1).and_then(|code| code.parse().ok()).expect("a status");
        let chunked = head.to_ascii_lowercase().contains("transfer-encoding: chunked");
        let body = if chunked { unchunk(body) } else { body.to_owned() };
        Self { status, head: head.to_owned(), body }
    }

    pub fn json(&self) -> Value {
        serde_json::from_str(&self.body).unwrap_or_else(|error| panic!("{error}: {}", self.body))
    }

    /// The JSON of each event of a stream, which must end with `[DONE]`.
    pub fn events(&self) -> Vec<Value> {
        let mut events: Vec<&str> =
            self.body.split("\n\n").filter_map(|event| event.strip_prefix("data: ")).collect();
        assert_eq!(events.pop(), Some("[DONE]"), "{}", self.body);
        events.iter().map(|event| serde_json::from_str(event).expect("JSON")).collect()
    }
}

fn unchunk(mut body: &str) -> String {
    let mut whole = String::new();
    while let Some((size, rest)) = body.split_once("\r\n") {
        let size = usize::from_str_radix(size, 16).expect("a chunk's size");
        whole.push_str(&rest[..size]);
        body = rest[size..].trim_start_matches("\r\n");
    }
    whole
}

/// Waits until something is so.
pub fn wait_until(what: &str, mut is_so: impl FnMut() -> bool) {
    let start = Instant::now();
    while !is_so() {
        assert!(start.elapsed() < PATIENCE, "waited in vain: {what}");
        std::thread::yield_now();
    }
}
