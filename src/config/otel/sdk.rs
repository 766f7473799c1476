//! Which spans there are and what is in them: the SDK's own variables.

use super::exporter::unquote;
use super::{BatchSettings, OtelVars, RootSampler, SamplerSettings, SpanLimits};
use crate::config::python;
use std::time::Duration;

/// A value that is no integer is warned about; one that cannot be is refused.
pub(super) fn batch(vars: &OtelVars, warnings: &mut Vec<String>) -> Result<BatchSettings, String> {
    let usual = BatchSettings::default();
    let mut size = |name: &str, default: usize| match vars.int(name, warnings) {
        None => Ok(default),
        Some(value) => usize::try_from(value)
            .ok()
            .filter(|value| *value > 0)
            .ok_or_else(|| format!("{name} must be a positive integer, not {value}")),
    };
    let max_queue_size = size("OTEL_BSP_MAX_QUEUE_SIZE", usual.max_queue_size)?;
    let max_batch_size = size("OTEL_BSP_MAX_EXPORT_BATCH_SIZE", usual.max_batch_size)?;
    let delay = size("OTEL_BSP_SCHEDULE_DELAY", usual.schedule_delay.as_millis() as usize)?;
    if max_batch_size > max_queue_size {
        return Err(format!(
            "OTEL_BSP_MAX_EXPORT_BATCH_SIZE must be at most OTEL_BSP_MAX_QUEUE_SIZE, and \
             {max_batch_size} is more than {max_queue_size}"
        ));
    }
    let schedule_delay = Duration::from_millis(delay as u64);
    Ok(BatchSettings { max_queue_size, max_batch_size, schedule_delay })
}

pub(super) fn sampler(vars: &OtelVars, warnings: &mut Vec<String>) -> SamplerSettings {
    let Some(text) = vars.text("OTEL_TRACES_SAMPLER") else { return SamplerSettings::default() };
    let name = text.to_lowercase();
    let (parent_based, root) = match name.strip_prefix("parentbased_") {
        Some(root) => (true, root),
        None => (false, name.as_str()),
    };
    let root = match root {
        "always_on" => RootSampler::AlwaysOn,
        "always_off" => RootSampler::AlwaysOff,
        "traceidratio" => RootSampler::Ratio(ratio(vars, warnings)),
        _ => {
            warnings.push(format!(
                "OTEL_TRACES_SAMPLER={text} is no sampler: parentbased_always_on is used"
            ));
            return SamplerSettings::default();
        }
    };
    SamplerSettings { parent_based, root }
}

fn ratio(vars: &OtelVars, warnings: &mut Vec<String>) -> f64 {
    let text = vars.get("OTEL_TRACES_SAMPLER_ARG").unwrap_or_default();
    let ratio = python::float(text).filter(|ratio| (0.0..=1.0).contains(ratio));
    ratio.unwrap_or_else(|| {
        let text = python::repr(text);
        warnings.push(format!(
            "OTEL_TRACES_SAMPLER_ARG is not a number in [0, 1]: {text}. All traces are sampled"
        ));
        1.0
    })
}

/// An empty variable takes the limit away.
pub(super) fn limits(vars: &OtelVars) -> Result<SpanLimits, String> {
    let read = |name: &str, default: Option<usize>| {
        let Some(text) = vars.get(name).map(str::trim) else { return Ok(default) };
        if text.is_empty() {
            return Ok(None);
        }
        let value = python::int(text).and_then(|value| usize::try_from(value).ok());
        value.map(Some).ok_or_else(|| {
            format!("{name} must be a non-negative integer but got {}", text.to_lowercase())
        })
    };
    let usual = SpanLimits::default();
    let count = read("OTEL_ATTRIBUTE_COUNT_LIMIT", None)?.or(usual.attributes);
    let inner_value_length = read("OTEL_ATTRIBUTE_VALUE_LENGTH_LIMIT", None)?;
    Ok(SpanLimits {
        attributes: read("OTEL_SPAN_ATTRIBUTE_COUNT_LIMIT", count)?,
        events: read("OTEL_SPAN_EVENT_COUNT_LIMIT", usual.events)?,
        links: read("OTEL_SPAN_LINK_COUNT_LIMIT", usual.links)?,
        event_attributes: read("OTEL_EVENT_ATTRIBUTE_COUNT_LIMIT", count)?,
        link_attributes: read("OTEL_LINK_ATTRIBUTE_COUNT_LIMIT", count)?,
        value_length: read("OTEL_SPAN_ATTRIBUTE_VALUE_LENGTH_LIMIT", inner_value_length)?,
        inner_value_length,
    })
}

/// `key=value,…`; values are percent-encoded. The service's own variable wins.
pub(super) fn resource(vars: &OtelVars, warnings: &mut Vec<String>) -> Vec<(String, String)> {
    let text = vars.get("OTEL_RESOURCE_ATTRIBUTES").unwrap_or_default();
    let mut found = Vec::new();
    for item in text.split(',').filter(|item| !item.trim().is_empty()) {
        match item.split_once('=').map(|(key, value)| (key.trim(), value.trim())) {
            Some((key, value)) if !key.is_empty() => found.push((key.to_owned(), unquote(value))),
            _ => warnings.push(format!(
                "OTEL_RESOURCE_ATTRIBUTES: {} is not key=value and is left out",
                python::repr(item)
            )),
        }
    }
    found.extend(vars.text("OTEL_SERVICE_NAME").map(|name| ("service.name".to_owned(), name)));
    found
}

/// Whether `tracecontext` is among the propagators. Baggage is known and has nothing to carry.
pub(super) fn reads_parent(vars: &OtelVars, warnings: &mut Vec<String>) -> bool {
    let Some(text) = vars.text("OTEL_PROPAGATORS") else { return true };
    let names: Vec<&str> = text.split(',').map(str::trim).collect();
    if names.iter().any(|name| name.eq_ignore_ascii_case("none")) {
        return false;
    }
    let unknown = |name: &&&str| !["", "tracecontext", "baggage"].contains(*name);
    for name in names.iter().filter(unknown) {
        warnings.push(format!("OTEL_PROPAGATORS: {name} is not supported, only tracecontext is"));
    }
    names.contains(&"tracecontext")
}
