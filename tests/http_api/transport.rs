//! What concerns every request: origins, keys, the root path, docs, limits of connections.

use super::golden::{compare, replay};
use super::support::{PATIENCE, Server, Setup, parse, send_over, start};
use glassbox::config::{CorsSettings, Docs};
use serde_json::Value;
use std::io::{Read, Write};
use std::os::unix::net::UnixStream;
use std::time::{Duration, Instant};

const RECORDED: &str = include_str!("../data/http/transport.jsonl");
const ENDLESS: &str = r#"{"prompt":"a","max_tokens":4000,"ignore_eos":true}"#;

fn setup(change: impl FnOnce(&mut glassbox::http::Options)) -> Setup {
    let mut setup = Setup::default();
    change(&mut setup.options);
    setup
}

fn texts(list: &[&str]) -> Vec<String> {
    list.iter().map(|&text| text.to_owned()).collect()
}

fn wait_until(what: &str, is_so: impl Fn() -> bool) {
    let start = Instant::now();
    while !is_so() {
        assert!(start.elapsed() < PATIENCE, "{what}");
        std::thread::yield_now();
    }
}

fn request(server: &Server, path: &str, body: &str) -> String {
    let head = server.head("POST", path, &[("content-type", "application/json")]);
    format!("{head}content-length: {}\r\n\r\n{body}", body.len())
}

#[test]
fn answers_as_vllm_behind_a_gateway() {
    let server = start(setup(|options| {
        options.api_keys = texts(&["secret"]);
        options.root_path = "/api".into();
        options.enable_request_id_headers = true;
        options.cors.origins = texts(&["http://a.example", "http://b.example"]);
        options.cors.methods = texts(&["*"]);
        options.cors.headers = texts(&["*"]);
    }));
    let mut failures = Vec::new();
    for line in RECORDED.lines() {
        let mut case: Value = serde_json::from_str(line).unwrap();
        let name = case["name"].as_str().unwrap().to_owned();
        let ours = replay(&server, &case);
        // A new one each time.
        let headers = case["reply_headers"].as_array_mut().unwrap();
        headers.retain(|header| header[0] != "x-request-id");
        assert_eq!(ours.header("x-request-id").map(str::len), Some(32), "{name}");
        failures.extend(compare(&name, &case, &ours).err());
    }
    assert!(failures.is_empty(), "{} differ:\n{}", failures.len(), failures.join("\n"));
}

#[test]
fn answers_preflights_as_starlette_does() {
    let ask = |cors: CorsSettings, origin: &str, headers: &str| {
        let server = start(setup(|options| options.cors = cors));
        let asked = [
            ("origin", origin),
            ("access-control-request-method", "POST"),
            ("access-control-request-headers", headers),
        ];
        let preflight = server.send("OPTIONS", "/v1/models", &asked, None);
        let plain = server.send("GET", "/version", &[("origin", origin)], None);
        (preflight, plain)
    };
    let all = |credentials| CorsSettings {
        origins: texts(&["*"]),
        methods: texts(&["*"]),
        headers: texts(&["*"]),
        credentials,
    };
    let allowed = "access-control-allow-origin";
    let (preflight, plain) = ask(all(false), "http://x", "x-a");
    assert_eq!((preflight.status, preflight.header(allowed)), (200, Some("*")));
    assert_eq!((plain.header(allowed), plain.header("vary")), (Some("*"), Some("Origin")));
    let (preflight, plain) = ask(all(true), "http://x", "x-a");
    assert_eq!(preflight.header(allowed), Some("http://x"));
    assert_eq!(plain.header(allowed), Some("http://x"));
    assert_eq!(plain.header("access-control-allow-credentials"), Some("true"));
    let few = CorsSettings {
        origins: texts(&["http://x"]),
        methods: texts(&["GET"]),
        headers: texts(&["X-A"]),
        credentials: false,
    };
    let (preflight, plain) = ask(few.clone(), "http://y", "x-b");
    assert_eq!(preflight.body, "Disallowed CORS origin, method, headers");
    assert_eq!(preflight.header("access-control-allow-methods"), Some("GET"));
    let names = "Accept, Accept-Language, Content-Language, Content-Type, X-A";
    assert_eq!(preflight.header("access-control-allow-headers"), Some(names));
    assert_eq!(plain.header(allowed), None);
    let (preflight, _) = ask(few, "http://x", "X-a, content-type");
    assert_eq!(preflight.body, "Disallowed CORS method");
}

