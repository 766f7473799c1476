//! `serve`: bind, load, serve, shut down. The top of the house: it alone knows every room.

pub mod bind;
pub mod build;
pub mod device;
mod files;
mod observe;
pub mod shutdown;
pub mod stop;

use crate::config::{Fingerprint, KvTransport, Settings, StructuredOutputSettings, VLLM_VERSION};
use crate::engine::EngineHandle;
use crate::events::Publisher;
use crate::grammar::JsonOptions;
use crate::http::{self, Frontend};
use crate::model::Model;
use crate::telemetry::metrics::{Health, Metrics, MetricsConfig};
use crate::telemetry::trace::Tracer;
use crate::telemetry::{Startup, logs};
use crate::transfer::{Transfers, nixl};
use crate::types::Clock;
use build::{Engine, Sizes};
use shutdown::{Ended, GRACE, Work, serve_until_asked};
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;
use stop::{Running, STOP_GRACE};
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::{Notify, mpsc, oneshot};
use tokio::time::sleep;

/// How long the last spans may take to leave.
const SPANS_GRACE: Duration = Duration::from_secs(5);

/// Serves until asked to end; gives the exit code. Whatever goes wrong before is one line on
/// stderr and exit code 1.
pub fn run(settings: Settings) -> u8 {
    for warning in &settings.warnings {
        eprintln!("{warning}");
    }
    if settings.kv_transfer.as_ref().is_some_and(|kv| kv.transport == KvTransport::Nixl) {
        // SAFETY: this is the only thread as yet.
        unsafe { nixl::set_environment() };
    }
    let log = match logs::init(&settings.logging) {
        Ok(log) => log,
        Err(error) => return fail(&format!("the log cannot be set up: {error}")),
    };
    let ended = start(settings);
    // What was logged comes before the error that ends the process.
    drop(log);
    match ended {
        Ok(ended) => ended.code(),
        Err(message) => fail(&message),
    }
}

fn fail(message: &str) -> u8 {
    eprintln!("glassbox: error: {message}");
    1
}

fn start(settings: Settings) -> Result<Ended, String> {
    let clock = Clock::system();
    let mut startup = Startup::new(&clock);
    let (tracer, spans) = match settings.tracing.as_ref().map(Tracer::start).transpose()? {
        Some((tracer, guard)) => (Some(tracer), Some(guard)),
        None => (None, None),
    };
    log::info!("glassbox {} answers as vLLM {VLLM_VERSION}", env!("CARGO_PKG_VERSION"));
    log::info!("non-default args: {}", settings.non_default_args);
    files::raise_limit();
    if settings.frontend.updates_adapters {
        log::warn!(
            "LoRA dynamic loading & unloading is enabled in the API server. This should ONLY be \
             used for local development!"
        );
    }
    for idle in &settings.idle {
        log::warn!("{idle}");
    }
    let from = &settings.frontend;
    let tls = from.transport.tls.as_ref().map(http::Tls::load).transpose()?;
    let bound = startup.phase("bind", || bind::bind_as_set(from))?;
    let mut runtime = tokio::runtime::Builder::new_multi_thread();
    let runtime = runtime.enable_all().build().map_err(|error| format!("no runtime: {error}"))?;

    let model = startup.phase("open model", || build::open_model(&settings))?;
    for phase in &model.phases {
        startup.add(phase.name, clock.moment(phase.since), clock.moment(phase.since + phase.took));
    }
    let sizes = startup.phase("plan memory", || build::size(&settings, &model))?;
    settings.frontend.request_bounds.install();
    let Engine { handle: engine, mut running, publisher, transfers } =
        startup.phase("load weights", || build::start_engine(&settings, &model, &sizes, clock))?;
    let frontend = startup.phase("build frontend", || {
        let told = Told { publisher: publisher.as_ref(), transfers: transfers.as_ref() };
        frontend(&settings, &model, &sizes, engine.clone(), tracer.clone(), told)
    })?;
    let frontend = Arc::new(frontend);
    drop(model);

    let (drain, device) = (settings.frontend.shutdown_timeout, sizes.device.name());
    let ended = runtime.block_on(async {
        let url = bound.url(if tls.is_some() { "https" } else { "http" });
        let (listener, _file) = bound.listen()?;
        let listener = listener.with_tls(tls);
        let mut signals = signals().map_err(|error| format!("no signal handler: {error}"))?;
        log::info!("Starting vLLM server on {url}");
        let took = startup.ready(tracer.as_ref());
        frontend.metrics.ready_after(took);
        log::info!("ready after {took:.3} s");
        log::info!(target: logs::SERVER, "Started server process [{}]", std::process::id());
        log::info!(target: logs::SERVER, "Application startup complete.");
        if settings.logging.stats {
            let every = settings.logging.stats_interval;
            tokio::spawn(observe::log_stats(engine.shared_status(), device, every));
        }
        Ok(run_http(listener, frontend, (&engine, &mut running), drain, &mut signals).await)
    });
    runtime.shutdown_background();
    stop_engine(&mut running, &ended);
    // What the engine told last still goes out.
    drop(publisher);
    stop::drop_in_time("KV transfer", transfers);
    if let Some(spans) = spans {
        spans.shutdown(SPANS_GRACE);
    }
    ended
}

