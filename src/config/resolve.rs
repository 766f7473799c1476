//! Flags and environment → [`Settings`]: every check that needs no model.

use super::env::Env;
use super::environ;
use super::grammar::Raw;
use super::graphs;
use super::kv_events;
use super::kv_transfer::{self, Around};
use super::logging;
use super::metrics;
use super::otel;
use super::parsers;
use super::python;
use super::reasoning;
use super::settings::*;
use super::structured;
use super::table::Status;
use super::transport;
pub(super) use super::typed::{at_least, count, float, object, texts, texts_of_json};
use super::value::Value;
use crate::model::{GenerationSource, LoadFormat};
use crate::types::{ContentFormat, HashAlgo, LogprobsMode, Policy, ReasoningEffort};
use serde_json::Value as Json;
use std::path::PathBuf;
use std::time::Duration;

/// vLLM's limit of a block hash's and a kernel's granularity: blocks are whole multiples of it.
const BLOCK_GRANULE: usize = 16;

/// Checks the flags and puts them in groups. The error is one sentence.
pub(super) fn resolve(raw: &Raw, env: Env, mut warnings: Vec<String>) -> Result<Settings, String> {
    refuse_unsupported(raw)?;
    let unknown = environ::unknown(&env.vllm_names);
    let is_strict = raw.is_on("--fail-on-environ-validation");
    match unknown.first() {
        Some(first) if is_strict => return Err(first.clone()),
        _ => warnings.extend(unknown),
    }
    let mut idle: Vec<String> =
        idle_flags(raw).into_iter().chain(environ::idle(&env.vllm_names)).collect();
    let tracing = otel::tracing(raw, &env.otel, &mut warnings)?;
    let cache = cache(raw, &env)?;
    let kv_events = kv_events::read(raw, &env, cache.prefix_caching, &mut warnings)?;
    let (model, device) = (model(raw, &env)?, device(raw)?);
    let around = Around { env: &env, model: &model.model, device, block_size: cache.block_size };
    let kv_transfer = kv_transfer::read(raw, &around, &mut warnings, &mut idle)?;
    let graphs = graphs::read(raw, &mut idle)?;
    let mut structured_output = structured::read(raw, &mut warnings)?;
    structured_output.regex_time_limit = env.regex_time_limit;
    Ok(Settings {
        model,
        cache,
        scheduler: scheduler(raw)?,
        frontend: frontend(raw, &env)?,
        logging: logging::read(raw, &env)?,
        metrics: metrics_settings(raw)?,
        device,
        graphs,
        tracing,
        kv_events,
        kv_transfer,
        structured_output,
        warnings,
        idle,
        non_default_args: non_default_args(raw),
    })
}

pub(super) fn refuse_unsupported(raw: &Raw) -> Result<(), String> {
    for (flag, value) in raw.all_given() {
        if let Status::Refused { why } = flag.status
            && !value.asks_for_nothing(flag)
        {
            return Err(format!("argument {}: not supported: {why}", flag.title()));
        }
    }
    Ok(())
}

/// What the log says about flags that change nothing here: those with one reason together.
pub(super) fn idle_flags(raw: &Raw) -> Option<String> {
    let mut reasons: Vec<(&str, Vec<&str>)> = Vec::new();
    for (flag, value) in raw.all_given() {
        let Status::Hint { why } = flag.status else { continue };
        if value.asks_for_nothing(flag) {
            continue;
        }
        match reasons.iter_mut().find(|(known, _)| *known == why) {
            Some((_, names)) => names.push(flag.name),
            None => reasons.push((why, vec![flag.name])),
        }
    }
    let of = |(why, names): &(&str, Vec<&str>)| format!("{} ({why})", names.join(", "));
    let list: Vec<String> = reasons.iter().map(of).collect();
    (!list.is_empty()).then(|| format!("flags that change nothing here: {}", list.join("; ")))
}

