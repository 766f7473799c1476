//! What tracing costs: the same streams from a server that traces every request and one that does
//! not, in turns.
//!
//! Two servers run qwen3-tiny on the CPU; 32 clients stream from one, then from the other, in pairs
//! whose order alternates. Spans go to a sink in this process that reads and forgets them, so what
//! a collector would cost is not counted. On a noisy machine the share of the export thread tells
//! more than the throughput. GLASSBOX_BENCH_LEVEL sets how much is traced (phases).

#[path = "server/mod.rs"]
mod server;

use server::Server;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::thread::{scope, spawn};
use std::time::Instant;

const STREAMS: usize = 32;
const REQUESTS: usize = 3;
const TOKENS: usize = 128;
const PAIRS: usize = 60;

impl Server {
    /// One streamed reply, read to its end.
    fn stream(&self, number: usize) {
        let mut connection = TcpStream::connect(("127.0.0.1", self.port)).expect("it listens");
        let body = format!(
            "{{\"prompt\":\"{number} What is the capital of France? Tell me all about it.\",\
             \"stream\":true,\"max_tokens\":{TOKENS},\"ignore_eos\":true,\"temperature\":0}}"
        );
        let head = format!(
            "POST /v1/completions HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\
             content-type: application/json\r\ncontent-length: {}\r\n\r\n",
            body.len()
        );
        connection.write_all((head + &body).as_bytes()).expect("it reads");
        let mut reply = Vec::new();
        connection.read_to_end(&mut reply).expect("it answers");
        assert!(reply.windows(12).any(|bytes| bytes == b"data: [DONE]"), "a whole stream");
    }

    /// Tokens a second of all streams together.
    fn throughput(&self) -> f64 {
        let begin = Instant::now();
        scope(|scope| {
            for stream in 0..STREAMS {
                scope.spawn(move || {
                    (0..REQUESTS).for_each(|i| self.stream(stream * REQUESTS + i));
                });
            }
        });
        (STREAMS * REQUESTS * TOKENS) as f64 / begin.elapsed().as_secs_f64()
    }

    /// Nanoseconds on a processor so far: of all threads, and of the one that exports spans.
    fn cpu_nanos(&self) -> [u64; 2] {
        let mut sums = [0, 0];
        let tasks = std::fs::read_dir(format!("/proc/{}/task", self.pid()));
        for task in tasks.expect("the server lives").flatten() {
            let read = |file| std::fs::read_to_string(task.path().join(file)).unwrap_or_default();
            let stat = read("schedstat");
            let nanos = stat.split(' ').next().and_then(|nanos| nanos.parse().ok()).unwrap_or(0);
            sums[0] += nanos;
            if read("comm").trim() == "telemetry" {
                sums[1] += nanos;
            }
        }
        sums
    }
}

/// Takes exports; counts their bytes.
fn sink(bytes: Arc<AtomicU64>) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = listener.local_addr().expect("bound");
    spawn(move || {
        for connection in listener.incoming().flatten() {
            let bytes = bytes.clone();
            spawn(move || take_exports(connection, &bytes));
        }
    });
    format!("http://{address}/v1/traces")
}

fn take_exports(connection: TcpStream, bytes: &AtomicU64) {
    let mut reader = BufReader::new(connection.try_clone().expect("a second handle"));
    let mut writer = connection;
    loop {
        let (mut length, mut line) = (0, String::new());
        loop {
            line.clear();
            if reader.read_line(&mut line).unwrap_or(0) == 0 {
                return;
            }
            let lower = line.to_ascii_lowercase();
            if let Some(value) = lower.strip_prefix("content-length:") {
                length = value.trim().parse().expect("a length");
            }
            if line.trim().is_empty() {
                break;
            }
        }
        let mut body = vec![0; length];
        if reader.read_exact(&mut body).is_err() {
            return;
        }
        bytes.fetch_add(length as u64, Relaxed);
        let reply = "HTTP/1.1 200 OK\r\ncontent-type: application/x-protobuf\r\n\
                     content-length: 0\r\n\r\n";
        if writer.write_all(reply.as_bytes()).is_err() {
            return;
        }
    }
}

fn median(values: &mut [f64]) -> f64 {
    values.sort_unstable_by(f64::total_cmp);
    values[values.len() / 2]
}

fn main() {
    if std::env::args().any(|argument| argument == "--test") {
        return;
    }
    let bytes = Arc::new(AtomicU64::new(0));
    let endpoint = sink(bytes.clone());
    let level = std::env::var("GLASSBOX_BENCH_LEVEL").unwrap_or_else(|_| "phases".to_owned());
    let vars = [
        ("OTEL_EXPORTER_OTLP_TRACES_PROTOCOL", "http/protobuf"),
        ("GLASSBOX_TRACE_LEVEL", level.as_str()),
    ];
    let length = ["--max-model-len", "4096"];
    let plain = Server::start(&length, &vars);
    let with_spans = [&length[..], &["--otlp-traces-endpoint", &endpoint]].concat();
    let traced = Server::start(&with_spans, &vars);
    for server in [&plain, &traced] {
        server.throughput();
    }
    let before = traced.cpu_nanos();
    let (mut ratios, mut plains, mut traceds) = (Vec::new(), Vec::new(), Vec::new());
    for pair in 0..PAIRS {
        let (without, with) = if pair % 2 == 0 {
            let without = plain.throughput();
            (without, traced.throughput())
        } else {
            let with = traced.throughput();
            (plain.throughput(), with)
        };
        ratios.push(with / without);
        plains.push(without);
        traceds.push(with);
    }
    let after = traced.cpu_nanos();
    let [all, export] = [after[0] - before[0], after[1] - before[1]].map(|nanos| nanos as f64);
    let spread = |values: &[f64]| (values[values.len() / 4], values[values.len() * 3 / 4]);
    let ratio = median(&mut ratios);
    let (low, high) = spread(&ratios);
    let requests = STREAMS * REQUESTS * (PAIRS + 1);
    println!("tracing: {STREAMS} streams of {TOKENS} tokens, {PAIRS} pairs of runs, in turns");
    println!("  without spans    {:>10.0} tokens/s (median)", median(&mut plains));
    println!("  with all spans   {:>10.0} tokens/s (median)", median(&mut traceds));
    println!("  ratio            {ratio:>10.4}   (quartiles {low:.4} to {high:.4})");
    let of_requests = export / (STREAMS * REQUESTS * PAIRS) as f64 / 1e3;
    println!("  export thread    {:>8.2} %   of the server's processor time", 100.0 * export / all);
    println!("                   {of_requests:>10.1} us a request");
    println!("  sent             {:>10} bytes a request", bytes.load(Relaxed) / requests as u64);
}
