//! What a benchmark found: a table for people and a file for programs, as vLLM writes them.

use super::load::Load;
use super::request::Outcome;
use super::save::{self, object};
use super::say;
use super::stats::{deviation, mean, percentile};
use crate::config::{BenchServeSettings, Goodput};
use serde_json::{Map, Value, json};
use std::io::Write;

/// Figures over all requests that went well.
struct Totals {
    completed: usize,
    failed: usize,
    input: usize,
    output: usize,
    good: usize,
    /// Most tokens in a second of the clock.
    peak_tokens: usize,
    /// Most requests in a second of the clock.
    peak_requests: usize,
    ttft: Vec<f64>,
    tpot: Vec<f64>,
    itl: Vec<f64>,
    e2el: Vec<f64>,
    queued: Vec<f64>,
}

/// Prints the table and writes the file, where one is asked for.
pub(super) fn report(
    settings: &BenchServeSettings,
    model_id: &str,
    tokenizer_id: Option<&str>,
    load: &Load,
    out: &mut impl Write,
) -> Result<(), String> {
    let totals = Totals::of(&load.outcomes, settings.goodput);
    failures(&load.outcomes, out)?;
    let mut table = Table { out, counts_tokens: tokenizer_id.is_some() };
    let duration = load.duration;
    table.title(" Serving Benchmark Result ", '=')?;
    table.head(settings, &totals, duration)?;
    let mut result = results(settings, load, &totals);
    if let Some(probes) = &load.probes {
        result.extend(table.probes(probes)?);
    }
    result.extend(table.latencies(settings, &totals)?);
    table.line(&"=".repeat(50))?;
    save::save(settings, model_id, tokenizer_id, result)
}

impl Totals {
    fn of(outcomes: &[Outcome], limits: Option<Goodput>) -> Self {
        let good: Vec<&Outcome> =
            outcomes.iter().filter(|outcome| outcome.error.is_none()).collect();
        let (peak_tokens, peak_requests) = peaks(&good);
        let tpot = |outcome: &&Outcome| match outcome.output_tokens {
            0 | 1 => None,
            tokens => Some((outcome.latency - outcome.ttft) / (tokens - 1) as f64),
        };
        let within = |limit: Option<f64>, seconds: f64| {
            limit.is_none_or(|milliseconds| milliseconds / 1000.0 >= seconds)
        };
        let keeps = |limits: &Goodput, outcome: &&Outcome| {
            within(limits.ttft, outcome.ttft)
                && within(limits.tpot, tpot(outcome).unwrap_or_default())
                && within(limits.e2el, outcome.latency)
        };
        Self {
            completed: good.len(),
            failed: outcomes.len() - good.len(),
            input: good.iter().map(|outcome| outcome.prompt_len).sum(),
            output: good.iter().map(|outcome| outcome.output_tokens).sum(),
            good: limits.map_or(0, |limits| good.iter().filter(|o| keeps(&limits, o)).count()),
            peak_tokens,
            peak_requests,
            ttft: good.iter().map(|outcome| outcome.ttft).collect(),
            tpot: good.iter().filter_map(tpot).collect(),
            itl: good.iter().flat_map(|outcome| outcome.itl.iter().copied()).collect(),
            e2el: good.iter().map(|outcome| outcome.latency).collect(),
            queued: good.iter().map(|outcome| outcome.queued).collect(),
        }
    }
}

/// Most tokens and most requests in one second, counted from the first request on.
fn peaks(good: &[&Outcome]) -> (usize, usize) {
    let first = good.iter().map(|outcome| outcome.start).fold(f64::INFINITY, f64::min);
    let second = |time: f64| (time - first).max(0.0) as usize;
    let last = good.iter().map(|outcome| second(outcome.start + outcome.latency)).max();
    let Some(last) = last else { return (0, 0) };
    let (mut tokens, mut requests) = (vec![0; last + 1], vec![0; last + 1]);
    for outcome in good {
        let mut at = outcome.start + outcome.ttft;
        tokens[second(at).min(last)] += 1;
        for pause in &outcome.itl {
            at += pause;
            tokens[second(at).min(last)] += 1;
        }
        let end = second(outcome.start + outcome.latency);
        requests[second(outcome.start)..=end].iter_mut().for_each(|count| *count += 1);
    }
    (tokens.into_iter().max().unwrap_or(0), requests.into_iter().max().unwrap_or(0))
}

