//! What the program logs of its requests.

use super::support::{Server, start};
use super::{CHAT, ask, endless, wait_until, wait_until_running};
use serde_json::{Value, json};

/// Ends the server, and gives all that it logged since it listened.
fn log_of(server: Server) -> String {
    server.signal(libc::SIGTERM);
    let (status, log) = server.wait();
    assert!(status.success(), "{status}");
    log
}

fn records(log: &str) -> Vec<Value> {
    let parse = |line| serde_json::from_str(line).unwrap_or_else(|e| panic!("{e}: {line}"));
    log.lines().map(parse).collect()
}

fn id_of(reply: &Value) -> String {
    reply["id"].as_str().expect("an id").to_owned()
}

#[test]
fn json_has_an_object_a_line_and_no_text_of_a_client() {
    let server = start(&["--glassbox-log-format", "json", "--enable-log-requests"]);
    let chat = id_of(&server.post(CHAT, &ask("What is the capital of France?")).json());
    let body = json!({"prompt": ["Berlin is", "Rome is"], "max_tokens": 3, "stop": "\u{1b}\n"});
    let completion = id_of(&server.post("/v1/completions", &body).json());
    let refused = json!({"prompt": "Oslo is", "logit_bias": {"999999": 1}, "request_id": "a\n\"b"});
    assert_eq!(server.post("/v1/completions", &refused).status, 400);
    assert_eq!(server.post("/tokenize", &json!({"prompt": "Lima is"})).status, 200);
    assert_eq!(server.get("/health").status, 200);
    let log = log_of(server);
    let records = records(&log);
    for record in &records {
        for member in ["time", "level", "logger", "file", "message"] {
            assert!(record[member].is_string(), "{member} in {record}");
        }
        assert!(record["pid"].is_u64() && record["line"].is_u64(), "{record}");
        assert_eq!(record.get("trace_id"), None, "{record}");
    }
    let said = |id: &str| -> Vec<&str> {
        let of_id = records.iter().filter(|record| record["request_id"] == id);
        of_id.map(|record| record["message"].as_str().expect("text")).collect()
    };
    let starts = |id: &str, wanted: &[String]| {
        let messages = said(id);
        let fits = messages.len() == wanted.len()
            && messages.iter().zip(wanted).all(|(said, start)| said.starts_with(start));
        assert!(fits, "{messages:?} {wanted:?}");
        assert!(messages.last().expect("an access line").ends_with(" 200 OK"), "{messages:?}");
    };
    let params = "params: SamplingParams(n=1, presence_penalty=0.0, frequency_penalty=0.0, \
                  repetition_penalty=1.0, temperature=";
    let access = "127.0.0.1:".to_owned();
    let received = format!("Received request {chat}: {params}0.0, watermarking=None, top_p=1.0");
    starts(&chat, &[received, format!("Added request {chat}."), access.clone()]);
    let of_prompt = |at: usize| {
        let received = format!("Received request {completion}-{at}: {params}");
        [received, format!("Added request {completion}-{at}.")]
    };
    starts(&completion, &[of_prompt(0).as_slice(), &of_prompt(1), &[access]].concat());
    let refused = said("cmpl-a\n\"b");
    assert!(refused[0].starts_with(r#"Received request cmpl-a\n"b-0: params: "#), "{refused:?}");
    assert!(
        refused[1].starts_with(r#"Request cmpl-a\n"b-0 failed (bad request): "#),
        "{refused:?}"
    );
    assert_eq!(refused.len(), 2);
    for prompt in ["capital", "Berlin", "Rome", "Oslo", "Lima"] {
        assert!(!log.contains(prompt), "{prompt} in {log}");
    }
    assert!(!log.contains("Generated response"), "{log}");
}

#[test]
fn prompts_and_replies_are_there_when_asked_for() {
    let server = start(&[
        "--enable-log-requests",
        "--enable-log-outputs",
        "--log-level=DEBUG",
        "--max-log-len=9",
    ]);
    let id = id_of(&server.post(CHAT, &ask("Who are you?")).json());
    let mut body = ask("Who are you?");
    body["stream"] = true.into();
    let stream = id_of(&server.post(CHAT, &body).events()[0]);
    let log = log_of(server);
    let count = |text: &str| log.matches(text).count();
    assert_eq!(count(&format!(r#"Request {id} JSON body: {{"message"#)), 1, "{log}");
    let details = format!("Request {id} details: prompt: '<|im_star', prompt_token_ids: [");
    assert_eq!(count(&details), 1, "{log}");
    let output = format!("Generated response {id}: output: 'I am qwen', finish_reason: stop\n");
    assert_eq!(count(&output), 1, "{log}");
    assert_eq!(count(&format!("Generated response {id} details: output_token_ids: [")), 1);
    assert!(count(&format!("Generated response {stream} (streaming delta): output: ")) > 1);
    let complete = format!(
        "Generated response {stream} (streaming complete): output: 'I am qwen', \
         finish_reason: streaming_complete\n"
    );
    assert_eq!(count(&complete), 1, "{log}");
    // Texts are cut to nine characters, so nothing longer of the prompt shows.
    assert_eq!(count("Who are you"), 0, "{log}");
}

#[test]
fn a_client_that_leaves_is_logged_as_in_vllm() {
    let server = start(&["--enable-log-requests"]);
    let stream = server.send("POST", "/v1/completions", &endless(true).to_string());
    wait_until_running(&server);
    drop(stream);
    wait_until("the request ends", || server.metric("vllm:num_requests_running") == 0.0);
    let log = log_of(server);
    let (_, rest) = log.split_once("Added request cmpl-").expect("it was added");
    let (id, rest) = rest.split_once(".\n").expect("an end of line");
    assert_eq!(rest.matches(&format!("] Request cmpl-{id} aborted.\n")).count(), 1, "{rest}");
    assert!(id.ends_with("-0"), "{id}");
}
