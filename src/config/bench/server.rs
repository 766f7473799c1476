//! The settings of `bench serve`.

use super::data::{self, DataSet};
use crate::config::env::Env;
use crate::config::grammar::Raw;
use crate::config::python;
use crate::config::resolve::{self, at_least, count, float, object};
use crate::config::value::Value;
use crate::model::HubOptions;
use serde_json::{Map, Value as Json};
use std::path::PathBuf;
use std::time::Duration;

/// Which API is measured.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ChatApi {
    Completions,
    Chat,
}

/// The settings of `bench serve`.
#[derive(Clone, Debug)]
pub struct BenchServeSettings {
    pub backend: String,
    pub api: ChatApi,
    /// Where the server is, without a path.
    pub base_url: String,
    pub endpoint: String,
    pub api_key: Option<String>,
    pub headers: Vec<(String, String)>,
    /// `None` takes the first that the server names.
    pub model: Option<String>,
    /// The name in requests, where it is not the model's.
    pub served_name: Option<String>,
    /// `None` is the model's own.
    pub tokenizer: Option<String>,
    pub skip_tokenizer: bool,
    pub hub: HubOptions,
    pub data: DataSet,
    pub seed: u64,
    pub num_prompts: usize,
    pub warmups: usize,
    /// How long to wait for the server; zero does not.
    pub ready_check: Duration,
    pub traffic: Traffic,
    pub ignore_eos: bool,
    pub logprobs: Option<i64>,
    /// Members of every request, sampling parameters among them.
    pub extra_body: Map<String, Json>,
    /// `None` is a random one.
    pub request_id_prefix: Option<String>,
    pub progress: bool,
    /// Of `ttft`, `tpot`, `itl`, `e2el`.
    pub metrics: Vec<String>,
    pub percentiles: Vec<f64>,
    pub goodput: Option<Goodput>,
    pub save: SaveSettings,
    /// What the user should hear before anything else.
    pub warnings: Vec<String>,
}

/// When requests are sent.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Traffic {
    /// Requests a second; infinite sends all at once.
    pub rate: f64,
    /// Shape of the gamma distribution of pauses; 1 is a Poisson process.
    pub burstiness: f64,
    pub max_concurrency: Option<usize>,
    pub ramp_up: Option<RampUp>,
    /// Short requests a second beside the load; 0 for none.
    pub probe_rate: f64,
}

/// A rate that grows over the requests.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RampUp {
    /// By the same factor, not by the same amount.
    pub exponential: bool,
    pub start: u64,
    pub end: u64,
}

/// Limits for good requests, in milliseconds.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Goodput {
    pub ttft: Option<f64>,
    pub tpot: Option<f64>,
    pub e2el: Option<f64>,
}

/// Where results go.
#[derive(Clone, Debug, PartialEq)]
pub struct SaveSettings {
    pub save: bool,
    pub append: bool,
    pub detailed: bool,
    pub folder: Option<PathBuf>,
    pub file: Option<String>,
    pub label: Option<String>,
    pub metadata: Vec<(String, String)>,
}

