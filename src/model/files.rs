//! Which files make up a model, and where they are.

use std::path::{Path, PathBuf};

use super::checkpoint::shards_of_index;
use super::{ModelError, TokenizerFiles};

/// The index of a checkpoint in several files.
pub(super) const INDEX: &str = "model.safetensors.index.json";

/// The small files of a model that are read where they are there.
pub(super) const SMALL_FILES: [&str; 7] = [
    "config.json",
    "generation_config.json",
    "tokenizer.json",
    "tokenizer_config.json",
    "special_tokens_map.json",
    "chat_template.jinja",
    INDEX,
];

/// The files of a model folder. All paths exist, except shards that only the index names.
#[derive(Clone, Debug, PartialEq)]
pub struct ModelFiles {
    pub folder: PathBuf,
    pub config: PathBuf,
    pub generation_config: Option<PathBuf>,
    /// `None` where the folder has no `tokenizer.json`.
    pub tokenizer: Option<TokenizerFiles>,
    pub chat_template: Option<PathBuf>,
    /// The safetensors files, in order.
    pub weights: Vec<PathBuf>,
}

impl ModelFiles {
    /// Looks what a folder holds.
    ///
    /// # Errors
    /// A folder without `config.json`, or an index that cannot be read.
    pub fn in_folder(folder: &Path) -> Result<Self, ModelError> {
        let config = folder.join("config.json");
        if !config.is_file() {
            return Err(ModelError::file(folder, "the folder has no config.json"));
        }
        let here = |name: &str| Some(folder.join(name)).filter(|path| path.is_file());
        Ok(ModelFiles {
            folder: folder.to_owned(),
            config,
            generation_config: here("generation_config.json"),
            tokenizer: tokenizer_in(folder),
            chat_template: here("chat_template.jinja"),
            weights: match here(INDEX) {
                Some(index) => shards_of_index(&index)?,
                None => safetensors_in(folder)?,
            },
        })
    }
}

/// The tokenizer of a folder, which need not hold a model.
pub(super) fn tokenizer_in(folder: &Path) -> Option<TokenizerFiles> {
    let here = |name: &str| Some(folder.join(name)).filter(|path| path.is_file());
    Some(TokenizerFiles {
        tokenizer: here("tokenizer.json")?,
        config: here("tokenizer_config.json"),
        special_tokens_map: here("special_tokens_map.json"),
    })
}

/// Every safetensors file of a folder, by name.
fn safetensors_in(folder: &Path) -> Result<Vec<PathBuf>, ModelError> {
    let entries = std::fs::read_dir(folder).map_err(|error| ModelError::file(folder, error))?;
    let mut found: Vec<PathBuf> = entries
        .filter_map(|entry| Some(entry.ok()?.path()))
        .filter(|path| path.extension().is_some_and(|extension| extension == "safetensors"))
        .collect();
    found.sort_unstable();
    Ok(found)
}
