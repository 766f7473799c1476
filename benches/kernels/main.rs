//! The CPU kernels and whole steps of a Qwen3-0.6B shape in % of what this machine can do.
//!
//! `cargo bench --bench kernels [-- THREADS [WORD]]` measures the lines that WORD is in. The
//! machine's read bandwidth and bf16 rate are measured in the same run, in turns with the kernels;
//! every number is the best of the rounds, so that a machine that is busy with other things
//! disturbs ratios as little as can be. On a machine that is very busy they still mean little.

mod model;

use glassbox::offline::Machine;
use glassbox::runner::cpu::{CpuBackend, Isa, Phase};
use glassbox::runner::{Backend, RowSink, StepBatch};
use glassbox::types::{Token, TokenLogprobs};
use std::time::Instant;

const ROUNDS: usize = 5;

/// Takes logits and does nothing.
struct Nowhere;

impl RowSink for Nowhere {
    fn logits(&mut self, _row: usize, _logits: &mut [f32]) {}
    fn sampled(&mut self, _row: usize, _token: Token) {}
    fn reported(&mut self, _row: usize, _sampled: TokenLogprobs) {}
}

/// What a measurement is held against.
#[derive(Clone, Copy)]
enum Roof {
    /// Bytes that must come from memory.
    Bytes(f64),
    /// Floating-point operations of products.
    Flops(f64),
}

/// One line of the report.
struct Line {
    name: String,
    roof: Roof,
    /// Seconds, the best so far.
    best: f64,
}

/// `seqs` sequences that each compute `rows` tokens after `past` tokens; the last one samples.
fn batch(backend: &CpuBackend, seqs: usize, past: usize, rows: usize) -> StepBatch {
    let limits = backend.limits();
    let mut batch = StepBatch::new(limits);
    let blocks = (past + rows).div_ceil(limits.block_size);
    for seq in 0..seqs {
        let tokens: Vec<Token> = (0..rows).map(|i| (i * 31 + seq * 7919) as Token).collect();
        let table: Vec<u32> = (0..blocks).map(|b| (b * seqs + seq) as u32).collect();
        batch.push(&tokens, past, &table, 1, None);
    }
    batch
}

/// Seconds of one call.
fn time(f: impl FnOnce()) -> f64 {
    let start = Instant::now();
    f();
    start.elapsed().as_secs_f64()
}

/// A whole step.
fn step(backend: &mut CpuBackend, batch: &StepBatch) -> f64 {
    time(|| {
        backend.submit(batch).expect("the batch is within the limits");
        backend.collect(&mut Nowhere).expect("the CPU backend does not fail");
    })
}

/// One phase in every layer in turn, so that weights come from memory; seconds a layer.
fn phase(backend: &mut CpuBackend, batch: &StepBatch, phase: Phase) -> f64 {
    backend.submit(batch).expect("the batch is within the limits");
    let layers = model::dims().layers;
    time(|| (0..layers).for_each(|layer| backend.probe(phase, layer))) / layers as f64
}

/// The kernels of one layer, at `rows` rows: (phase, roof).
fn kernels(rows: usize) -> Vec<(Phase, Roof)> {
    let d = model::dims();
    let heads = d.heads * d.head_dim;
    let kv = d.kv_heads * d.head_dim;
    let product = |n: usize, k: usize| {
        let (bytes, flops) = (2.0 * (n * k) as f64, 2.0 * (n * k * rows) as f64);
        if rows > 32 { Roof::Flops(flops) } else { Roof::Bytes(bytes) }
    };
    let mut all = vec![
        (Phase::Qkv, product(heads + 2 * kv, d.hidden)),
        (Phase::O, product(d.hidden, heads)),
        (Phase::GateUp, product(2 * d.intermediate, d.hidden)),
        (Phase::Down, product(d.hidden, d.intermediate)),
    ];
    if rows > 32 {
        let norm = rows * d.hidden * (4 + 2);
        let rotate = rows * (heads + 2 * kv) * (4 + 2);
        all.push((Phase::InputNorm, Roof::Bytes(norm as f64)));
        all.push((Phase::Rotate, Roof::Bytes(rotate as f64)));
    }
    all
}

/// The products' operations in a prefill of `n` tokens, attention's causal half included.
fn prefill_flops(n: usize) -> f64 {
    let d = model::dims();
    let attention = 4 * d.layers * d.heads * d.head_dim * n * n / 2;
    2.0 * (n as f64) * model::layer_elements() as f64 * d.layers as f64
        + attention as f64
        + 2.0 * (d.vocab * d.hidden) as f64
}

