//! Clients that send nonsense, too much, too slowly, or go away: each gets a clear answer where
//! one can be given, nothing stays behind, and the next request is answered.

use super::support::{PATIENCE, Server, Setup, start};
use glassbox::http::Options;
use std::io::{Read, Write};
use std::sync::atomic::Ordering::Relaxed;
use std::time::{Duration, Instant};

const CHAT: &str = "/v1/chat/completions";
const GOOD: &str = r#"{"messages":[{"role":"user","content":"hi"}],"max_tokens":3}"#;

/// A chat that goes on for thousands of tokens.
fn endless(stream: bool) -> String {
    format!(
        r#"{{"messages":[{{"role":"user","content":"hi"}}],"ignore_eos":true,"stream":{stream}}}"#
    )
}

fn assert_alive(server: &Server) {
    server.wait_until_idle();
    assert_eq!(server.post(CHAT, GOOD).status, 200);
    server.wait_until_idle();
}

/// Setup whose steps take long enough to be interrupted.
fn slow() -> Setup {
    Setup { step_time: Duration::from_millis(2), ..Setup::default() }
}

fn with_options(change: impl FnOnce(&mut Options)) -> Setup {
    let mut setup = Setup::default();
    change(&mut setup.options);
    setup
}

fn wait_until(what: &str, is_so: impl Fn() -> bool) {
    let start = Instant::now();
    while !is_so() {
        assert!(start.elapsed() < PATIENCE, "{what}");
        std::thread::yield_now();
    }
}

/// Sends a request and leaves the answer unread.
fn send_only(server: &Server, body: &str) -> std::net::TcpStream {
    let mut stream = server.connect();
    let head = server.head("POST", CHAT, &[("content-type", "application/json")]);
    let request = format!("{head}content-length: {}\r\n\r\n{body}", body.len());
    stream.write_all(request.as_bytes()).unwrap();
    stream
}

