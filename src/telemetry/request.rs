//! The spans of one API request: `llm_request` for each of its generations, and what each did when.
//!
//! While a request is served its facts are gathered in a [`RequestRecord`], plain data. The spans
//! are written from it afterwards, on the export thread.

mod attributes;
mod children;
mod spans;
#[cfg(test)]
mod tests;

pub(super) use spans::internal_span;

use super::trace::SpanIds;
use crate::config::TraceLevel;
use crate::types::{Clock, FinishReason, Moment, Phase, SpanRef, Timeline, TimelineRoom};

/// Which API was called.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Api {
    /// OpenTelemetry's `gen_ai.operation.name`.
    pub operation: &'static str,
    pub route: &'static str,
}

/// What a request asked for, known once its body is checked.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Asked {
    /// As the request names it.
    pub model: Option<String>,
    /// The id of the reply.
    pub response_id: String,
    pub stream: bool,
    /// Replies to each prompt.
    pub n: usize,
    pub stop: Vec<String>,
    /// What KV events call the session.
    pub session: Option<String>,
    /// Where its prompt was computed, when that was elsewhere.
    pub remote: Option<RemoteSource>,
}

/// The request on another server that computed a prompt.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RemoteSource {
    pub engine_id: String,
    pub request_id: String,
    /// Its span, when the server told.
    pub span: Option<SpanRef>,
}

/// Sampling parameters as they were resolved.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Resolved {
    pub temperature: f32,
    pub top_p: f32,
    pub top_k: u32,
    pub frequency_penalty: f32,
    pub presence_penalty: f32,
    pub max_tokens: u32,
    pub seed: Option<i64>,
}

/// How a generation ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    Finished(FinishReason),
    /// Nobody reads it any more: the client went away, or the request failed elsewhere.
    Dropped,
    /// The engine died.
    Lost,
}

/// One generation of a request.
#[derive(Clone, Debug, PartialEq)]
pub struct GenerationRecord {
    /// vLLM's external request id.
    pub id: String,
    pub params: Resolved,
    pub prompt_tokens: u32,
    pub completion_tokens: u32,
    pub timeline: Timeline,
    /// When the first token came out of the engine's channel.
    pub first_heard: Option<Moment>,
    /// The end of the step that gave the last token.
    pub last_token: Option<Moment>,
    /// When its reader was through with it.
    pub closed: Moment,
    pub outcome: Outcome,
}

/// What went wrong. It names no text of the client's.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Failure {
    /// OpenTelemetry's `error.type`: of few values.
    pub kind: String,
    /// What it was about: a parameter, mostly.
    pub about: Option<String>,
}

/// The life of one request.
#[derive(Clone, Debug)]
pub struct RequestRecord {
    pub clock: Clock,
    pub ids: SpanIds,
    pub level: TraceLevel,
    pub api: Api,
    /// The name under which the model is served.
    pub model: String,
    /// The head of the request was read.
    pub start: Moment,
    /// The body was read and checked: vLLM's arrival.
    pub arrival: Option<Moment>,
    /// The prompts were rendered and tokenised.
    pub tokenised: Option<Moment>,
    /// When the grammar of the output was compiled, the wait for that included: start and end.
    pub compiled: Option<(Moment, Moment)>,
    pub asked: Asked,
    /// The head of the reply was made, with this HTTP status.
    pub replied: Option<(Moment, u16)>,
    /// The last byte of the reply went to the socket.
    pub delivered: bool,
    pub failure: Option<Failure>,
    pub generations: Vec<GenerationRecord>,
    /// When all was over.
    pub end: Moment,
}

/// The parts of a request's time, nanoseconds; they add up to [`Parts::e2e`] exactly.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Parts {
    /// Until the engine had it: reading, checking, rendering, tokenising, compiling a grammar.
    pub ingress: u64,
    pub queue: u64,
    pub transfer: u64,
    pub prefill: u64,
    pub preempted: u64,
    pub decode: u64,
    /// From the end of the engine's work to the last byte.
    pub egress: u64,
    pub e2e: u64,
}

impl RequestRecord {
    /// A request whose head has just been read.
    pub fn new(
        clock: &Clock,
        ids: SpanIds,
        level: TraceLevel,
        api: Api,
        model: &str,
        start: Moment,
    ) -> Self {
        Self {
            clock: clock.clone(),
            ids,
            level,
            api,
            model: model.to_owned(),
            start,
            arrival: None,
            tokenised: None,
            compiled: None,
            asked: Asked::default(),
            replied: None,
            delivered: false,
            failure: None,
            generations: Vec::new(),
            end: start,
        }
    }

    /// Where the time went, of one generation, or of a request that had none.
    pub fn parts(&self, generation: Option<&GenerationRecord>) -> Parts {
        let end = self.end;
        let e2e = end.nanos_since(self.start);
        let Some(generation) = generation else {
            let replied = self.replied.map_or(end, |(replied, _)| replied).min(end);
            let ingress = replied.nanos_since(self.start);
            return Parts { ingress, egress: end.nanos_since(replied), e2e, ..Parts::default() };
        };
        let timeline = &generation.timeline;
        let cut = generation.cut().min(end).max(timeline.handed_over);
        let times = timeline.times(cut);
        Parts {
            ingress: timeline.handed_over.nanos_since(self.start),
            queue: times.of(Phase::Queue),
            transfer: times.of(Phase::Transfer),
            prefill: times.of(Phase::Prefill),
            preempted: times.of(Phase::Preempted),
            decode: times.of(Phase::Decode),
            egress: end.nanos_since(cut),
            e2e,
        }
    }
}

impl GenerationRecord {
    /// The end of the engine's work as far as this request is concerned.
    pub fn cut(&self) -> Moment {
        match self.outcome {
            Outcome::Finished(reason) if reason.is_own_end() => {
                self.last_token.unwrap_or(self.closed)
            }
            _ => self.closed,
        }
    }
}

/// How much a timeline must hold for what is shown of it; nothing for requests without spans.
pub fn timeline_room(level: Option<TraceLevel>) -> TimelineRoom {
    match level {
        None | Some(TraceLevel::Request) => TimelineRoom::default(),
        Some(TraceLevel::Phases) => {
            TimelineRoom { intervals: 32, prefill_steps: 64, decode_steps: 0 }
        }
        Some(TraceLevel::Steps) => {
            TimelineRoom { intervals: 32, prefill_steps: 64, decode_steps: 128 }
        }
    }
}
