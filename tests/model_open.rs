//! Opening a model folder as a whole: what is in it, and what is said when something is wrong.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use glassbox::model::{
    GenerationDefaults, GenerationSource, HubOptions, LoadFormat, Model, OpenOptions, RenderInput,
    parameters, tensors,
};
use half::bf16;
use serde_json::{Map, Value, json};
use tempfile::TempDir;

fn shipped() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("models/qwen3-tiny")
}

fn options(folder: &Path) -> OpenOptions {
    let hub = HubOptions { progress: false, ..HubOptions::from_vars(|_| None) };
    OpenOptions::new(folder.to_str().unwrap(), hub)
}

/// A copy of the shipped model, to be damaged.
fn copy() -> TempDir {
    let folder = tempfile::tempdir().unwrap();
    for entry in fs::read_dir(shipped()).unwrap() {
        let entry = entry.unwrap();
        fs::copy(entry.path(), folder.path().join(entry.file_name())).unwrap();
    }
    folder
}

fn edit(folder: &TempDir, name: &str, change: impl FnOnce(&mut Map<String, Value>)) {
    let path = folder.path().join(name);
    let mut values: Value = serde_json::from_slice(&fs::read(&path).unwrap()).unwrap();
    change(values.as_object_mut().unwrap());
    fs::write(path, values.to_string()).unwrap();
}

/// The one line that opening fails with, without the folder in front.
fn error(options: &OpenOptions) -> String {
    let error = Model::open(options).err().expect("opening fails").to_string();
    assert!(!error.contains('\n'), "{error:?}");
    let place = format!("{}/", options.model);
    error.strip_prefix(&place).unwrap_or(&error).to_owned()
}

#[test]
fn the_shipped_model_opens_fast_and_whole() {
    let began = Instant::now();
    let model = Model::open(&options(&shipped())).unwrap();
    assert!(began.elapsed() < Duration::from_secs(1), "{:?}", model.phases);
    assert_eq!(model.phases.len(), 4);
    let dims = &model.config.dims;
    assert_eq!(dims.layers, 4);
    let size = fs::metadata(shipped().join("model.safetensors")).unwrap().len() as usize;
    assert!(size - parameters(dims) * 2 < 1 << 16);
    for (name, shape) in tensors(dims) {
        let mut rows = vec![bf16::ZERO; shape.iter().product()];
        model.weights.read_rows(&name, 0, &mut rows).unwrap();
        assert!(rows.iter().all(|weight| weight.is_finite()), "{name}");
        assert!(rows.iter().any(|weight| *weight != bf16::ZERO), "{name}");
    }
    let tokenizer = model.tokenizer.unwrap();
    assert_eq!(tokenizer.eos, Some(2024));
    assert_eq!(tokenizer.eos_text.as_deref(), Some("<|im_end|>"));
    assert_eq!((tokenizer.bos, tokenizer.pad), (None, Some(2022)));
    assert_eq!((tokenizer.vocab_size, tokenizer.max_token_id), (2048, 2047));
    assert!(tokenizer.max_chars_per_token >= "<|object_ref_start|>".len());
    assert_eq!(tokenizer.special["eos_token"], "<|im_end|>");
    let text = model
        .chat_template
        .unwrap()
        .render(
            &RenderInput {
                messages: &json!([{"role": "user", "content": "Hi"}]),
                tools: None,
                add_generation_prompt: true,
                continue_final_message: false,
                kwargs: &Map::new(),
            },
            &tokenizer.special,
        )
        .unwrap();
    let ids = tokenizer.hf().encode(text.as_str(), false).unwrap();
    assert_eq!(ids.get_ids()[0], 2023);
    assert_eq!(tokenizer.hf().decode(ids.get_ids(), false).unwrap(), text);
}

