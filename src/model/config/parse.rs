//! Hugging Face's `config.json` → [`ModelConfig`], with transformers' defaults and spellings.

use std::path::Path;

use serde_json::{Map, Value};

use super::{Dims, ModelConfig, RopeScaling};
use crate::model::ModelError;
use crate::model::error::read_object;

/// The architecture that can be served.
const ARCHITECTURE: &str = "Qwen3ForCausalLM";
const MODEL_TYPE: &str = "qwen3";
/// What transformers takes where neither spelling gives a base for RoPE.
const DEFAULT_ROPE_THETA: f64 = 10_000.0;
/// A bound on every size, far above any model, so that products of three fit in `usize`.
const LARGEST_SIZE: u64 = 1 << 20;
/// A bound on positions.
const LARGEST_LENGTH: u64 = 1 << 31;

impl ModelConfig {
    /// Reads `config.json`; the keys of `overrides` (`--hf-overrides`) replace those of the file.
    ///
    /// # Errors
    /// A file that cannot be read, a value of the wrong type, or a model that cannot be served:
    /// each one line that names the file, the key and what is wanted.
    pub fn load(path: &Path, overrides: &Map<String, Value>) -> Result<Self, ModelError> {
        let mut values = read_object(path)?;
        // The newer spelling in an override must not lose to the older one in the file.
        if overrides.contains_key("rope_parameters") {
            values.remove("rope_scaling");
        }
        values.extend(overrides.iter().map(|(key, value)| (key.clone(), value.clone())));
        parse(&values).map_err(|reason| ModelError::file(path, reason))
    }
}

/// Reads the configuration out of the parsed file; the error says which key is wrong.
pub(super) fn parse(values: &Map<String, Value>) -> Result<ModelConfig, String> {
    check_supported(values)?;
    let keys = Keys { values, path: "" };
    let heads = keys.size("num_attention_heads", Some(32))?;
    let hidden = keys.size("hidden_size", Some(4096))?;
    let kv_heads = match values.get("num_key_value_heads") {
        Some(Value::Null) => heads,
        _ => keys.size("num_key_value_heads", Some(32))?,
    };
    if !heads.is_multiple_of(kv_heads) {
        return Err(format!(
            "num_attention_heads is {heads}, which num_key_value_heads ({kv_heads}) does not divide"
        ));
    }
    let head_dim = match values.get("head_dim") {
        Some(Value::Null) => hidden / heads,
        _ => keys.size("head_dim", Some(128))?,
    };
    if !head_dim.is_multiple_of(2) || head_dim == 0 {
        return Err(format!("head_dim is {head_dim}, an even number is wanted"));
    }
    let layers = keys.size("num_hidden_layers", Some(32))?;
    check_full_attention(values, layers)?;
    let max_positions = keys.length("max_position_embeddings", Some(32768))?;
    let (rope_theta, rope_scaling) = rope(values, max_positions)?;
    let max_model_len = match values.get("model_max_length") {
        None | Some(Value::Null) => max_positions,
        Some(_) => max_positions.min(keys.length("model_max_length", None)?),
    };
    let dims = Dims {
        hidden,
        layers,
        heads,
        kv_heads,
        head_dim,
        intermediate: keys.size("intermediate_size", Some(22016))?,
        vocab: keys.size("vocab_size", Some(151_936))?,
        rms_eps: keys.positive("rms_norm_eps", Some(1e-6))? as f32,
        rope_theta,
        rope_scaling,
        tied: keys.flag("tie_word_embeddings")?,
        max_positions,
    };
    let dtype = keys.text("dtype")?.or(keys.text("torch_dtype")?).map(str::to_owned);
    Ok(ModelConfig { dims, max_model_len, dtype })
}

