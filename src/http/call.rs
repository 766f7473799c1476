//! One API call from its first byte to its last, as metrics and traces see it.

use super::frontend::Frontend;
use super::headers::{session, session_header};
use super::kv_transfer::Share;
use super::request::GenerateFields;
use crate::engine::EngineHandle;
use crate::error::ApiError;
use crate::telemetry::metrics::{Metrics, RequestMetrics};
use crate::telemetry::request::{Api, Failure, RequestRecord, timeline_room};
use crate::telemetry::trace::Tracer;
use crate::types::{Clock, Moment, SharedTimeline, SpanRef};
use axum::http::{HeaderMap, Method, StatusCode};
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::sync::{Arc, Mutex, PoisonError};

/// The paths whose calls are traced.
const APIS: [Api; 4] = [
    Api { operation: "chat", route: "/v1/chat/completions" },
    Api { operation: "text_completion", route: "/v1/completions" },
    Api { operation: "chat", route: "/v1/messages" },
    Api { operation: "chat", route: "/v1/responses" },
];

/// A call. Clones are the same call; when the last one is dropped, the call is over.
#[derive(Clone)]
pub struct Call {
    clock: Clock,
    metrics: Arc<Metrics>,
    arrival: Moment,
    /// `None` for calls without spans.
    trace: Option<Arc<Trace>>,
    /// `None` when the server transfers no KV.
    transfer: Option<Arc<CallTransfer>>,
}

/// What a call has to do with KV transfer.
struct CallTransfer {
    engine: EngineHandle,
    /// Its body was read: what it names is let go by [`super::kv_transfer::Share`].
    is_read: AtomicBool,
}

struct Trace {
    tracer: Tracer,
    span: SpanRef,
    record: Mutex<Option<RequestRecord>>,
}

impl Call {
    /// A call whose head has just been read. It is traced when its path is that of a model, the
    /// server traces and the call is sampled.
    pub fn begin(frontend: &Frontend, method: &Method, path: &str, headers: &HeaderMap) -> Self {
        let clock = frontend.engine.clock().clone();
        let start = clock.now();
        let api = APIS.into_iter().find(|api| *method == Method::POST && api.route == path);
        let trace = api.and_then(|api| Trace::begin(frontend, api, headers, &clock, start));
        let metrics = frontend.metrics.clone();
        let transfer = frontend.options.kv_transfer.as_ref().map(|_| CallTransfer {
            engine: frontend.engine.clone(),
            is_read: AtomicBool::new(false),
        });
        let (trace, transfer) = (trace.map(Arc::new), transfer.map(Arc::new));
        Self { clock, metrics, arrival: start, trace, transfer }
    }

    /// The body was read and checked: vLLM's arrival.
    pub fn arrived(&mut self) {
        self.arrival = self.clock.now();
        self.note(|record| record.arrival = Some(self.arrival));
    }

    /// What its body says.
    pub fn asks_for(&self, fields: &GenerateFields, headers: &HeaderMap) {
        if let Some(transfer) = &self.transfer {
            transfer.is_read.store(true, Relaxed);
            fields.transfer.engage(&transfer.engine);
        }
        self.note(|record| {
            record.asked.session = session(headers, fields);
            record.asked.model.clone_from(&fields.model);
            record.asked.stream = fields.stream;
            record.asked.remote = fields.transfer.source();
        });
    }

    /// It was refused. If that was before its body made sense, the blocks that a peer keeps for it
    /// are let go all the same.
    pub fn refused(&self, body: &[u8]) {
        if let Some(transfer) = self.transfer.as_ref().filter(|t| !t.is_read.load(Relaxed)) {
            Share::of_body(body).engage(&transfer.engine);
        }
    }

    /// What it comes to for the engine.
    pub fn resolved(&self, response_id: &str, n: usize, stop: &[String]) {
        self.note(|record| {
            record.asked.response_id = response_id.to_owned();
            record.asked.n = n;
            record.asked.stop = stop.to_vec();
        });
    }

    /// vLLM's arrival.
    pub fn arrival(&self) -> Moment {
        self.arrival
    }

    /// The prompts were rendered and tokenised.
    pub fn tokenised(&self) {
        self.note(|record| record.tokenised = Some(self.clock.now()));
    }

    /// The head of the reply is made.
    pub fn replied(&self, status: StatusCode) {
        self.note(|record| record.replied = Some((self.clock.now(), status.as_u16())));
    }

    /// It failed; what is noted first counts.
    pub fn failed(&self, error: &ApiError) {
        self.note(|record| {
            record.failure.get_or_insert_with(|| Failure {
                kind: match error.kind {
                    "" => error.status.to_string(),
                    kind => kind.replace(' ', ""),
                },
                about: error.param.clone(),
            });
        });
    }

    /// All of the reply went to the socket.
    pub fn delivered(&self) {
        self.note(|record| record.delivered = true);
    }

    /// Adds facts to what is traced; nothing happens when it is not.
    pub fn note(&self, write: impl FnOnce(&mut RequestRecord)) {
        if let Some(trace) = &self.trace {
            trace.record.lock().unwrap_or_else(PoisonError::into_inner).as_mut().map(write);
        }
    }

    /// Its span, for exemplars and log lines.
    pub fn span(&self) -> Option<SpanRef> {
        self.trace.as_ref().map(|trace| trace.span)
    }

    /// A timeline for one of its generations, handed over now.
    pub fn timeline(&self) -> SharedTimeline {
        let level = self.trace.as_ref().map(|trace| trace.tracer.level());
        SharedTimeline::new(self.clock.now(), timeline_room(level))
    }

    /// Where what is measured of its generations goes.
    pub fn metrics(&self) -> &RequestMetrics {
        &self.metrics.requests
    }

    /// The clock of its moments.
    pub fn clock(&self) -> &Clock {
        &self.clock
    }
}

impl Trace {
    fn begin(
        frontend: &Frontend,
        api: Api,
        headers: &HeaderMap,
        clock: &Clock,
        start: Moment,
    ) -> Option<Self> {
        let header = |name| headers.get(name).map(|value| value.as_bytes());
        let Some(tracer) = &frontend.tracer else {
            warn_of_lost_context(&header);
            return None;
        };
        let ids = tracer.begin(header)?;
        let span = SpanRef {
            trace_id: u128::from_be_bytes(ids.trace_id.to_bytes()),
            span_id: u64::from_be_bytes(ids.span_id.to_bytes()),
        };
        let model = frontend.model_name();
        let mut record = RequestRecord::new(clock, ids, tracer.level(), api, model, start);
        record.asked.session = session_header(headers);
        let (tracer, record) = (tracer.clone(), Mutex::new(Some(record)));
        Some(Self { tracer, span, record })
    }
}

impl Drop for Trace {
    fn drop(&mut self) {
        let record = self.record.get_mut().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(mut record) = record {
            record.end = record.clock.now();
            self.tracer.submit(Box::new(record));
        }
    }
}

/// Says once that requests bring a trace context which goes nowhere.
fn warn_of_lost_context<'h>(header: &impl Fn(&'static str) -> Option<&'h [u8]>) {
    static SAID: AtomicBool = AtomicBool::new(false);
    if !SAID.load(Relaxed)
        && (header("traceparent").is_some() || header("tracestate").is_some())
        && !SAID.swap(true, Relaxed)
    {
        log::warn!("Received a request with trace context but tracing is disabled");
    }
}
