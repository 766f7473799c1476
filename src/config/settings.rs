//! Everything that can be set, validated: plain data, grouped by who uses it.
//!
//! What depends on the model (context length, token budget, KV blocks) is settled later, by
//! [`super::limits`] and [`super::memory`], from these settings and the model's dimensions.

use super::bounds::RequestBounds;
use super::graphs::GraphSettings;
use super::kv_events::KvEventsSettings;
use super::kv_transfer::KvTransferConfig;
use super::metrics::MetricsSettings;
use super::otel::TracingSettings;
use super::parsers::ParserSettings;
use super::reasoning::ReasoningSettings;
use super::structured::StructuredOutputSettings;
use super::transport::TransportSettings;
use crate::model::{GenerationSource, HubOptions, LoadFormat};
use crate::types::{ContentFormat, HashAlgo, LogprobsMode, Policy, ReasoningEffort};
use serde_json::{Map, Value as Json};
use std::time::Duration;

/// The settings of one server.
#[derive(Clone, Debug)]
pub struct Settings {
    pub model: ModelSettings,
    pub cache: CacheSettings,
    pub scheduler: SchedulerSettings,
    pub frontend: FrontendSettings,
    pub logging: LoggingSettings,
    pub metrics: MetricsSettings,
    pub device: DeviceSettings,
    pub graphs: GraphSettings,
    /// `None`: no request is traced.
    pub tracing: Option<TracingSettings>,
    /// `None`: nobody is told what the prefix cache holds.
    pub kv_events: Option<KvEventsSettings>,
    /// `None`: no KV moves between servers.
    pub kv_transfer: Option<KvTransferConfig>,
    pub structured_output: StructuredOutputSettings,
    /// What the user should hear about the command line before anything else.
    pub warnings: Vec<String>,
    /// Sentences for the log: which flags and variables were given that change nothing, and why.
    pub idle: Vec<String>,
    /// Flags that differ from their defaults, as a Python dict without secrets, for the log.
    pub non_default_args: String,
}

/// Which model, and how requests see it.
#[derive(Clone, Debug)]
pub struct ModelSettings {
    /// A folder or a hub id.
    pub model: String,
    /// Never empty; the first is the one in replies and metrics.
    pub served_names: Vec<String>,
    /// A folder or a hub id; the model's own when `None`.
    pub tokenizer: Option<String>,
    /// Token ids alone are served.
    pub skip_tokenizer: bool,
    pub revision: Option<String>,
    /// Of the tokenizer, where it differs.
    pub tokenizer_revision: Option<String>,
    /// A folder or a hub id for `config.json`, where it is not the model's own.
    pub hf_config_path: Option<String>,
    /// Wins over the keys of `config.json`.
    pub hf_overrides: Map<String, Json>,
    /// Where models come from and where they are kept.
    pub hub: HubOptions,
    pub load_format: LoadFormat,
    /// Of dummy weights and of requests without a seed.
    pub seed: u64,
    pub context: ContextRequest,
    /// A file, a template's text or a name, in place of the model's template.
    pub chat_template: Option<String>,
    /// Variables for the chat template.
    pub chat_template_kwargs: Map<String, Json>,
    pub generation_config: GenerationSource,
    /// Wins over the generation config.
    pub override_generation_config: Map<String, Json>,
    /// Most log-probabilities per token; `None` is no limit.
    pub max_logprobs: Option<u32>,
    pub logprobs_mode: LogprobsMode,
}

/// `--max-model-len`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ContextRequest {
    /// What the model was made for.
    Model,
    /// As much of that as fits in the KV cache.
    Fit,
    /// So many tokens. More than the model was made for only with `allow_long`.
    Tokens { len: usize, allow_long: bool },
}

/// The KV cache.
#[derive(Clone, Debug, PartialEq)]
pub struct CacheSettings {
    /// Tokens in a block.
    pub block_size: usize,
    /// Whether the user chose the block size; metrics say so.
    pub user_block_size: bool,
    pub memory: KvMemory,
    /// `--gpu-memory-utilization` as it is shown in metrics, in (0, 1].
    pub memory_utilization: f64,
    /// `--kv-cache-memory-bytes` as it is shown in metrics.
    pub memory_bytes: Option<u64>,
    pub num_blocks_override: Option<usize>,
    pub prefix_caching: bool,
    pub hash_algo: HashAlgo,
    /// `PYTHONHASHSEED`.
    pub hash_seed: Option<String>,
}

/// How large the KV cache is.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum KvMemory {
    /// Nothing was said: see [`super::memory::kv_bytes`].
    Default,
    Bytes(u64),
    /// This share of the memory, with the weights.
    Share(f64),
}

/// Who takes part in a step. `None` is vLLM's default, which depends on the context length.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct SchedulerSettings {
    pub max_num_seqs: Option<usize>,
    pub max_num_batched_tokens: Option<usize>,
    /// Twice vLLM's defaults for what is `None`.
    pub favors_throughput: bool,
    /// Most requests that run; `None` is `max_num_seqs`.
    pub max_num_active_seqs: Option<usize>,
    /// Most tokens in a step; `None` is `max_num_batched_tokens`.
    pub max_num_scheduled_tokens: Option<usize>,
    /// Most requests in flight; `None` is no limit.
    pub max_num_queued_reqs: Option<usize>,
    /// Most prompt tokens of requests before their first token; `None` is no limit.
    pub max_num_queued_tokens: Option<usize>,
    pub chunked_prefill: bool,
    /// Most prompt tokens of one request in a step that others share; 0 is no limit.
    pub long_prefill_token_threshold: usize,
    /// That limit is at least an equal share of the step.
    pub adaptive_long_prefill: bool,
    pub policy: Policy,
    /// A request starts only when blocks for its whole prompt are free.
    pub reserve_full_isl: bool,
    /// Share of blocks to keep free when a request starts, in [0, 1).
    pub watermark: f64,
}