#[test]
fn describes_what_it_answers() {
    let server = start(setup(|options| options.root_path = "/api".into()));
    let api = server.get("/openapi.json").json();
    assert_eq!((&api["openapi"], &api["servers"][0]["url"]), (&"3.1.0".into(), &"/api".into()));
    let paths = api["paths"].as_object().unwrap();
    assert!(paths.contains_key("/v1/chat/completions") && paths.contains_key("/metrics"));
    assert!(!paths.contains_key("/reset_prefix_cache"), "only in development mode");
    let mut ids = Vec::new();
    for (path, methods) in paths {
        for (method, operation) in methods.as_object().unwrap() {
            ids.push(operation["operationId"].as_str().unwrap().to_owned());
            let reply = server.send(&method.to_uppercase(), path, &[], None);
            // Nothing goes by the name of a parameter; the endpoint says that, not the router.
            let is_found = match path.contains('{') {
                true => reply.body.contains("Response with id '{response_id}' not found."),
                false => ![404, 405].contains(&reply.status),
            };
            assert!(is_found, "{method} {path}: {reply:?}");
        }
    }
    ids.sort();
    let count = ids.len();
    ids.dedup();
    assert_eq!(ids.len(), count);
    let text = api.to_string();
    for name in text.split("#/components/schemas/").skip(1).map(|rest| rest.split('"').next()) {
        assert!(api["components"]["schemas"][name.unwrap()].is_object(), "{name:?}");
    }
    assert!(server.get("/docs").body.contains("\"/api/openapi.json\""));
}

#[test]
fn docs_can_do_without_others_or_be_off() {
    let offline = start(setup(|options| options.docs = Docs::Offline));
    let page = offline.get("/docs").body;
    assert!(page.contains("/openapi.json") && !page.contains("https://"), "{page}");
    assert_eq!(offline.get("/redoc").status, 404);
    let off = start(setup(|options| options.docs = Docs::Off));
    for path in ["/docs", "/redoc", "/openapi.json", "/docs/oauth2-redirect"] {
        assert_eq!(off.get(path).status, 404, "{path}");
    }
}

#[test]
fn takes_two_request_ids_and_chunks_without_a_length() {
    let server = start(setup(|options| options.enable_request_id_headers = true));
    let headers = [
        ("x-request-id", "one"),
        ("x-request-id", "two"),
        ("content-type", "application/json"),
        ("transfer-encoding", "chunked"),
        ("connection", "close"),
    ];
    let head = server.head("POST", "/v1/completions", &headers);
    let body = r#"{"prompt":"a","max_tokens":1}"#;
    let (first, rest) = body.split_at(7);
    let chunks = format!("{:x}\r\n{first}\r\n{:X}\r\n{rest}\r\n0\r\n\r\n", 7, rest.len());
    let mut stream = server.connect();
    stream.write_all(format!("{head}\r\n{chunks}").as_bytes()).unwrap();
    let mut bytes = Vec::new();
    stream.read_to_end(&mut bytes).unwrap();
    let reply = parse(&bytes);
    assert_eq!((reply.status, reply.header("x-request-id")), (200, Some("one")));
    assert_eq!(reply.json()["id"], "cmpl-one");
}

#[test]
fn comments_in_silent_streams() {
    let mut setup = setup(|options| options.sse_keep_alive = Some(Duration::from_millis(1)));
    setup.step_time = Duration::from_millis(20);
    let server = start(setup);
    let body = r#"{"prompt":"a","max_tokens":3,"stream":true,"ignore_eos":true}"#;
    let reply = server.post("/v1/completions", body);
    let events: Vec<&str> = reply.body.split_terminator("\n\n").collect();
    assert!(events.contains(&": keep-alive"), "{events:?}");
    assert_eq!(events.iter().filter(|event| event.starts_with("data: ")).count(), 4);
    let whole = r#"{"prompt":"a","max_tokens":3,"ignore_eos":true}"#;
    server.post("/v1/completions", whole).json();
}