/// All whole steps: (name, sequences, past, rows, roof).
fn steps() -> Vec<(String, usize, usize, usize, Roof)> {
    let d = model::dims();
    let weights = 2 * (d.layers * model::layer_elements() + d.vocab * d.hidden);
    let decode = |seqs: usize, past: usize| {
        let bytes = weights + seqs * past * d.kv_bytes_per_token();
        let name = format!("step: decode, batch {seqs}, context {past}");
        (name, seqs, past, 1, Roof::Bytes(bytes as f64))
    };
    let prefill = |n| (format!("step: prefill {n}"), 1, 0, n, Roof::Flops(prefill_flops(n)));
    vec![decode(1, 64), decode(1, 1024), decode(8, 64), decode(16, 64), prefill(1024)]
}

fn main() {
    let mut args = std::env::args().skip(1).filter(|arg| !arg.starts_with("--"));
    let threads = args.next().and_then(|n| n.parse().ok());
    let word = args.next().unwrap_or_default();
    let threads =
        threads.unwrap_or_else(|| std::thread::available_parallelism().map_or(1, |n| n.get()));
    let start = Instant::now();
    let isa = std::env::var("GLASSBOX_CPU_ISA").ok().map(|name| name.parse().expect("an ISA"));
    let mut backend = model::backend(threads, isa);
    println!(
        "Qwen3-0.6B shape, {} kernels, {threads} threads, loaded in {:.2} s",
        backend.isa(),
        start.elapsed().as_secs_f64()
    );
    let mut machine = Machine::new(threads, backend.isa() == Isa::Avx512Bf16);
    let mut lines: Vec<Line> = Vec::new();
    for _ in 0..ROUNDS {
        machine.measure();
        round(&mut backend, &mut lines, &word);
    }
    machine.measure();
    report(&machine, &lines);
}

/// Measures everything once more that has `word` in its name.
fn round(backend: &mut CpuBackend, lines: &mut Vec<Line>, word: &str) {
    let mut note = |name: String, roof, measure: &mut dyn FnMut() -> f64| {
        if !name.contains(word) {
            return;
        }
        let seconds = measure();
        match lines.iter_mut().find(|line| line.name == name) {
            Some(line) => line.best = line.best.min(seconds),
            None => lines.push(Line { name, roof, best: seconds }),
        }
    };
    for rows in [1, 2, 4, 8, 16, 32, 512] {
        let batch = batch(backend, 1, 0, rows);
        for (which, roof) in kernels(rows) {
            let name = format!("{which:?}, {rows} rows");
            note(name, roof, &mut || phase(backend, &batch, which));
        }
    }
    let d = model::dims();
    let cache = (1024 * d.kv_bytes_per_token() / d.layers) as f64;
    let decode = batch(backend, 1, 1023, 1);
    note("Attend, decode at 1,024".to_owned(), Roof::Bytes(cache), &mut || {
        phase(backend, &decode, Phase::Attend)
    });
    let prefill = batch(backend, 1, 512, 512);
    let flops = 4 * d.heads * d.head_dim * 512 * 768;
    note("Attend, rows 512..1024".to_owned(), Roof::Flops(flops as f64), &mut || {
        phase(backend, &prefill, Phase::Attend)
    });
    for (name, seqs, past, rows, roof) in steps() {
        let batch = batch(backend, seqs, past, rows);
        note(name, roof, &mut || step(backend, &batch));
    }
}

fn report(machine: &Machine, lines: &[Line]) {
    let large = lines.iter().find(|line| line.name == "GateUp, 512 rows");
    let gemm = large.map_or(f64::NAN, |line| match line.roof {
        Roof::Flops(flops) => flops / line.best,
        Roof::Bytes(_) => f64::NAN,
    });
    println!("read bandwidth        {:8.1} GB/s", machine.bandwidth / 1e9);
    println!("bf16 in registers     {:8.1} GFLOP/s", machine.registers / 1e9);
    println!("bf16 GEMM, 512 x 6144 {:8.1} GFLOP/s\n", gemm / 1e9);
    for line in lines {
        let (rate, unit, share) = match line.roof {
            Roof::Bytes(bytes) => (bytes / line.best, "GB/s", machine.bandwidth),
            Roof::Flops(flops) => (flops / line.best, "GFLOP/s", gemm),
        };
        println!(
            "{:32} {:9.3} ms {:8.1} {:7} {:4.0} %",
            line.name,
            line.best * 1e3,
            rate / 1e9,
            unit,
            100.0 * rate / share
        );
    }
    let named = |name: &str| lines.iter().find(|l| l.name == name).map_or(f64::NAN, |l| l.best);
    let one = named("step: decode, batch 1, context 64");
    let many = named("step: decode, batch 16, context 64");
    println!("\ntokens/s at batch 16 over batch 1: {:.1}", 16.0 * one / many);
}