/// The HTTP server and the API.
#[derive(Clone, Debug, PartialEq)]
pub struct FrontendSettings {
    /// `None` is every IPv4 interface.
    pub host: Option<String>,
    pub port: u16,
    /// Empty: no key is asked for.
    pub api_keys: Vec<String>,
    pub trust_request_mm_kwargs: bool,
    pub response_role: String,
    /// `None` asks the template.
    pub anthropic_disabled_thinking_effort: Option<ReasoningEffort>,
    pub parsers: ParserSettings,
    pub reasoning: ReasoningSettings,
    /// VLLM_ENFORCE_STRICT_TOOL_CALLING.
    pub strict_tool_calls: bool,
    pub exclude_tools_when_tool_choice_none: bool,
    pub trust_request_chat_template: bool,
    /// `None` reads it off the template.
    pub chat_template_content_format: Option<ContentFormat>,
    pub return_tokens_as_token_ids: bool,
    pub prompt_tokens_details: bool,
    pub per_request_metrics: bool,
    pub force_include_usage: bool,
    pub request_id_headers: bool,
    pub fingerprint: Fingerprint,
    /// Tokens in a chunk of a stream; at least 1.
    pub stream_interval: usize,
    /// What requests in flight get after SIGTERM; zero aborts them.
    pub shutdown_timeout: Duration,
    /// How long an idle connection is kept.
    pub keep_alive: Duration,
    pub request_bounds: RequestBounds,
    pub enable_scale_out: bool,
    pub dev_mode: bool,
    /// VLLM_ALLOW_RUNTIME_LORA_UPDATING.
    pub updates_adapters: bool,
    /// How much memory stored responses may take; `None` stores none.
    pub responses_store_bytes: Option<usize>,
    pub skip_model_name_validation: bool,
    /// `/load` counts.
    pub server_load_tracking: bool,
    /// There is `/tokenizer_info`.
    pub tokenizer_info: bool,
    pub transport: TransportSettings,
    /// vLLM's environment variables that are set, but for keys.
    pub vllm_env: Map<String, Json>,
}

/// `system_fingerprint`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Fingerprint {
    Full,
    Hash,
    Custom(String),
    None,
}

/// What is logged and where.
#[derive(Clone, Debug, PartialEq)]
pub struct LoggingSettings {
    /// `None`: the process has no log.
    pub level: Option<LogLevel>,
    pub format: LogFormat,
    /// Of the HTTP server's own lines, access log included.
    pub server_level: LogLevel,
    pub prefix: String,
    pub to_stderr: bool,
    /// `None` asks the terminal.
    pub color: Option<bool>,
    /// A line for each HTTP request.
    pub access_log: bool,
    /// Lines for what each request asks and how it ends; `None`: no such lines.
    pub requests: Option<RequestLogSettings>,
    /// Engine metrics and the regular statistics line.
    pub stats: bool,
    pub stats_interval: Duration,
    /// A line for each step of the engine.
    pub steps: bool,
}

/// How a line of the log is written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum LogFormat {
    /// vLLM's.
    #[default]
    Text,
    /// One object a line.
    Json,
    /// The same as vLLM writes it, with the names of Python's log records.
    PythonJson,
}

impl LogFormat {
    /// The format of this name.
    pub fn named(name: &str) -> Option<Self> {
        match name {
            "text" => Some(Self::Text),
            "json" => Some(Self::Json),
            _ => None,
        }
    }
}

/// How much of a request is logged.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct RequestLogSettings {
    /// Where Python would cut texts and lists of tokens: a negative limit counts from the end.
    pub max_len: Option<i64>,
    /// The text of replies.
    pub outputs: bool,
    /// With `outputs`, each piece of a stream too.
    pub deltas: bool,
}

/// Severity, least severe first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum LogLevel {
    Trace,
    Debug,
    Info,
    Warning,
    Error,
    Critical,
}

impl LogLevel {
    /// The level of this name in upper case, as Python and uvicorn name them.
    pub fn named(name: &str) -> Option<Self> {
        Some(match name {
            "NOTSET" | "TRACE" => Self::Trace,
            "DEBUG" => Self::Debug,
            "INFO" => Self::Info,
            "WARNING" | "WARN" => Self::Warning,
            "ERROR" => Self::Error,
            "CRITICAL" | "FATAL" => Self::Critical,
            _ => return None,
        })
    }
}

/// What runs the model.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DeviceSettings {
    pub device: DeviceChoice,
    /// How long a step takes the simulated backend.
    pub sim_step: Duration,
    /// `None`: as many as this process may use.
    pub threads: Option<usize>,
    /// `None`: the best one of this machine.
    pub isa: Option<CpuIsa>,
    /// Sleep gives memory back.
    pub sleep_mode: bool,
}

/// What can be asked to run the model.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DeviceChoice {
    /// A GPU if there is one, else the CPU.
    Auto,
    Cpu,
    Cuda,
    /// Computes nothing.
    Sim,
}

/// Instruction sets of the CPU kernels.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CpuIsa {
    Avx512Bf16,
    Avx2,
    Neon,
    Portable,
}
