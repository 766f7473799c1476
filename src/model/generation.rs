//! Defaults for sampling, from `generation_config.json` and the command line.

use std::path::{Path, PathBuf};

use serde_json::{Map, Value};

use super::ModelError;
use super::error::read_object;
use crate::types::Token;

/// What a request gets for the sampling fields that it leaves out; `None` is vLLM's neutral value.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct GenerationDefaults {
    pub temperature: Option<f32>,
    pub top_p: Option<f32>,
    /// 0 and -1 switch it off.
    pub top_k: Option<i64>,
    pub min_p: Option<f32>,
    pub repetition_penalty: Option<f32>,
    pub presence_penalty: Option<f32>,
    pub frequency_penalty: Option<f32>,
    /// The default of `max_tokens`.
    pub max_new_tokens: Option<u32>,
    /// A bound on every request's `max_tokens`, whatever it asks for: `max_new_tokens` given by
    /// `--override-generation-config` or by the file of a `--generation-config` folder.
    pub max_new_tokens_cap: Option<u32>,
    /// Tokens that end a reply besides the tokenizer's own, in the file's order. Read from the
    /// model's file even under `--generation-config vllm`, as vLLM does.
    pub eos_token_ids: Vec<Token>,
}

/// Where default sampling parameters come from (`--generation-config`).
#[derive(Clone, Debug, Default, PartialEq)]
pub enum GenerationSource {
    /// The model's own `generation_config.json`, if it has one.
    #[default]
    Auto,
    /// vLLM's neutral defaults.
    Vllm,
    /// The `generation_config.json` of this folder.
    Folder(PathBuf),
}

impl From<&str> for GenerationSource {
    fn from(flag: &str) -> Self {
        match flag {
            "auto" => GenerationSource::Auto,
            "vllm" => GenerationSource::Vllm,
            folder => GenerationSource::Folder(folder.into()),
        }
    }
}

/// The keys that set defaults for sampling.
const KEYS: [&str; 8] = [
    "repetition_penalty",
    "presence_penalty",
    "frequency_penalty",
    "temperature",
    "top_k",
    "top_p",
    "min_p",
    "max_new_tokens",
];

impl GenerationDefaults {
    /// Reads the defaults. `config` is the model's `config.json`, whose `eos_token_id` counts
    /// where `file`, the `generation_config.json` beside it, does not exist. `overrides` is
    /// `--override-generation-config` and wins key by key.
    ///
    /// # Errors
    /// A file that cannot be read, is no JSON object or holds a value of the wrong type.
    pub fn load(
        source: &GenerationSource,
        config: &Path,
        file: Option<&Path>,
        overrides: &Map<String, Value>,
    ) -> Result<Self, ModelError> {
        let (place, sampling) = match source {
            GenerationSource::Auto => (file.unwrap_or(config).to_owned(), file.is_some()),
            GenerationSource::Vllm => (file.unwrap_or(config).to_owned(), false),
            GenerationSource::Folder(folder) => {
                let file = folder.join("generation_config.json");
                let config = folder.join("config.json");
                if !file.exists() && config.exists() { (config, false) } else { (file, true) }
            }
        };
        let values = read_object(&place)?;
        let mut defaults =
            GenerationDefaults { eos_token_ids: eos_tokens(&values, &place)?, ..Self::default() };
        if sampling {
            defaults.take(&values, &place)?;
        }
        if matches!(source, GenerationSource::Folder(_)) {
            defaults.max_new_tokens_cap = defaults.max_new_tokens;
        }
        defaults.take(overrides, Path::new("--override-generation-config"))?;
        if overrides.contains_key("max_new_tokens") {
            defaults.max_new_tokens_cap = defaults.max_new_tokens;
        }
        Ok(defaults)
    }

    /// Takes over the keys that `values` has; null puts the neutral value back.
    fn take(&mut self, values: &Map<String, Value>, place: &Path) -> Result<(), ModelError> {
        for key in KEYS {
            let Some(value) = values.get(key) else { continue };
            let wrong = |wanted: &str| {
                ModelError::file(place, format!("{key} is {value}, {wanted} is wanted"))
            };
            if value.is_null() {
                self.set(key, None);
            } else if matches!(key, "top_k" | "max_new_tokens") {
                let number = value.as_i64().ok_or_else(|| wrong("an integer"))?;
                if key == "max_new_tokens" && !(1..=i64::from(u32::MAX)).contains(&number) {
                    return Err(wrong("a positive integer"));
                }
                self.set(key, Some(number as f64));
            } else {
                self.set(key, Some(value.as_f64().ok_or_else(|| wrong("a number"))?));
            }
        }
        Ok(())
    }

    fn set(&mut self, key: &str, value: Option<f64>) {
        let float = value.map(|number| number as f32);
        match key {
            "repetition_penalty" => self.repetition_penalty = float,
            "presence_penalty" => self.presence_penalty = float,
            "frequency_penalty" => self.frequency_penalty = float,
            "temperature" => self.temperature = float,
            "top_k" => self.top_k = value.map(|number| number as i64),
            "top_p" => self.top_p = float,
            "min_p" => self.min_p = float,
            _ => self.max_new_tokens = value.map(|number| number as u32),
        }
    }
}

/// `eos_token_id`: absent, one id or a list.
pub(crate) fn eos_tokens(
    values: &Map<String, Value>,
    place: &Path,
) -> Result<Vec<Token>, ModelError> {
    let ids = match values.get("eos_token_id") {
        None | Some(Value::Null) => return Ok(Vec::new()),
        Some(Value::Array(ids)) => ids.as_slice(),
        Some(id) => std::slice::from_ref(id),
    };
    ids.iter()
        .map(|id| {
            id.as_u64().and_then(|id| Token::try_from(id).ok()).ok_or_else(|| {
                ModelError::file(place, format!("eos_token_id has {id}, a token id is wanted"))
            })
        })
        .collect()
}
