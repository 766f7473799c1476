//! `bench throughput`: how many requests the engine gets done.

use super::engine::{Job, Offline};
use super::roofline::{Roofline, Workload};
use crate::client::prompts::{self, Sample};
use crate::config::BenchThroughputSettings;
use crate::serve::build;
use serde_json::{Value, json};
use std::io::Write;
use std::path::Path;
use std::time::Instant;

/// Runs the benchmark and writes what it finds to `out`.
pub(super) fn run(settings: &BenchThroughputSettings, out: &mut impl Write) -> Result<(), String> {
    let offline = Offline::open(&settings.engine)?;
    let model = &offline.model;
    let dims = model.config.dims.clone();
    let make = |count: usize, seed: u64| -> Result<Vec<Job>, String> {
        let (tokenizer, template) = (model.tokenizer.as_deref(), model.chat_template.as_deref());
        let samples = prompts::samples(&settings.data, count, seed, tokenizer, template)?;
        let job = |sample: Sample| (sample.tokens.into(), sample.output_len);
        Ok(samples.into_iter().map(job).collect())
    };
    let seed = settings.engine.model.seed;
    let jobs = make(settings.num_prompts, seed)?;
    let threads = build::threads(&settings.engine);
    let mut roofline = Roofline::new(&offline.sizes.device, &dims, threads);
    let runtime = super::runtime()?;
    if settings.warmups > 0 {
        let warmups = make(settings.warmups, seed + 1)?;
        runtime.block_on(offline.generate(&warmups, settings.n))?;
    }
    let since = Instant::now();
    let output_tokens = runtime.block_on(offline.generate(&jobs, settings.n))?;
    let seconds = since.elapsed().as_secs_f64();
    let prompt_tokens: usize = jobs.iter().map(|(prompt, _)| prompt.len()).sum();
    let all_tokens = prompt_tokens + output_tokens;
    let rate = |count: usize| count as f64 / seconds;
    let mut say = |line: String| writeln!(out, "{line}").map_err(|error| error.to_string());
    say(format!(
        "Throughput: {:.2} requests/s, {:.2} total tokens/s, {:.2} output tokens/s",
        rate(jobs.len()),
        rate(all_tokens),
        rate(output_tokens)
    ))?;
    say(format!("Total num prompt tokens:  {prompt_tokens}"))?;
    say(format!("Total num output tokens:  {output_tokens}"))?;
    let step = &offline.sizes.step;
    let limits = (step.max_num_scheduled_tokens, step.max_num_active_seqs);
    let share = roofline.share(&workload(&jobs, settings.n, limits), seconds);
    if let Some(share) = &share {
        say(share.to_string())?;
    }
    offline.close()?;
    let Some(path) = &settings.output_json else { return Ok(()) };
    let result = json!({
        "model_id": settings.engine.model.model,
        "elapsed_time": seconds,
        "num_requests": jobs.len(),
        "total_num_tokens": all_tokens,
        "requests_per_second": rate(jobs.len()),
        "tokens_per_second": rate(all_tokens),
        "roofline_seconds": share.as_ref().map(|share| share.bound),
        "roofline_percent": share.as_ref().map(|share| share.percent),
    });
    write_json(path, &result)
}

/// All jobs together. The n replies of one prompt share its prefill.
fn workload(jobs: &[Job], n: usize, limits: (usize, usize)) -> Workload {
    let each = jobs.iter().map(|(prompt, output)| {
        let one = Workload::uniform(1, prompt.len(), *output, limits);
        Workload { output_tokens: n * output, ..one }
    });
    let none = Workload {
        prompt_tokens: 0,
        output_tokens: 0,
        longest_output: 0,
        context_tokens: 0.0,
        step_tokens: limits.0,
        step_seqs: limits.1,
    };
    each.fold(none, |all, one| Workload {
        prompt_tokens: all.prompt_tokens + one.prompt_tokens,
        output_tokens: all.output_tokens + one.output_tokens,
        longest_output: all.longest_output.max(one.longest_output),
        context_tokens: all.context_tokens + one.context_tokens,
        ..all
    })
}

/// Writes a result with four spaces of indentation, as Python does.
pub(super) fn write_json(path: &Path, result: &Value) -> Result<(), String> {
    let fail = |error: std::io::Error| format!("{}: {error}", path.display());
    let mut text = Vec::new();
    let indent = serde_json::ser::PrettyFormatter::with_indent(b"    ");
    let mut writer = serde_json::Serializer::with_formatter(&mut text, indent);
    serde::Serialize::serialize(result, &mut writer).map_err(|error| error.to_string())?;
    std::fs::write(path, text).map_err(fail)
}
