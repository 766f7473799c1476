use super::*;
use crate::telemetry::trace::Spans;
use crate::types::{PullStats, StepEvent, WaitReason};
use opentelemetry::Value;
use opentelemetry::trace::{SpanId, SpanKind, Status, TraceId, TraceState};
use opentelemetry_sdk::trace::SpanData;
use proptest::prelude::*;
use std::time::Duration;

const API: Api = Api { operation: "chat", route: "/v1/chat/completions" };

fn at(nanos: u64) -> Moment {
    Moment::from_nanos(nanos)
}

fn record(level: TraceLevel) -> RequestRecord {
    let ids = SpanIds {
        trace_id: TraceId::from(7),
        span_id: SpanId::from(8),
        parent: Some(SpanId::from(9)),
        parent_is_remote: true,
        state: TraceState::NONE,
    };
    let mut record = RequestRecord::new(&Clock::manual(), ids, level, API, "tiny", at(100));
    record.delivered = true;
    record
}

fn generation(timeline: Timeline, outcome: Outcome) -> GenerationRecord {
    let params = Resolved {
        temperature: 0.0,
        top_p: 0.7,
        top_k: 0,
        frequency_penalty: 0.0,
        presence_penalty: 0.0,
        max_tokens: 5,
        seed: None,
    };
    GenerationRecord {
        id: "chatcmpl-1".to_owned(),
        params,
        prompt_tokens: 3,
        completion_tokens: 2,
        timeline,
        first_heard: None,
        last_token: None,
        closed: at(900),
        outcome,
    }
}

/// A generation that ran: queued 150, scheduled 200, tokens at 400 and 500.
fn finished() -> GenerationRecord {
    let mut timeline = Timeline::new(at(140), timeline_room(Some(TraceLevel::Steps)));
    timeline.queued = Some(at(150));
    timeline.scheduled = Some(at(200));
    timeline.waits.add(WaitReason::Blocks, 40);
    timeline.cached = 1;
    timeline.enter(Phase::Prefill, at(200));
    let step = |end| StepEvent {
        at: at(end),
        tokens: 2,
        batch_size: 4,
        batch_tokens: 9,
        device: Duration::from_nanos(30),
    };
    timeline.prefill_steps.push(step(300));
    timeline.prefill_steps.push(step(400));
    timeline.first_token = Some(at(400));
    timeline.enter(Phase::Decode, at(400));
    timeline.decode_steps.push(step(500));
    let (first_heard, last_token) = (Some(at(410)), Some(at(500)));
    let outcome = Outcome::Finished(FinishReason::Stop);
    GenerationRecord { first_heard, last_token, ..generation(timeline, outcome) }
}

fn written(record: RequestRecord) -> Vec<SpanData> {
    let (count, mut out) = (record.count(), Vec::new());
    Box::new(record).build(&mut out);
    assert_eq!(out.len(), count, "the queue counts what is written");
    out
}

fn get<'a>(span: &'a SpanData, key: &str) -> Option<&'a Value> {
    let mut found = span.attributes.iter().filter(|attribute| attribute.key.as_str() == key);
    let value = found.next().map(|attribute| &attribute.value);
    assert!(found.next().is_none(), "{key} stands twice");
    value
}

fn int_of(span: &SpanData, key: &str) -> i64 {
    match get(span, key) {
        Some(Value::I64(value)) => *value,
        other => panic!("{key} is {other:?}"),
    }
}

fn nanos(span: &SpanData) -> i64 {
    span.end_time.duration_since(span.start_time).expect("ends after its start").as_nanos() as i64
}

const PARTS: [&str; 7] =
    ["ingress", "queue", "transfer", "prefill", "preempted", "decode", "egress"];

fn check_account(span: &SpanData) {
    let part = |name: &str| int_of(span, &format!("glassbox.latency.{name}"));
    let sum: i64 = PARTS.iter().map(|name| part(name)).sum();
    assert!(PARTS.iter().all(|name| part(name) >= 0));
    assert_eq!(sum, part("e2e"));
    assert_eq!(sum, nanos(span));
}

