//! Every request has a span, whatever becomes of it, and the span tells the truth.

use crate::collector::{Answer, Collector, Listen};
use crate::support::{Server, Setup, start};
use glassbox::config::{self, Env};
use glassbox::telemetry::trace::{Tracer, TracerGuard};
use opentelemetry_proto::tonic::common::v1::any_value::Value;
use opentelemetry_proto::tonic::trace::v1::Span;
use std::io::{Read, Write};
use std::time::Duration;

const CHAT: &str = "/v1/chat/completions";
const COMPLETIONS: &str = "/v1/completions";
const JSON: (&str, &str) = ("content-type", "application/json");
const PARENT: &str = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";

/// A server that traces to a collector of its own.
struct Traced {
    server: Server,
    collector: Collector,
    _spans: TracerGuard,
}

fn traced(setup: Setup, level: &str) -> Traced {
    let collector = Collector::answering(Listen::Grpc, [], Answer::Accept);
    let endpoint = format!("http://{}", collector.address);
    let args = ["vllm", "serve", "m", "--otlp-traces-endpoint", &endpoint];
    let args = args.into_iter().chain(["--glassbox-trace-level", level]).map(str::to_owned);
    let env = Env::read(|name| (name == "OTEL_BSP_SCHEDULE_DELAY").then(|| "1".to_owned()));
    let settings = config::parse_serve(&args.collect::<Vec<_>>(), env).expect("good flags");
    let settings = settings.tracing.expect("tracing is on");
    let (tracer, spans) = Tracer::start(&settings).expect("it starts");
    let server = start(Setup { tracer: Some(tracer), ..setup });
    Traced { server, collector, _spans: spans }
}

impl Traced {
    /// The spans, once there are `count` of that name.
    fn spans(&self, name: &str, count: usize) -> Vec<Span> {
        let named = |spans: Vec<Span>| -> Vec<Span> {
            spans.into_iter().filter(|span| span.name == name).collect()
        };
        self.collector.wait_until(|received| {
            let spans = received.iter().flat_map(|received| received.spans());
            spans.filter(|span| span.name == name).count() >= count
        });
        let spans = named(self.collector.spans());
        assert_eq!(spans.len(), count);
        spans.iter().filter(|span| span.name == "llm_request").for_each(check_account);
        spans
    }

    /// The only request so far.
    fn request(&self) -> Span {
        self.spans("llm_request", 1).remove(0)
    }
}

fn get<'a>(span: &'a Span, key: &str) -> Option<&'a Value> {
    let attribute = span.attributes.iter().find(|attribute| attribute.key == key)?;
    attribute.value.as_ref()?.value.as_ref()
}

fn int(span: &Span, key: &str) -> i64 {
    match get(span, key) {
        Some(Value::IntValue(value)) => *value,
        other => panic!("{key} is {other:?}"),
    }
}

fn text(span: &Span, key: &str) -> String {
    match get(span, key) {
        Some(Value::StringValue(value)) => value.clone(),
        other => panic!("{key} is {other:?}"),
    }
}

fn seconds(span: &Span, key: &str) -> f64 {
    match get(span, key) {
        Some(Value::DoubleValue(value)) => *value,
        other => panic!("{key} is {other:?}"),
    }
}

/// The parts of its time add up to the span, to the nanosecond.
fn check_account(span: &Span) {
    let parts = ["ingress", "queue", "transfer", "prefill", "preempted", "decode", "egress"];
    let parts = parts.map(|part| int(span, &format!("glassbox.latency.{part}")));
    assert!(parts.iter().all(|part| *part >= 0), "{parts:?}");
    let whole = (span.end_time_unix_nano - span.start_time_unix_nano) as i64;
    assert_eq!(parts.iter().sum::<i64>(), whole);
    assert_eq!(int(span, "glassbox.latency.e2e"), whole);
}

fn assert_failed(span: &Span, kind: &str, status: Option<i64>) {
    assert_eq!(text(span, "error.type"), kind);
    assert_eq!(span.status.as_ref().map(|status| status.code), Some(2), "an error");
    let shown =
        get(span, "http.response.status_code").map(|_| int(span, "http.response.status_code"));
    assert_eq!(shown, status);
}

