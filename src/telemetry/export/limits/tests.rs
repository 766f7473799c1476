use super::*;
use opentelemetry::InstrumentationScope;
use opentelemetry::trace::{Event, Link, SpanContext, SpanId, SpanKind, Status};
use std::time::SystemTime;

fn attributes(count: usize) -> Vec<KeyValue> {
    (0..count).map(|i| KeyValue::new(format!("k{i}"), "añb".repeat(2))).collect()
}

fn span() -> SpanData {
    let now = SystemTime::UNIX_EPOCH;
    let mut span = SpanData {
        span_context: SpanContext::empty_context(),
        parent_span_id: SpanId::INVALID,
        parent_span_is_remote: false,
        span_kind: SpanKind::Internal,
        name: "s".into(),
        start_time: now,
        end_time: now,
        attributes: attributes(5),
        dropped_attributes_count: 1,
        events: Default::default(),
        links: Default::default(),
        status: Status::Unset,
        instrumentation_scope: InstrumentationScope::default(),
    };
    span.events.events = (0..4).map(|_| Event::new("e", now, attributes(3), 0)).collect();
    span.links.links =
        (0..3).map(|_| Link::new(SpanContext::empty_context(), attributes(3), 0)).collect();
    span
}

#[test]
fn what_is_over_a_limit_is_dropped_and_counted() {
    let mut span = span();
    let limits = SpanLimits {
        attributes: Some(2),
        events: Some(3),
        links: Some(0),
        event_attributes: Some(1),
        link_attributes: Some(1),
        value_length: Some(4),
        inner_value_length: Some(2),
    };
    apply(&mut span, &limits);
    assert_eq!((span.attributes.len(), span.dropped_attributes_count), (2, 4));
    assert_eq!(span.attributes[0].value.as_str(), "añba");
    assert_eq!((span.events.events.len(), span.events.dropped_count), (3, 1));
    assert_eq!((span.links.links.len(), span.links.dropped_count), (0, 3));
    let event = &span.events.events[0];
    assert_eq!((event.attributes.len(), event.dropped_attributes_count), (1, 2));
    assert_eq!(event.attributes[0].value.as_str(), "añ");
}

#[test]
fn without_limits_nothing_changes() {
    let limits = SpanLimits {
        attributes: None,
        events: None,
        links: None,
        event_attributes: None,
        link_attributes: None,
        value_length: None,
        inner_value_length: None,
    };
    for limits in [limits, SpanLimits::default()] {
        let mut limited = span();
        apply(&mut limited, &limits);
        assert_eq!(limited, span());
    }
}

#[test]
fn texts_in_arrays_are_shortened_too() {
    let mut span = span();
    let texts = Array::String(vec!["abcdef".into(), "ab".into()]);
    span.attributes = vec![KeyValue::new("a", Value::Array(texts)), KeyValue::new("n", 123_456)];
    apply(&mut span, &SpanLimits { value_length: Some(3), ..SpanLimits::default() });
    let wanted = Array::String(vec!["abc".into(), "ab".into()]);
    assert_eq!(span.attributes[0].value, Value::Array(wanted));
    assert_eq!(span.attributes[1].value, Value::I64(123_456));
}