/// Serves HTTP until asked to end, or until the engine is gone.
async fn run_http(
    listener: http::Listener,
    frontend: Arc<Frontend>,
    (engine, running): (&EngineHandle, &mut Running),
    drain: Duration,
    signals: &mut mpsc::Receiver<i32>,
) -> Ended {
    let (close, closed) = oneshot::channel();
    let gone = Notify::new();
    let stop = async {
        tokio::select! {
            _ = closed => {}
            reason = running.ended() => {
                log::error!("the engine is gone: {reason}");
                gone.notify_one();
            }
        }
    };
    let http = async {
        tokio::select! {
            () = http::serve(vec![listener], frontend, stop) => {}
            // A client that does not read its error must not keep the process alive.
            () = async { gone.notified().await; sleep(GRACE).await } => {}
        }
    };
    serve_until_asked(http, close, engine, drain, signals).await
}

/// Ends the engine, unless the end is forced: then it is only told to go, and not waited for.
fn stop_engine(running: &mut Running, ended: &Result<Ended, String>) {
    let is_forced = matches!(ended, Ok(Ended::Forced(_)));
    let patience = if is_forced { Duration::ZERO } else { STOP_GRACE };
    if let Err(reason) = running.stop(patience)
        && !is_forced
    {
        log::error!("[shutdown] {reason}");
    }
}

/// Who else knows of an engine what `/metrics` shows.
#[derive(Default)]
pub struct Told<'a> {
    pub publisher: Option<&'a Publisher>,
    pub transfers: Option<&'a Transfers>,
}

/// The HTTP face of an engine.
///
/// # Errors
/// A tokenizer whose tokens cannot be turned back into text, or that a parser cannot use.
pub fn frontend(
    settings: &Settings,
    model: &Model,
    sizes: &Sizes,
    engine: EngineHandle,
    tracer: Option<Tracer>,
    told: Told,
) -> Result<Frontend, String> {
    let tokenizer = model.tokenizer.as_deref();
    if tokenizer.is_none() {
        log::warn!(
            "no tokenizer: requests and replies hold token ids, and only the generation config \
             says which tokens end a reply"
        );
    }
    let metrics = Arc::new(Metrics::new(&MetricsConfig {
        model_name: &settings.model.served_names[0],
        cache: &settings.cache,
        plan: &sizes.kv,
        settings: &settings.metrics,
        shows_engine: settings.logging.stats,
        counts_tool_calls: settings.frontend.parsers.counts_tool_calls,
        paths: &http::paths(),
    }));
    let status = engine.shared_status();
    let Told { publisher, transfers } = told;
    let render: http::RenderMetrics = {
        let (metrics, spans) = (metrics.clone(), tracer.as_ref().map(Tracer::shared_stats));
        let events = publisher.map(Publisher::stats);
        let stats = transfers.map(Transfers::stats);
        let pulls = settings.kv_transfer.as_ref().is_some_and(|config| config.role.is_consumer());
        Box::new(move |format| {
            let health = Health {
                spans: spans.as_ref().map(|spans| spans.read()).unwrap_or_default(),
                log_lines_dropped: logs::lines_lost(),
                kv_events: events.as_ref().map(|events| observe::kv_events(events)),
            };
            metrics.render(&observe::snapshot(&status, stats.as_deref(), pulls), &health, format)
        })
    };
    let template = model.chat_template.clone();
    let mut options = options(settings, model, sizes);
    options.kv_transfer =
        settings.kv_transfer.as_ref().zip(transfers).map(|(config, transfers)| http::KvIdentity {
            engine_id: config.engine_id.clone(),
            host: config.side_channel_host.clone(),
            port: transfers.port(),
        });
    if let Some((events, publisher)) = settings.kv_events.as_ref().zip(publisher) {
        options.kv_event_sources = observe::kv_event_sources(events, publisher);
    }
    if settings.frontend.tokenizer_info {
        let is_local = std::path::Path::new(&settings.model.model).is_dir();
        let name = &settings.model.model;
        let info = tokenizer.map(|tokenizer| http::tokenizer_info(tokenizer, name, is_local));
        options.tokenizer_info = Some(info.unwrap_or_default());
    }
    options.server_info = observe::server_info(settings, sizes);
    let defaults = model.generation.clone();
    Frontend::new(options, engine, tokenizer, template, defaults, metrics, render)
        .map(|frontend| frontend.traced_by(tracer))
        .map_err(|error| error.to_string())
}

