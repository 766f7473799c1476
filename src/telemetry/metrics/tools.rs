//! How often the parser of tool calls ran, as vLLM counts it.

use super::text::{Counted, Page};
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

const NAME: &str = "vllm:tool_call_parser_invocations";
const HELP: &str = "Runs of the parser of tool calls: one for each whole output, and one for each \
                    piece of a streamed one.";
const MODES: [&str; 2] = ["streaming", "non_streaming"];
const OUTCOMES: [&str; 2] = ["tool_call", "no_tool_call"];
const REQUEST_TYPES: [&str; 3] = ["chat_completions", "responses", "other"];

/// What the parser looked at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ParserMode {
    /// A piece of an output.
    Streaming,
    /// A whole output.
    Whole,
}

/// Who asked for it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ParserApi {
    Chat,
    Responses,
    Other,
}

/// Runs by mode, by whether there were calls, and by API.
#[derive(Debug, Default)]
pub(super) struct ToolMetrics {
    runs: [[[AtomicU64; 3]; 2]; 2],
}

impl ToolMetrics {
    pub fn invoked(&self, mode: ParserMode, api: ParserApi, found: bool) {
        self.runs[mode as usize][usize::from(!found)][api as usize].fetch_add(1, Relaxed);
    }

    /// All series, used or not, in vLLM's order.
    pub fn write(&self, page: &mut Page, model: &str, created: f64) {
        let mut series = Vec::with_capacity(12);
        for (mode, runs) in MODES.iter().zip(&self.runs) {
            for (outcome, runs) in OUTCOMES.iter().zip(runs) {
                for (request_type, count) in REQUEST_TYPES.iter().zip(runs) {
                    let labels = [
                        ("mode", *mode),
                        ("model_name", model),
                        ("outcome", *outcome),
                        ("request_type", *request_type),
                    ];
                    series.push((labels, count.load(Relaxed) as f64));
                }
            }
        }
        let counted: Vec<Counted> = series
            .iter()
            .map(|(labels, value)| Counted { labels, value: *value, created })
            .collect();
        page.counter(NAME, HELP, &counted);
    }
}