fn non_default_args(raw: &Raw) -> String {
    let model = raw.model.iter().map(|model| {
        let model = python::repr(model);
        format!("'model_tag': {model}, 'model': {model}")
    });
    let flags = raw.all_given().filter_map(|(flag, value)| {
        let secret = ["--api-key", "--hf-token"].contains(&flag.name);
        let name = flag.name[2..].replace('-', "_");
        let shown = if secret { "'***'".to_owned() } else { value.repr() };
        let covered = name == "model" && raw.model.is_some();
        let default = *value == Value::of_default(flag.default);
        (!default && !covered).then(|| format!("'{name}': {shown}"))
    });
    format!("{{{}}}", model.chain(flags).collect::<Vec<_>>().join(", "))
}

fn model(raw: &Raw, env: &Env) -> Result<ModelSettings, String> {
    let model = raw.model.clone().or_else(|| raw.text("--model")).unwrap_or_default();
    if model.is_empty() {
        return Err("argument model_tag: the model's name is empty".to_owned());
    }
    let served = texts(raw, "--served-model-name").unwrap_or_default();
    let dtype = raw.text("--dtype").unwrap_or_default();
    if !["auto", "bfloat16"].contains(&dtype.as_str()) {
        return Err(format!(
            "argument --dtype: {dtype} is not supported: Glassbox computes in bfloat16 \
             (checkpoints in float16 and float32 are converted when read); use auto or bfloat16"
        ));
    }
    Ok(ModelSettings {
        served_names: if served.is_empty() { vec![model.clone()] } else { served },
        model,
        tokenizer: raw.text("--tokenizer"),
        skip_tokenizer: raw.is_on("--skip-tokenizer-init"),
        revision: raw.text("--revision"),
        tokenizer_revision: raw.text("--tokenizer-revision"),
        hf_config_path: raw.text("--hf-config-path"),
        hf_overrides: object(raw, "--hf-overrides")?,
        hub: env.hub.clone().with_flags(
            raw.text("--download-dir").map(PathBuf::from).as_deref(),
            raw.text("--hf-token").as_deref(),
        ),
        load_format: load_format(raw)?,
        seed: count(raw, "--seed", 0)? as u64,
        context: context(raw, env)?,
        chat_template: raw.text("--chat-template"),
        chat_template_kwargs: object(raw, "--default-chat-template-kwargs")?,
        generation_config: raw
            .text("--generation-config")
            .map_or_else(GenerationSource::default, |source| source.as_str().into()),
        override_generation_config: object(raw, "--override-generation-config")?,
        max_logprobs: match raw.int("--max-logprobs") {
            Some(-1) => None,
            Some(limit) => Some(u32::try_from(limit).map_err(|_| {
                format!("argument --max-logprobs: must be -1 or a count, not {limit}")
            })?),
            None => None,
        },
        logprobs_mode: raw
            .text("--logprobs-mode")
            .and_then(|name| LogprobsMode::named(&name))
            .unwrap_or_default(),
    })
}

fn load_format(raw: &Raw) -> Result<LoadFormat, String> {
    let format = raw.text("--load-format").unwrap_or_default();
    match format.as_str() {
        "auto" | "hf" | "safetensors" => Ok(LoadFormat::Safetensors),
        "dummy" => Ok(LoadFormat::Dummy),
        other => Err(format!(
            "argument --load-format: {other} is not supported: use auto, safetensors or dummy"
        )),
    }
}

fn context(raw: &Raw, env: &Env) -> Result<ContextRequest, String> {
    match raw.int("--max-model-len") {
        None => Ok(ContextRequest::Model),
        Some(-1) => Ok(ContextRequest::Fit),
        Some(len) if len >= 1 => Ok(ContextRequest::Tokens {
            len: len as usize,
            allow_long: env.allow_long_max_model_len,
        }),
        Some(len) => Err(format!(
            "argument --max-model-len: max_model_len must be a positive integer, or -1 or auto for \
             what fits, not {len}"
        )),
    }
}