fn failures(outcomes: &[Outcome], out: &mut impl Write) -> Result<(), String> {
    let failed: Vec<&String> = outcomes.iter().filter_map(|o| o.error.as_ref()).collect();
    if failed.is_empty() {
        return Ok(());
    }
    say(out, "Failed requests during benchmark run detected (capping to 10):")?;
    for (index, error) in failed.iter().take(10).enumerate() {
        say(out, &format!("Error {index}: {error}"))?;
    }
    if failed.len() == outcomes.len() {
        eprintln!(
            "All requests failed. This is likely due to a misconfiguration on the benchmark \
             arguments."
        );
    }
    Ok(())
}

/// The table, line by line.
struct Table<'o, W: Write> {
    out: &'o mut W,
    /// Without a tokenizer nothing is said about tokens.
    counts_tokens: bool,
}

impl<W: Write> Table<'_, W> {
    fn line(&mut self, line: &str) -> Result<(), String> {
        say(self.out, line)
    }

    fn title(&mut self, text: &str, fill: char) -> Result<(), String> {
        let missing = 50usize.saturating_sub(text.chars().count());
        let (left, right) = (missing / 2, missing - missing / 2);
        let fill = |count: usize| fill.to_string().repeat(count);
        self.line(&format!("{}{text}{}", fill(left), fill(right)))
    }

    fn count(&mut self, name: &str, value: usize) -> Result<(), String> {
        self.line(&format!("{name:<40} {value:<10}"))
    }

    fn number(&mut self, name: &str, value: f64) -> Result<(), String> {
        self.line(&format!("{name:<40} {value:<10.2}"))
    }

    fn head(
        &mut self,
        settings: &BenchServeSettings,
        totals: &Totals,
        duration: f64,
    ) -> Result<(), String> {
        let traffic = &settings.traffic;
        self.count("Successful requests:", totals.completed)?;
        self.count("Failed requests:", totals.failed)?;
        if let Some(most) = traffic.max_concurrency {
            self.count("Maximum request concurrency:", most)?;
        }
        if traffic.rate.is_finite() {
            self.number("Request rate configured (RPS):", traffic.rate)?;
        }
        self.number("Benchmark duration (s):", duration)?;
        self.count("Total input tokens:", totals.input)?;
        if self.counts_tokens {
            self.count("Total generated tokens:", totals.output)?;
        }
        self.number("Request throughput (req/s):", totals.completed as f64 / duration)?;
        if settings.goodput.is_some() {
            self.number("Request goodput (req/s):", totals.good as f64 / duration)?;
        }
        if self.counts_tokens {
            self.number("Output token throughput (tok/s):", totals.output as f64 / duration)?;
            self.number("Peak output token throughput (tok/s):", totals.peak_tokens as f64)?;
        }
        self.number("Peak concurrent requests:", totals.peak_requests as f64)?;
        if self.counts_tokens {
            let all = (totals.input + totals.output) as f64;
            self.number("Total token throughput (tok/s):", all / duration)?;
        }
        Ok(())
    }

    /// How the short requests beside the load fared.
    fn probes(&mut self, probes: &[Outcome]) -> Result<Map<String, Value>, String> {
        let good = probes.iter().filter(|probe| probe.error.is_none());
        let times: Vec<f64> = good.map(|probe| probe.latency * 1000.0).collect();
        if times.is_empty() {
            return Ok(Map::new());
        }
        let failed = probes.len() - times.len();
        let (median, p99) = (percentile(&times, 50.0), percentile(&times, 99.0));
        let most = percentile(&times, 100.0);
        self.title("Probe Requests", '-')?;
        self.count("Probe requests completed:", times.len())?;
        self.count("Probe requests failed:", failed)?;
        self.number("Median probe E2EL (ms):", median)?;
        self.number("P99 probe E2EL (ms):", p99)?;
        self.number("Max probe E2EL (ms):", most)?;
        Ok(object(json!({
            "probe_completed": times.len(),
            "probe_failed": failed,
            "probe_median_e2el_ms": median,
            "probe_p99_e2el_ms": p99,
            "probe_max_e2el_ms": most,
        })))
    }

    fn latencies(
        &mut self,
        settings: &BenchServeSettings,
        totals: &Totals,
    ) -> Result<Map<String, Value>, String> {
        let queue = settings.traffic.max_concurrency.is_some();
        let with_queue: Vec<f64> =
            totals.e2el.iter().zip(&totals.queued).map(|(e2el, queued)| e2el + queued).collect();
        let with_rate = queue && settings.traffic.rate.is_finite();
        let tokens = self.counts_tokens;
        let all = [
            (tokens, "ttft", "TTFT", "Time to First Token", &totals.ttft),
            (tokens, "tpot", "TPOT", "Time per Output Token (excl. 1st token)", &totals.tpot),
            (tokens, "itl", "ITL", "Inter-token Latency", &totals.itl),
            (true, "e2el", "E2EL", "End-to-end Latency", &totals.e2el),
            (
                queue,
                "client_queue_time",
                "Client Queue Time",
                "Client-side Queueing",
                &totals.queued,
            ),
            (
                with_rate,
                "e2el_including_client_queue",
                "E2EL incl. Client Queue",
                "Queue-inclusive End-to-end Latency",
                &with_queue,
            ),
        ];
        let mut result = Map::new();
        for (there, name, short, title, values) in all {
            if there && settings.metrics.iter().any(|metric| metric == name) {
                self.title(title, '-')?;
                result.extend(self.metric(name, short, values, &settings.percentiles)?);
            }
        }
        Ok(result)
    }

    fn metric(
        &mut self,
        name: &str,
        short: &str,
        seconds: &[f64],
        percentiles: &[f64],
    ) -> Result<Map<String, Value>, String> {
        let values: Vec<f64> = seconds.iter().map(|value| value * 1000.0).collect();
        let (mean, median) = (mean(&values), percentile(&values, 50.0));
        self.number(&format!("Mean {short} (ms):"), mean)?;
        self.number(&format!("Median {short} (ms):"), median)?;
        let mut result = Map::from_iter([
            (format!("mean_{name}_ms"), mean.into()),
            (format!("median_{name}_ms"), median.into()),
            (format!("std_{name}_ms"), deviation(&values).into()),
        ]);
        for &percent in percentiles {
            let value = percentile(&values, percent);
            self.number(&format!("P{percent} {short} (ms):"), value)?;
            result.insert(format!("p{percent}_{name}_ms"), value.into());
        }
        Ok(result)
    }
}

