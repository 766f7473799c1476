//! What the front costs: HTTP, JSON, tokeniser, engine loop, and no model.
//!
//! The real binary serves on the simulated backend, whose steps take no time; the load generator is
//! this process, on the same cores, and its own share is printed.
//!
//! ```text
//! cargo bench --bench front                                     everything
//! cargo bench --bench front -- --against 127.0.0.1:8000 NAME    the rate of a server that runs
//! ```

mod load;
#[path = "../server/mod.rs"]
mod server;

use load::{Outcome, Target};
use server::Server;
use std::fs::read_to_string;
use std::io::Write;
use std::net::TcpStream;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::thread::{available_parallelism, scope, sleep};
use std::time::{Duration, Instant};

const CLIENTS: usize = 32;
const ROUND: Duration = Duration::from_secs(5);
const STREAMS: usize = 10_000;
/// Requests a second that a server of two cores is to answer at least.
const ASKED: f64 = 5000.0;
/// Words of the long prompts beside short ones: more than so many tokens.
const LONG: usize = 20_000;
const CONTEXT: [&str; 2] = ["--max-model-len", "60000"];

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    if arguments.iter().any(|argument| argument == "--test") {
        return;
    }
    if let Some(at) = arguments.iter().position(|argument| argument == "--against") {
        let [address, model] = &arguments[at + 1..at + 3] else {
            panic!("--against HOST:PORT NAME")
        };
        let target = Target { address: address.clone(), model: model.clone() };
        return against(&target);
    }
    let cores = available_parallelism().map_or(1, |cores| cores.get());
    println!("front: one token a request, simulated backend, {cores} cores with the generator");
    let arguments = [&["--device", "sim"], &CONTEXT[..]].concat();
    let server = Server::start(&arguments, &[("VLLM_ALLOW_LONG_MAX_MODEL_LEN", "1")]);
    let target = target(&server);
    target.closed(CLIENTS, ROUND / 5);
    let most = throughput(&server, &target);
    for (of, rate) in [("what is asked", ASKED), ("that rate", most)] {
        half_load(&server, &target, of, rate / 2.0);
    }
    beside_long_prompts(&target, most / 2.0);
    drop(server);
    idle_streams();
}

fn target(server: &Server) -> Target {
    Target { address: format!("127.0.0.1:{}", server.port), model: "qwen3-tiny".to_owned() }
}

/// One line for scripts that compare servers.
fn against(target: &Target) {
    target.closed(CLIENTS, ROUND / 5);
    let outcome = target.closed(CLIENTS, ROUND);
    println!("{:.1} requests/s", outcome.rate());
}

/// The rate of clients that never pause, and who spent the processor time.
fn throughput(server: &Server, target: &Target) -> f64 {
    let before = [cpu_seconds(server.pid()), cpu_seconds(std::process::id())];
    let outcome = target.closed(CLIENTS, ROUND);
    let after = [cpu_seconds(server.pid()), cpu_seconds(std::process::id())];
    let each = |i: usize| (after[i] - before[i]) / outcome.latencies.len() as f64 * 1e6;
    println!("  {CLIENTS} clients that never pause");
    println!("    rate                  {:>9.0} requests/s", outcome.rate());
    println!("    server                {:>9.1} us of processor a request", each(0));
    println!("    load generator        {:>9.1} us of processor a request", each(1));
    outcome.rate()
}

/// What the server adds at a steady rate, half of another, to the engine's own time.
fn half_load(server: &Server, target: &Target, of: &str, rate: f64) {
    let before = engine_seconds(server.port);
    let outcome = target.open(CLIENTS, rate, ROUND);
    let after = engine_seconds(server.port);
    let engine = (after[0] - before[0]) / (after[1] - before[1]);
    println!("  half of {of}, steadily ({:.0} requests/s)", outcome.rate());
    latencies(&outcome);
    println!("    of it in the engine   {:>9.3} ms on average", engine * 1e3);
}