pub(in crate::config) fn serve(
    raw: &Raw,
    env: &Env,
    mut warnings: Vec<String>,
) -> Result<BenchServeSettings, String> {
    resolve::refuse_unsupported(raw)?;
    warnings.extend(resolve::idle_flags(raw));
    let backend = raw.text("--backend").unwrap_or_default();
    let api = match backend.as_str() {
        "openai" | "vllm" => ChatApi::Completions,
        "openai-chat" => ChatApi::Chat,
        other => {
            return Err(format!(
                "argument --backend: {other} is not supported: use openai, vllm or openai-chat"
            ));
        }
    };
    let endpoint = raw.text("--endpoint").unwrap_or_default();
    check_endpoint(api, &endpoint)?;
    let host = raw.text("--host").unwrap_or_default();
    let host = if host.contains(':') { format!("[{host}]") } else { host };
    let address = || format!("http://{host}:{}", raw.int("--port").unwrap_or_default());
    let name = raw.text("--dataset-name").unwrap_or_default();
    if ["random", "prefix_repetition"].contains(&&*name) && raw.given("--dataset-path").is_some() {
        return Err(format!("Cannot use '{name}' dataset with --dataset-path."));
    }
    Ok(BenchServeSettings {
        api,
        base_url: raw.text("--base-url").unwrap_or_else(address).trim_end_matches('/').to_owned(),
        endpoint,
        api_key: env.openai_api_key.clone(),
        headers: pairs(raw, "--header", "Invalid header format. Please use KEY=VALUE format.")?,
        model: raw.text("--model"),
        served_name: raw.text("--served-model-name"),
        tokenizer: raw.text("--tokenizer"),
        skip_tokenizer: raw.is_on("--skip-tokenizer-init"),
        hub: env.hub.clone(),
        // Random prompts have no end: their replies go on to the length asked for.
        ignore_eos: raw.is_on("--ignore-eos") || name == "random",
        data: data::read(raw, &name)?,
        seed: count(raw, "--seed", 0)? as u64,
        num_prompts: count(raw, "--num-prompts", 1)?,
        warmups: count(raw, "--num-warmups", 0)?,
        ready_check: Duration::from_secs(count(raw, "--ready-check-timeout-sec", 0)? as u64),
        traffic: traffic(raw)?,
        logprobs: raw.int("--logprobs"),
        extra_body: extra_body(raw)?,
        request_id_prefix: raw.text("--request-id-prefix"),
        progress: !raw.is_on("--disable-tqdm"),
        metrics: metrics(raw),
        percentiles: percentiles(raw)?,
        goodput: goodput(raw)?,
        save: SaveSettings {
            save: raw.is_on("--save-result"),
            append: raw.is_on("--append-result"),
            detailed: raw.is_on("--save-detailed"),
            folder: raw.text("--result-dir").map(PathBuf::from),
            file: raw.text("--result-filename"),
            label: raw.text("--label"),
            metadata: pairs(
                raw,
                "--metadata",
                "Invalid metadata format. Please use KEY=VALUE format.",
            )?,
        },
        backend,
        warnings,
    })
}

fn check_endpoint(api: ChatApi, endpoint: &str) -> Result<(), String> {
    let (name, end) = match api {
        ChatApi::Completions => ("OpenAI Completions API", "completions"),
        ChatApi::Chat => ("OpenAI Chat Completions API", "chat/completions"),
    };
    match endpoint.ends_with(end) {
        true => Ok(()),
        false => Err(format!("{name} URL must end with one of: {{'{end}'}}.")),
    }
}

/// Texts of the form KEY=VALUE.
fn pairs(raw: &Raw, name: &str, error: &str) -> Result<Vec<(String, String)>, String> {
    let pair = |text: &String| {
        let (key, value) = text.split_once('=').ok_or(error)?;
        Ok((key.trim().to_owned(), value.trim().to_owned()))
    };
    resolve::texts(raw, name).unwrap_or_default().iter().map(pair).collect()
}

fn traffic(raw: &Raw) -> Result<Traffic, String> {
    let (rate, burstiness) = (float(raw, "--request-rate"), float(raw, "--burstiness"));
    if rate.is_nan() || rate <= 0.0 {
        return Err(format!("Obtained non-positive request rate {}.", python::repr_float(rate)));
    }
    if burstiness.is_nan() || burstiness <= 0.0 {
        let given = python::repr_float(burstiness);
        return Err(format!("A positive burstiness factor is expected, but given {given}."));
    }
    let probe_rate = float(raw, "--probe-request-rate");
    if !probe_rate.is_finite() || probe_rate < 0.0 {
        return Err("argument --probe-request-rate: must be a rate, or 0 for no probes".to_owned());
    }
    Ok(Traffic {
        rate,
        burstiness,
        max_concurrency: at_least(raw, "--max-concurrency", 1)?,
        ramp_up: ramp_up(raw, rate)?,
        probe_rate,
    })
}

