//! From the queue to encoded requests.

use super::limits;
use super::resource;
use crate::config::{SpanLimits, TracingSettings};
use crate::telemetry::trace::{Queue, Queued, Spans, Ticket};
use bytes::Bytes;
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::transform::common::tonic::ResourceAttributesWithSchema;
use opentelemetry_proto::transform::trace::tonic::group_spans_by_resource_and_scope;
use opentelemetry_sdk::trace::SpanData;
use prost::Message;
use std::sync::mpsc::Receiver;

/// Takes whole trees off the queue and writes their spans down.
pub(super) struct Batches {
    receiver: Receiver<Queued>,
    /// Taken off the queue, and too large for the batch before.
    next: Option<Queued>,
    max: usize,
    limits: SpanLimits,
    resource: ResourceAttributesWithSchema,
}

/// Trees that travel together.
pub(super) struct Batch {
    /// Encoded requests with how many spans are in each. More than one only for a tree that is
    /// larger than a batch may be.
    pub bodies: Vec<(Bytes, u64)>,
    pub ticket: Ticket,
}

impl Batches {
    pub fn new(settings: &TracingSettings, receiver: Receiver<Queued>) -> Self {
        Self {
            receiver,
            next: None,
            max: settings.batch.max_batch_size,
            limits: settings.limits,
            resource: resource::resource(&settings.resource),
        }
    }

    /// A request without spans.
    pub fn empty(&self) -> Bytes {
        ExportTraceServiceRequest::default().encode_to_vec().into()
    }

    /// The oldest trees, as many as fit in a batch and at least one; `None` when none waits.
    pub fn next(&mut self, queue: &Queue) -> Option<Batch> {
        let Queued { spans, mut ticket } = self.take()?;
        queue.left(ticket.spans());
        let mut built = Vec::new();
        build(spans, &ticket, &mut built);
        while let Some(next) = self.take() {
            if ticket.spans() + next.ticket.spans() > self.max as u64 {
                self.next = Some(next);
                break;
            }
            queue.left(next.ticket.spans());
            build(next.spans, &next.ticket, &mut built);
            ticket.absorb(next.ticket);
        }
        for span in &mut built {
            limits::apply(span, &self.limits);
        }
        Some(Batch { bodies: self.encode(built), ticket })
    }

    fn take(&mut self) -> Option<Queued> {
        self.next.take().or_else(|| self.receiver.try_recv().ok())
    }

    fn encode(&self, mut spans: Vec<SpanData>) -> Vec<(Bytes, u64)> {
        let mut bodies = Vec::with_capacity(1);
        while !spans.is_empty() {
            let rest = spans.split_off(spans.len().min(self.max));
            let count = spans.len() as u64;
            let resource_spans = group_spans_by_resource_and_scope(spans, &self.resource);
            let request = ExportTraceServiceRequest { resource_spans };
            bodies.push((request.encode_to_vec().into(), count));
            spans = rest;
        }
        bodies
    }
}

fn build(spans: Box<dyn Spans>, ticket: &Ticket, out: &mut Vec<SpanData>) {
    let before = out.len();
    spans.build(out);
    debug_assert_eq!(
        (out.len() - before) as u64,
        ticket.spans(),
        "a tree counted its spans wrongly"
    );
}