fn cache(raw: &Raw, env: &Env) -> Result<CacheSettings, String> {
    let given = at_least(raw, "--block-size", 1)?;
    let block_size = given.unwrap_or(BLOCK_GRANULE);
    if block_size % BLOCK_GRANULE != 0 {
        return Err(format!(
            "argument --block-size: must be a multiple of {BLOCK_GRANULE}, not {block_size}"
        ));
    }
    let utilization = float(raw, "--gpu-memory-utilization");
    if !(utilization > 0.0 && utilization <= 1.0) {
        return Err(format!(
            "argument --gpu-memory-utilization: must be in (0, 1], not {}",
            python::repr_float(utilization)
        ));
    }
    let bytes = at_least(raw, "--kv-cache-memory-bytes", 1)?.map(|bytes| bytes as u64);
    let from_env = match env.cpu_kv_cache_gib {
        None => None,
        Some(gib) => {
            Some(gib.checked_mul(1 << 30).filter(|bytes| *bytes > 0).ok_or_else(|| {
                format!("VLLM_CPU_KVCACHE_SPACE must be a possible size in GiB, not {gib}")
            })?)
        }
    };
    let memory = match (from_env.or(bytes), raw.given("--gpu-memory-utilization")) {
        (Some(bytes), _) => KvMemory::Bytes(bytes),
        (None, Some(_)) => KvMemory::Share(utilization),
        (None, None) => KvMemory::Default,
    };
    Ok(CacheSettings {
        block_size,
        user_block_size: given.is_some(),
        memory,
        memory_utilization: utilization,
        memory_bytes: from_env.or(bytes),
        num_blocks_override: at_least(raw, "--num-gpu-blocks-override", 1)?,
        prefix_caching: raw.get("--enable-prefix-caching") != Value::Bool(false),
        hash_algo: raw
            .text("--prefix-caching-hash-algo")
            .map_or(Ok(HashAlgo::Sha256), |name| name.parse())?,
        hash_seed: env.python_hash_seed.clone(),
    })
}

fn scheduler(raw: &Raw) -> Result<SchedulerSettings, String> {
    let watermark = float(raw, "--watermark");
    if !(0.0..1.0).contains(&watermark) {
        return Err(format!(
            "argument --watermark: must be in [0, 1), not {}",
            python::repr_float(watermark)
        ));
    }
    let priority = raw.text("--scheduling-policy").as_deref() == Some("priority");
    Ok(SchedulerSettings {
        max_num_seqs: at_least(raw, "--max-num-seqs", 1)?,
        max_num_batched_tokens: at_least(raw, "--max-num-batched-tokens", 1)?,
        favors_throughput: raw.text("--performance-mode").as_deref() == Some("throughput"),
        max_num_active_seqs: at_least(raw, "--max-num-active-seqs", 1)?,
        max_num_scheduled_tokens: at_least(raw, "--max-num-scheduled-tokens", 1)?,
        max_num_queued_reqs: at_least(raw, "--max-num-queued-reqs", 0)?,
        max_num_queued_tokens: at_least(raw, "--max-num-queued-tokens", 0)?,
        chunked_prefill: raw.get("--enable-chunked-prefill") != Value::Bool(false),
        long_prefill_token_threshold: count(raw, "--long-prefill-token-threshold", 0)?,
        adaptive_long_prefill: raw.is_on("--long-prefill-token-threshold-adaptive"),
        policy: if priority { Policy::Priority } else { Policy::Fcfs },
        reserve_full_isl: raw.is_on("--scheduler-reserve-full-isl"),
        watermark,
    })
}

