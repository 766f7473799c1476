//! Which steps run as CUDA graphs: `--enforce-eager`, `-O0`, the capture sizes, and the fields of
//! `--compilation-config` that say the same.

use super::grammar::Raw;
use super::typed::object;
use super::value::Value;
use serde_json::{Map, Value as Json};

const CONFIG: &str = "--compilation-config";
const MODE: &str = "cudagraph_mode";
const SIZES: &str = "cudagraph_capture_sizes";
const MOST: &str = "max_cudagraph_capture_size";

/// vLLM's modes. All but the first are one to Glassbox, whose graphs are of whole steps of single
/// tokens: it has none of other steps, and no part of a model is compiled.
const MODES: [&str; 5] = ["NONE", "PIECEWISE", "FULL", "FULL_DECODE_ONLY", "FULL_AND_PIECEWISE"];

/// The largest size that nobody asked for, as in vLLM.
const USUAL_MOST: usize = 512;
/// Sizes are multiples of the one up to the other, and of twice as much from there on.
const STRIDE: usize = 8;
const WIDER_FROM: usize = 256;

/// Which steps of single tokens run as graphs. A step is padded to the next size.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum GraphSettings {
    /// None does.
    Off,
    /// vLLM's sizes.
    Usual {
        /// The largest; `None`: 512.
        most: Option<usize>,
        /// Every size up to 32 (`--performance-mode interactivity`).
        fine: bool,
    },
    /// These, in whatever order, the largest of which may be given as well.
    Sizes { sizes: Vec<usize>, most: Option<usize> },
}

impl Default for GraphSettings {
    fn default() -> Self {
        Self::Usual { most: None, fine: false }
    }
}

impl GraphSettings {
    /// The sizes, ascending, each once; empty: there are no graphs.
    ///
    /// # Errors
    /// vLLM's, where it would use graphs as well.
    pub fn sizes(&self) -> Result<Vec<usize>, String> {
        match self {
            Self::Off => Ok(Vec::new()),
            Self::Usual { most: Some(0), .. } => {
                let error = "Maximum cudagraph size should be greater than or equal to 1 when \
                             using cuda graph.";
                Err(error.to_owned())
            }
            Self::Usual { most, fine } => Ok(usual(most.unwrap_or(USUAL_MOST), *fine)),
            Self::Sizes { sizes, most } => given(sizes.clone(), *most),
        }
    }
}

fn usual(most: usize, fine: bool) -> Vec<usize> {
    let small: Vec<usize> = if fine { (1..=32).collect() } else { vec![1, 2, 4] };
    let strides = (STRIDE..WIDER_FROM).step_by(STRIDE);
    let wider = (WIDER_FROM..=most).step_by(2 * STRIDE);
    let mut sizes: Vec<usize> = small.into_iter().chain(strides).chain(wider).collect();
    sizes.retain(|&size| size <= most);
    ascending(sizes)
}

fn given(sizes: Vec<usize>, most: Option<usize>) -> Result<Vec<usize>, String> {
    if sizes.contains(&0) {
        return Err(format!("{SIZES} must be positive"));
    }
    let sizes = ascending(sizes);
    let Some(&largest) = sizes.last() else {
        return Err(format!("{SIZES} should contain at least one element when using cuda graph."));
    };
    match most {
        Some(most) if most != largest => Err(format!(
            "customized {MOST}(={most}) should be consistent with the max value of \
             {SIZES}(={largest})"
        )),
        _ => Ok(sizes),
    }
}

fn ascending(mut sizes: Vec<usize>) -> Vec<usize> {
    sizes.sort_unstable();
    sizes.dedup();
    sizes
}

/// Reads the flags. `idle` is told which fields of the configuration change nothing.
pub(super) fn read(raw: &Raw, idle: &mut Vec<String>) -> Result<GraphSettings, String> {
    let config = object(raw, CONFIG)?;
    tell_idle(&config, idle);
    let sizes = once(SIZES, sizes_flag(raw)?, list(SIZES, config.get(SIZES))?)?;
    let most = once(MOST, most_flag(raw)?, number(MOST, config.get(MOST))?)?;
    let level_has_graphs = raw.text("--optimization-level").as_deref() != Some("0");
    if raw.is_on("--enforce-eager") || !has_graphs(&config)?.unwrap_or(level_has_graphs) {
        return Ok(GraphSettings::Off);
    }
    let fine = raw.text("--performance-mode").as_deref() == Some("interactivity");
    Ok(match sizes {
        Some(sizes) => GraphSettings::Sizes { sizes, most },
        None => GraphSettings::Usual { most, fine },
    })
}

/// What the flag says, or the field of the configuration.
fn once<T>(name: &str, flag: Option<T>, field: Option<T>) -> Result<Option<T>, String> {
    match (flag, field) {
        (Some(_), Some(_)) => {
            Err(format!("{name} and compilation_config.{name} are mutually exclusive"))
        }
        (flag, field) => Ok(flag.or(field)),
    }
}

fn sizes_flag(raw: &Raw) -> Result<Option<Vec<usize>>, String> {
    match raw.get("--cudagraph-capture-sizes") {
        Value::Json(sizes) => list(SIZES, Some(&sizes)),
        _ => Ok(None),
    }
}

fn most_flag(raw: &Raw) -> Result<Option<usize>, String> {
    match raw.get("--max-cudagraph-capture-size") {
        Value::Int(most) => number(MOST, Some(&most.into())),
        _ => Ok(None),
    }
}

fn list(field: &str, value: Option<&Json>) -> Result<Option<Vec<usize>>, String> {
    match value {
        None | Some(Json::Null) => Ok(None),
        Some(Json::Array(sizes)) => {
            sizes.iter().map(|size| integer(field, size)).collect::<Result<_, _>>().map(Some)
        }
        Some(other) => Err(wrong(field, "a list of integers", other)),
    }
}

fn number(field: &str, value: Option<&Json>) -> Result<Option<usize>, String> {
    match value {
        None | Some(Json::Null) => Ok(None),
        Some(value) => integer(field, value).map(Some),
    }
}

fn integer(field: &str, value: &Json) -> Result<usize, String> {
    let number = value.as_u64().and_then(|number| usize::try_from(number).ok());
    number.ok_or_else(|| wrong(field, "a positive integer", value))
}

fn wrong(field: &str, must: &str, value: &Json) -> String {
    format!("{field} must be {must}, not {value}")
}

/// Whether the mode is another than NONE, if there is one.
fn has_graphs(config: &Map<String, Json>) -> Result<Option<bool>, String> {
    let must = || format!("one of {}", MODES.join(", "));
    match config.get(MODE) {
        None | Some(Json::Null) => Ok(None),
        Some(value) => {
            let named = value.as_str().map(str::to_uppercase);
            let at = named.and_then(|name| MODES.iter().position(|mode| *mode == name));
            // The first three have numbers as well.
            let at = at.or_else(|| (0..3).find(|at| value.as_u64() == Some(*at as u64)));
            at.map(|at| Some(at > 0)).ok_or_else(|| wrong(MODE, &must(), value))
        }
    }
}

fn tell_idle(config: &Map<String, Json>, idle: &mut Vec<String>) {
    let followed = [MODE, SIZES, MOST];
    let others: Vec<&str> =
        config.keys().map(String::as_str).filter(|key| !followed.contains(key)).collect();
    if !others.is_empty() {
        idle.push(format!(
            "{CONFIG}: these change nothing: {} (they are about vLLM's compiler, which Glassbox \
             does not use)",
            others.join(", ")
        ));
    }
}

#[cfg(test)]
mod tests;
