//! Start-up as a trace of its own: one span, and a child for each thing that took time.

use super::request::internal_span;
use super::trace::{SpanIds, Spans, Tracer, span_id};
use crate::types::{Clock, Moment};
use opentelemetry_sdk::trace::SpanData;

/// What happened since the process began.
#[derive(Debug)]
pub struct Startup {
    clock: Clock,
    start: Moment,
    phases: Vec<Phase>,
}

#[derive(Debug)]
struct Phase {
    name: &'static str,
    start: Moment,
    end: Moment,
}

impl Startup {
    /// Begins now.
    pub fn new(clock: &Clock) -> Self {
        Self { clock: clock.clone(), start: clock.now(), phases: Vec::new() }
    }

    /// Does some work and notes how long it took.
    pub fn phase<T>(&mut self, name: &'static str, work: impl FnOnce() -> T) -> T {
        let start = self.clock.now();
        let result = work();
        self.add(name, start, self.clock.now());
        result
    }

    /// Notes work that has been done.
    pub fn add(&mut self, name: &'static str, start: Moment, end: Moment) {
        self.phases.push(Phase { name, start, end });
    }

    /// The server is ready: gives the time it took in seconds, and the trace to `tracer`.
    pub fn ready(self, tracer: Option<&Tracer>) -> f64 {
        let end = self.clock.now();
        let seconds = end.since(self.start).as_secs_f64();
        if let Some((tracer, ids)) = tracer.and_then(|t| Some((t, t.begin(|_| None)?))) {
            tracer.submit(Box::new(StartupSpans { startup: self, ids, end }));
        }
        seconds
    }
}

struct StartupSpans {
    startup: Startup,
    ids: SpanIds,
    end: Moment,
}

impl Spans for StartupSpans {
    fn count(&self) -> usize {
        1 + self.startup.phases.len()
    }

    fn build(self: Box<Self>, out: &mut Vec<SpanData>) {
        let Startup { clock, start, phases } = &self.startup;
        let span = |name: &'static str, id, start, end| {
            let times = (clock.system_time(start), clock.system_time(end));
            internal_span(name.into(), &self.ids, id, times, Vec::new())
        };
        let mut root = span("startup", self.ids.span_id, *start, self.end);
        root.parent_span_is_remote = self.ids.parent_is_remote;
        if let Some(parent) = self.ids.parent {
            root.parent_span_id = parent;
        }
        out.push(root);
        for phase in phases {
            let mut child = span(phase.name, span_id(), phase.start, phase.end);
            child.parent_span_id = self.ids.span_id;
            out.push(child);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use opentelemetry::trace::{SpanId, TraceId, TraceState};
    use std::time::Duration;

    #[test]
    fn phases_are_children_of_the_start() {
        let clock = Clock::manual();
        let mut startup = Startup::new(&clock);
        startup.phase("bind", || clock.advance(Duration::from_millis(2)));
        startup.phase("load weights", || clock.advance(Duration::from_millis(5)));
        clock.advance(Duration::from_millis(1));
        let ids = SpanIds {
            trace_id: TraceId::from(1),
            span_id: SpanId::from(2),
            parent: None,
            parent_is_remote: false,
            state: TraceState::NONE,
        };
        let end = clock.now();
        let spans = Box::new(StartupSpans { startup, ids, end });
        let (count, mut out) = (spans.count(), Vec::new());
        spans.build(&mut out);
        assert_eq!(out.len(), count);
        let shown: Vec<_> = out
            .iter()
            .map(|span| {
                let took = span.end_time.duration_since(span.start_time).expect("in order");
                (span.name.as_ref(), span.parent_span_id, took.as_millis())
            })
            .collect();
        let (none, root) = (SpanId::INVALID, SpanId::from(2));
        assert_eq!(shown, [("startup", none, 8), ("bind", root, 2), ("load weights", root, 5)]);
        assert!(out.iter().all(|span| span.span_context.trace_id() == TraceId::from(1)));
    }
}
