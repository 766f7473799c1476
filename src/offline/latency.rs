//! `bench latency`: how long the engine takes for one batch.

use super::engine::{Job, Offline};
use super::roofline::{Roofline, Workload};
use crate::client::Progress;
use crate::client::bench::stats::{mean, percentile};
use crate::config::BenchLatencySettings;
use crate::serve::build;
use crate::types::Token;
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use serde_json::{Map, Value, json};
use std::io::Write;
use std::sync::Arc;
use std::time::Instant;

const PERCENTS: [f64; 6] = [10.0, 25.0, 50.0, 75.0, 90.0, 99.0];

/// Runs the benchmark and writes what it finds to `out`.
pub(super) fn run(settings: &BenchLatencySettings, out: &mut impl Write) -> Result<(), String> {
    let offline = Offline::open(&settings.engine)?;
    let dims = offline.model.config.dims.clone();
    let threads = build::threads(&settings.engine);
    let mut roofline = Roofline::new(&offline.sizes.device, &dims, threads);
    let jobs = jobs(settings, dims.vocab);
    let runtime = super::runtime()?;
    let batch = |what: &'static str, count: usize| -> Result<Vec<f64>, String> {
        let progress = Progress::new(what, count, true);
        let one = |_| {
            let since = Instant::now();
            runtime.block_on(offline.generate(&jobs, settings.n))?;
            progress.step();
            Ok(since.elapsed().as_secs_f64())
        };
        let seconds = (0..count).map(one).collect();
        progress.end();
        seconds
    };
    let mut say = |line: &str| writeln!(out, "{line}").map_err(|error| error.to_string());
    say("Warming up...")?;
    batch("Warmup iterations", settings.warmups)?;
    let latencies = batch("Bench iterations", settings.iterations)?;
    say(&format!("Avg latency: {} seconds", mean(&latencies)))?;
    for percent in PERCENTS {
        let seconds = percentile(&latencies, percent);
        say(&format!("{percent}% percentile latency: {seconds} seconds"))?;
    }
    let limits =
        (offline.sizes.step.max_num_scheduled_tokens, offline.sizes.step.max_num_active_seqs);
    let count = settings.batch_size * settings.n;
    let work = Workload::uniform(count, settings.input_len, settings.output_len, limits);
    let share = roofline.share(&work, percentile(&latencies, 0.0));
    if let Some(share) = &share {
        say(&share.to_string())?;
    }
    offline.close()?;
    let Some(path) = &settings.output_json else { return Ok(()) };
    let percentiles: Map<String, Value> = PERCENTS
        .iter()
        .map(|percent| (percent.to_string(), percentile(&latencies, *percent).into()))
        .collect();
    let result = json!({
        "model_id": settings.engine.model.model,
        "avg_latency": mean(&latencies),
        "latencies": latencies,
        "percentiles": percentiles,
        "roofline_seconds": share.as_ref().map(|share| share.bound),
        "roofline_percent": share.as_ref().map(|share| share.percent),
    });
    super::throughput::write_json(path, &result)
}

/// Random prompts, as vLLM makes them: of the vocabulary's first 10,000 tokens.
fn jobs(settings: &BenchLatencySettings, vocab: usize) -> Vec<Job> {
    let mut rng = StdRng::seed_from_u64(settings.engine.model.seed);
    let most = vocab.min(10_000) as Token;
    let mut prompt =
        || -> Arc<[Token]> { (0..settings.input_len).map(|_| rng.random_range(0..most)).collect() };
    (0..settings.batch_size).map(|_| (prompt(), settings.output_len)).collect()
}