#[test]
fn dummy_weights_come_from_the_configuration_alone() {
    let folder = copy();
    fs::remove_file(folder.path().join("model.safetensors")).unwrap();
    let mut options = options(folder.path());
    let wanted = "the folder has no safetensors weights (--load-format dummy needs none)";
    assert!(error(&options).ends_with(wanted));
    options.load_format = LoadFormat::Dummy;
    let read = |seed| {
        let model = Model::open(&OpenOptions { seed, ..options.clone() }).unwrap();
        assert!(model.tokenizer.is_some());
        let mut row = [bf16::ZERO; 256];
        model.weights.read_rows("model.embed_tokens.weight", 5, &mut row).unwrap();
        row
    };
    assert_eq!(read(1), read(1));
    assert_ne!(read(1), read(2));

    fs::remove_file(folder.path().join("tokenizer.json")).unwrap();
    assert!(error(&options).contains("the folder has no tokenizer.json"));
    options.skip_tokenizer = true;
    assert!(Model::open(&options).unwrap().tokenizer.is_none());
    options.skip_tokenizer = false;
    options.tokenizer = Some(shipped().to_str().unwrap().to_owned());
    let model = Model::open(&options).unwrap();
    assert!(model.tokenizer.is_some() && model.chat_template.is_some());
}

#[test]
fn damaged_weights_are_named() {
    let folder = copy();
    let path = folder.path().join("model.safetensors");
    let data = fs::read(&path).unwrap();
    fs::write(&path, &data[..data.len() / 2]).unwrap();
    let found = error(&options(folder.path()));
    assert!(found.starts_with("model.safetensors: truncated: "), "{found}");
    fs::write(&path, b"version https://git-lfs.github.com/spec/v1\n").unwrap();
    let found = error(&options(folder.path()));
    assert!(found.starts_with("model.safetensors: not a safetensors file"), "{found}");

    let folder = copy();
    edit(&folder, "config.json", |config| drop(config.insert("hidden_size".into(), json!(512))));
    let wanted = "model.safetensors: tensor model.embed_tokens.weight has shape [2048, 256], the \
                  configuration wants [2048, 512]";
    assert_eq!(error(&options(folder.path())), wanted);
    let folder = copy();
    edit(&folder, "config.json", |config| {
        config.insert("num_hidden_layers".into(), json!(5));
    });
    let wanted = "model.safetensors: tensor model.layers.4.input_layernorm.weight is missing";
    assert_eq!(error(&options(folder.path())), wanted);

    let index = json!({"weight_map": {"a": "model.safetensors", "b": "gone.safetensors"}});
    let folder = copy();
    fs::write(folder.path().join("model.safetensors.index.json"), index.to_string()).unwrap();
    let wanted = "gone.safetensors: No such file or directory (os error 2)";
    assert_eq!(error(&options(folder.path())), wanted);
}

#[test]
fn damaged_small_files_are_named() {
    for name in ["config.json", "generation_config.json", "tokenizer_config.json"] {
        let folder = copy();
        fs::write(folder.path().join(name), "{\"a\": ").unwrap();
        let found = error(&options(folder.path()));
        assert!(found.starts_with(&format!("{name}: not a JSON object: EOF")), "{found}");
    }
    let folder = copy();
    fs::write(folder.path().join("tokenizer.json"), "{}").unwrap();
    let found = error(&options(folder.path()));
    assert!(found.starts_with("tokenizer.json: not a tokenizer: "), "{found}");
    fs::remove_file(folder.path().join("config.json")).unwrap();
    assert!(error(&options(folder.path())).ends_with("the folder has no config.json"));

    let folder = copy();
    edit(&folder, "tokenizer_config.json", |config| {
        config.insert("eos_token".into(), json!({"content": "<|nope|>"}));
    });
    let wanted = "tokenizer_config.json: eos_token \"<|nope|>\" is not in the vocabulary";
    assert_eq!(error(&options(folder.path())), wanted);
    let mut small = options(&shipped());
    small.load_format = LoadFormat::Dummy;
    small.hf_overrides.insert("vocab_size".into(), json!(2000));
    let wanted = "tokenizer.json: has token 2047, the model's vocab_size is 2000: another model's \
                  file?";
    assert_eq!(error(&small), wanted);
}