#[test]
fn a_finished_chat_has_a_tree_below_its_parent() {
    let traced = traced(Setup::default(), "steps");
    let body = r#"{"messages":[{"role":"user","content":"hi"}],"max_tokens":6,"temperature":0,
                   "ignore_eos":true}"#;
    let headers = [JSON, ("traceparent", PARENT), ("tracestate", "a=b"), ("x-request-id", "mine")];
    let reply = traced.server.send("POST", CHAT, &headers, Some(body.as_bytes()));
    assert_eq!(reply.status, 200);
    let span = traced.request();
    assert_eq!(hex(&span.trace_id), "0af7651916cd43dd8448eb211c80319c");
    assert_eq!(hex(&span.parent_span_id), "b7ad6b7169203331");
    assert_eq!((span.kind, span.trace_state.as_str()), (2, "a=b"), "a server span");
    assert_eq!(text(&span, "gen_ai.request.id"), "chatcmpl-mine");
    assert_eq!(text(&span, "gen_ai.response.id"), "chatcmpl-mine");
    assert_eq!(text(&span, "gen_ai.operation.name"), "chat");
    assert_eq!(text(&span, "gen_ai.request.model"), "qwen3-tiny");
    assert_eq!(seconds(&span, "gen_ai.request.temperature"), 0.0);
    assert_eq!(int(&span, "gen_ai.request.max_tokens"), 6);
    assert_eq!(int(&span, "gen_ai.usage.completion_tokens"), 6);
    let latency = |name: &str| seconds(&span, &format!("gen_ai.latency.{name}"));
    let inference = latency("time_in_model_prefill") + latency("time_in_model_decode");
    assert!((latency("time_in_model_inference") - inference).abs() < 1e-9);
    assert!(latency("time_to_first_token") <= latency("e2e"));
    assert_eq!(get(&span, "error.type"), None);
    let tree = traced.collector.spans();
    let children = tree.iter().filter(|child| child.parent_span_id == span.span_id);
    let names: Vec<&str> = children.map(|child| child.name.as_str()).collect();
    assert_eq!(names, ["receive", "tokenize", "queue", "prefill", "decode", "send"]);
    let decode = tree.iter().find(|child| child.name == "decode").expect("a child");
    let events: Vec<&str> = decode.events.iter().map(|event| event.name.as_str()).collect();
    assert_eq!(events, ["first_token", "step", "step", "step", "step", "step"]);
}

