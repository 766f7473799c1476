//! Where the prompts of a benchmark come from.

use crate::config::grammar::Raw;
use crate::config::resolve::{at_least, count, object};
use crate::config::{python, value::Value};
use serde_json::{Map, Value as Json};
use std::path::PathBuf;

/// A source of prompts.
#[derive(Clone, Debug, PartialEq)]
pub enum DataSet {
    /// Random tokens.
    Random(RandomData),
    /// Random tokens behind a few shared beginnings.
    PrefixRepetition(PrefixData),
    /// The first two turns of conversations, as ShareGPT's file has them.
    ShareGpt(FileData),
    /// Prompts of a file, one JSON object a line.
    Custom {
        file: FileData,
        /// `None` sends them as they are.
        template_kwargs: Option<Map<String, Json>>,
    },
}

/// Numbers of tokens around a mean.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Lengths {
    pub mean: usize,
    /// How far they stray, in [0, 1).
    pub spread: f64,
}

/// Settings of random prompts.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct RandomData {
    pub input: Lengths,
    pub output: Lengths,
    /// Tokens that all prompts begin with.
    pub prefix: usize,
}

/// Settings of prompts with shared beginnings.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct PrefixData {
    pub prefixes: usize,
    pub prefix: usize,
    pub suffix: usize,
    pub output: usize,
}

/// Settings of prompts in a file.
#[derive(Clone, Debug, PartialEq)]
pub struct FileData {
    pub path: PathBuf,
    /// Tokens of a reply; `None` takes what the file says.
    pub output: Option<usize>,
    pub shuffle: bool,
    /// Repeat prompts when there are too few.
    pub oversample: bool,
}

pub(super) fn read(raw: &Raw, name: &str) -> Result<DataSet, String> {
    match name {
        "random" => random(raw).map(DataSet::Random),
        "prefix_repetition" => prefix_repetition(raw).map(DataSet::PrefixRepetition),
        "sharegpt" => file(raw, at_least(raw, "--sharegpt-output-len", 1)?).map(DataSet::ShareGpt),
        "custom" => {
            let output = match raw.int("--custom-output-len") {
                None | Some(-1) => None,
                Some(_) => at_least(raw, "--custom-output-len", 1)?,
            };
            let kwargs = object(raw, "--chat-template-kwargs")?;
            let template_kwargs = (!raw.is_on("--skip-chat-template")).then_some(kwargs);
            Ok(DataSet::Custom { file: file(raw, output)?, template_kwargs })
        }
        other => Err(format!(
            "argument --dataset-name: {other} is not supported: use random, prefix_repetition, \
             sharegpt or custom; Glassbox downloads no data sets and serves no media"
        )),
    }
}

fn random(raw: &Raw) -> Result<RandomData, String> {
    let spread = raw.text("--random-range-ratio").unwrap_or_default();
    let (input, output) = spreads(&spread)
        .filter(|(input, output)| [input, output].iter().all(|ratio| (0.0..1.0).contains(*ratio)))
        .ok_or_else(|| {
            format!(
                "argument --random-range-ratio: must be in [0, 1), or a JSON object with input \
                 and output, not {spread}"
            )
        })?;
    let mean = |general: &str, own: &str| match at_least(raw, general, 1)? {
        Some(len) => Ok(len),
        None => count(raw, own, 1),
    };
    let prefix = match raw.int("--prefix-len") {
        Some(len) if len > 0 => count(raw, "--prefix-len", 0)?,
        _ => count(raw, "--random-prefix-len", 0)?,
    };
    Ok(RandomData {
        input: Lengths { mean: mean("--input-len", "--random-input-len")?, spread: input },
        output: Lengths { mean: mean("--output-len", "--random-output-len")?, spread: output },
        prefix,
    })
}

/// Of prompts and of replies.
fn spreads(text: &str) -> Option<(f64, f64)> {
    if let Some(both) = python::float(text) {
        return Some((both, both));
    }
    let object: Map<String, Json> = serde_json::from_str(text).ok()?;
    Some((object.get("input")?.as_f64()?, object.get("output")?.as_f64()?))
}

fn prefix_repetition(raw: &Raw) -> Result<PrefixData, String> {
    // `bench throughput` has no defaults for these; both take the same then.
    let or = |name, usual| Ok::<_, String>(at_least(raw, name, 1)?.unwrap_or(usual));
    let data = PrefixData {
        prefixes: or("--prefix-repetition-num-prefixes", 10)?,
        prefix: or("--prefix-repetition-prefix-len", 256)?,
        suffix: or("--prefix-repetition-suffix-len", 256)?,
        output: match at_least(raw, "--output-len", 1)? {
            Some(len) => len,
            None => or("--prefix-repetition-output-len", 128)?,
        },
    };
    let prompts = count(raw, "--num-prompts", 1)?;
    match prompts < data.prefixes {
        true => Err(format!(
            "num_requests ({prompts}) must be greater than or equal to num_prefixes ({})",
            data.prefixes
        )),
        false => Ok(data),
    }
}

fn file(raw: &Raw, output: Option<usize>) -> Result<FileData, String> {
    let path =
        raw.text("--dataset-path").ok_or("dataset_path must be provided for loading data.")?;
    Ok(FileData {
        path: PathBuf::from(path),
        output: at_least(raw, "--output-len", 1)?.or(output),
        shuffle: raw.get("--disable-shuffle") != Value::Bool(true),
        oversample: !raw.is_on("--no-oversample"),
    })
}