#[test]
fn a_finished_request_tells_all() {
    let mut record = record(TraceLevel::Steps);
    record.arrival = Some(at(110));
    record.tokenised = Some(at(130));
    record.asked.response_id = "chatcmpl-1".to_owned();
    record.asked.n = 1;
    record.replied = Some((at(500), 200));
    record.generations = vec![finished()];
    record.end = at(1000);
    let spans = written(record);
    let root = &spans[0];
    assert_eq!((root.name.as_ref(), &root.span_kind), ("llm_request", &SpanKind::Server));
    assert_eq!((root.parent_span_id, root.parent_span_is_remote), (SpanId::from(9), true));
    assert_eq!(root.status, Status::Unset);
    check_account(root);
    let seconds = |nanos: u64| Some(Value::F64(Duration::from_nanos(nanos).as_secs_f64()));
    for (key, value) in [
        ("gen_ai.latency.time_to_first_token", seconds(300)),
        ("gen_ai.latency.e2e", seconds(790)),
        ("gen_ai.latency.time_in_queue", seconds(50)),
        ("gen_ai.latency.time_in_model_prefill", seconds(200)),
        ("gen_ai.latency.time_in_model_decode", seconds(100)),
        ("gen_ai.latency.time_in_model_inference", seconds(300)),
        ("gen_ai.request.temperature", Some(Value::F64(0.0))),
        ("gen_ai.request.top_p", Some(Value::F64(0.7))),
        ("gen_ai.usage.prompt_tokens", Some(Value::I64(3))),
        ("gen_ai.usage.cache_read.input_tokens", Some(Value::I64(1))),
        ("gen_ai.request.model", Some(Value::String("tiny".into()))),
        ("error.type", None),
    ] {
        assert_eq!(get(root, key), value.as_ref(), "{key}");
    }
    let children: Vec<_> =
        spans[1..].iter().map(|span| (span.name.as_ref(), nanos(span))).collect();
    let wanted =
        [("receive", 10), ("tokenize", 20), ("queue", 60), ("prefill", 200), ("decode", 100)];
    assert_eq!(children[..5], wanted);
    assert_eq!(children[5..], [("send", 500)]);
    assert!(spans[1..].iter().all(|span| span.parent_span_id == SpanId::from(8)));
    let (queue, prefill, decode) = (&spans[3], &spans[4], &spans[5]);
    assert_eq!(get(queue, "glassbox.wait.reason"), Some(&Value::String("blocks".into())));
    assert_eq!(int_of(queue, "glassbox.wait.step"), 20);
    assert_eq!((prefill.events.len(), int_of(prefill, "glassbox.device_time")), (2, 60));
    let names: Vec<_> = decode.events.iter().map(|event| event.name.as_ref()).collect();
    assert_eq!(names, ["first_token", "step"]);
}

#[test]
fn a_refused_request_has_a_span_without_latencies_it_never_had() {
    let mut record = record(TraceLevel::Phases);
    record.replied = Some((at(160), 404));
    let about = Some("model".to_owned());
    record.failure = Some(Failure { kind: "NotFoundError".to_owned(), about });
    record.end = at(170);
    let spans = written(record);
    assert_eq!(spans.len(), 1);
    check_account(&spans[0]);
    assert_eq!(spans[0].status, Status::error("NotFoundError (model)"));
    assert_eq!(int_of(&spans[0], "http.response.status_code"), 404);
    assert_eq!(int_of(&spans[0], "glassbox.latency.ingress"), 60);
    assert_eq!(get(&spans[0], "gen_ai.latency.time_in_queue"), None);
}

#[test]
fn what_ended_badly_says_how() {
    let queued = || Timeline::new(at(140), TimelineRoom::default());
    for (outcome, delivered, kind) in [
        (Outcome::Dropped, false, "client_disconnected"),
        (Outcome::Dropped, true, "client_disconnected"),
        (Outcome::Lost, true, "engine_error"),
        (Outcome::Finished(FinishReason::Error), true, "engine_error"),
        (Outcome::Finished(FinishReason::Abort), true, "aborted"),
        (Outcome::Finished(FinishReason::Length), false, "client_disconnected"),
    ] {
        let mut record = record(TraceLevel::Phases);
        record.delivered = delivered;
        record.generations = vec![generation(queued(), outcome)];
        record.end = at(1000);
        let spans = written(record);
        check_account(&spans[0]);
        assert_eq!(get(&spans[0], "error.type"), Some(&Value::String(kind.into())));
        assert_eq!(spans[0].status, Status::error(kind));
        assert_eq!(int_of(&spans[0], "glassbox.latency.queue"), 760);
    }
}

#[test]
fn levels_show_more_or_less() {
    for (level, count) in
        [(TraceLevel::Request, 2), (TraceLevel::Phases, 10), (TraceLevel::Steps, 10)]
    {
        let mut record = record(level);
        record.generations = vec![finished(), finished()];
        record.end = at(1000);
        let spans = written(record);
        assert_eq!(spans.len(), count);
        let roots: Vec<_> = spans.iter().filter(|span| span.name == "llm_request").collect();
        assert_eq!(roots.len(), 2);
        assert_ne!(roots[0].span_context.span_id(), roots[1].span_context.span_id());
    }
}