/// What was measured, with vLLM's keys.
fn results(settings: &BenchServeSettings, load: &Load, totals: &Totals) -> Map<String, Value> {
    let duration = load.duration;
    let each =
        |value: fn(&Outcome) -> Value| -> Vec<Value> { load.outcomes.iter().map(value).collect() };
    let good = settings.goodput.map(|_| totals.good as f64 / duration);
    object(json!({
        "duration": duration,
        "completed": totals.completed,
        "failed": totals.failed,
        "total_input_tokens": totals.input,
        "total_output_tokens": totals.output,
        "request_throughput": totals.completed as f64 / duration,
        "request_goodput": good,
        "output_throughput": totals.output as f64 / duration,
        "total_token_throughput": (totals.input + totals.output) as f64 / duration,
        "input_lens": each(|outcome| outcome.prompt_len.into()),
        "output_lens": each(|outcome| outcome.output_tokens.into()),
        "ttfts": each(|outcome| outcome.ttft.into()),
        "itls": each(|outcome| outcome.itl.clone().into()),
        "latencies": each(|outcome| outcome.latency.into()),
        "start_times": each(|outcome| outcome.start.into()),
        "queue_times": each(|outcome| outcome.queued.into()),
        "generated_texts": each(|outcome| outcome.text.as_str().into()),
        "errors": each(|outcome| outcome.error.clone().unwrap_or_default().into()),
        "max_output_tokens_per_s": totals.peak_tokens as f64,
        "max_concurrent_requests": totals.peak_requests,
        "rtfx": 0.0,
    }))
}

#[cfg(test)]
mod tests;
