//! Traces: who is traced, which ids spans get, and the way of finished spans to the collector.
//!
//! A request asks [`Tracer::begin`] at its start. One that is not sampled costs a look at its
//! headers and nothing else. One that is collects plain data as it runs, and at its end hands it
//! over by [`Tracer::submit`]: only then, on the export thread, spans are written down.

pub mod context;
mod ids;
mod queue;
mod sampler;
mod stats;

pub use queue::Spans;
pub use sampler::Sampler;
pub use stats::{DropReason, ExportCounts, ExportStats};

pub(super) use ids::{random, span_id};
pub(super) use queue::{Queue, Queued};
pub(super) use stats::Ticket;

use super::export;
use crate::config::{TraceLevel, TracingSettings};
use context::Parent;
use opentelemetry::trace::{SpanContext, SpanId, TraceFlags, TraceId, TraceState};
use std::sync::Arc;
use std::time::Duration;

/// Starts spans and takes finished ones. Clones share everything.
#[derive(Clone, Debug)]
pub struct Tracer {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    level: TraceLevel,
    sampler: Sampler,
    read_parent: bool,
    /// Of requests that bring none.
    process_parent: Option<(Parent, TraceState)>,
    queue: Arc<Queue>,
}

/// Who a span is and where it belongs.
#[derive(Clone, Debug, PartialEq)]
pub struct SpanIds {
    pub trace_id: TraceId,
    pub span_id: SpanId,
    pub parent: Option<SpanId>,
    /// The parent lives in another process.
    pub parent_is_remote: bool,
    pub state: TraceState,
}

impl SpanIds {
    /// As OpenTelemetry's types want it.
    pub fn context(&self) -> SpanContext {
        let state = self.state.clone();
        SpanContext::new(self.trace_id, self.span_id, TraceFlags::SAMPLED, false, state)
    }

    /// The context of a child with this id.
    pub fn child(&self, span_id: SpanId) -> SpanContext {
        let state = self.state.clone();
        SpanContext::new(self.trace_id, span_id, TraceFlags::SAMPLED, false, state)
    }
}

impl Tracer {
    /// Starts the export thread.
    ///
    /// # Errors
    /// One sentence when spans could never leave: an endpoint that is none, headers that no
    /// request can carry, certificates that cannot be read. That the collector does not answer is
    /// no error: it may come up later.
    pub fn start(settings: &TracingSettings) -> Result<(Self, TracerGuard), String> {
        let batch = &settings.batch;
        let (queue, receiver) = Queue::new(batch.max_queue_size, batch.max_batch_size);
        let queue = Arc::new(queue);
        let thread = export::start(settings, Arc::clone(&queue), receiver)?;
        let (traceparent, tracestate) = &settings.process_parent;
        let parent = traceparent.as_deref().map(str::as_bytes).and_then(context::traceparent);
        let state = tracestate.as_deref().map(str::as_bytes).map(context::tracestate);
        let inner = Arc::new(Inner {
            level: settings.level,
            sampler: Sampler::new(settings.sampler),
            read_parent: settings.read_parent,
            process_parent: parent.map(|parent| (parent, state.unwrap_or_default())),
            queue,
        });
        Ok((Self { inner: Arc::clone(&inner) }, TracerGuard { queue: inner.queue.clone(), thread }))
    }

    /// Ids for the first span of a request, `None` when it is not sampled. `header` gives the
    /// first header of a name. Only a request with neither `traceparent` nor `tracestate` takes
    /// its parent from the environment of the process, as in vLLM.
    pub fn begin<'h>(&self, header: impl Fn(&'static str) -> Option<&'h [u8]>) -> Option<SpanIds> {
        let inner = &*self.inner;
        let own = inner.process_parent.as_ref();
        let (parent, state, own) = match inner.read_parent {
            false => (None, None, None),
            true => match (header("traceparent"), header("tracestate")) {
                (None, None) => (own.map(|(parent, _)| *parent), None, own),
                (parent, state) => (parent.and_then(context::traceparent), state, None),
            },
        };
        let trace_id = inner.sampler.sample(parent.as_ref())?;
        let state = match (parent, state, own) {
            (Some(_), Some(state), _) => context::tracestate(state),
            (Some(_), None, Some((_, state))) => state.clone(),
            _ => TraceState::NONE,
        };
        Some(SpanIds {
            trace_id,
            span_id: ids::span_id(),
            parent: parent.map(|parent| parent.span_id),
            parent_is_remote: parent.is_some(),
            state,
        })
    }

    /// How much of a request to show.
    pub fn level(&self) -> TraceLevel {
        self.inner.level
    }

    /// An id for one more span of any trace.
    pub fn next_span_id(&self) -> SpanId {
        ids::span_id()
    }

    /// Hands finished spans over. Never waits: when the queue is full they are dropped and
    /// counted.
    pub fn submit(&self, spans: Box<dyn Spans>) {
        self.inner.queue.submit(spans);
    }

    /// What became of all spans.
    pub fn stats(&self) -> &ExportStats {
        self.inner.queue.stats()
    }

    /// The same, for who outlives the tracer.
    pub fn shared_stats(&self) -> Arc<ExportStats> {
        Arc::clone(self.inner.queue.stats())
    }
}

/// Ends tracing. Dropped without [`shutdown`](Self::shutdown), what waits is lost, and counted.
#[derive(Debug)]
pub struct TracerGuard {
    queue: Arc<Queue>,
    thread: export::Thread,
}

impl TracerGuard {
    /// Takes no more spans and sends those that wait, for at most `bound`; what is left then, or
    /// after the first failure, is dropped and counted. Blocks: not for async tasks.
    pub fn shutdown(mut self, bound: Duration) {
        self.queue.close();
        self.thread.end(bound);
        let lost = self.queue.stats().dropped(DropReason::Shutdown);
        if lost > 0 {
            log::warn!("{lost} spans were not sent before the end");
        }
    }
}

impl Drop for TracerGuard {
    fn drop(&mut self) {
        self.queue.close();
    }
}

#[cfg(test)]
mod tests;
