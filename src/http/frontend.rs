//! What all request handlers share.

use super::cors::Cors;
use super::decisions::ReplyLabels;
use super::in_flight::InFlight;
use super::json::str_repr;
use super::kv_transfer::KvIdentity;
use super::messages;
use super::reasoning;
use super::request::{GenerateFields, Limits};
use super::responses::Store;
use crate::config::{
    CorsSettings, Docs, ReasoningSettings, RequestLogSettings, TransportLimits, VLLM_VERSION,
};
use crate::engine::EngineHandle;
use crate::error::ApiError;
use crate::grammar::{Grammars, JsonOptions};
use crate::model::{ChatTemplate, GenerationDefaults, Tokenizer};
use crate::telemetry::metrics::{Format, Metrics};
use crate::telemetry::trace::Tracer;
use crate::text::parse::NoThinkTokens;
use crate::text::{Encoder, Parsers, UnsupportedTokenizer};
use crate::types::{
    ContentFormat, ReasoningEffort, ReasoningFormat, Token, ToolFormat, ToolStrictLevel,
};
use bytes::Bytes;
use serde_json::{Map, Value};
use sha2::{Digest, Sha256};
use std::sync::atomic::AtomicI64;
use std::sync::{Arc, Mutex, OnceLock};
use std::time::Duration;

/// Settings of the HTTP face. Names follow vLLM's flags.
#[derive(Clone, Debug)]
pub struct Options {
    /// Names that requests may ask for; the first one is in the replies. Never empty.
    pub served_model_names: Vec<String>,
    /// The model's path or id, as given.
    pub model_root: String,
    pub limits: Limits,
    /// Sequences in a step.
    pub max_num_seqs: usize,
    /// Accepted keys; empty lets everybody in.
    pub api_keys: Vec<String>,
    pub root_path: String,
    pub enable_request_id_headers: bool,
    pub return_tokens_as_token_ids: bool,
    pub enable_prompt_tokens_details: bool,
    pub enable_per_request_metrics: bool,
    /// Tokens in a block of the prefix cache; `None` without one.
    pub cache_block_size: Option<u32>,
    pub enable_force_include_usage: bool,
    pub enable_server_load_tracking: bool,
    pub exclude_tools_when_tool_choice_none: bool,
    pub trust_request_chat_template: bool,
    /// How the model writes reasoning and calls of tools; `None` leaves them in the content.
    pub reasoning_format: Option<ReasoningFormat>,
    pub tool_format: Option<ToolFormat>,
    pub trust_request_mm_kwargs: bool,
    pub skip_model_name_validation: bool,
    /// Endpoints for scaling out, `/render` among them.
    pub enable_scale_out: bool,
    /// Endpoints for developers: VLLM_SERVER_DEV_MODE.
    pub dev_mode: bool,
    /// There are the endpoints that load adapters, though nothing to load.
    pub updates_adapters: bool,
    /// What `/server_info` tells.
    pub server_info: ServerInfo,
    /// What `/tokenizer_info` tells, null without a tokenizer; `None`: there is no such endpoint.
    pub tokenizer_info: Option<Value>,
    /// How much memory stored responses may take; `None` stores none.
    /// VLLM_ENABLE_RESPONSES_API_STORE.
    pub responses_store_bytes: Option<usize>,
    /// How peers find this server; `None`: no KV moves.
    pub kv_transfer: Option<KvIdentity>,
    /// The publishers of KV events by rank, as settings; `{}` without any.
    pub kv_event_sources: Value,
    /// A log line for each reply.
    pub access_log: bool,
    /// But for these paths.
    pub access_log_excluded: Vec<String>,
    /// Log lines for what each request asks and how it ends; `None`: no such lines.
    pub log_requests: Option<RequestLogSettings>,
    pub default_chat_template_kwargs: Map<String, Value>,
    /// `None` reads it off the template.
    pub chat_template_content_format: Option<ContentFormat>,
    pub response_role: String,
    /// The effort of reasoning that messages without thinking ask for; `None` finds out whether
    /// the template knows `none`.
    pub anthropic_disabled_thinking_effort: Option<ReasoningEffort>,
    /// See [`system_fingerprint`].
    pub system_fingerprint: Option<String>,
    /// Of reasoning, in place of the parser's.
    pub reasoning_texts: ReasoningSettings,
    /// How JSON is written where a grammar asks for it.
    pub json: JsonOptions,
    /// How long a pattern may take to compile; `None`: for ever.
    pub regex_time_limit: Option<Duration>,
    /// Calls of tools that a model is free to make are held to a schema too, where that is asked
    /// for.
    pub constrains_free_calls: bool,
    /// Grammars rule from the first token on, reasoning or not.
    pub grammars_in_reasoning: bool,
    pub tool_strict_level: ToolStrictLevel,
    /// Tokens in one chunk of a stream, unless a request asks for more.
    pub stream_interval: usize,
    /// How long work may wait without any step ending before `/health` fails.
    pub stall_limit: Duration,
    /// What a client may send, hold and delay; vLLM knows hardly any limit.
    pub transport: TransportLimits,
    /// How long a connection may stay open between requests.
    pub keep_alive_timeout: Duration,
    /// How often a connection is looked after.
    pub connection_check: Duration,
    /// Whether clients come by TLS.
    pub tls: bool,
    pub cors: CorsSettings,
    /// Silence in a stream after which a comment is sent.
    pub sse_keep_alive: Option<Duration>,
    pub docs: Docs,
}