#[test]
fn a_conversation_is_the_session_of_the_body_the_header_or_the_extra_arguments() {
    let traced = traced(Setup::default(), "request");
    let extra = r#""vllm_xargs":{"session_id":"extra"}"#;
    for (headers, more) in [
        (&[][..], r#""vllm_xargs":{}"#.to_owned()),
        (&[], extra.to_owned()),
        (&[("x-session-id", "head")], format!(r#"{extra},"session_id":"""#)),
        (&[("x-session-id", "head")], format!(r#"{extra},"session_id":"body""#)),
    ] {
        let body = format!(r#"{{"prompt":[1,2],"max_tokens":1,{more}}}"#);
        let headers: Vec<_> = [JSON].iter().chain(headers).copied().collect();
        traced.server.send("POST", COMPLETIONS, &headers, Some(body.as_bytes()));
    }
    let mut spans = traced.spans("llm_request", 4);
    spans.sort_by_key(|span| span.start_time_unix_nano);
    let key = "gen_ai.conversation.id";
    let sessions: Vec<_> =
        spans.iter().map(|span| get(span, key).map(|_| text(span, key))).collect();
    let wanted = [None, Some("extra"), Some("head"), Some("body")];
    assert_eq!(sessions, wanted.map(|session| session.map(str::to_owned)));
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[test]
fn a_message_has_the_span_of_a_chat() {
    let traced = traced(Setup::default(), "phases");
    let body = r#"{"model":"qwen3-tiny","messages":[{"role":"user","content":"hi"}],
                   "max_tokens":6,"temperature":0,"stop_sequences":["zzz"],"stream":true}"#;
    let headers = [JSON, ("x-request-id", "mine")];
    let reply = traced.server.send("POST", "/v1/messages", &headers, Some(body.as_bytes()));
    assert_eq!(reply.status, 200);
    let span = traced.request();
    assert_eq!(text(&span, "gen_ai.request.id"), "chatcmpl-mine");
    assert_eq!(text(&span, "gen_ai.operation.name"), "chat");
    assert_eq!(text(&span, "gen_ai.request.model"), "qwen3-tiny");
    assert_eq!(int(&span, "gen_ai.request.max_tokens"), 6);
    assert!(int(&span, "gen_ai.usage.completion_tokens") <= 6);
}

#[test]
fn every_choice_of_every_prompt_has_a_span_as_in_vllm() {
    let traced = traced(Setup::default(), "request");
    let body = r#"{"prompt":["a","b"],"n":2,"max_tokens":3,"stream":true,"temperature":1}"#;
    let headers = [JSON, ("x-request-id", "r")];
    let reply = traced.server.send("POST", COMPLETIONS, &headers, Some(body.as_bytes()));
    assert_eq!(reply.status, 200);
    let spans = traced.spans("llm_request", 4);
    let mut ids: Vec<String> = spans.iter().map(|span| text(span, "gen_ai.request.id")).collect();
    ids.sort_unstable();
    assert_eq!(ids, ["cmpl-r-0", "cmpl-r-0", "cmpl-r-1", "cmpl-r-1"]);
    assert!(spans.iter().all(|span| int(span, "gen_ai.request.n") == 1));
    assert!(spans.iter().all(|span| int(span, "gen_ai.request.choice.count") == 2));
    assert!(spans.iter().all(|span| span.trace_id == spans[0].trace_id));
    assert_eq!(traced.collector.spans().len(), 4, "the level shows no children");
}

#[test]
fn refused_requests_have_spans_and_others_have_none() {
    let mut setup = Setup { max_in_flight: 0, ..Setup::default() };
    setup.options.api_keys = vec!["k".to_owned()];
    let traced = traced(setup, "phases");
    let key = [JSON, ("authorization", "Bearer k")];
    let send = |path: &str, headers: &[(&str, &str)], body: &str| {
        let before = traced.server.send("POST", path, headers, Some(body.as_bytes())).status;
        i64::from(before)
    };
    for path in ["/health", "/metrics", "/version"] {
        traced.server.send("GET", path, &[], None);
    }
    traced.server.send("GET", "/v1/models", &key, None);
    traced.server.send("GET", CHAT, &key, None);
    let cases = [
        (send(CHAT, &[], "{}"), 401, "401"),
        (send(CHAT, &key, "{"), 400, "BadRequest"),
        (send(COMPLETIONS, &key, r#"{"prompt":"x","model":"nope"}"#), 404, "NotFoundError"),
        (send(COMPLETIONS, &key, r#"{"prompt":"x"}"#), 503, "ServiceUnavailable"),
    ];
    let spans = traced.spans("llm_request", cases.len());
    for (span, (status, wanted, kind)) in spans.iter().zip(cases) {
        assert_eq!(status, wanted);
        assert_failed(span, kind, Some(wanted));
        assert_eq!(get(span, "gen_ai.latency.time_in_queue"), None);
    }
    let others = traced.collector.spans().into_iter().filter(|span| span.name != "llm_request");
    assert!(others.into_iter().all(|span| span.name == "receive"));
}

#[test]
fn a_client_that_goes_away_leaves_a_span() {
    let setup = Setup { step_time: Duration::from_millis(2), ..Setup::default() };
    let traced = traced(setup, "phases");
    let body = r#"{"prompt":"x","max_tokens":2000,"ignore_eos":true,"stream":true}"#;
    let length = body.len().to_string();
    let headers = [("content-type", "application/json"), ("content-length", &length)];
    let head = traced.server.head("POST", COMPLETIONS, &headers);
    let mut connection = traced.server.connect();
    connection.write_all((head + "\r\n" + body).as_bytes()).expect("it reads");
    // Some of the stream has come: the request decodes.
    let mut some = [0; 512];
    connection.read_exact(&mut some).expect("it streams");
    drop(connection);
    let span = traced.request();
    assert_failed(&span, "client_disconnected", Some(200));
    assert!(int(&span, "gen_ai.usage.completion_tokens") < 2000);
    assert!(int(&span, "glassbox.latency.decode") > 0);
    traced.server.wait_until_idle();
}

#[test]
fn a_failed_engine_shows_in_the_spans_of_its_requests() {
    let traced = traced(Setup { fails_at: Some(3), ..Setup::default() }, "phases");
    let body = r#"{"prompt":"x","max_tokens":50,"ignore_eos":true}"#;
    assert_eq!(traced.server.post(COMPLETIONS, body).status, 500);
    let span = traced.request();
    assert_failed(&span, "InternalServerError", Some(500));
}

#[test]
fn an_unsampled_parent_leaves_nothing() {
    let traced = traced(Setup::default(), "phases");
    let unsampled = PARENT.replace("-01", "-00");
    let body = r#"{"prompt":"x","max_tokens":3}"#;
    let headers = [JSON, ("traceparent", unsampled.as_str())];
    assert_eq!(
        traced.server.send("POST", COMPLETIONS, &headers, Some(body.as_bytes())).status,
        200
    );
    assert_eq!(traced.server.post(COMPLETIONS, body).status, 200);
    let span = traced.request();
    assert_ne!(hex(&span.trace_id), "0af7651916cd43dd8448eb211c80319c");
    assert!(traced.collector.spans().iter().all(|other| other.trace_id == span.trace_id));
}

#[test]
fn a_grammar_is_compiled_in_sight_and_only_once() {
    let traced = traced(Setup::default(), "phases");
    let body = r#"{"prompt":"a","max_tokens":4,"structured_outputs":{"choice":["yes","no"]}}"#;
    for _ in 0..2 {
        let reply = traced.server.send("POST", COMPLETIONS, &[JSON], Some(body.as_bytes()));
        assert_eq!(reply.status, 200);
    }
    let requests = traced.spans("llm_request", 2);
    let compiled = traced.spans("compile_grammar", 1).remove(0);
    let parent = requests.iter().find(|request| request.span_id == compiled.parent_span_id);
    let parent = parent.expect("it is a child of the first request");
    assert!(parent.start_time_unix_nano <= compiled.start_time_unix_nano);
    let length = (compiled.end_time_unix_nano - compiled.start_time_unix_nano) as i64;
    assert!(length <= int(parent, "glassbox.latency.ingress"));
}
