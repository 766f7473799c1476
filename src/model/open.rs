//! Opens a model: everything but packing its weights.

use std::sync::Arc;
use std::time::{Duration, Instant};

use serde_json::{Map, Value};

use super::files::tokenizer_in;
use super::hub::{Wanted, resolve};
use super::*;

/// Where weights come from (`--load-format`).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum LoadFormat {
    /// Safetensors files.
    #[default]
    Safetensors,
    /// Seeded random weights, from `config.json` alone.
    Dummy,
}

/// What to open and how.
#[derive(Clone, Debug)]
pub struct OpenOptions {
    /// A folder or a hub id.
    pub model: String,
    pub revision: Option<String>,
    /// A folder or hub id for the tokenizer, where it is not the model's own.
    pub tokenizer: Option<String>,
    /// [`OpenOptions::revision`] where it is not given, as in vLLM.
    pub tokenizer_revision: Option<String>,
    /// Open no tokenizer and no chat template.
    pub skip_tokenizer: bool,
    /// The value of `--chat-template`.
    pub chat_template: Option<String>,
    pub load_format: LoadFormat,
    /// Of dummy weights.
    pub seed: u64,
    pub generation_config: GenerationSource,
    pub override_generation_config: Map<String, Value>,
    /// A folder or hub id whose `config.json` is read in place of the model's own.
    pub config_path: Option<String>,
    /// Keys that replace those of `config.json`.
    pub hf_overrides: Map<String, Value>,
    pub hub: HubOptions,
}

impl OpenOptions {
    /// vLLM's defaults.
    pub fn new(model: &str, hub: HubOptions) -> Self {
        OpenOptions {
            model: model.to_owned(),
            revision: None,
            tokenizer: None,
            tokenizer_revision: None,
            skip_tokenizer: false,
            chat_template: None,
            load_format: LoadFormat::default(),
            seed: 0,
            generation_config: GenerationSource::default(),
            override_generation_config: Map::new(),
            config_path: None,
            hf_overrides: Map::new(),
            hub,
        }
    }
}

/// A step of opening a model and how long it took, for the lines of start-up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Phase {
    pub name: &'static str,
    pub since: Instant,
    pub took: Duration,
}

/// An open model.
pub struct Model {
    pub files: ModelFiles,
    pub config: ModelConfig,
    pub generation: GenerationDefaults,
    /// Every tensor is there, in its shape; nothing of it is read yet.
    pub weights: Arc<dyn Weights + Send + Sync>,
    /// `None` only with [`OpenOptions::skip_tokenizer`].
    pub tokenizer: Option<Arc<Tokenizer>>,
    /// `None` where the model has none and none was given.
    pub chat_template: Option<Arc<ChatTemplate>>,
    pub phases: Vec<Phase>,
}

impl Model {
    /// Opens a model; see [`OpenOptions`].
    ///
    /// # Errors
    /// The first thing that is wrong, on one line.
    pub fn open(options: &OpenOptions) -> Result<Self, ModelError> {
        let mut phases = Vec::new();
        let mut phase =
            |name, since: Instant| phases.push(Phase { name, since, took: since.elapsed() });
        let since = Instant::now();
        let wanted = match options.load_format {
            LoadFormat::Safetensors => Wanted::Model,
            LoadFormat::Dummy => Wanted::WithoutWeights,
        };
        let revision = options.revision.as_deref();
        let files =
            ModelFiles::in_folder(&resolve(&options.model, revision, wanted, &options.hub)?)?;
        phase("find files", since);

        let since = Instant::now();
        let config = match &options.config_path {
            Some(path) => {
                let folder = resolve(path, revision, Wanted::WithoutWeights, &options.hub)?;
                ModelConfig::load(&folder.join("config.json"), &options.hf_overrides)?
            }
            None => ModelConfig::load(&files.config, &options.hf_overrides)?,
        };
        let generation = GenerationDefaults::load(
            &options.generation_config,
            &files.config,
            files.generation_config.as_deref(),
            &options.override_generation_config,
        )?;
        phase("read configuration", since);

        let since = Instant::now();
        let weights = open_weights(options, &files, &config.dims)?;
        phase("check weights", since);

        let since = Instant::now();
        let (tokenizer, chat_template) = open_text(options, &files, &config)?;
        phase("load tokenizer", since);
        Ok(Model { files, config, generation, weights, tokenizer, chat_template, phases })
    }
}

fn open_weights(
    options: &OpenOptions,
    files: &ModelFiles,
    dims: &Dims,
) -> Result<Arc<dyn Weights + Send + Sync>, ModelError> {
    if options.load_format == LoadFormat::Dummy {
        return Ok(Arc::new(DummyWeights::new(dims, options.seed)));
    }
    if files.weights.is_empty() {
        let reason = "the folder has no safetensors weights (--load-format dummy needs none)";
        return Err(ModelError::file(&files.folder, reason));
    }
    let checkpoint = Checkpoint::open(&files.weights)?;
    check_tensors(dims, &checkpoint)?;
    Ok(Arc::new(checkpoint))
}

impl Tokenizer {
    /// The tokenizer of a folder or a hub id, with its chat template, for a program that needs no
    /// model.
    ///
    /// # Errors
    /// The first thing that is wrong, on one line.
    pub fn open(
        name: &str,
        hub: &HubOptions,
    ) -> Result<(Tokenizer, Option<ChatTemplate>), ModelError> {
        let folder = resolve(name, None, Wanted::WithoutWeights, hub)?;
        let found = tokenizer_in(&folder)
            .ok_or_else(|| ModelError::file(&folder, "the folder has no tokenizer.json"))?;
        let jinja = Some(folder.join("chat_template.jinja")).filter(|path| path.is_file());
        let template = ChatTemplate::load(jinja.as_deref(), found.config.as_deref())?;
        Ok((Tokenizer::load(&found)?, template))
    }
}

type Text = (Option<Arc<Tokenizer>>, Option<Arc<ChatTemplate>>);

fn open_text(
    options: &OpenOptions,
    files: &ModelFiles,
    config: &ModelConfig,
) -> Result<Text, ModelError> {
    let template = options.chat_template.as_deref().map(ChatTemplate::from_flag).transpose()?;
    if options.skip_tokenizer {
        return Ok((None, template.map(Arc::new)));
    }
    let folder = if options.tokenizer.is_none() && options.tokenizer_revision.is_none() {
        files.folder.clone()
    } else {
        let name = options.tokenizer.as_ref().unwrap_or(&options.model);
        let revision = options.tokenizer_revision.as_ref().or(options.revision.as_ref());
        let revision = revision.map(String::as_str);
        resolve(name, revision, Wanted::WithoutWeights, &options.hub)?
    };
    let Some(found) = tokenizer_in(&folder) else {
        let reason = "the folder has no tokenizer.json (--skip-tokenizer-init needs none)";
        return Err(ModelError::file(folder, reason));
    };
    let tokenizer = Tokenizer::load(&found)?;
    tokenizer.check_fits(config.dims.vocab, &found.tokenizer)?;
    let jinja = Some(folder.join("chat_template.jinja")).filter(|path| path.is_file());
    let template = match template {
        Some(template) => Some(template),
        None => ChatTemplate::load(jinja.as_deref(), found.config.as_deref())?,
    };
    Ok((Some(Arc::new(tokenizer)), template.map(Arc::new)))
}
