//! HTTP metrics and the formats of the metrics page.

use crate::support::{PATIENCE, Server, Setup, start};
use std::io::Write;
use std::time::{Duration, Instant};

/// The value of a series.
fn value(page: &str, series: &str) -> Option<f64> {
    page.lines().find_map(|line| line.strip_prefix(series)?.strip_prefix(' ')?.parse().ok())
}

/// The metrics page once a series has this value: a request is counted when its reply is done
/// with, which its client may hear of before.
fn page_with(server: &Server, series: &str, wanted: f64) -> String {
    let start = Instant::now();
    loop {
        let page = server.get("/metrics").body;
        match value(&page, series) {
            Some(value) if value == wanted => return page,
            other => assert!(start.elapsed() < PATIENCE, "{series} is {other:?}\n{page}"),
        }
    }
}

fn total(handler: &str, method: &str, status: &str) -> String {
    let labels = format!("handler=\"{handler}\",method=\"{method}\",status=\"{status}\"");
    format!("http_requests_total{{{labels}}}")
}

#[test]
fn counts_requests_by_path_method_and_status() {
    let server = start(Setup::default());
    let page = server.get("/metrics").body;
    assert!(page.contains("# TYPE http_requests_total counter\n# HELP"), "no series yet: {page}");
    let body = r#"{"prompt":"a","max_tokens":2}"#;
    let reply = server.post("/v1/completions", body);
    server.post("/v1/completions", "{}");
    server.get("/v1/completions");
    server.get("/nowhere");
    server.get("/v1/models/");
    server.get("/health");
    server.post("/health", "");
    server.get("/v1/models");
    for (series, wanted) in [
        (total("/v1/models", "GET", "2xx"), 1.0),
        (total("/v1/completions", "POST", "2xx"), 1.0),
        (total("/v1/completions", "POST", "4xx"), 1.0),
        // A path that is not there, and one that does not take the method.
        (total("none", "GET", "4xx"), 2.0),
        (total("none", "GET", "3xx"), 1.0),
        ("http_request_duration_highr_seconds_count".to_owned(), 6.0),
        (r#"http_request_size_bytes_count{handler="/v1/completions"}"#.to_owned(), 2.0),
        (
            r#"http_request_size_bytes_sum{handler="/v1/completions"}"#.to_owned(),
            (body.len() + 2) as f64,
        ),
    ] {
        page_with(&server, &series, wanted);
    }
    let page = server.get("/metrics").body;
    let sent = value(&page, r#"http_response_size_bytes_sum{handler="/v1/completions"}"#);
    assert!(sent > Some(reply.body.len() as f64), "{sent:?}");
    assert!(!page.contains("handler=\"/health\"") && !page.contains("handler=\"/metrics\""));
}

#[test]
fn times_streams_to_their_end() {
    let step_time = Duration::from_millis(20);
    let server = start(Setup { step_time, ..Setup::default() });
    let body = r#"{"prompt":"a","max_tokens":30,"ignore_eos":true,"stream":true}"#;
    assert_eq!(server.post("/v1/completions", body).status, 200);
    let took = |part| {
        format!(
            "http_request_duration_seconds_{part}{{handler=\"/v1/completions\",method=\"POST\"}}"
        )
    };
    let page = page_with(&server, &took("count"), 1.0);
    assert!(value(&page, &took("sum")) >= Some(0.6), "{page}");
    let sent = r#"http_response_size_bytes_sum{handler="/v1/completions"}"#;
    assert_eq!(value(&page, sent), Some(0.0), "a stream has no length");
}

#[test]
fn counts_clients_that_leave() {
    let server = start(Setup { step_time: Duration::from_millis(5), ..Setup::default() });
    for stream in [true, false] {
        let body =
            format!(r#"{{"prompt":"a","max_tokens":4000,"ignore_eos":true,"stream":{stream}}}"#);
        let head = server.head("POST", "/v1/completions", &[("content-type", "application/json")]);
        let mut connection = server.connect();
        let request = format!("{head}content-length: {}\r\n\r\n{body}", body.len());
        connection.write_all(request.as_bytes()).expect("the server reads");
        let start = Instant::now();
        while server.engine.in_flight() == 0 {
            assert!(start.elapsed() < PATIENCE);
        }
        drop(connection);
        server.wait_until_idle();
    }
    page_with(&server, &total("/v1/completions", "POST", "2xx"), 2.0);
}

#[test]
fn open_metrics_is_for_who_asks() {
    let server = start(Setup::default());
    let accept = "application/openmetrics-text;version=1.0.0;q=0.5,text/plain;version=0.0.4;q=0.3";
    let reply = server.send("GET", "/metrics", &[("accept", accept)], None);
    let kind = "application/openmetrics-text; version=1.0.0; charset=utf-8";
    assert_eq!(reply.header("content-type"), Some(kind));
    assert!(reply.body.ends_with("\n# EOF\n"));
    assert!(!server.get("/metrics").body.contains("# EOF"));
}
