//! Keys, request ids, connections, health, failure and shutdown.

use super::support::{PATIENCE, Setup, parse, start};
use std::io::{Read, Write};
use std::time::{Duration, Instant};

const BODY: &str = r#"{"prompt":"a","max_tokens":2,"temperature":0}"#;

#[test]
fn lets_in_who_has_a_key() {
    let mut setup = Setup::default();
    setup.options.api_keys = vec!["one".into(), "two".into()];
    setup.options.enable_request_id_headers = true;
    let server = start(setup);
    let models = |key: &str| server.send("GET", "/v1/models", &[("authorization", key)], None);
    for key in ["Bearer one", "bearer two", "BEARER one"] {
        assert_eq!(models(key).status, 200, "{key}");
    }
    for key in ["Bearer", "Bearer ", "Bearer  one", "Bearer on", "Bearer onee", "Basic one", "one"]
    {
        let refused = models(key);
        assert_eq!((refused.status, refused.body.as_str()), (401, r#"{"error":"Unauthorized"}"#));
        assert_eq!(refused.header("vary"), None);
        assert_eq!(refused.header("server"), Some("uvicorn"));
        assert_eq!(refused.header("x-request-id").map(str::len), Some(32));
    }
    for path in ["/v1/nothing", "/v10/x", "/v2/embed", "/inference/v1/generate"] {
        assert_eq!(server.get(path).status, 401, "{path}");
    }
    for path in ["/health", "/version", "/metrics", "/load"] {
        assert_eq!(server.get(path).status, 200, "{path}");
    }
    assert_eq!(server.post("/tokenize", r#"{"prompt":"a"}"#).status, 200);
    assert_eq!(server.send("OPTIONS", "/v1/models", &[], None).status, 405);
}

#[test]
fn repeats_request_ids_when_told_to() {
    let mut setup = Setup::default();
    setup.options.enable_request_id_headers = true;
    let server = start(setup);
    let id = |value: &str| {
        let reply = server.send("GET", "/health", &[("x-request-id", value)], None);
        reply.header("x-request-id").map(str::to_owned)
    };
    assert_eq!(id("abc").as_deref(), Some("abc"));
    assert_eq!(id(""), None);
    let plain = start(Setup::default());
    assert_eq!(plain.get("/health").header("x-request-id"), None);
}

#[test]
fn keeps_connections_for_a_while() {
    let mut setup = Setup::default();
    setup.options.keep_alive_timeout = Duration::from_millis(100);
    let server = start(setup);
    let mut stream = server.connect();
    let head = server.head("POST", "/v1/completions", &[("content-type", "application/json")]);
    let request = format!("{head}content-length: {}\r\n\r\n{BODY}", BODY.len());
    for _ in 0..3 {
        stream.write_all(request.as_bytes()).unwrap();
        let mut bytes = Vec::new();
        while !bytes.ends_with(b"\"metrics\":null}") {
            let mut byte = [0];
            stream.read_exact(&mut byte).unwrap();
            bytes.push(byte[0]);
        }
        assert_eq!(parse(&bytes).status, 200);
    }
    assert_eq!(stream.read(&mut [0]).unwrap(), 0, "closed when idle");
}

#[test]
fn counts_load_when_told_to() {
    let mut setup = Setup { step_time: Duration::from_millis(2), ..Setup::default() };
    setup.options.enable_server_load_tracking = true;
    let server = start(setup);
    let body = r#"{"prompt":"a","max_tokens":4000,"stream":true,"ignore_eos":true}"#;
    let head = server.head("POST", "/v1/completions", &[("content-type", "application/json")]);
    let mut stream = server.connect();
    let request = format!("{head}content-length: {}\r\n\r\n{body}", body.len());
    stream.write_all(request.as_bytes()).unwrap();
    stream.read_exact(&mut [0; 200]).unwrap();
    assert_eq!(server.get("/load").body, r#"{"server_load":1}"#);
    drop(stream);
    let start = Instant::now();
    while server.get("/load").body != r#"{"server_load":0}"# {
        assert!(start.elapsed() < PATIENCE);
    }
}

#[test]
fn serves_metrics_at_every_spelling() {
    let server = start(Setup::default());
    let kind = |method: &str, path: &str| {
        let reply = server.send(method, path, &[], None);
        assert_eq!(reply.status, 200, "{method} {path}");
        reply.header("content-type").unwrap().to_owned()
    };
    assert_eq!(kind("GET", "/metrics"), "text/plain; version=1.0.0; charset=utf-8");
    for (method, path) in [("HEAD", "/metrics"), ("POST", "/metrics"), ("GET", "/metrics/x")] {
        assert_eq!(kind(method, path), "text/plain; version=0.0.4; charset=utf-8");
    }
    assert_eq!(server.get("/metricsx").status, 404);
}

#[test]
fn tells_the_truth_when_the_engine_fails() {
    let server = start(Setup { fails_at: Some(3), ..Setup::default() });
    assert_eq!(server.get("/health").status, 200);
    let body = r#"{"prompt":"a","max_tokens":100,"stream":true,"ignore_eos":true}"#;
    let stream = server.post("/v1/completions", body);
    let events = stream.events();
    assert_eq!(stream.status, 200);
    assert!(events[events.len() - 2].starts_with(r#"{"error": {"message": ""#), "{events:?}");
    assert!(events[events.len() - 2].contains("\"code\": 500"), "{events:?}");
    assert_eq!(events.last(), Some(&"[DONE]"));
    let start = Instant::now();
    while server.get("/health").status != 503 {
        assert!(start.elapsed() < PATIENCE);
    }
    assert_eq!(server.get("/ping").body, "");
    let later = server.post("/v1/completions", BODY);
    later.assert_error(
        500,
        "InternalServerError",
        "EngineCore encountered an issue. See stack trace (above) for the root cause.",
    );
}

#[test]
fn says_that_it_was_aborted() {
    let server = start(Setup { step_time: Duration::from_millis(2), ..Setup::default() });
    let body = r#"{"prompt":"a","max_tokens":4000,"stream":true,"ignore_eos":true}"#;
    let engine = server.engine.clone();
    let abort = std::thread::spawn(move || {
        let start = Instant::now();
        while engine.status().counters.steps.load(std::sync::atomic::Ordering::Relaxed) < 5 {
            assert!(start.elapsed() < PATIENCE);
            std::thread::yield_now();
        }
        engine.abort_all();
    });
    let reply = server.post("/v1/completions", body);
    abort.join().unwrap();
    let events = reply.events();
    assert!(events[events.len() - 2].contains(r#""finish_reason":"abort""#), "{events:?}");
    let later = server.post("/v1/completions", BODY).json();
    assert_eq!(later["choices"][0]["finish_reason"], "abort");
    assert_eq!(later["choices"][0]["text"], "");
}
