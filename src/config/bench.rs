//! What the kinds of `bench` are told.

mod data;
mod server;

pub use data::{DataSet, FileData, Lengths, PrefixData, RandomData};
pub(super) use server::serve;
pub use server::{BenchServeSettings, ChatApi, Goodput, RampUp, SaveSettings, Traffic};

use super::env::Env;
use super::grammar::Raw;
use super::resolve;
use super::settings::Settings;
use std::path::PathBuf;

/// The settings of `bench latency`.
#[derive(Clone, Debug)]
pub struct BenchLatencySettings {
    /// Of the model and the engine.
    pub engine: Settings,
    pub input_len: usize,
    pub output_len: usize,
    pub batch_size: usize,
    /// Replies to each prompt.
    pub n: usize,
    pub warmups: usize,
    pub iterations: usize,
    pub output_json: Option<PathBuf>,
}

/// The settings of `bench throughput`.
#[derive(Clone, Debug)]
pub struct BenchThroughputSettings {
    /// Of the model and the engine.
    pub engine: Settings,
    pub data: DataSet,
    pub num_prompts: usize,
    /// Replies to each prompt.
    pub n: usize,
    pub warmups: usize,
    pub output_json: Option<PathBuf>,
}

pub(super) fn latency(
    raw: &Raw,
    env: Env,
    warnings: Vec<String>,
) -> Result<BenchLatencySettings, String> {
    let mut engine = resolve::resolve(raw, env, warnings)?;
    // Prompts repeat from batch to batch: only those who ask for it measure cache hits.
    engine.cache.prefix_caching = raw.is_on("--enable-prefix-caching");
    Ok(BenchLatencySettings {
        engine,
        input_len: resolve::count(raw, "--input-len", 1)?,
        output_len: resolve::count(raw, "--output-len", 1)?,
        batch_size: resolve::count(raw, "--batch-size", 1)?,
        n: resolve::count(raw, "--n", 1)?,
        warmups: resolve::count(raw, "--num-iters-warmup", 0)?,
        iterations: resolve::count(raw, "--num-iters", 1)?,
        output_json: raw.text("--output-json").map(PathBuf::from),
    })
}

pub(super) fn throughput(
    raw: &Raw,
    env: Env,
    mut warnings: Vec<String>,
) -> Result<BenchThroughputSettings, String> {
    let backend = raw.text("--backend").unwrap_or_default();
    if backend != "vllm" {
        return Err(format!("argument --backend: {backend} is not supported: the engine is ours"));
    }
    let name = raw.text("--dataset-name").unwrap_or_default();
    let name = match raw.text("--dataset-path") {
        None if name != "prefix_repetition" => {
            warnings.push("When dataset path is not set, it will default to random dataset".into());
            "random".to_owned()
        }
        _ => name,
    };
    Ok(BenchThroughputSettings {
        data: data::read(raw, &name)?,
        num_prompts: resolve::count(raw, "--num-prompts", 1)?,
        n: resolve::count(raw, "--n", 1)?,
        warmups: resolve::count(raw, "--num-warmups", 0)?,
        output_json: raw.text("--output-json").map(PathBuf::from),
        engine: resolve::resolve(raw, env, warnings)?,
    })
}