/// Refuses everything whose arithmetic is not that of a dense Qwen3.
fn check_supported(values: &Map<String, Value>) -> Result<(), String> {
    let keys = Keys { values, path: "" };
    let architectures = match values.get("architectures") {
        None | Some(Value::Null) => Vec::new(),
        Some(Value::Array(names)) => {
            names.iter().map(|name| name.as_str().unwrap_or("?")).collect()
        }
        Some(other) => return Err(format!("architectures is {other}, a list of names is wanted")),
    };
    if !architectures.is_empty() && !architectures.contains(&ARCHITECTURE) {
        let named = architectures.join(", ");
        return Err(format!("architecture {named} is not supported; {ARCHITECTURE} is"));
    }
    match keys.text("model_type")? {
        Some(MODEL_TYPE) => {}
        Some(other) => {
            return Err(format!("model_type {other} is not supported; {MODEL_TYPE} (dense) is"));
        }
        None => return Err(format!("model_type is missing; {MODEL_TYPE} is supported")),
    }
    if let Some(config) = ["quantization_config", "compression_config"]
        .iter()
        .find_map(|key| values.get(*key).filter(|value| !value.is_null()))
    {
        let method = config.get("quant_method").and_then(Value::as_str).unwrap_or("unnamed method");
        return Err(format!(
            "the weights are quantized ({method}); bf16, f16 and f32 checkpoints can be served"
        ));
    }
    if keys.flag("attention_bias")? {
        return Err("attention_bias is true; Qwen3 without attention bias is supported".into());
    }
    match keys.text("hidden_act")? {
        None | Some("silu") => Ok(()),
        Some(other) => Err(format!("hidden_act is {other}; silu is supported")),
    }
}

/// Refuses sliding windows, unless the file only mentions a window that no layer uses.
fn check_full_attention(values: &Map<String, Value>, layers: usize) -> Result<(), String> {
    let keys = Keys { values, path: "" };
    if let Some(Value::Array(types)) = values.get("layer_types") {
        let other = types.iter().find(|kind| kind.as_str() != Some("full_attention"));
        return match other {
            Some(kind) => Err(format!("layer_types has {kind}; full_attention is supported")),
            None => Ok(()),
        };
    }
    let window = values.get("sliding_window").is_none_or(|window| !window.is_null());
    let first = values.get("max_window_layers").and_then(Value::as_u64).unwrap_or(28);
    if keys.flag("use_sliding_window")? && window && (first as usize) < layers {
        return Err("use_sliding_window is true; full attention is supported".into());
    }
    Ok(())
}

/// The base of RoPE and its scaling, from either spelling: `rope_theta` beside `rope_scaling`, or
/// everything inside `rope_parameters`. Where both are there, `rope_scaling` wins, as in
/// transformers.
fn rope(
    values: &Map<String, Value>,
    max_positions: usize,
) -> Result<(f64, Option<RopeScaling>), String> {
    let outer = Keys { values, path: "" };
    let outer_theta = outer.positive("rope_theta", Some(DEFAULT_ROPE_THETA))?;
    let chosen = ["rope_scaling", "rope_parameters"].into_iter().find_map(|key| {
        let value = values.get(key)?;
        let empty = value.is_null() || value.as_object().is_some_and(Map::is_empty);
        (!empty).then_some((key, value))
    });
    let Some((path, value)) = chosen else { return Ok((outer_theta, None)) };
    let Value::Object(inner) = value else {
        return Err(format!("{path} is {value}, an object is wanted"));
    };
    if inner.values().any(Value::is_object) {
        return Err(format!("{path} differs by layer type; one for all layers is supported"));
    }
    let keys = Keys { values: inner, path };
    let theta = keys.positive("rope_theta", Some(outer_theta))?;
    if theta <= 1.0 {
        return Err(format!("rope_theta is {theta}, a number above 1 is wanted"));
    }
    let partial = keys.positive("partial_rotary_factor", Some(1.0))?;
    if partial != 1.0 || outer.positive("partial_rotary_factor", Some(1.0))? != 1.0 {
        return Err("partial_rotary_factor is set; RoPE over the whole head is supported".into());
    }
    match keys.text("rope_type")?.or(keys.text("type")?).unwrap_or("default") {
        "default" => Ok((theta, None)),
        "yarn" => Ok((theta, Some(yarn(&keys, &outer, max_positions)?))),
        other => Err(format!("{path} has type {other}; default and yarn are supported")),
    }
}

