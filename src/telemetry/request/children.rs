//! The phases of a request as child spans.

use super::attributes::int;
use super::{GenerationRecord, RequestRecord};
use crate::config::TraceLevel;
use crate::types::{Clock, Interval, Moment, Phase, SpanRef, StepEvent, StepLog, WaitReason};
use opentelemetry::KeyValue;
use opentelemetry::trace::Event;
use std::time::Duration;

/// What a child span shows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Reading and checking the body.
    Receive,
    /// The chat template and the tokenizer.
    Tokenize,
    /// Compiling the grammar of the output, and waiting for that.
    Compile,
    /// The engine's phases.
    Phase(Phase),
    /// Detokenising and sending what was left when the engine was done.
    Send,
}

/// A child span before it is written down.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Child {
    pub kind: Kind,
    pub start: Moment,
    pub end: Moment,
}

impl Child {
    /// The span's name.
    pub fn name(&self) -> &'static str {
        match self.kind {
            Kind::Receive => "receive",
            Kind::Tokenize => "tokenize",
            Kind::Compile => "compile_grammar",
            Kind::Phase(Phase::Queue) => "queue",
            Kind::Phase(Phase::Transfer) => "kv_transfer",
            Kind::Phase(Phase::Prefill) => "prefill",
            Kind::Phase(Phase::Preempted) => "preempted",
            Kind::Phase(Phase::Decode) => "decode",
            Kind::Send => "send",
        }
    }
}

/// The children of one `llm_request`, in order of time.
pub fn children<'a>(
    record: &'a RequestRecord,
    generation: Option<&'a GenerationRecord>,
) -> impl Iterator<Item = Child> + 'a {
    let shown = record.level > TraceLevel::Request;
    let end = record.end;
    let receive = record.arrival.map(|arrival| Child {
        kind: Kind::Receive,
        start: record.start,
        end: arrival,
    });
    let tokenize = record.arrival.zip(record.tokenised).map(|(arrival, tokenised)| Child {
        kind: Kind::Tokenize,
        start: arrival,
        end: tokenised,
    });
    let compile = record.compiled.map(|(start, end)| Child { kind: Kind::Compile, start, end });
    let phases = generation.into_iter().flat_map(move |generation| {
        let cut = generation.cut().min(end);
        let phase = |interval: Interval| Child {
            kind: Kind::Phase(interval.phase),
            start: interval.start,
            end: interval.end,
        };
        generation.timeline.intervals(cut).map(phase)
    });
    let send = generation.map(|generation| Child {
        kind: Kind::Send,
        start: generation.cut().min(end),
        end,
    });
    let before = receive.into_iter().chain(tokenize).chain(compile);
    let all = before.chain(phases).chain(send);
    all.filter(move |_| shown)
}

/// What a child says beside its times.
pub fn details(
    child: &Child,
    record: &RequestRecord,
    generation: Option<&GenerationRecord>,
) -> Vec<KeyValue> {
    let Some(generation) = generation else { return Vec::new() };
    let timeline = &generation.timeline;
    match child.kind {
        Kind::Tokenize => vec![int("gen_ai.usage.input_tokens", generation.prompt_tokens.into())],
        Kind::Phase(Phase::Queue) => queue_details(generation, child),
        Kind::Phase(Phase::Transfer) => transfer_details(record, generation),
        Kind::Phase(Phase::Prefill) => {
            let steps = &timeline.prefill_steps;
            let mut details = vec![
                int("glassbox.prompt_tokens", generation.prompt_tokens.into()),
                int("glassbox.cached_tokens", timeline.cached.into()),
                int("glassbox.device_time", device_time(within(steps, child))),
            ];
            details.extend(thinned(steps));
            details
        }
        Kind::Phase(Phase::Decode) => {
            let mut details =
                vec![int("gen_ai.usage.output_tokens", generation.completion_tokens.into())];
            details.extend(thinned(&timeline.decode_steps));
            details
        }
        _ => Vec::new(),
    }
}