/// How this server is set up.
#[derive(Clone, Debug, Default)]
pub struct ServerInfo {
    /// By vLLM's names.
    pub config: Map<String, Value>,
    /// vLLM's environment variables that are set, but for keys.
    pub env: Map<String, Value>,
}

impl Options {
    /// vLLM's defaults for one model.
    pub fn new(model: &str, limits: Limits) -> Self {
        Self {
            served_model_names: vec![model.to_owned()],
            model_root: model.to_owned(),
            limits,
            max_num_seqs: 128,
            api_keys: Vec::new(),
            root_path: String::new(),
            enable_request_id_headers: false,
            return_tokens_as_token_ids: false,
            enable_prompt_tokens_details: false,
            enable_per_request_metrics: false,
            cache_block_size: None,
            kv_transfer: None,
            enable_force_include_usage: false,
            enable_server_load_tracking: false,
            exclude_tools_when_tool_choice_none: false,
            trust_request_chat_template: false,
            reasoning_format: None,
            tool_format: None,
            trust_request_mm_kwargs: false,
            skip_model_name_validation: false,
            enable_scale_out: false,
            dev_mode: false,
            updates_adapters: false,
            server_info: ServerInfo::default(),
            tokenizer_info: None,
            responses_store_bytes: None,
            kv_event_sources: Value::Object(Map::new()),
            access_log: false,
            access_log_excluded: Vec::new(),
            log_requests: None,
            default_chat_template_kwargs: Map::new(),
            chat_template_content_format: None,
            response_role: "assistant".to_owned(),
            anthropic_disabled_thinking_effort: None,
            system_fingerprint: None,
            reasoning_texts: ReasoningSettings::default(),
            json: JsonOptions::default(),
            regex_time_limit: Some(Duration::from_secs(5)),
            constrains_free_calls: true,
            grammars_in_reasoning: false,
            tool_strict_level: ToolStrictLevel::Auto,
            stream_interval: 1,
            stall_limit: Duration::from_secs(60),
            transport: TransportLimits::default(),
            keep_alive_timeout: Duration::from_secs(5),
            connection_check: Duration::from_secs(2),
            tls: false,
            cors: CorsSettings::default(),
            sse_keep_alive: None,
            docs: Docs::Online,
        }
    }
}

/// `vllm-<version>-<8 hex>`, where the hex names the configuration that the parts describe.
pub fn system_fingerprint(parts: &[&str]) -> String {
    let digest = Sha256::digest(parts.join("\0"));
    format!("vllm-{VLLM_VERSION}-{}", hex(&digest[..4]))
}

