//! The Responses API where timing matters: the background, cancelling, failure, bounded memory.

use crate::support::{Server, Setup, start};
use serde_json::{Value, json};
use std::time::Duration;

const PATH: &str = "/v1/responses";

fn storing() -> Setup {
    let mut setup = Setup::default();
    setup.options.responses_store_bytes = Some(1 << 20);
    setup
}

/// A request that takes a while where a step takes a millisecond.
fn ask(server: &Server, more: Value) -> String {
    let mut body = json!({"input": "hi", "ignore_eos": true, "max_output_tokens": 3000});
    for (name, value) in more.as_object().expect("an object") {
        body[name] = value.clone();
    }
    let reply = server.post(PATH, &body.to_string());
    assert_eq!(reply.status, 200, "{}", reply.body);
    reply.body
}

fn get(server: &Server, id: &str) -> Value {
    server.get(&format!("{PATH}/{id}")).json()
}

/// `(name, data)` of each event.
fn events(body: &str) -> Vec<(&str, Value)> {
    let mut all = Vec::new();
    for (name, data) in body.split_terminator("\n\n").map(|event| event.split_once('\n').unwrap()) {
        let data = serde_json::from_str(data.strip_prefix("data: ").expect("data"));
        all.push((name.strip_prefix("event: ").expect("a name"), data.expect("JSON")));
    }
    all
}

#[test]
fn a_response_in_the_background_can_be_cancelled() {
    let server = start(Setup { step_time: Duration::from_millis(1), ..storing() });
    let queued: Value =
        serde_json::from_str(&ask(&server, json!({"background": true, "request_id": "a"})))
            .unwrap();
    assert_eq!((&queued["id"], &queued["status"]), (&json!("a"), &json!("queued")));
    assert_eq!(get(&server, "a"), queued);
    let cancelled = server.post("/v1/responses/a/cancel", "").json();
    assert_eq!(cancelled["status"], "cancelled");
    assert_eq!(get(&server, "a"), cancelled);
    server.wait_until_idle();
    assert_eq!(get(&server, "a"), cancelled, "the end of its work changes nothing");
    let again = server.post("/v1/responses/a/cancel", "");
    assert_eq!((again.status, &again.json()["error"]["param"]), (400, &json!("response_id")));
}

#[test]
fn a_stream_in_the_background_outlives_its_client() {
    let server = start(Setup { step_time: Duration::from_millis(1), ..storing() });
    let body = r#"{"input":"hi","ignore_eos":true,"max_output_tokens":50,"background":true,
                   "stream":true,"request_id":"a"}"#;
    let head = server.head("POST", PATH, &[("content-type", "application/json")]);
    let mut client = server.connect();
    let request = format!("{head}content-length: {}\r\n\r\n{body}", body.len());
    std::io::Write::write_all(&mut client, request.as_bytes()).unwrap();
    let mut first = [0; 16];
    std::io::Read::read_exact(&mut client, &mut first).unwrap();
    drop(client);
    let all = server.get("/v1/responses/a?stream=true").body;
    let all = events(&all);
    assert_eq!(all.last().expect("events").0, "response.completed");
    let numbers: Vec<u64> = all.iter().filter_map(|e| e.1["sequence_number"].as_u64()).collect();
    assert_eq!(numbers, (0..all.len() as u64).collect::<Vec<_>>());
    let later = server.get("/v1/responses/a?stream=true&starting_after=9").body;
    assert_eq!(events(&later), all[10..]);
    assert_eq!(get(&server, "a"), all.last().unwrap().1["response"]);
}

#[test]
fn a_failure_is_told() {
    let server = start(Setup { fails_at: Some(3), ..storing() });
    let body = ask(&server, json!({"stream": true}));
    let (name, error) = events(&body).pop().expect("events");
    assert_eq!((name, &error["type"]), ("error", &json!("error")));
    assert_eq!(error["code"], "InternalServerError");
    let mut names = events(&body).into_iter().map(|(name, _)| name);
    assert_eq!(names.next(), Some("response.created"));
}

#[test]
fn a_failure_in_the_background_is_told_later() {
    let server = start(Setup { fails_at: Some(3), ..storing() });
    ask(&server, json!({"background": true, "request_id": "a"}));
    while get(&server, "a")["status"] == "queued" {
        std::thread::yield_now();
    }
    assert_eq!(get(&server, "a")["status"], "failed");
}

#[test]
fn the_oldest_are_forgotten_first() {
    let mut setup = storing();
    setup.options.responses_store_bytes = Some(8 << 10);
    let server = start(setup);
    let id = |n: usize| format!("r{n}");
    for n in 0..40 {
        ask(&server, json!({"request_id": id(n), "max_output_tokens": 2}));
    }
    let is_there = |n: usize| server.get(&format!("{PATH}/{}", id(n))).status == 200;
    let kept: Vec<bool> = (0..40).map(is_there).collect();
    let first = kept.iter().position(|there| *there).expect("the last one");
    assert!((20..39).contains(&first), "{kept:?}");
    assert!(kept[first..].iter().all(|there| *there), "{kept:?}");
    let follow = json!({"input": "hi", "previous_response_id": id(0)}).to_string();
    assert_eq!(server.post(PATH, &follow).status, 404);
}

#[test]
fn stored_responses_need_a_key() {
    let mut setup = storing();
    setup.options.api_keys = vec!["secret".into()];
    let server = start(setup);
    for path in ["/v1/responses/a", "/v1/responses/a?stream=true"] {
        assert_eq!(server.get(path).status, 401);
        let key = [("authorization", "Bearer secret")];
        assert_eq!(server.send("GET", path, &key, None).status, 404);
    }
    assert_eq!(server.post("/v1/responses/a/cancel", "").status, 401);
}
