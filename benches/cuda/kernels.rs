//! Each kernel of a step, one phase at a time, over all layers in turn so that weights come from
//! memory; from a graph, so that starting them takes what it takes in a step.

use crate::model::Bench;
use crate::report::{Report, Work};
use crate::sizes::Sizes;
use glassbox::runner::cuda::Phase;
use std::time::Duration;

/// Rows up to which products norm what they multiply.
const NORMED: usize = 8;
/// Launches of a timing at most.
const MOST_ROUNDS: f64 = 200.0;

/// The time of one launch of `phase` of the bench's batch: the best of several timings.
pub fn time(bench: &mut Bench, sizes: &Sizes, phase: Phase) -> Result<Duration, String> {
    let layers = bench.dims.layers as f64;
    let mut probe = |rounds: usize| {
        bench.backend.probe(&bench.batch, phase, rounds).map_err(|error| error.to_string())
    };
    let first = probe(1)?;
    let rounds = (sizes.seconds / (first.as_secs_f64() * layers)).clamp(1.0, MOST_ROUNDS) as usize;
    let mut best = first;
    for _ in 1..sizes.rounds {
        best = best.min(probe(rounds)?);
    }
    Ok(best)
}

/// A product of `rows` rows: `n` outputs of `k`, and bytes that are written for each output.
fn product(rows: usize, n: usize, k: usize, written: f64) -> Work {
    Work {
        bytes: 2.0 * (n * k + rows * k) as f64 + written * (rows * n) as f64,
        flops: 2.0 * (rows * n) as f64 * k as f64,
    }
}

/// What `phase` does to `rows` rows; `None`: nothing of its own, or it depends on more than rows.
pub fn work(bench: &Bench, phase: Phase, rows: usize) -> Option<Work> {
    let d = &bench.dims;
    let (q, kv) = (d.heads * d.head_dim, d.kv_heads * d.head_dim);
    let plain = |of_row: usize| Some(Work { bytes: (rows * of_row) as f64, flops: 0.0 });
    match phase {
        Phase::Embed => plain(d.hidden * (2 + 4)),
        Phase::InputNorm | Phase::PostAttentionNorm if rows <= NORMED => None,
        Phase::InputNorm | Phase::PostAttentionNorm => plain(d.hidden * (4 + 2)),
        Phase::Qkv => Some(product(rows, q + 2 * kv, d.hidden, 4.0)),
        Phase::Heads => plain((q + 2 * kv) * (4 + 2)),
        // Read, added to, written.
        Phase::O => Some(product(rows, d.hidden, q, 8.0)),
        // Half as many columns, of bf16.
        Phase::GateUp => Some(product(rows, 2 * d.intermediate, d.hidden, 1.0)),
        Phase::Down => Some(product(rows, d.hidden, d.intermediate, 8.0)),
        Phase::LmHead => Some(product(rows, d.vocab, d.hidden, 4.0)),
        Phase::Sample => plain(d.vocab * 4),
        Phase::Attend => None,
    }
}

/// Each of `seqs` single rows reads `context` keys and values.
pub fn singles_work(bench: &Bench, seqs: usize, context: usize) -> Work {
    let d = &bench.dims;
    let keys = (seqs * context) as f64;
    Work {
        bytes: keys * (4 * d.kv_heads * d.head_dim) as f64,
        flops: 4.0 * keys * (d.heads * d.head_dim) as f64,
    }
}

/// A prompt of `len` tokens: half of all pairs.
fn tiles_work(bench: &Bench, len: usize) -> Work {
    let d = &bench.dims;
    let pairs = len as f64 * (len as f64 + 1.0) / 2.0;
    Work {
        bytes: (len * d.head_dim * (4 * d.heads + 4 * d.kv_heads)) as f64,
        flops: 4.0 * pairs * (d.heads * d.head_dim) as f64,
    }
}

pub fn measure(bench: &mut Bench, sizes: &Sizes, report: &mut Report) -> Result<(), String> {
    for &(seqs, context) in &sizes.singles {
        bench.put(seqs, context - 1, 1);
        bench.step()?;
        let took = time(bench, sizes, Phase::Attend)?;
        let name = format!("Attend, {seqs} single rows, context {context}");
        report.line(&name, singles_work(bench, seqs, context), took, 0);
    }
    for &len in &sizes.prompts {
        bench.put(1, 0, len);
        bench.step()?;
        let took = time(bench, sizes, Phase::Attend)?;
        report.line(&format!("Attend, prompt of {len}"), tiles_work(bench, len), took, 0);
    }
    for &rows in &sizes.rows {
        bench.put(1, 0, rows);
        bench.step()?;
        for phase in [Phase::Embed].into_iter().chain(Phase::LAYER) {
            let Some(work) = work(bench, phase, rows) else { continue };
            let took = time(bench, sizes, phase)?;
            report.line(&format!("{phase:?}, {rows} rows"), work, took, 0);
        }
    }
    for &rows in &sizes.batches {
        bench.put(rows, sizes.context, 1);
        bench.step()?;
        for phase in [Phase::LmHead, Phase::Sample] {
            let work = work(bench, phase, rows).expect("it depends on rows alone");
            let took = time(bench, sizes, phase)?;
            report.line(&format!("{phase:?}, {rows} rows"), work, took, 0);
        }
    }
    Ok(())
}