/// Lower-case hexadecimal.
pub fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Why requests cannot be served.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum FrontendError {
    #[error(transparent)]
    Tokenizer(#[from] UnsupportedTokenizer),
    #[error("{flags} cannot be used with the tokenizer of {model}: {why}")]
    Parsers { flags: String, model: String, why: NoThinkTokens },
}

/// The flags that parsers were named with.
fn parser_flags(reasoning: Option<ReasoningFormat>, tools: Option<ToolFormat>) -> String {
    let tools = tools.map(|format| format!("--tool-call-parser {}", format.name()));
    let reasoning = reasoning.map(|format| format!("--reasoning-parser {}", format.name()));
    tools.into_iter().chain(reasoning).collect::<Vec<_>>().join(" and ")
}

/// Writes the metrics page.
pub type RenderMetrics = Box<dyn Fn(Format) -> String + Send + Sync>;

/// The state behind all handlers.
pub struct Frontend {
    pub options: Options,
    pub engine: EngineHandle,
    pub encoder: Encoder,
    pub grammars: Grammars,
    pub template: Option<Arc<ChatTemplate>>,
    /// Messages of the system stand in front of all others in prompts of `/v1/messages`.
    pub merges_systems: bool,
    /// See [`Options::anthropic_disabled_thinking_effort`].
    pub disabled_effort: OnceLock<ReasoningEffort>,
    /// Special tokens by role, which templates may print.
    pub special_tokens: Map<String, Value>,
    /// The tokenizer's end token.
    pub eos: Option<Token>,
    pub defaults: GenerationDefaults,
    /// `None` when output is content and nothing else.
    pub parsers: Option<Arc<Parsers>>,
    /// `None` when no responses are stored.
    pub responses: Option<Arc<Store>>,
    /// `None` when requests are not traced.
    pub tracer: Option<Tracer>,
    pub metrics: Arc<Metrics>,
    pub render_metrics: RenderMetrics,
    /// Requests in work, when `enable_server_load_tracking` counts them.
    pub load: AtomicI64,
    pub cors: Cors,
    pub in_flight: InFlight,
    /// What a trainer calls the weights.
    pub weight_version: Mutex<String>,
    /// The description of the API, once somebody has asked for it.
    pub openapi: OnceLock<Bytes>,
    /// See [`Frontend::reply_labels`].
    pub labels: OnceLock<Option<Arc<ReplyLabels>>>,
    key_digests: Vec<[u8; 32]>,
}

impl Frontend {
    /// Puts the parts together. Without a tokenizer, only token ids are served.
    ///
    /// # Errors
    /// A tokenizer whose tokens cannot be turned back into text, or that a parser cannot use.
    pub fn new(
        mut options: Options,
        engine: EngineHandle,
        tokenizer: Option<&Tokenizer>,
        template: Option<Arc<ChatTemplate>>,
        defaults: GenerationDefaults,
        metrics: Arc<Metrics>,
        render_metrics: RenderMetrics,
    ) -> Result<Self, FrontendError> {
        let digest = |key: &String| Sha256::digest(key).into();
        let encoder = match tokenizer {
            Some(tokenizer) => Encoder::new(tokenizer.hf().as_ref().clone())?,
            None => Encoder::without_tokenizer(),
        };
        let parsers = tokenizer.map(|_| parsers(&options, &encoder)).transpose()?.flatten();
        let marks = tokenizer.and_then(|tokenizer| reasoning::marks(&options, tokenizer));
        options.limits.reasoning = marks.map(Arc::new);
        options.limits.has_tokenizer = encoder.has_tokenizer();
        let eos = tokenizer.and_then(|tokenizer| tokenizer.eos);
        let grammars =
            grammars(&encoder, eos, options.json).with_regex_limit(options.regex_time_limit);
        Ok(Self {
            key_digests: options.api_keys.iter().map(digest).collect(),
            encoder,
            grammars,
            parsers: parsers.map(Arc::new),
            special_tokens: tokenizer.map(|one| one.special.clone()).unwrap_or_default(),
            eos,
            merges_systems: messages::merges_systems(template.as_deref()),
            disabled_effort: options
                .anthropic_disabled_thinking_effort
                .map_or_else(OnceLock::new, OnceLock::from),
            responses: options.responses_store_bytes.map(|bytes| Arc::new(Store::new(bytes))),
            load: AtomicI64::new(0),
            cors: Cors::new(&options.cors),
            openapi: OnceLock::new(),
            in_flight: InFlight::new(options.dev_mode || options.enable_scale_out),
            weight_version: Mutex::new("default".to_owned()),
            labels: OnceLock::new(),
            options,
            engine,
            template,
            defaults,
            tracer: None,
            metrics,
            render_metrics,
        })
    }

    /// The same, with spans for requests.
    pub fn traced_by(self, tracer: Option<Tracer>) -> Self {
        Self { tracer, ..self }
    }

    /// The name in replies.
    pub fn model_name(&self) -> &str {
        self.options.served_model_names.first().map_or("", String::as_str)
    }

    /// Whether calls of tools are found in the output.
    pub fn parses_tools(&self) -> bool {
        self.parsers.as_ref().is_some_and(|parsers| parsers.has_tools())
    }

    /// Whether a model is served under the name that a request gives, if it gives one.
    pub fn check_model(&self, name: Option<&str>) -> Result<(), ApiError> {
        let served = &self.options.served_model_names;
        match name {
            None | Some("") => Ok(()),
            Some(_) if self.options.skip_model_name_validation => Ok(()),
            Some(name) if served.iter().any(|other| other == name) => Ok(()),
            Some(name) => Err(ApiError::unknown_model(name, served)),
        }
    }

    /// Whether `Authorization` holds one of the keys. Digests are compared in full, so that the
    /// time taken says nothing about them.
    pub fn is_authorized(&self, authorization: Option<&[u8]>) -> bool {
        if self.key_digests.is_empty() {
            return true;
        }
        let Some(value) = authorization else { return false };
        let space = value.iter().position(|b| *b == b' ').unwrap_or(value.len());
        let (scheme, key) = value.split_at(space);
        let digest: [u8; 32] = Sha256::digest(key.get(1..).unwrap_or_default()).into();
        let mut found = false;
        for known in &self.key_digests {
            let difference = known.iter().zip(&digest).fold(0, |all, (a, b)| all | (a ^ b));
            found |= std::hint::black_box(difference) == 0;
        }
        found && scheme.eq_ignore_ascii_case(b"bearer")
    }

    /// When a stream reports token counts: in a last chunk, and in every chunk.
    pub fn usage_options(&self, request: &GenerateFields) -> (bool, bool) {
        let options = request.stream_options;
        let forced = self.options.enable_force_include_usage;
        (forced || options.include_usage, forced || options.continuous)
    }

    /// Whether log-probabilities show tokens as ids.
    pub fn tokens_as_ids(&self, request: &GenerateFields) -> bool {
        request.return_tokens_as_token_ids.unwrap_or(self.options.return_tokens_as_token_ids)
    }
}

/// Finds reasoning and calls of tools, where that is asked for.
fn parsers(options: &Options, encoder: &Encoder) -> Result<Option<Parsers>, FrontendError> {
    let (reasoning, tools) = (options.reasoning_format, options.tool_format);
    let parsers = Parsers::new(reasoning, tools, encoder.vocabulary().clone());
    parsers.map_err(|why| FrontendError::Parsers {
        flags: parser_flags(reasoning, tools),
        model: str_repr(&options.model_root),
        why,
    })
}

/// Compiles grammars for the encoder's vocabulary.
fn grammars(encoder: &Encoder, eos: Option<Token>, json: JsonOptions) -> Grammars {
    let vocabulary = encoder.vocabulary().clone();
    let token = move |id| (vocabulary.bytes(id).to_vec(), vocabulary.is_special(id));
    let size = encoder.vocabulary().size() as Token;
    Grammars::new(move || (0..size).map(&token).collect(), eos, json)
}