/// What was pulled, from where, and what of the time went into meeting the peer.
fn transfer_details(record: &RequestRecord, generation: &GenerationRecord) -> Vec<KeyValue> {
    let nanos = |time: Duration| u64::try_from(time.as_nanos()).unwrap_or(u64::MAX);
    let mut details = Vec::new();
    if let Some(remote) = &record.asked.remote {
        details.push(KeyValue::new("glassbox.kv_transfer.engine_id", remote.engine_id.clone()));
        details.push(KeyValue::new("glassbox.kv_transfer.request_id", remote.request_id.clone()));
    }
    if let Some(pull) = &generation.timeline.pull {
        details.push(int("glassbox.kv_transfer.bytes", pull.bytes));
        details.push(int("glassbox.kv_transfer.blocks", pull.blocks.into()));
        details.push(int("glassbox.kv_transfer.handshake", nanos(pull.handshake)));
        details.push(int("glassbox.kv_transfer.read", nanos(pull.transfer)));
    }
    details
}

/// The span of the request that computed what a child waits for.
pub fn link(child: &Child, record: &RequestRecord) -> Option<SpanRef> {
    let remote = record.asked.remote.as_ref()?;
    remote.span.filter(|_| child.kind == Kind::Phase(Phase::Transfer))
}

/// Why it waited: for which of the things a step needs, and how long for the step under way.
fn queue_details(generation: &GenerationRecord, child: &Child) -> Vec<KeyValue> {
    let waits = &generation.timeline.waits;
    let known: u64 = WaitReason::ALL.iter().map(|&reason| waits.of(reason)).sum();
    let step = child.end.nanos_since(child.start).saturating_sub(known);
    let mut all: Vec<(&'static str, &'static str, u64)> = WaitReason::ALL
        .iter()
        .map(|&reason| match reason {
            WaitReason::Blocks => ("glassbox.wait.blocks", reason.as_str(), waits.of(reason)),
            WaitReason::Budget => ("glassbox.wait.budget", reason.as_str(), waits.of(reason)),
            WaitReason::Seqs => ("glassbox.wait.seqs", reason.as_str(), waits.of(reason)),
        })
        .collect();
    all.push(("glassbox.wait.step", "step", step));
    let longest = all.iter().max_by_key(|(.., nanos)| *nanos).map_or("step", |(_, name, _)| name);
    let mut details = vec![KeyValue::new("glassbox.wait.reason", longest)];
    details.extend(all.iter().map(|(key, _, nanos)| int(key, *nanos)));
    details
}

/// Says so when only every so many steps are shown.
fn thinned(steps: &StepLog) -> Option<KeyValue> {
    (steps.stride() > 1).then(|| int("glassbox.step_stride", steps.stride()))
}

fn within<'a>(steps: &'a StepLog, child: &Child) -> impl Iterator<Item = &'a StepEvent> {
    let (start, end) = (child.start, child.end);
    steps.events().iter().filter(move |step| start < step.at && step.at <= end)
}

fn device_time<'a>(steps: impl Iterator<Item = &'a StepEvent>) -> u64 {
    steps.map(|step| step.device.as_nanos() as u64).sum()
}

/// The steps of a child, and the first token.
pub fn events(child: &Child, generation: Option<&GenerationRecord>, clock: &Clock) -> Vec<Event> {
    let Some(generation) = generation else { return Vec::new() };
    let timeline = &generation.timeline;
    match child.kind {
        Kind::Phase(Phase::Prefill) => {
            let steps = within(&timeline.prefill_steps, child);
            steps.map(|step| step_event("chunk", step, clock)).collect()
        }
        Kind::Phase(Phase::Decode) => {
            let first = timeline.first_token.filter(|first| *first == child.start);
            let first = first
                .map(|first| Event::new("first_token", clock.system_time(first), Vec::new(), 0));
            let steps = within(&timeline.decode_steps, child);
            first.into_iter().chain(steps.map(|step| step_event("step", step, clock))).collect()
        }
        _ => Vec::new(),
    }
}

fn step_event(name: &'static str, step: &StepEvent, clock: &Clock) -> Event {
    let attributes = vec![
        int("glassbox.step.tokens", step.tokens.into()),
        int("glassbox.step.batch_size", step.batch_size.into()),
        int("glassbox.step.batch_tokens", step.batch_tokens.into()),
        int("glassbox.step.device_time", step.device.as_nanos() as u64),
    ];
    Event::new(name, clock.system_time(step.at), attributes, 0)
}