#[test]
fn says_when_there_are_too_many_connections() {
    let server = start(setup(|options| options.transport.connections = 2));
    let kept: Vec<_> = (0..2)
        .map(|_| {
            let mut stream = server.connect();
            stream.write_all((server.head("GET", "/health", &[]) + "\r\n").as_bytes()).unwrap();
            stream.read_exact(&mut [0; 12]).unwrap();
            stream
        })
        .collect();
    let refused = server.get("/health");
    refused.assert_error(
        503,
        "Service Unavailable",
        "The server has as many connections as it takes.",
    );
    drop(kept);
    wait_until("there is room again", || server.get("/health").status == 200);
    assert!(server.met("connections") >= 1);
}

#[test]
fn cuts_off_bodies_that_drip_in() {
    let limit = Duration::from_millis(50);
    let server = start(setup(|options| options.transport.body_time = limit));
    let mut stream = server.connect();
    let head = server.head("POST", "/v1/completions", &[("content-type", "application/json")]);
    stream.write_all(format!("{head}content-length: 1000\r\n\r\n{{").as_bytes()).unwrap();
    let mut bytes = Vec::new();
    let _ = stream.read_to_end(&mut bytes);
    let message = "The request body did not arrive within 0.05 seconds.";
    parse(&bytes).assert_error(408, "Request Timeout", message);
    assert_eq!(server.met("body_time"), 1);
}

#[test]
fn counts_heads_and_bodies_that_are_too_large_or_too_slow() {
    let server = start(setup(|options| {
        options.transport.head_time = Duration::from_millis(50);
        options.transport.body_bytes = 10;
    }));
    let many: Vec<String> = (0..300).map(|n| format!("x-{n}")).collect();
    let many: Vec<(&str, &str)> = many.iter().map(|name| (name.as_str(), "1")).collect();
    assert_eq!(server.send("GET", "/health", &many, None).status, 431);
    assert_eq!(server.post("/tokenize", "{\"prompt\":\"a\"}").status, 413);
    let mut slow = server.connect();
    slow.write_all(b"GET /health").unwrap();
    assert_eq!(slow.read(&mut [0; 100]).unwrap_or(0), 0);
    for limit in ["head_size", "body_size", "head_time"] {
        wait_until(limit, || server.met(limit) >= 1);
    }
}

#[test]
fn an_idle_connection_is_closed_and_counted() {
    let server = start(setup(|options| options.keep_alive_timeout = Duration::from_millis(50)));
    let mut idle = server.connect();
    idle.write_all((server.head("GET", "/health", &[]) + "\r\n").as_bytes()).unwrap();
    idle.read_to_end(&mut Vec::new()).unwrap();
    wait_until("idle_time", || server.met("idle_time") == 1);
}

/// Bytes behind the body keep the server from reading; it notices all the same.
#[test]
fn pipelined_bytes_do_not_hide_a_disconnect() {
    let mut setup = setup(|options| options.connection_check = Duration::from_millis(5));
    setup.step_time = Duration::from_millis(2);
    let server = start(setup);
    let mut stream = server.connect();
    let one = request(&server, "/v1/completions", ENDLESS);
    stream.write_all(format!("{one}{one}").as_bytes()).unwrap();
    wait_until("it runs", || server.engine.in_flight() == 1);
    drop(stream);
    server.wait_until_idle();
    let steps = server.engine.status().counters.steps.load(std::sync::atomic::Ordering::Relaxed);
    assert!(steps < 3000, "it went on for {steps} steps");
}

#[test]
fn a_stream_that_nobody_reads_ends() {
    let server = start(setup(|options| {
        options.transport.send_time = Duration::from_millis(100);
        options.connection_check = Duration::from_millis(10);
    }));
    let body = r#"{"prompt":"a","max_tokens":4000,"ignore_eos":true,"stream":true,"logprobs":20,
                   "n":8,"temperature":1}"#;
    let mut stream = server.connect();
    stream.write_all(request(&server, "/v1/completions", body).as_bytes()).unwrap();
    wait_until("it was cut off", || server.met("send_time") == 1);
    server.wait_until_idle();
}

#[test]
fn a_unix_socket_will_do() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("glassbox.sock");
    let server = start(Setup { uds: Some(path.clone()), ..Setup::default() });
    let mut stream = UnixStream::connect(path).unwrap();
    let reply = send_over(&mut stream, server.head("GET", "/version", &[]), None);
    assert_eq!((reply.status, reply.body.as_str()), (200, r#"{"version":"0.32.0"}"#));
}
