//! `bench serve`: load on a running server, and how it bears it.

mod load;
mod report;
mod request;
mod save;
mod schedule;
pub mod stats;

use super::api::Api;
use super::prompts::{self, Sample};
use crate::config::BenchServeSettings;
use crate::model::{ChatTemplate, Tokenizer};
use load::{Load, run_load};
use request::Target;
use std::io::Write;
use std::time::{Duration, Instant};
use tokio::time::sleep;

/// Pauses between looks whether the server is there.
const RETRY: Duration = Duration::from_secs(1);

/// Runs the benchmark and writes what it finds to `out`.
///
/// # Errors
/// One sentence: a server that does not answer, a data set that cannot be used.
pub async fn run(settings: &BenchServeSettings, out: &mut impl Write) -> Result<(), String> {
    for warning in &settings.warnings {
        eprintln!("{warning}");
    }
    let api = Api::new(settings.api_key.as_deref(), &settings.headers)?;
    let (model_id, model_name) = model(&api, settings, out).await?;
    let tokenizer_id = settings.tokenizer.clone().unwrap_or_else(|| model_id.clone());
    let text = match settings.skip_tokenizer {
        true => None,
        false => Some(open_text(&tokenizer_id, settings)?),
    };
    let (tokenizer, template) = match &text {
        Some((tokenizer, template)) => (Some(tokenizer), template.as_ref()),
        None => (None, None),
    };
    let samples =
        prompts::samples(&settings.data, settings.num_prompts, settings.seed, tokenizer, template)?;
    if !settings.extra_body.contains_key("temperature") {
        say(
            out,
            "WARNING: vllm bench serve no longer sets temperature==0 (greedy) in requests by \
             default. The default will be determined on the server side and can be model/API \
             specific. For the old behavior, include --temperature=0.",
        )?;
    }
    let target = Target::new(api, settings, model_name.unwrap_or_else(|| model_id.clone()));
    warm_up(&target, settings, &samples[0], out).await?;
    say(out, "Starting main benchmark run...")?;
    describe(settings, out)?;
    let load = run_load(&target, settings, samples).await;
    let tokenizer_id = tokenizer.map(|_| tokenizer_id);
    report::report(settings, &model_id, tokenizer_id.as_deref(), &load, out)
}

fn say(out: &mut impl Write, line: &str) -> Result<(), String> {
    writeln!(out, "{line}")
        .and_then(|()| out.flush())
        .map_err(|error| format!("cannot write: {error}"))
}

/// The model's id, and its name in requests where that is another.
async fn model(
    api: &Api,
    settings: &BenchServeSettings,
    out: &mut impl Write,
) -> Result<(String, Option<String>), String> {
    if let Some(model) = &settings.model {
        return Ok((model.clone(), settings.served_name.clone()));
    }
    say(out, "Model not specified, fetching first model from server...")?;
    let url = format!("{}/v1/models", settings.base_url);
    let list = api.get(&url).await.map_err(|error| {
        format!(
            "Failed to fetch models from server at {url}. Check that the server is running and \
             its URL is correct: {error}"
        )
    })?;
    let first = &list["data"][0];
    let name = first["id"].as_str().ok_or_else(|| {
        format!(
            "No models found on the server at {}. Make sure the server is running and has models \
             loaded.",
            settings.base_url
        )
    })?;
    let root = first["root"].as_str().unwrap_or(name);
    say(out, &format!("First model name: {name}, first model id: {root}"))?;
    Ok((root.to_owned(), Some(name.to_owned())))
}

fn open_text(
    id: &str,
    settings: &BenchServeSettings,
) -> Result<(Tokenizer, Option<ChatTemplate>), String> {
    Tokenizer::open(id, &settings.hub).map_err(|error| format!("no tokenizer: {error}"))
}

/// Waits for the server, where that is asked for, and sends the requests that do not count.
async fn warm_up(
    target: &Target,
    settings: &BenchServeSettings,
    sample: &Sample,
    out: &mut impl Write,
) -> Result<(), String> {
    say(out, "Starting initial single prompt test run...")?;
    if settings.ready_check.is_zero() {
        say(out, "Skipping endpoint ready check.")?;
    } else {
        let seconds = settings.ready_check.as_secs();
        say(out, &format!("Waiting for endpoint to become up in {seconds} seconds"))?;
        let until = Instant::now() + settings.ready_check;
        loop {
            let outcome = target.send(sample, None).await;
            match outcome.error {
                None => break,
                Some(error) if Instant::now() >= until => {
                    return Err(format!(
                        "Initial test run failed - Please make sure benchmark arguments are \
                         correctly specified. Error: {error}"
                    ));
                }
                Some(_) => sleep(RETRY).await,
            }
        }
        say(out, "Initial test run completed.")?;
    }
    if settings.warmups > 0 {
        say(out, &format!("Warming up with {} requests...", settings.warmups))?;
        let samples = vec![sample.clone(); settings.warmups];
        let all_at_once = BenchServeSettings {
            traffic: crate::config::Traffic {
                rate: f64::INFINITY,
                ramp_up: None,
                probe_rate: 0.0,
                ..settings.traffic
            },
            ..settings.clone()
        };
        let _: Load = run_load(target, &all_at_once, samples).await;
        say(out, "Warmup run completed.")?;
    }
    Ok(())
}

fn describe(settings: &BenchServeSettings, out: &mut impl Write) -> Result<(), String> {
    let traffic = &settings.traffic;
    let number = crate::config::repr_float;
    match traffic.ramp_up {
        Some(ramp) => {
            let strategy = if ramp.exponential { "exponential" } else { "linear" };
            say(out, &format!("Traffic ramp-up strategy: {strategy}."))?;
            let (start, end) = (ramp.start, ramp.end);
            say(
                out,
                &format!(
                    "Will increase RPS from {start} to {end} RPS over the duration of the \
                     benchmark."
                ),
            )?;
        }
        None => say(out, &format!("Traffic request rate: {}", number(traffic.rate)))?,
    }
    let shape = match traffic.burstiness == 1.0 {
        true => "Poisson process",
        false => "Gamma distribution",
    };
    say(out, &format!("Burstiness factor: {} ({shape})", number(traffic.burstiness)))?;
    let most = traffic.max_concurrency.map_or("None".to_owned(), |most| most.to_string());
    say(out, &format!("Maximum request concurrency: {most}"))?;
    match traffic.probe_rate > 0.0 {
        true => say(out, &format!("Probe request rate: {} req/s", number(traffic.probe_rate))),
        false => Ok(()),
    }
}