fn options(settings: &Settings, model: &Model, sizes: &Sizes) -> http::Options {
    let from = &settings.frontend;
    let limits = http::Limits {
        max_model_len: sizes.kv.max_model_len as u32,
        vocab_size: model.config.dims.vocab as u32,
        max_logprobs: settings.model.max_logprobs.map_or(-1, i64::from),
        reasoning: None,
        has_tokenizer: model.tokenizer.is_some(),
    };
    let config = [settings.model.model.as_str(), &settings.non_default_args];
    let fingerprint = http::system_fingerprint(&config);
    http::Options {
        served_model_names: settings.model.served_names.clone(),
        max_num_seqs: sizes.step.max_num_seqs,
        api_keys: from.api_keys.clone(),
        enable_request_id_headers: from.request_id_headers,
        return_tokens_as_token_ids: from.return_tokens_as_token_ids,
        enable_prompt_tokens_details: from.prompt_tokens_details,
        enable_per_request_metrics: from.per_request_metrics,
        cache_block_size: settings.cache.prefix_caching.then_some(sizes.kv.block_size as u32),
        enable_force_include_usage: from.force_include_usage,
        enable_scale_out: from.enable_scale_out,
        dev_mode: from.dev_mode,
        updates_adapters: from.updates_adapters,
        responses_store_bytes: from.responses_store_bytes,
        skip_model_name_validation: from.skip_model_name_validation,
        enable_server_load_tracking: from.server_load_tracking,
        root_path: from.transport.root_path.clone(),
        transport: from.transport.limits,
        tls: from.transport.tls.is_some(),
        cors: from.transport.cors.clone(),
        sse_keep_alive: from.transport.sse_keep_alive,
        docs: from.transport.docs,
        trust_request_mm_kwargs: from.trust_request_mm_kwargs,
        access_log: settings.logging.access_log,
        access_log_excluded: from.transport.access_log_excluded.clone(),
        log_requests: settings.logging.requests,
        default_chat_template_kwargs: settings.model.chat_template_kwargs.clone(),
        chat_template_content_format: from.chat_template_content_format,
        exclude_tools_when_tool_choice_none: from.exclude_tools_when_tool_choice_none,
        trust_request_chat_template: from.trust_request_chat_template,
        reasoning_format: from.parsers.reasoning,
        reasoning_texts: from.reasoning.clone(),
        constrains_free_calls: from.strict_tool_calls,
        regex_time_limit: settings.structured_output.regex_time_limit,
        tool_format: from.parsers.tools,
        tool_strict_level: from.parsers.tool_strict_level,
        grammars_in_reasoning: settings.structured_output.enable_in_reasoning,
        json: json_options(&settings.structured_output),
        response_role: from.response_role.clone(),
        anthropic_disabled_thinking_effort: from.anthropic_disabled_thinking_effort,
        system_fingerprint: match &from.fingerprint {
            Fingerprint::Full => Some(fingerprint),
            Fingerprint::Hash => fingerprint.rsplit('-').next().map(str::to_owned),
            Fingerprint::Custom(value) => Some(value.clone()),
            Fingerprint::None => None,
        },
        stream_interval: from.stream_interval,
        keep_alive_timeout: from.keep_alive,
        ..http::Options::new(&settings.model.model, limits)
    }
}

fn json_options(from: &StructuredOutputSettings) -> JsonOptions {
    JsonOptions {
        guidance: from.guidance,
        disable_any_whitespace: from.disable_any_whitespace,
        disable_additional_properties: from.disable_additional_properties,
    }
}

impl Work for EngineHandle {
    /// What is kept for a peer is somebody's request still.
    fn in_flight(&self) -> usize {
        let leased = self.status().gauges.leased.load(Relaxed);
        EngineHandle::in_flight(self) + leased as usize
    }

    fn refuse_new(&self) {
        EngineHandle::refuse_new(self);
    }

    fn abort_all(&self) {
        EngineHandle::abort_all(self);
    }
}

/// SIGTERM and SIGINT by number, as they come. Until this is called they end the process, as they
/// should while a model is loaded. Within a tokio runtime.
///
/// # Errors
/// When the system refuses a handler.
pub fn signals() -> std::io::Result<mpsc::Receiver<i32>> {
    let (send, receive) = mpsc::channel(2);
    for kind in [SignalKind::terminate(), SignalKind::interrupt()] {
        let mut signals = signal(kind)?;
        let send = send.clone();
        tokio::spawn(async move {
            while signals.recv().await.is_some() && send.send(kind.as_raw_value()).await.is_ok() {}
        });
    }
    Ok(receive)
}
