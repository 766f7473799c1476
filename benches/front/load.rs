//! A load generator that costs little: blocking sockets, requests that are bytes, replies that are
//! only measured.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::thread::{scope, sleep};
use std::time::{Duration, Instant};

/// What a load came to.
#[derive(Default)]
pub struct Outcome {
    /// Of each request, sorted: until the last byte of its reply.
    pub latencies: Vec<Duration>,
    pub took: Duration,
}

impl Outcome {
    /// Requests a second.
    pub fn rate(&self) -> f64 {
        self.latencies.len() as f64 / self.took.as_secs_f64()
    }

    /// The latency that so large a part of the requests does not exceed.
    pub fn quantile(&self, part: f64) -> Duration {
        let last = self.latencies.len() - 1;
        self.latencies[(last as f64 * part).round() as usize]
    }
}

/// Where requests go, and as which model's.
#[derive(Clone, Debug)]
pub struct Target {
    pub address: String,
    pub model: String,
}

impl Target {
    /// A request for one token, as bytes; prompts differ by their number.
    fn request(&self, number: u64, words: usize) -> Vec<u8> {
        let body = format!(
            "{{\"model\":\"{}\",\"prompt\":\"{number} What is prefix caching?{}\",\
             \"max_tokens\":1,\"temperature\":0}}",
            self.model,
            " word".repeat(words)
        );
        self.post("/v1/completions", &body)
    }

    /// A POST of this JSON.
    pub fn post(&self, path: &str, body: &str) -> Vec<u8> {
        format!(
            "POST {path} HTTP/1.1\r\nhost: {}\r\ncontent-type: application/json\r\n\
             content-length: {}\r\n\r\n{body}",
            self.address,
            body.len()
        )
        .into_bytes()
    }

    /// As many requests as `clients` connections can make, each waiting for its reply.
    pub fn closed(&self, clients: usize, lasts: Duration) -> Outcome {
        let number = AtomicU64::new(0);
        let begin = Instant::now();
        self.run(clients, || {
            (begin.elapsed() < lasts).then(|| (Instant::now(), number.fetch_add(1, Relaxed)))
        })
    }

    /// Requests that come at a steady rate, whatever became of the earlier ones. The latency of one
    /// that found no idle connection counts from when it was due.
    pub fn open(&self, clients: usize, rate: f64, lasts: Duration) -> Outcome {
        let number = AtomicU64::new(0);
        let begin = Instant::now();
        self.run(clients, || {
            let number = number.fetch_add(1, Relaxed);
            let due = begin + Duration::from_secs_f64(number as f64 / rate);
            if due > begin + lasts {
                return None;
            }
            // A sleep ends late; the lateness is this generator's, not the server's.
            let early = due.saturating_duration_since(Instant::now());
            sleep(early);
            Some((if early.is_zero() { due } else { Instant::now() }, number))
        })
    }

    /// Requests with long prompts, one after the other, until told to stop.
    pub fn long(&self, words: usize, goes_on: impl Fn() -> bool) -> Outcome {
        let mut connection = Connection::open(&self.address);
        let mut outcome = Outcome::default();
        let begin = Instant::now();
        while goes_on() {
            let sent = Instant::now();
            connection.exchange(&self.request(outcome.latencies.len() as u64, words));
            outcome.latencies.push(sent.elapsed());
        }
        outcome.took = begin.elapsed();
        outcome
    }

    fn run(
        &self,
        clients: usize,
        next: impl Fn() -> Option<(Instant, u64)> + Send + Sync,
    ) -> Outcome {
        let begin = Instant::now();
        let client = || {
            let mut connection = Connection::open(&self.address);
            let mut latencies = Vec::new();
            while let Some((since, number)) = next() {
                connection.exchange(&self.request(number, 0));
                latencies.push(since.elapsed());
            }
            latencies
        };
        let mut latencies: Vec<Duration> = scope(|scope| {
            let clients: Vec<_> = (0..clients).map(|_| scope.spawn(client)).collect();
            clients.into_iter().flat_map(|client| client.join().expect("a client")).collect()
        });
        latencies.sort_unstable();
        Outcome { latencies, took: begin.elapsed() }
    }
}

/// A connection that stays open from request to request.
struct Connection {
    stream: TcpStream,
    buffer: Vec<u8>,
}

impl Connection {
    fn open(address: &str) -> Self {
        let stream = TcpStream::connect(address).expect("the server listens");
        stream.set_nodelay(true).expect("a socket");
        Self { stream, buffer: vec![0; 64 << 10] }
    }

    /// Sends a request and reads all of its reply, which must be a 200.
    fn exchange(&mut self, request: &[u8]) {
        self.stream.write_all(request).expect("the server reads");
        let mut filled = 0;
        loop {
            let count = self.stream.read(&mut self.buffer[filled..]).expect("the server answers");
            assert!(count > 0, "the server closed a connection");
            filled += count;
            let reply = &self.buffer[..filled];
            assert!(b"HTTP/1.1 200".starts_with(&reply[..reply.len().min(12)]), "{reply:?}");
            let Some(head) = reply.windows(4).position(|bytes| bytes == b"\r\n\r\n") else {
                continue;
            };
            if filled >= head + 4 + length_of_body(&reply[..head]) {
                return;
            }
        }
    }
}

fn length_of_body(head: &[u8]) -> usize {
    let head = std::str::from_utf8(head).expect("a head of text");
    let length = head.lines().find_map(|line| {
        let (name, value) = line.split_once(':')?;
        name.eq_ignore_ascii_case("content-length").then(|| value.trim().parse().ok())?
    });
    length.expect("a reply of known length")
}