/// Short prompts while two clients send long ones without pause.
fn beside_long_prompts(target: &Target, rate: f64) {
    let ends = AtomicBool::new(false);
    let (outcome, long) = scope(|scope| {
        let long = || target.long(LONG, || !ends.load(Relaxed));
        let clients = [scope.spawn(long), scope.spawn(long)];
        let outcome = target.open(CLIENTS, rate / 4.0, ROUND);
        ends.store(true, Relaxed);
        (outcome, clients.map(|client| client.join().expect("a client")))
    });
    let [first, second] = long.map(|outcome| outcome.rate());
    let rate = outcome.rate();
    println!(
        "  an eighth ({rate:.0} requests/s), beside {:.1} prompts/s of 20k tokens",
        first + second
    );
    latencies(&outcome);
}

fn latencies(outcome: &Outcome) {
    let ms = |part| outcome.quantile(part).as_secs_f64() * 1e3;
    println!("    latency, median       {:>9.3} ms", ms(0.5));
    println!("    latency, p99          {:>9.3} ms", ms(0.99));
}

/// The memory of streams that wait for their next token.
fn idle_streams() {
    let arguments = ["--device", "sim", "--glassbox-sim-step-ms", "1000"];
    let server = Server::start(&arguments, &[]);
    let target = target(&server);
    let before = resident_bytes(server.pid());
    let body = "{\"messages\":[{\"role\":\"user\",\"content\":\"What is prefix caching?\"}],\
                \"stream\":true,\"max_tokens\":1000}";
    let request = target.post("/v1/chat/completions", body);
    let streams: Vec<TcpStream> = (0..STREAMS)
        .map(|_| {
            let mut stream = TcpStream::connect(&target.address).expect("a connection");
            stream.write_all(&request).expect("the server reads");
            stream
        })
        .collect();
    let deadline = Instant::now() + Duration::from_secs(60);
    while in_engine(server.port) < STREAMS as f64 {
        assert!(Instant::now() < deadline, "not all streams arrived");
        sleep(Duration::from_millis(50));
    }
    let after = resident_bytes(server.pid());
    drop(streams);
    println!("  {STREAMS} idle streams");
    println!("    the server's memory   {:>9.0} MB", after as f64 / 1e6);
    println!(
        "    a stream              {:>9.1} kB",
        (after - before) as f64 / STREAMS as f64 / 1e3
    );
}

/// User and system time of a process so far.
fn cpu_seconds(pid: u32) -> f64 {
    let stat = read_to_string(format!("/proc/{pid}/stat")).expect("a process");
    let (_, fields) = stat.rsplit_once(") ").expect("a name in brackets");
    let ticks = |at: usize| fields.split(' ').nth(at).and_then(|field| field.parse::<f64>().ok());
    // The kernel counts in hundredths.
    (ticks(11).expect("utime") + ticks(12).expect("stime")) / 100.0
}

fn resident_bytes(pid: u32) -> u64 {
    let status = read_to_string(format!("/proc/{pid}/status")).expect("a process");
    let line = status.lines().find(|line| line.starts_with("VmRSS:")).expect("its memory");
    line.split_whitespace().nth(1).and_then(|kib| kib.parse::<u64>().ok()).expect("kB") * 1024
}

fn metrics(port: u16) -> String {
    use std::io::Read;
    let mut stream = TcpStream::connect(("127.0.0.1", port)).expect("the server listens");
    stream
        .write_all(b"GET /metrics HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n")
        .expect("the server reads");
    let mut page = String::new();
    stream.read_to_string(&mut page).expect("a page");
    page
}

fn sample(page: &str, name: &str) -> f64 {
    let of = |line: &&str| line.strip_prefix(name).is_some_and(|rest| rest.starts_with(['{', ' ']));
    let line = page.lines().find(of).unwrap_or_else(|| panic!("no {name}"));
    line.rsplit(' ').next().and_then(|value| value.parse().ok()).expect("a number")
}

/// Seconds in the engine, queue and step, of all requests so far, and how many there were.
fn engine_seconds(port: u16) -> [f64; 2] {
    let page = metrics(port);
    let sum = |name: &str| sample(&page, &format!("vllm:request_{name}_time_seconds_sum"));
    let count = sample(&page, "vllm:request_inference_time_seconds_count");
    [sum("queue") + sum("inference"), count]
}

/// Requests that run or wait.
fn in_engine(port: u16) -> f64 {
    let page = metrics(port);
    sample(&page, "vllm:num_requests_running") + sample(&page, "vllm:num_requests_waiting")
}
