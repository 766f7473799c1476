//! `/metrics`: vLLM's families under its names, in its order, and Glassbox's own after them.
//!
//! Whoever measures adds to atomics; a scrape reads them and waits for nobody. The engine's part
//! comes as a [`Snapshot`] of its status.

mod cache_info;
mod engine;
mod http;
mod operations;
mod own;
mod process;
mod requests;
mod text;
mod tools;
mod transfer;
mod transport;

pub use engine::{Finished, Residency, SleepState, Snapshot, Steps};
pub use http::{HttpExchange, HttpMetrics, METHODS};
pub use operations::{Measuring, OperationMetrics, SleepOperation};
pub use own::{Health, KvEventHealth};
pub use requests::{FinishedRequest, RequestMetrics};
pub use text::Format;
pub use tools::{ParserApi, ParserMode};
pub use transfer::{Fetches, Transfers};
pub use transport::{Limit, TransportMetrics};

use crate::config::memory::KvPlan;
use crate::config::{CacheSettings, MetricsSettings};
use engine::EnginePage;
use process::Process;
use std::sync::OnceLock;
use std::time::{SystemTime, UNIX_EPOCH};
use text::Page;
use tools::ToolMetrics;

/// What metrics are made of.
#[derive(Clone, Debug)]
pub struct MetricsConfig<'a> {
    /// The first served name.
    pub model_name: &'a str,
    pub cache: &'a CacheSettings,
    pub plan: &'a KvPlan,
    pub settings: &'a MetricsSettings,
    /// Whether the engine's families are shown; off with `--disable-log-stats`.
    pub shows_engine: bool,
    /// Whether invocations of the parser of tool calls are counted.
    pub counts_tool_calls: bool,
    /// The paths that the server has.
    pub paths: &'a [&'static str],
}

/// All that is measured, and how it is shown.
#[derive(Debug)]
pub struct Metrics {
    pub requests: RequestMetrics,
    pub http: HttpMetrics,
    tools: Option<ToolMetrics>,
    pub transport: TransportMetrics,
    pub operations: OperationMetrics,
    model_name: String,
    cache_info: Vec<(&'static str, String)>,
    shows_engine: bool,
    process: Process,
    /// Seconds.
    startup: OnceLock<f64>,
    /// Seconds since the epoch at which the counters began.
    created: f64,
}

impl Metrics {
    /// Counters begin now.
    pub fn new(config: &MetricsConfig) -> Self {
        let created = unix_seconds();
        Self {
            requests: RequestMetrics::new(config),
            http: HttpMetrics::new(config.paths.iter().copied(), created),
            tools: config.counts_tool_calls.then(ToolMetrics::default),
            transport: TransportMetrics::default(),
            operations: OperationMetrics::default(),
            model_name: config.model_name.to_owned(),
            cache_info: cache_info::labels(config.cache, config.plan),
            shows_engine: config.shows_engine,
            process: Process::new(),
            startup: OnceLock::new(),
            created,
        }
    }

    /// Says how many seconds the process took until it could answer. Only the first call counts.
    pub fn ready_after(&self, seconds: f64) {
        let _ = self.startup.set(seconds);
    }

    /// The parser of tool calls has looked at an output or a piece of one, and found some or none.
    pub fn tool_parser_invoked(&self, mode: ParserMode, api: ParserApi, found: bool) {
        self.tools.iter().for_each(|tools| tools.invoked(mode, api, found));
    }

    /// The exposition for `now`.
    pub fn render(&self, now: &Snapshot, health: &Health, format: Format) -> String {
        let mut page = Page::new(format);
        self.process.write(&mut page);
        let labels = EngineLabels { model: &self.model_name };
        if self.shows_engine {
            EnginePage { page: &mut page, labels, created: self.created, now }.write();
            self.requests.write(&mut page, labels, self.created, now.step_histograms.tokens);
            EnginePage { page: &mut page, labels, created: self.created, now }.write_residency();
            let info: Vec<_> =
                self.cache_info.iter().map(|(name, value)| (*name, value.as_str())).collect();
            let help = "The settings of the KV cache, as labels.";
            page.gauge("vllm:cache_config_info", help, &[(&info, 1.0)]);
        }
        if let Some(tools) = &self.tools {
            tools.write(&mut page, &self.model_name, self.created);
        }
        self.http.write(&mut page);
        self.operations.write(&mut page);
        own::write_process(&mut page, health, self.startup.get().copied(), self.created);
        self.transport.write(&mut page, self.created);
        if self.shows_engine {
            let mut engine = EnginePage { page: &mut page, labels, created: self.created, now };
            own::write_engine(&mut engine);
        }
        page.finish()
    }
}

/// The labels of all that is said about the engine.
#[derive(Clone, Copy, Debug)]
struct EngineLabels<'a> {
    model: &'a str,
}

impl<'a> EngineLabels<'a> {
    fn all(self) -> [(&'static str, &'a str); 2] {
        [("engine", "0"), ("model_name", self.model)]
    }

    fn with<'b>(self, extra: (&'b str, &'b str)) -> [(&'b str, &'b str); 3]
    where
        'a: 'b,
    {
        let mut labels = [("engine", "0"), ("model_name", self.model), extra];
        labels.sort_unstable();
        labels
    }
}

/// The time since the epoch.
fn unix_seconds() -> f64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0.0, |since| since.as_secs_f64())
}

#[cfg(test)]
mod tests;
