//! From a finished request to span data.

use super::children::{self, Child};
use super::{GenerationRecord, RequestRecord, attributes};
use crate::telemetry::trace::{SpanIds, Spans, span_id};
use crate::types::{Moment, SpanRef};
use opentelemetry::trace::{
    Link, SpanContext, SpanId, SpanKind, Status, TraceFlags, TraceId, TraceState,
};
use opentelemetry::{InstrumentationScope, KeyValue};
use opentelemetry_sdk::trace::{SpanData, SpanEvents, SpanLinks};
use std::borrow::Cow;

/// The scope of vLLM's span of the same name.
const VLLM_SCOPE: &str = "vllm.tracing.otel";

impl RequestRecord {
    /// Its generations, or that it had none.
    fn generations(&self) -> impl Iterator<Item = Option<&GenerationRecord>> {
        let none = self.generations.is_empty().then_some(None);
        self.generations.iter().map(Some).chain(none)
    }

    fn write(&self, generation: Option<&GenerationRecord>, ids: &SpanIds, out: &mut Vec<SpanData>) {
        let failure = attributes::failure(self, generation);
        let span = SpanData {
            span_kind: SpanKind::Server,
            parent_span_id: ids.parent.unwrap_or(SpanId::INVALID),
            parent_span_is_remote: ids.parent_is_remote,
            attributes: attributes::attributes(self, generation, failure.as_ref()),
            status: failure.map_or(Status::Unset, |failure| {
                Status::error(match failure.about {
                    Some(about) => format!("{} ({about})", failure.kind),
                    None => failure.kind,
                })
            }),
            instrumentation_scope: InstrumentationScope::builder(VLLM_SCOPE).build(),
            ..self.span("llm_request", ids, ids.span_id, self.start, self.end)
        };
        out.push(span);
        for child in children::children(self, generation) {
            out.push(self.child(&child, generation, ids));
        }
    }

    fn child(
        &self,
        child: &Child,
        generation: Option<&GenerationRecord>,
        ids: &SpanIds,
    ) -> SpanData {
        let mut events = SpanEvents::default();
        events.events = children::events(child, generation, &self.clock);
        let mut links = SpanLinks::default();
        links.links.extend(children::link(child, self).map(link));
        SpanData {
            parent_span_id: ids.span_id,
            attributes: children::details(child, self, generation),
            events,
            links,
            ..self.span(child.name(), ids, span_id(), child.start, child.end)
        }
    }

    fn span(
        &self,
        name: &'static str,
        ids: &SpanIds,
        span_id: SpanId,
        start: Moment,
        end: Moment,
    ) -> SpanData {
        let (start, end) = (self.clock.system_time(start), self.clock.system_time(end));
        internal_span(name.into(), ids, span_id, (start, end), Vec::new())
    }
}

/// A span of another server.
fn link(span: SpanRef) -> Link {
    let (trace_id, span_id) = (TraceId::from(span.trace_id), SpanId::from(span.span_id));
    let flags = TraceFlags::SAMPLED;
    let context = SpanContext::new(trace_id, span_id, flags, true, TraceState::default());
    Link::with_context(context)
}

/// A span inside the process, without a parent so far.
pub(in crate::telemetry) fn internal_span(
    name: Cow<'static, str>,
    ids: &SpanIds,
    span_id: SpanId,
    (start_time, end_time): (std::time::SystemTime, std::time::SystemTime),
    attributes: Vec<KeyValue>,
) -> SpanData {
    let scope = InstrumentationScope::builder("glassbox").with_version(env!("CARGO_PKG_VERSION"));
    SpanData {
        span_context: ids.child(span_id),
        parent_span_id: SpanId::INVALID,
        parent_span_is_remote: false,
        span_kind: SpanKind::Internal,
        name,
        start_time,
        end_time,
        attributes,
        dropped_attributes_count: 0,
        events: SpanEvents::default(),
        links: SpanLinks::default(),
        status: Status::Unset,
        instrumentation_scope: scope.build(),
    }
}

impl Spans for RequestRecord {
    fn count(&self) -> usize {
        let spans = |generation| 1 + children::children(self, generation).count();
        self.generations().map(spans).sum()
    }

    fn build(self: Box<Self>, out: &mut Vec<SpanData>) {
        for (i, generation) in self.generations().enumerate() {
            let mut ids = self.ids.clone();
            if i > 0 {
                ids.span_id = span_id();
            }
            self.write(generation, &ids, out);
        }
    }
}