/// YaRN's numbers with transformers' defaults.
fn yarn(keys: &Keys, outer: &Keys, max_positions: usize) -> Result<RopeScaling, String> {
    let original = "original_max_position_embeddings";
    let inner_original = keys.length(original, Some(max_positions))?;
    let original_max_positions = outer.length(original, Some(inner_original))?;
    let factor = match keys.values.get("factor") {
        // transformers: a factor of null stands for the ratio of the two lengths.
        Some(Value::Null) => max_positions as f64 / original_max_positions as f64,
        _ => keys.positive("factor", None)?,
    };
    let scale = |weight: f64| if factor <= 1.0 { 1.0 } else { 0.1 * weight * factor.ln() + 1.0 };
    let attention_factor = match (keys.number("mscale")?, keys.number("mscale_all_dim")?) {
        _ if keys.number("attention_factor")?.is_some() => {
            keys.positive("attention_factor", None)?
        }
        (Some(one), Some(all)) if one != 0.0 && all != 0.0 => scale(one) / scale(all),
        _ => scale(1.0),
    };
    let or_default = |name: &str, default: f64| -> Result<f64, String> {
        match keys.number(name)? {
            Some(0.0) | None => Ok(default),
            Some(_) => keys.positive(name, None),
        }
    };
    Ok(RopeScaling {
        factor,
        original_max_positions,
        beta_fast: or_default("beta_fast", 32.0)?,
        beta_slow: or_default("beta_slow", 1.0)?,
        attention_factor,
        truncate: match keys.values.get("truncate") {
            None => true,
            Some(_) => keys.flag("truncate")?,
        },
    })
}

/// Typed look-ups in one object of the file; `path` is its name, for errors.
struct Keys<'a> {
    values: &'a Map<String, Value>,
    path: &'a str,
}

impl<'a> Keys<'a> {
    fn wrong(&self, key: &str, wanted: &str) -> String {
        let dot = if self.path.is_empty() { "" } else { "." };
        let name = format!("{}{dot}{key}", self.path);
        match self.values.get(key) {
            None => format!("{name} is missing, {wanted} is wanted"),
            Some(value) => format!("{name} is {value}, {wanted} is wanted"),
        }
    }

    fn bounded(&self, key: &str, default: Option<usize>, most: u64) -> Result<usize, String> {
        match (self.values.get(key), default) {
            (None, Some(default)) => Ok(default),
            (value, _) => value
                .and_then(Value::as_u64)
                .filter(|size| (1..=most).contains(size))
                .map(|size| size as usize)
                .ok_or_else(|| self.wrong(key, &format!("an integer from 1 to {most}"))),
        }
    }

    fn size(&self, key: &str, default: Option<usize>) -> Result<usize, String> {
        self.bounded(key, default, LARGEST_SIZE)
    }

    fn length(&self, key: &str, default: Option<usize>) -> Result<usize, String> {
        self.bounded(key, default, LARGEST_LENGTH)
    }

    fn number(&self, key: &str) -> Result<Option<f64>, String> {
        match self.values.get(key) {
            None | Some(Value::Null) => Ok(None),
            Some(value) => value.as_f64().map(Some).ok_or_else(|| self.wrong(key, "a number")),
        }
    }

    fn positive(&self, key: &str, default: Option<f64>) -> Result<f64, String> {
        self.number(key)?
            .or(default)
            .filter(|number| *number > 0.0 && number.is_finite())
            .ok_or_else(|| self.wrong(key, "a number above 0"))
    }

    fn flag(&self, key: &str) -> Result<bool, String> {
        match self.values.get(key) {
            None | Some(Value::Null) => Ok(false),
            Some(value) => value.as_bool().ok_or_else(|| self.wrong(key, "true or false")),
        }
    }

    fn text(&self, key: &str) -> Result<Option<&'a str>, String> {
        match self.values.get(key) {
            None | Some(Value::Null) => Ok(None),
            Some(value) => value.as_str().map(Some).ok_or_else(|| self.wrong(key, "a string")),
        }
    }
}
