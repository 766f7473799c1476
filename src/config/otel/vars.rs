//! The variables that tracing reads, as they were at start.

use crate::config::python;
use std::collections::HashMap;

/// Every variable that is looked at. `OTEL_EXPORTER_OTLP_*` also have a `TRACES` form.
const NAMES: &[&str] = &[
    "GLASSBOX_TRACE_LEVEL",
    "OTEL_ATTRIBUTE_COUNT_LIMIT",
    "OTEL_ATTRIBUTE_VALUE_LENGTH_LIMIT",
    "OTEL_BSP_EXPORT_TIMEOUT",
    "OTEL_BSP_MAX_EXPORT_BATCH_SIZE",
    "OTEL_BSP_MAX_QUEUE_SIZE",
    "OTEL_BSP_SCHEDULE_DELAY",
    "OTEL_EVENT_ATTRIBUTE_COUNT_LIMIT",
    "OTEL_LINK_ATTRIBUTE_COUNT_LIMIT",
    "OTEL_PROPAGATORS",
    "OTEL_RESOURCE_ATTRIBUTES",
    "OTEL_SDK_DISABLED",
    "OTEL_SERVICE_NAME",
    "OTEL_SPAN_ATTRIBUTE_COUNT_LIMIT",
    "OTEL_SPAN_ATTRIBUTE_VALUE_LENGTH_LIMIT",
    "OTEL_SPAN_EVENT_COUNT_LIMIT",
    "OTEL_SPAN_LINK_COUNT_LIMIT",
    "OTEL_TRACES_EXPORTER",
    "OTEL_TRACES_SAMPLER",
    "OTEL_TRACES_SAMPLER_ARG",
    "TRACEPARENT",
    "TRACESTATE",
    "traceparent",
    "tracestate",
];

/// The ends of `OTEL_EXPORTER_OTLP_X` and `OTEL_EXPORTER_OTLP_TRACES_X`.
const OTLP_NAMES: &[&str] = &[
    "CERTIFICATE",
    "CLIENT_CERTIFICATE",
    "CLIENT_KEY",
    "COMPRESSION",
    "HEADERS",
    "INSECURE",
    "PROTOCOL",
    "TIMEOUT",
];

/// A copy of these variables.
#[derive(Clone, Debug, Default)]
pub(in crate::config) struct OtelVars(HashMap<String, String>);

impl OtelVars {
    pub fn read(get: impl Fn(&str) -> Option<String>) -> Self {
        let otlp = OTLP_NAMES.iter().flat_map(|name| otlp_names(name));
        let all = NAMES.iter().map(|&name| name.to_owned()).chain(otlp);
        Self(all.filter_map(|name| get(&name).map(|value| (name, value))).collect())
    }

    /// The variable, be it empty.
    pub fn get(&self, name: &str) -> Option<&str> {
        debug_assert!(NAMES.contains(&name) || name.starts_with("OTEL_EXPORTER_OTLP_"), "{name}");
        self.0.get(name).map(String::as_str)
    }

    /// The variable, if there is something in it.
    pub fn text(&self, name: &str) -> Option<String> {
        self.get(name).filter(|text| !text.is_empty()).map(str::to_owned)
    }

    /// What `OTEL_EXPORTER_OTLP_TRACES_{end}` says, else `OTEL_EXPORTER_OTLP_{end}`, with the name
    /// that said it.
    pub fn otlp(&self, end: &str) -> Option<(String, String)> {
        debug_assert!(OTLP_NAMES.contains(&end), "{end}");
        otlp_names(end).into_iter().find_map(|name| self.text(&name).map(|text| (name, text)))
    }

    /// An integer. What is none is warned about and counts as not set.
    pub fn int(&self, name: &str, warnings: &mut Vec<String>) -> Option<i64> {
        let text = self.get(name)?;
        let value = python::int(text);
        if value.is_none() {
            let text = python::repr(text);
            warnings.push(format!("{name} is not an integer: {text}. The default is used"));
        }
        value
    }
}

/// The name for traces alone wins, so it comes first.
fn otlp_names(end: &str) -> [String; 2] {
    [format!("OTEL_EXPORTER_OTLP_TRACES_{end}"), format!("OTEL_EXPORTER_OTLP_{end}")]
}