#[test]
fn refuses_bodies_beyond_the_limit() {
    let server = start(with_options(|options| options.transport.body_bytes = 100_000));
    let body = format!(r#"{{"prompt":"{}"}}"#, "a".repeat(200_000));
    let announced = server.post("/v1/completions", &body);
    let message = "The request body is larger than 100000 bytes.";
    announced.assert_error(413, "Request Entity Too Large", message);
    let mut stream = server.connect();
    let headers = [("content-type", "application/json"), ("transfer-encoding", "chunked")];
    let head = server.head("POST", "/v1/completions", &headers);
    stream.write_all(format!("{head}\r\n").as_bytes()).unwrap();
    for _ in 0..4 {
        let chunk = format!("{:x}\r\n{}\r\n", 50_000, "a".repeat(50_000));
        if stream.write_all(chunk.as_bytes()).is_err() {
            break;
        }
    }
    let mut answer = [0; 12];
    stream.read_exact(&mut answer).unwrap();
    assert_eq!(&answer, b"HTTP/1.1 413");
    assert_alive(&server);
}

#[test]
fn refuses_ten_megabytes_of_prompt() {
    let server = start(Setup::default());
    let text = "word ".repeat(2 << 20);
    let chat =
        server.post(CHAT, &format!(r#"{{"messages":[{{"role":"user","content":"{text}"}}]}}"#));
    let completion = server.post("/v1/completions", &format!(r#"{{"prompt":"{text}"}}"#));
    for reply in [chat, completion] {
        assert_eq!(reply.status, 400);
        assert_eq!(reply.json()["error"]["param"], "input_text");
    }
    let truncated = format!(r#"{{"prompt":"{text}","truncate_prompt_tokens":7,"max_tokens":1}}"#);
    let truncated = server.post("/v1/completions", &truncated);
    assert_eq!(truncated.json()["usage"]["prompt_tokens"], 7);
    assert_alive(&server);
}

#[test]
fn cuts_off_slow_heads() {
    let short = Duration::from_millis(50);
    let server = start(with_options(|options| options.transport.head_time = short));
    let mut silent = server.connect();
    let mut slow = server.connect();
    slow.write_all(b"POST /v1/chat/completions HTTP/1.1\r\nx-a: ").unwrap();
    for stream in [&mut silent, &mut slow] {
        let mut rest = Vec::new();
        let _ = stream.read_to_end(&mut rest);
        assert!(rest.is_empty() || rest.starts_with(b"HTTP/1.1 4"), "{rest:?}");
    }
    assert_alive(&server);
}

#[test]
fn answers_what_is_no_http() {
    let server = start(Setup::default());
    for garbage in
        [&b"\x16\x03\x01\x02\x00\x01\x00\r\n\r\n"[..], b"GET\r\n\r\n", b"GET / HTTP/9.9\r\n\r\n"]
    {
        let mut stream = server.connect();
        stream.write_all(garbage).unwrap();
        let mut answer = Vec::new();
        let _ = stream.read_to_end(&mut answer);
        assert!(answer.is_empty() || answer.starts_with(b"HTTP/1.1 4"), "{answer:?}");
    }
    let unknown = server.send("BREW", "/v1/models", &[], None);
    assert_eq!((unknown.status, unknown.body.as_str()), (400, "Invalid HTTP request received."));
    assert_eq!(unknown.header("vary"), None);
    let names: Vec<String> = (0..300).map(|n| format!("x-{n}")).collect();
    let many: Vec<(&str, &str)> = names.iter().map(|name| (name.as_str(), "1")).collect();
    assert_eq!(server.send("GET", "/health", &many, None).status, 431);
    assert_alive(&server);
}

#[test]
fn forgets_bodies_that_never_end() {
    let server = start(Setup::default());
    let mut stream = server.connect();
    let head = server.head("POST", CHAT, &[("content-type", "application/json")]);
    stream.write_all(format!("{head}content-length: 1000\r\n\r\n{{\"a\"").as_bytes()).unwrap();
    drop(stream);
    assert_alive(&server);
}

#[test]
fn stops_working_for_clients_that_left() {
    let server = start(slow());
    for stream in [false, true] {
        let steps = || server.engine.status().counters.steps.load(Relaxed);
        let before = steps();
        let client = send_only(&server, &endless(stream));
        wait_until("it runs", || steps() > before + 2);
        drop(client);
        server.wait_until_idle();
        assert!(steps() < before + 2000, "it went on for {} steps", steps() - before);
    }
    assert_alive(&server);
}

#[test]
fn survives_a_thousand_clients_that_vanish_mid_stream() {
    const CLIENTS: usize = 1000;
    raise_open_files();
    let server = start(slow());
    let mut clients: Vec<_> = (0..CLIENTS).map(|_| send_only(&server, &endless(true))).collect();
    wait_until("all are taken", || server.engine.in_flight() == CLIENTS);
    for client in &mut clients[..20] {
        let mut start = [0; 200];
        client.read_exact(&mut start).unwrap();
    }
    drop(clients);
    assert_alive(&server);
    let gauges = &server.engine.status().gauges;
    wait_until("all blocks are free", || gauges.kv_used_blocks.load(Relaxed) == 0);
    assert_eq!(gauges.running.load(Relaxed) + gauges.waiting.load(Relaxed), 0);
}

/// Both ends of a thousand connections are in this process.
fn raise_open_files() {
    let mut limit = libc::rlimit { rlim_cur: 0, rlim_max: 0 };
    // SAFETY: both calls only read or write the struct they are given.
    unsafe {
        if libc::getrlimit(libc::RLIMIT_NOFILE, &mut limit) == 0 {
            limit.rlim_cur = limit.rlim_max;
            libc::setrlimit(libc::RLIMIT_NOFILE, &limit);
        }
    }
}

#[test]
fn refuses_what_does_not_fit_the_queue() {
    let server = start(Setup { max_in_flight: 2, ..slow() });
    let first = send_only(&server, &endless(true));
    wait_until("it is taken", || server.engine.in_flight() == 1);
    let two = r#"{"prompt":"a","n":2,"temperature":1}"#;
    let refused = server.post("/v1/completions", two);
    refused.assert_error(
        503,
        "Service Unavailable",
        "The engine is currently busy and cannot accept new requests. Please try again later or \
         on a different instance.",
    );
    // Places for prompts beyond the first are taken when the stream has already been promised.
    let batch = r#"{"prompt":["a","b"],"stream":true}"#;
    let promised = server.post("/v1/completions", batch);
    let events = promised.events();
    assert!(events[0].contains("\"code\": 503"), "{events:?}");
    assert_eq!(events[1..], ["[DONE]"]);
    drop(first);
    assert_alive(&server);
}

#[test]
fn refuses_what_would_wait_too_long_for_its_first_token() {
    let server = start(Setup { max_queued_tokens: 0, ..Setup::default() });
    let refused = server.post("/v1/completions", r#"{"prompt":"a"}"#);
    refused.assert_error(
        503,
        "Service Unavailable",
        "The engine has reached its prefill token backlog limit. Please try again later or on a \
         different instance.",
    );
}

#[test]
fn hides_a_path_of_a_million_names_in_no_time() {
    let server = start(Setup::default());
    let name = "/a".repeat(1 << 20);
    let body = format!(r#"{{"model":"{name}","messages":[]}}"#);
    let start = Instant::now();
    assert_eq!(server.post(CHAT, &body).status, 404);
    assert!(start.elapsed() < PATIENCE);
    assert_alive(&server);
}
