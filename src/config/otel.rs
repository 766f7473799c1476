//! Whether, what and where to trace: the flags and the standard `OTEL_*` variables.
//!
//! The variables are read as vLLM's OpenTelemetry SDK (Python, 1.45) reads them, which is not
//! always what the specification says: timeouts are in seconds, an empty limit means no limit.
//! What that SDK warns about becomes a warning here, what it refuses is refused. A variable that
//! vLLM does not read, and that asks for something else than what happens, is named in a warning.

mod exporter;
mod sdk;
mod vars;

pub(super) use vars::OtelVars;

use super::grammar::Raw;
use std::path::PathBuf;
use std::time::Duration;

/// How spans are made and where they go.
#[derive(Clone, Debug, PartialEq)]
pub struct TracingSettings {
    pub level: TraceLevel,
    pub exporter: ExporterSettings,
    pub batch: BatchSettings,
    pub sampler: SamplerSettings,
    pub limits: SpanLimits,
    /// `OTEL_RESOURCE_ATTRIBUTES` and `OTEL_SERVICE_NAME`: the last of equal keys counts.
    pub resource: Vec<(String, String)>,
    /// Whether requests may bring a parent: `OTEL_PROPAGATORS` has `tracecontext`.
    pub read_parent: bool,
    /// The parent of requests that bring none, as W3C headers: `traceparent` and `tracestate` of
    /// the process environment.
    pub process_parent: (Option<String>, Option<String>),
}

/// How much of a request is shown.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum TraceLevel {
    /// One span.
    Request,
    /// A child for each phase of its life.
    #[default]
    Phases,
    /// Events for steps of the engine too.
    Steps,
}

/// The collector and the way there.
#[derive(Clone, Debug, PartialEq)]
pub struct ExporterSettings {
    /// As given.
    pub endpoint: String,
    pub protocol: OtlpProtocol,
    /// For one batch, with all its retries.
    pub timeout: Duration,
    /// Sent with each export; names in lower case.
    pub headers: Vec<(String, String)>,
    pub compression: Compression,
    pub tls: TlsFiles,
}

/// How OTLP travels.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OtlpProtocol {
    Grpc,
    HttpProtobuf,
}

impl OtlpProtocol {
    /// As `OTEL_EXPORTER_OTLP_TRACES_PROTOCOL` spells it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Grpc => "grpc",
            Self::HttpProtobuf => "http/protobuf",
        }
    }
}

/// Of the bodies that are sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Compression {
    None,
    Gzip,
    /// Over HTTP only.
    Deflate,
}

/// PEM files; they are read when tracing starts.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TlsFiles {
    /// Trusted in place of the built-in roots.
    pub certificate: Option<PathBuf>,
    pub client_key: Option<PathBuf>,
    pub client_certificate: Option<PathBuf>,
}

/// When spans leave. Sizes are in spans.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BatchSettings {
    pub max_queue_size: usize,
    /// At most `max_queue_size`.
    pub max_batch_size: usize,
    /// How long a span waits for company.
    pub schedule_delay: Duration,
}

/// vLLM queues 2048 requests with one span each; with phases, a request is about eight spans.
pub const DEFAULT_QUEUE_SIZE: usize = 8 * 2048;

impl Default for BatchSettings {
    fn default() -> Self {
        Self {
            max_queue_size: DEFAULT_QUEUE_SIZE,
            max_batch_size: 512,
            schedule_delay: Duration::from_secs(5),
        }
    }
}

/// Which requests are traced.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct SamplerSettings {
    /// A parent decides for its children.
    pub parent_based: bool,
    pub root: RootSampler,
}

/// The decision without a parent.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum RootSampler {
    AlwaysOn,
    AlwaysOff,
    /// This share of trace ids, in [0, 1].
    Ratio(f64),
}

impl Default for SamplerSettings {
    fn default() -> Self {
        Self { parent_based: true, root: RootSampler::AlwaysOn }
    }
}

/// Bounds on one span; `None` is no bound. Lengths are in characters.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SpanLimits {
    pub attributes: Option<usize>,
    pub events: Option<usize>,
    pub links: Option<usize>,
    pub event_attributes: Option<usize>,
    pub link_attributes: Option<usize>,
    /// Of the span's own attributes.
    pub value_length: Option<usize>,
    /// Of attributes of events and links.
    pub inner_value_length: Option<usize>,
}

impl Default for SpanLimits {
    fn default() -> Self {
        let usual = Some(128);
        Self {
            attributes: usual,
            events: usual,
            links: usual,
            event_attributes: usual,
            link_attributes: usual,
            value_length: None,
            inner_value_length: None,
        }
    }
}

/// Settles tracing: `None` is off.
///
/// # Errors
/// One sentence: a value that vLLM refuses too.
pub(super) fn tracing(
    raw: &Raw,
    vars: &OtelVars,
    warnings: &mut Vec<String>,
) -> Result<Option<TracingSettings>, String> {
    let endpoint = raw.text("--otlp-traces-endpoint").filter(|endpoint| !endpoint.is_empty());
    let detailed = super::resolve::texts(raw, "--collect-detailed-traces");
    let detailed = detailed.is_some_and(|modules| !modules.is_empty());
    let level = level(raw, vars, detailed, warnings)?;
    let Some(endpoint) = endpoint else {
        if detailed {
            return Err(
                "collect_detailed_traces requires `--otlp-traces-endpoint` to be set.".to_owned()
            );
        }
        return Ok(None);
    };
    let settings = TracingSettings {
        level,
        exporter: exporter::read(endpoint, vars, warnings)?,
        batch: sdk::batch(vars, warnings)?,
        sampler: sdk::sampler(vars, warnings),
        limits: sdk::limits(vars)?,
        resource: sdk::resource(vars, warnings),
        read_parent: sdk::reads_parent(vars, warnings),
        process_parent: (
            vars.text("traceparent").or_else(|| vars.text("TRACEPARENT")),
            vars.text("tracestate").or_else(|| vars.text("TRACESTATE")),
        ),
    };
    if vars.text("OTEL_SDK_DISABLED").is_some_and(|text| text.trim().eq_ignore_ascii_case("true")) {
        warnings.push(format!(
            "OTEL_SDK_DISABLED is true: no traces are sent to {}",
            settings.exporter.endpoint
        ));
        return Ok(None);
    }
    Ok(Some(settings))
}

/// Glassbox's own flag wins, then vLLM's, then the environment.
fn level(
    raw: &Raw,
    vars: &OtelVars,
    detailed: bool,
    warnings: &mut Vec<String>,
) -> Result<TraceLevel, String> {
    let read = |name: &str| match name {
        "request" => Some(TraceLevel::Request),
        "phases" => Some(TraceLevel::Phases),
        "steps" => Some(TraceLevel::Steps),
        _ => None,
    };
    let flag = raw.text("--glassbox-trace-level").and_then(|name| read(&name));
    let given = raw.given("--glassbox-trace-level").and(flag);
    if let Some(level) = given {
        if detailed && level != TraceLevel::Steps {
            warnings.push(
                "--collect-detailed-traces has no effect beside --glassbox-trace-level".to_owned(),
            );
        }
        return Ok(level);
    }
    if detailed {
        return Ok(TraceLevel::Steps);
    }
    match vars.text("GLASSBOX_TRACE_LEVEL") {
        None => Ok(flag.unwrap_or_default()),
        Some(name) => read(&name).ok_or_else(|| {
            format!("GLASSBOX_TRACE_LEVEL must be request, phases or steps, not {name}")
        }),
    }
}

#[cfg(test)]
mod tests;
