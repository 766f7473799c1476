//! The tokenizer of a model folder: `tokenizer.json` with the special tokens of
//! `tokenizer_config.json`.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use serde_json::{Map, Value};
use tokenizers::AddedToken;

use super::ModelError;
use super::error::read_object;
use crate::types::Token;

/// The roles a special token can have in `tokenizer_config.json`; chat templates see them as
/// variables.
const ROLES: [&str; 7] =
    ["bos_token", "eos_token", "unk_token", "sep_token", "pad_token", "cls_token", "mask_token"];

/// A vocabulary and what its special tokens mean.
#[derive(Clone, Debug)]
pub struct Tokenizer {
    inner: Arc<tokenizers::Tokenizer>,
    /// The token that ends a reply.
    pub eos: Option<Token>,
    pub eos_text: Option<String>,
    pub bos: Option<Token>,
    pub pad: Option<Token>,
    /// Special tokens by role (`eos_token` → `<|im_end|>`), as chat templates see them.
    pub special: Map<String, Value>,
    /// All of `tokenizer_config.json`.
    pub config: Map<String, Value>,
    /// Entries of the vocabulary, added tokens included.
    pub vocab_size: usize,
    /// The largest id in the vocabulary.
    pub max_token_id: Token,
    /// The longest entry of the vocabulary, in characters of its byte-level spelling. vLLM bounds
    /// the length of a prompt's text by it before it tokenises.
    pub max_chars_per_token: usize,
}

/// The files that a tokenizer is read from.
#[derive(Clone, Debug, PartialEq)]
pub struct TokenizerFiles {
    /// `tokenizer.json`.
    pub tokenizer: PathBuf,
    /// `tokenizer_config.json`.
    pub config: Option<PathBuf>,
    /// `special_tokens_map.json`, which older tokenizers have beside or instead.
    pub special_tokens_map: Option<PathBuf>,
}

impl Tokenizer {
    /// Reads a tokenizer.
    ///
    /// # Errors
    /// A file that cannot be read or parsed, or a special token that the vocabulary lacks.
    pub fn load(files: &TokenizerFiles) -> Result<Self, ModelError> {
        let mut inner = tokenizers::Tokenizer::from_file(&files.tokenizer).map_err(|error| {
            ModelError::file(&files.tokenizer, format!("not a tokenizer: {error}"))
        })?;
        // Both are settings of whoever saved the file, not of the model: vLLM neither truncates
        // nor pads by them.
        inner
            .with_truncation(None)
            .map_err(|error| ModelError::file(&files.tokenizer, error))?
            .with_padding(None);
        let config = files.config.as_deref().map(read_object).transpose()?.unwrap_or_default();
        if let Some(path) = &files.config {
            add_missing_tokens(&mut inner, &config, path)?;
        }
        let older = files.special_tokens_map.as_deref().map(read_object).transpose()?;
        let special = special_tokens(&config, &older.unwrap_or_default());
        let id = |role: &str| {
            let Some(text) = special.get(role).and_then(Value::as_str) else { return Ok(None) };
            let place = files.config.as_ref().unwrap_or(&files.tokenizer);
            inner.token_to_id(text).map(Some).ok_or_else(|| {
                ModelError::file(place, format!("{role} {text:?} is not in the vocabulary"))
            })
        };
        let (eos, bos, pad) = (id("eos_token")?, id("bos_token")?, id("pad_token")?);
        let vocab = inner.get_vocab(true);
        let max_token_id = vocab
            .values()
            .copied()
            .max()
            .ok_or_else(|| ModelError::file(&files.tokenizer, "the vocabulary is empty"))?;
        let max_chars_per_token = vocab.keys().map(|text| text.chars().count()).max().unwrap_or(0);
        Ok(Tokenizer {
            config,
            eos,
            eos_text: special.get("eos_token").and_then(Value::as_str).map(str::to_owned),
            bos,
            pad,
            vocab_size: vocab.len(),
            max_token_id,
            max_chars_per_token,
            special,
            inner: Arc::new(inner),
        })
    }

    /// The tokenizer itself.
    pub fn hf(&self) -> &Arc<tokenizers::Tokenizer> {
        &self.inner
    }

    /// Checks that every token of this vocabulary has a row in a model of `vocab` rows; more rows
    /// than tokens are padding and fine.
    pub fn check_fits(&self, vocab: usize, place: &Path) -> Result<(), ModelError> {
        if (self.max_token_id as usize) < vocab {
            return Ok(());
        }
        let largest = self.max_token_id;
        Err(ModelError::file(
            place,
            format!(
                "has token {largest}, the model's vocab_size is {vocab}: another model's file?"
            ),
        ))
    }
}

/// Special tokens by role. A token is a string or an object with its `content`; null is none.
fn special_tokens(config: &Map<String, Value>, older: &Map<String, Value>) -> Map<String, Value> {
    let text = |role: &str| {
        let value = config.get(role).or_else(|| older.get(role))?;
        let text = value.as_str().or_else(|| value.get("content").and_then(Value::as_str))?;
        Some((role.to_owned(), Value::String(text.to_owned())))
    };
    ROLES.into_iter().filter_map(text).collect()
}

/// Adds the tokens that `added_tokens_decoder` names and `tokenizer.json` lacks, in order of id,
/// which must come out as the file says.
fn add_missing_tokens(
    inner: &mut tokenizers::Tokenizer,
    config: &Map<String, Value>,
    path: &Path,
) -> Result<(), ModelError> {
    let Some(Value::Object(added)) = config.get("added_tokens_decoder") else { return Ok(()) };
    let mut missing = Vec::new();
    for (id, entry) in added {
        let (Ok(id), Some(text)) =
            (id.parse::<Token>(), entry.get("content").and_then(Value::as_str))
        else {
            let reason = format!("added_tokens_decoder has no token under {id:?}");
            return Err(ModelError::file(path, reason));
        };
        if inner.token_to_id(text).is_none() {
            missing.push((id, text, entry));
        }
    }
    missing.sort_by_key(|(id, ..)| *id);
    for (id, text, entry) in missing {
        let flag =
            |name: &str, default| entry.get(name).and_then(Value::as_bool).unwrap_or(default);
        let special = flag("special", false);
        let token = AddedToken::from(text, special)
            .lstrip(flag("lstrip", false))
            .rstrip(flag("rstrip", false))
            .single_word(flag("single_word", false))
            .normalized(flag("normalized", !special));
        inner.add_tokens([token]).map_err(|error| ModelError::file(path, error))?;
        if inner.token_to_id(text) != Some(id) {
            let got = inner.token_to_id(text);
            let reason = format!("added token {text:?} should be {id} but becomes {got:?}");
            return Err(ModelError::file(path, reason));
        }
    }
    Ok(())
}