fn frontend(raw: &Raw, env: &Env) -> Result<FrontendSettings, String> {
    let port = raw.int("--port").unwrap_or_default();
    let from_flag = texts(raw, "--api-key");
    let from_env = || env.api_key.iter().cloned().collect();
    let keys: Vec<String> = from_flag.unwrap_or_else(from_env);
    Ok(FrontendSettings {
        host: raw.text("--host"),
        port: u16::try_from(port)
            .map_err(|_| format!("argument --port: must be 0 to 65535, not {port}"))?,
        api_keys: keys.into_iter().filter(|key| !key.is_empty()).collect(),
        trust_request_mm_kwargs: raw.is_on("--trust-request-mm-kwargs"),
        response_role: raw.text("--response-role").unwrap_or_default(),
        anthropic_disabled_thinking_effort: {
            let effort = raw.text("--anthropic-disabled-thinking-effort");
            ReasoningEffort::ALL.into_iter().find(|known| Some(known.name()) == effort.as_deref())
        },
        parsers: parsers::read(raw)?,
        reasoning: reasoning::read(raw)?,
        strict_tool_calls: env.strict_tool_calls,
        exclude_tools_when_tool_choice_none: raw.is_on("--exclude-tools-when-tool-choice-none"),
        trust_request_chat_template: raw.is_on("--trust-request-chat-template"),
        chat_template_content_format: match raw.text("--chat-template-content-format").as_deref() {
            Some("openai") => Some(ContentFormat::OpenAi),
            Some("string") => Some(ContentFormat::String),
            _ => None,
        },
        return_tokens_as_token_ids: raw.is_on("--return-tokens-as-token-ids"),
        prompt_tokens_details: raw.is_on("--enable-prompt-tokens-details"),
        per_request_metrics: raw.is_on("--enable-per-request-metrics"),
        force_include_usage: raw.is_on("--enable-force-include-usage"),
        request_id_headers: raw.is_on("--enable-request-id-headers"),
        fingerprint: fingerprint(raw)?,
        stream_interval: count(raw, "--stream-interval", 1)?,
        shutdown_timeout: Duration::from_secs(count(raw, "--shutdown-timeout", 0)? as u64),
        keep_alive: env.http_keep_alive,
        request_bounds: env.request_bounds,
        enable_scale_out: raw.is_on("--enable-scale-out"),
        dev_mode: env.dev_mode,
        updates_adapters: env.updates_adapters,
        responses_store_bytes: at_least(raw, "--glassbox-responses-store-bytes", 0)?
            .filter(|_| env.stores_responses),
        skip_model_name_validation: env.skip_model_name_validation,
        server_load_tracking: raw.is_on("--enable-server-load-tracking"),
        tokenizer_info: raw.is_on("--enable-tokenizer-info-endpoint"),
        transport: transport::read(raw)?,
        vllm_env: env.vllm.clone(),
    })
}

fn fingerprint(raw: &Raw) -> Result<Fingerprint, String> {
    let value = raw.text("--fingerprint-value");
    match raw.text("--fingerprint-mode").as_deref() {
        Some("hash") => Ok(Fingerprint::Hash),
        Some("none") => Ok(Fingerprint::None),
        Some("custom") => value.map(Fingerprint::Custom).ok_or_else(|| {
            "argument --fingerprint-mode: custom needs --fingerprint-value".to_owned()
        }),
        _ => Ok(Fingerprint::Full),
    }
}

fn metrics_settings(raw: &Raw) -> Result<metrics::MetricsSettings, String> {
    let buckets = match raw.get("--custom-histogram-buckets") {
        Value::Json(buckets) => buckets,
        _ => Json::Null,
    };
    let sample = float(raw, "--kv-cache-metrics-sample");
    if !(sample > 0.0 && sample <= 1.0) {
        return Err(format!(
            "argument --kv-cache-metrics-sample: must be in (0, 1], not {}",
            python::repr_float(sample)
        ));
    }
    let mut settings =
        metrics::read(&buckets, raw.text("--show-hidden-metrics-for-version").as_deref())?;
    settings.residency_sample = raw.is_on("--kv-cache-metrics").then_some(sample);
    settings.estimates_costs = raw.is_on("--enable-mfu-metrics");
    Ok(settings)
}

fn device(raw: &Raw) -> Result<DeviceSettings, String> {
    Ok(DeviceSettings {
        device: match raw.text("--device").as_deref() {
            Some("cpu") => DeviceChoice::Cpu,
            Some("cuda") => DeviceChoice::Cuda,
            Some("sim") => DeviceChoice::Sim,
            _ => DeviceChoice::Auto,
        },
        sim_step: Duration::try_from_secs_f64(float(raw, "--glassbox-sim-step-ms") / 1e3)
            .map_err(|_| "argument --glassbox-sim-step-ms: must be milliseconds, at least 0")?,
        threads: at_least(raw, "--glassbox-threads", 1)?,
        sleep_mode: raw.is_on("--enable-sleep-mode"),
        isa: match raw.text("--glassbox-cpu-isa").as_deref() {
            Some("avx512bf16") => Some(CpuIsa::Avx512Bf16),
            Some("avx2") => Some(CpuIsa::Avx2),
            Some("neon") => Some(CpuIsa::Neon),
            Some("portable") => Some(CpuIsa::Portable),
            _ => None,
        },
    })
}

#[cfg(test)]
mod tests;