fn ramp_up(raw: &Raw, rate: f64) -> Result<Option<RampUp>, String> {
    let Some(strategy) = raw.text("--ramp-up-strategy") else { return Ok(None) };
    if rate.is_finite() {
        return Err("When using ramp-up, do not specify --request-rate. The request rate will be \
                    controlled by ramp-up parameters. Please remove the --request-rate argument."
            .to_owned());
    }
    let (start, end) = (raw.int("--ramp-up-start-rps"), raw.int("--ramp-up-end-rps"));
    let (Some(start), Some(end)) = (start, end) else {
        return Err("When using --ramp-up-strategy, both --ramp-up-start-rps and \
                    --ramp-up-end-rps must be specified"
            .to_owned());
    };
    let (Ok(start), Ok(end)) = (u64::try_from(start), u64::try_from(end)) else {
        return Err("Ramp-up start and end RPS must be non-negative".to_owned());
    };
    if start > end {
        return Err("Ramp-up start RPS must be less than end RPS".to_owned());
    }
    let exponential = strategy == "exponential";
    match start {
        0 if exponential => Err("For exponential ramp-up, the start RPS cannot be 0.".to_owned()),
        // The first request would never be sent.
        0 => Err("Obtained non-positive request rate 0.0.".to_owned()),
        _ => Ok(Some(RampUp { exponential, start, end })),
    }
}

fn extra_body(raw: &Raw) -> Result<Map<String, Json>, String> {
    let names = [
        "top-p",
        "top-k",
        "min-p",
        "temperature",
        "frequency-penalty",
        "presence-penalty",
        "repetition-penalty",
    ];
    let mut body = Map::new();
    for name in names {
        let value = match raw.get(&format!("--{name}")) {
            Value::Int(value) => Json::from(value),
            Value::Float(value) => Json::from(value),
            _ => continue,
        };
        body.insert(name.replace('-', "_"), value);
    }
    body.extend(object(raw, "--extra-body")?);
    Ok(body)
}

fn metrics(raw: &Raw) -> Vec<String> {
    let names = raw.text("--percentile-metrics").filter(|names| !names.is_empty());
    let names = names.unwrap_or_else(|| "ttft,tpot,itl".to_owned());
    names.split(',').map(str::to_owned).collect()
}

fn percentiles(raw: &Raw) -> Result<Vec<f64>, String> {
    let text = raw.text("--metric-percentiles").unwrap_or_default();
    let one = |part: &str| {
        python::float(part).filter(|value| (0.0..=100.0).contains(value)).ok_or_else(|| {
            format!("argument --metric-percentiles: {part} is no percentile between 0 and 100")
        })
    };
    text.split(',').map(one).collect()
}

fn goodput(raw: &Raw) -> Result<Option<Goodput>, String> {
    let Some(pairs) = resolve::texts(raw, "--goodput") else { return Ok(None) };
    let mut limits = Goodput::default();
    for pair in pairs {
        let parts: Vec<&str> = pair.split(':').collect();
        let (name, value) = match parts.as_slice() {
            [name, value] => (*name, python::float(value)),
            _ => ("", None),
        };
        let value = value.ok_or(
            "Invalid format found for service level objectives. Specify service level objectives \
             for goodput as \"KEY:VALUE\" pairs, where the key is a metric name, and the value is \
             a number in milliseconds.",
        )?;
        let shown = python::repr_float(value);
        let limit = match name {
            "ttft" => &mut limits.ttft,
            "tpot" => &mut limits.tpot,
            "e2el" => &mut limits.e2el,
            _ => {
                return Err(format!(
                    "Invalid metric name found, {name}: {shown}. The service level objective name \
                     should be one of ['ttft', 'tpot', 'e2el']. "
                ));
            }
        };
        if value.is_nan() || value < 0.0 {
            return Err(format!(
                "Invalid value found, {name}: {shown}. The service level objective value should \
                 be non-negative."
            ));
        }
        *limit = Some(value);
    }
    Ok(Some(limits))
}