proptest! {
    /// Whatever came in whatever order: the account adds up and no child leaves its parent.
    #[test]
    fn every_account_adds_up(
        marks in prop::array::uniform8(100u64..2000),
        phases in prop::collection::vec((0usize..4, 100u64..2000), 0..12),
        outcome in prop::sample::select(vec![
            Outcome::Dropped, Outcome::Lost, Outcome::Finished(FinishReason::Stop),
            Outcome::Finished(FinishReason::Length), Outcome::Finished(FinishReason::Abort),
        ]),
        known in prop::array::uniform4(any::<bool>()),
        intervals in 0usize..20,
    ) {
        // Moments of one thread are in order; only the engine's may lie anywhere after.
        let mut marks = marks;
        marks.sort_unstable();
        let [arrival, tokenised, handed, first, last, replied, closed, end] = marks;
        let room = TimelineRoom { intervals, prefill_steps: 4, decode_steps: 4 };
        let mut timeline = Timeline::new(at(handed), room);
        let all = [Phase::Prefill, Phase::Preempted, Phase::Decode, Phase::Transfer];
        for (phase, when) in phases {
            timeline.enter(all[phase], at(when));
        }
        let mut record = record(TraceLevel::Phases);
        record.arrival = known[0].then_some(at(arrival));
        record.tokenised = known[1].then_some(at(tokenised));
        record.replied = known[2].then_some((at(replied), 200));
        record.end = at(end);
        let mut generation = generation(timeline, outcome);
        generation.closed = at(closed);
        generation.first_heard = known[3].then_some(at(first));
        generation.last_token = known[3].then_some(at(last));
        record.generations = vec![generation];
        let spans = written(record);
        check_account(&spans[0]);
        for child in &spans[1..] {
            prop_assert!(child.start_time >= spans[0].start_time, "{}", child.name);
            prop_assert!(child.end_time <= spans[0].end_time, "{}", child.name);
            prop_assert!(child.start_time <= child.end_time, "{}", child.name);
        }
    }
}

#[test]
fn a_pull_tells_where_its_blocks_came_from() {
    let mut timeline = Timeline::new(at(140), timeline_room(Some(TraceLevel::Phases)));
    timeline.queued = Some(at(150));
    timeline.enter(Phase::Transfer, at(160));
    timeline.pull = Some(PullStats {
        bytes: 4096,
        blocks: 2,
        handshake: Duration::from_nanos(11),
        transfer: Duration::from_nanos(25),
    });
    timeline.enter(Phase::Queue, at(200));
    timeline.scheduled = Some(at(210));
    timeline.enter(Phase::Prefill, at(210));
    let mut record = record(TraceLevel::Phases);
    let theirs = SpanRef { trace_id: 0xabc, span_id: 0xdef };
    let span = SpanRef::of_traceparent(&theirs.traceparent());
    assert_eq!(span, Some(theirs));
    let (engine_id, request_id) = ("engine".to_owned(), "cmpl-1-0-abcdef01".to_owned());
    record.asked.remote = Some(RemoteSource { engine_id, request_id, span });
    record.generations.push(generation(timeline, Outcome::Finished(FinishReason::Stop)));
    record.end = at(950);
    let spans = written(record);
    let pull = spans.iter().find(|span| span.name == "kv_transfer").expect("it is shown");
    assert_eq!((int_of(pull, "glassbox.kv_transfer.bytes"), nanos(pull)), (4096, 40));
    assert_eq!(int_of(pull, "glassbox.kv_transfer.blocks"), 2);
    assert_eq!(int_of(pull, "glassbox.kv_transfer.handshake"), 11);
    assert_eq!(int_of(pull, "glassbox.kv_transfer.read"), 25);
    assert_eq!(get(pull, "glassbox.kv_transfer.engine_id"), Some(&Value::from("engine")));
    let [link] = pull.links.links.as_slice() else { panic!("{:?}", pull.links) };
    assert_eq!(link.span_context.trace_id(), TraceId::from(theirs.trace_id));
    assert_eq!(link.span_context.span_id(), SpanId::from(theirs.span_id));
    let others = spans.iter().filter(|span| span.name != "kv_transfer");
    others.for_each(|span| assert!(span.links.links.is_empty()));
}