#[test]
fn tokens_that_only_the_configuration_names_are_added() {
    let folder = copy();
    edit(&folder, "tokenizer_config.json", |config| {
        let added = config["added_tokens_decoder"].as_object_mut().unwrap();
        added.insert("2048".into(), json!({"content": "<|new|>", "special": true}));
    });
    let mut options = options(folder.path());
    options.load_format = LoadFormat::Dummy;
    options.hf_overrides.insert("vocab_size".into(), json!(2049));
    let tokenizer = Model::open(&options).unwrap().tokenizer.unwrap();
    let ids = tokenizer.hf().encode("a<|new|>", false).unwrap();
    assert_eq!(ids.get_ids().last(), Some(&2048));
    edit(&folder, "tokenizer_config.json", |config| {
        let added = config["added_tokens_decoder"].as_object_mut().unwrap();
        added.insert("3000".into(), json!({"content": "<|far|>"}));
    });
    let found = error(&options);
    assert!(found.contains("added token \"<|far|>\" should be 3000 but becomes"), "{found}");
}

#[test]
fn generation_defaults_follow_the_flags() {
    let folder = tempfile::tempdir().unwrap();
    let write = |name: &str, value: Value| {
        let path = folder.path().join(name);
        fs::write(&path, value.to_string()).unwrap();
        path
    };
    let config = write("config.json", json!({"eos_token_id": 7}));
    let file = write(
        "generation_config.json",
        json!({"temperature": 0.6, "top_k": 20, "top_p": 0.95, "eos_token_id": [3, 4],
            "max_new_tokens": 77, "do_sample": false, "min_p": null}),
    );
    let load = |source: &str, file: Option<&Path>, overrides: Value| {
        let overrides = overrides.as_object().unwrap();
        GenerationDefaults::load(&GenerationSource::from(source), &config, file, overrides)
            .map_err(|error| error.to_string())
    };
    let file = Some(file.as_path());
    let plain = GenerationDefaults {
        temperature: Some(0.6),
        top_k: Some(20),
        top_p: Some(0.95),
        max_new_tokens: Some(77),
        eos_token_ids: vec![3, 4],
        ..GenerationDefaults::default()
    };
    let only_eos = |eos: &[u32]| GenerationDefaults {
        eos_token_ids: eos.to_vec(),
        ..GenerationDefaults::default()
    };
    assert_eq!(load("auto", file, json!({})).unwrap(), plain);
    assert_eq!(load("auto", None, json!({})).unwrap(), only_eos(&[7]));
    assert_eq!(load("vllm", file, json!({})).unwrap(), only_eos(&[3, 4]));
    let changed = load("auto", file, json!({"temperature": null, "top_k": 3, "foo": 1})).unwrap();
    let wanted = GenerationDefaults { temperature: None, top_k: Some(3), ..plain.clone() };
    assert_eq!(changed, wanted);
    // From the command line and from a folder, max_new_tokens is a bound, not only a default.
    let capped = load("vllm", file, json!({"max_new_tokens": 5})).unwrap();
    assert_eq!((capped.max_new_tokens, capped.max_new_tokens_cap), (Some(5), Some(5)));
    let folder_name = folder.path().to_str().unwrap();
    let folder_defaults = load(folder_name, None, json!({})).unwrap();
    let wanted = GenerationDefaults { max_new_tokens_cap: Some(77), ..plain };
    assert_eq!(folder_defaults, wanted);
    let empty = tempfile::tempdir().unwrap();
    let error = load(empty.path().to_str().unwrap(), file, json!({})).unwrap_err();
    assert!(error.contains("generation_config.json: No such file"), "{error}");
    for (overrides, reason) in [
        (json!({"temperature": "hot"}), "temperature is \"hot\", a number is wanted"),
        (json!({"top_k": 20.5}), "top_k is 20.5, an integer is wanted"),
        (json!({"max_new_tokens": -3}), "max_new_tokens is -3, a positive integer is wanted"),
    ] {
        let wanted = format!("--override-generation-config: {reason}");
        assert_eq!(load("auto", file, overrides).unwrap_err(), wanted);
    }
}
