//! The CUDA backend in % of what its GPU can do: whole steps, each kernel of a step, and the
//! choices between kernels that give the same bits.
//!
//! `cargo bench --features cuda --bench cuda -- [--model FOLDER] [--json FILE] [--smoke] [GROUP…]`
//! measures the groups `steps`, `kernels` and `choices`, or all of them. FOLDER has the config.json
//! of a Qwen3; weights are made up. Each line goes to FILE as JSON as soon as it is known.
//!
//! The rate of copies is measured in the same run. That of bf16 products comes from whoever has a
//! library that is made for them: GLASSBOX_BENCH_FLOPS, in FLOP/s, measured by
//! `benches/gpu/yardstick.py` just before. Without it, what products bound has no share.

mod choices;
mod kernels;
mod model;
mod report;
mod sizes;
mod steps;

use glassbox::runner::cuda::Gpu;
use model::Bench;
use report::Report;
use sizes::Sizes;
use std::path::PathBuf;

const GROUPS: [&str; 3] = ["steps", "kernels", "choices"];

/// What the command line says.
struct Arguments {
    model: PathBuf,
    json: Option<PathBuf>,
    smoke: bool,
    groups: Vec<String>,
}

impl Arguments {
    fn read() -> Result<Self, String> {
        let mut args = std::env::args().skip(1);
        let (mut model, mut json, mut smoke, mut groups) = (None, None, false, Vec::new());
        while let Some(arg) = args.next() {
            match arg.as_str() {
                "--model" => model = args.next().map(PathBuf::from),
                "--json" => json = args.next().map(PathBuf::from),
                "--smoke" => smoke = true,
                // By cargo.
                "--bench" => {}
                group if GROUPS.contains(&group) => groups.push(arg),
                other => return Err(format!("{other}: not one of {GROUPS:?}")),
            }
        }
        if groups.is_empty() {
            groups = GROUPS.map(str::to_owned).to_vec();
        }
        let usual = if smoke { "smoke" } else { "qwen3-0.6b" };
        let model = model.unwrap_or_else(|| PathBuf::from("benches/gpu/models").join(usual));
        Ok(Self { model, json, smoke, groups })
    }
}

fn run() -> Result<(), String> {
    let Arguments { model, json, smoke, groups } = Arguments::read()?;
    let gpu = Gpu::open().map_err(|error| error.to_string())?;
    let sizes = if smoke { Sizes::smoke() } else { Sizes::full() };
    println!("{gpu}");
    let mut report = Report::new(&gpu, json.as_deref(), sizes.copies)?;
    let mut bench = Bench::open(&gpu, &model, &sizes)?;
    report.loaded(&model, bench.load_time, bench.weight_bytes());
    for group in groups {
        report.group(&group);
        match group.as_str() {
            "steps" => steps::measure(&mut bench, &sizes, &mut report)?,
            "kernels" => kernels::measure(&mut bench, &sizes, &mut report)?,
            _ => choices::measure(&mut bench, &sizes, &mut report)?,
        }
        report.measure(&gpu)?;
    }
    Ok(())
}

fn main() {
    if let Err(error) = run() {
        eprintln!("{error}");
        std::process::exit(1);
    }
}
