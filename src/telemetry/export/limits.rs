//! Bounds on one span: `OTEL_SPAN_*_LIMIT`. What is over them is dropped from the end and counted
//! on the span, as the specification says.

use crate::config::SpanLimits;
use opentelemetry::{Array, KeyValue, Value};
use opentelemetry_sdk::trace::SpanData;

pub(super) fn apply(span: &mut SpanData, limits: &SpanLimits) {
    span.dropped_attributes_count += cut(&mut span.attributes, limits.attributes);
    span.events.dropped_count += cut(&mut span.events.events, limits.events);
    span.links.dropped_count += cut(&mut span.links.links, limits.links);
    shorten(&mut span.attributes, limits.value_length);
    for event in &mut span.events.events {
        event.dropped_attributes_count += cut(&mut event.attributes, limits.event_attributes);
        shorten(&mut event.attributes, limits.inner_value_length);
    }
    for link in &mut span.links.links {
        link.dropped_attributes_count += cut(&mut link.attributes, limits.link_attributes);
        shorten(&mut link.attributes, limits.inner_value_length);
    }
}

fn cut<T>(list: &mut Vec<T>, limit: Option<usize>) -> u32 {
    let over = limit.map_or(0, |limit| list.len().saturating_sub(limit));
    list.truncate(list.len() - over);
    u32::try_from(over).unwrap_or(u32::MAX)
}

/// Texts keep `limit` characters.
fn shorten(attributes: &mut [KeyValue], limit: Option<usize>) {
    let Some(limit) = limit else { return };
    let short = |text: &str| text.char_indices().nth(limit).map(|(end, _)| text[..end].to_owned());
    for attribute in attributes {
        match &mut attribute.value {
            Value::String(text) => {
                if let Some(shorter) = short(text.as_str()) {
                    *text = shorter.into();
                }
            }
            Value::Array(Array::String(texts)) => {
                for text in texts {
                    if let Some(shorter) = short(text.as_str()) {
                        *text = shorter.into();
                    }
                }
            }
            _ => {}
        }
    }
}

#[cfg(test)]
mod tests;
