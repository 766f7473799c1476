use std::path::Path;

use proptest::prelude::*;
use serde_json::{Map, Value, json};

use super::parse::parse;
use super::*;

/// A model small enough to write down.
pub(in crate::model) fn small() -> Dims {
    Dims {
        hidden: 24,
        layers: 2,
        heads: 4,
        kv_heads: 2,
        head_dim: 8,
        intermediate: 40,
        vocab: 64,
        rms_eps: 1e-6,
        rope_theta: 1e6,
        rope_scaling: None,
        tied: true,
        max_positions: 128,
    }
}

fn object(value: Value) -> Map<String, Value> {
    value.as_object().unwrap().clone()
}

/// The shipped model's file with some keys replaced; null takes a key out.
fn with(changes: Value) -> Result<ModelConfig, String> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("models/qwen3-tiny/config.json");
    let mut values = object(serde_json::from_slice(&std::fs::read(path).unwrap()).unwrap());
    for (key, value) in object(changes) {
        match value {
            Value::Null => drop(values.shift_remove(&key)),
            value => drop(values.insert(key, value)),
        }
    }
    parse(&values)
}

#[test]
fn the_shipped_model() {
    let config = with(json!({})).unwrap();
    let expected = Dims {
        hidden: 256,
        layers: 4,
        heads: 4,
        kv_heads: 2,
        head_dim: 128,
        intermediate: 768,
        vocab: 2048,
        max_positions: 4096,
        ..small()
    };
    assert_eq!(config.dims, expected);
    assert_eq!(config.max_model_len, 4096);
    assert_eq!(config.dtype.as_deref(), Some("bfloat16"));
}

#[test]
fn defaults_are_those_of_transformers() {
    let values = object(json!({"model_type": "qwen3"}));
    let config = parse(&values).unwrap();
    let expected = Dims {
        hidden: 4096,
        layers: 32,
        heads: 32,
        kv_heads: 32,
        head_dim: 128,
        intermediate: 22016,
        vocab: 151_936,
        rms_eps: 1e-6,
        rope_theta: 10_000.0,
        rope_scaling: None,
        tied: false,
        max_positions: 32768,
    };
    assert_eq!(config.dims, expected);
    assert_eq!(config.dtype, None);
    let heads = parse(&object(json!({"model_type": "qwen3", "num_key_value_heads": null})));
    assert_eq!(heads.unwrap().dims.kv_heads, 32);
    assert_eq!(with(json!({"head_dim": null})).unwrap().dims.head_dim, 128);
    assert_eq!(with(json!({"model_max_length": 100})).unwrap().max_model_len, 100);
    let dtype = with(json!({"torch_dtype": null, "dtype": "float32"})).unwrap().dtype;
    assert_eq!(dtype.as_deref(), Some("float32"));
    assert!(!with(json!({"tie_word_embeddings": false})).unwrap().dims.tied);
}

#[test]
fn both_spellings_of_rope_mean_the_same() {
    let scaling = json!({"rope_type": "yarn", "factor": 4.0,
        "original_max_position_embeddings": 1024});
    let mut parameters = scaling.clone();
    parameters["rope_theta"] = json!(1_000_000);
    let older = with(json!({"rope_scaling": scaling})).unwrap();
    let newer = with(json!({"rope_scaling": null, "rope_theta": null,
        "rope_parameters": parameters}));
    assert_eq!(older, newer.unwrap());
    let yarn = older.dims.rope_scaling.unwrap();
    assert_eq!((yarn.factor, yarn.original_max_positions), (4.0, 1024));
    // As in vLLM 0.32, YaRN does not stretch the length.
    assert_eq!(older.max_model_len, 4096);
    let plain = with(json!({"rope_theta": null, "rope_scaling": null,
        "rope_parameters": {"rope_theta": 5e5, "rope_type": "default"}}));
    assert_eq!(plain.unwrap().dims.rope_theta, 5e5);
    // `type` is the oldest name of `rope_type`; the original length has a default.
    let oldest = with(json!({"rope_scaling": {"type": "yarn", "factor": 2}})).unwrap();
    assert_eq!(oldest.dims.rope_scaling.unwrap().original_max_positions, 4096);
    // Where both are there, transformers takes `rope_scaling`.
    let both = with(json!({"rope_scaling": {"rope_type": "yarn", "factor": 2.0},
        "rope_parameters": {"rope_type": "default", "rope_theta": 5e5}}));
    let both = both.unwrap().dims;
    assert_eq!((both.rope_theta, both.rope_scaling.unwrap().factor), (1e6, 2.0));
}

#[test]
fn frequencies_equal_those_of_transformers() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/model/rope.json");
    let cases: Vec<Value> = serde_json::from_slice(&std::fs::read(path).unwrap()).unwrap();
    assert!(cases.len() >= 7);
    for case in cases {
        let mut values = object(case["config"].clone());
        values.insert("model_type".into(), "qwen3".into());
        let dims = parse(&values).unwrap().dims;
        let found = dims.inverse_frequencies();
        let wanted = case["inv_freq"].as_array().unwrap();
        assert_eq!(found.len(), wanted.len(), "{values:?}");
        for (index, (found, wanted)) in found.iter().zip(wanted).enumerate() {
            // transformers computes in f32, through `powf` of a rounded exponent.
            let wanted = wanted.as_f64().unwrap();
            let error = (found / wanted - 1.0).abs();
            assert!(error < 1e-6, "{values:?}: dimension {index}: {found} is not {wanted}");
        }
        let factor = case["factor"].as_f64().unwrap();
        assert!((f64::from(dims.rope_factor()) - factor).abs() < 1e-6, "{values:?}");
    }
}

#[test]
fn other_models_are_refused_by_name() {
    refused(&[
        (
            json!({"architectures": ["LlamaForCausalLM"]}),
            "architecture LlamaForCausalLM is not supported; Qwen3ForCausalLM is",
        ),
        (
            json!({"architectures": ["Qwen3MoeForCausalLM"]}),
            "architecture Qwen3MoeForCausalLM is not supported; Qwen3ForCausalLM is",
        ),
        (json!({"architectures": 3}), "architectures is 3, a list of names is wanted"),
        (
            json!({"model_type": "qwen3_moe"}),
            "model_type qwen3_moe is not supported; qwen3 (dense) is",
        ),
        (json!({"model_type": null}), "model_type is missing; qwen3 is supported"),
        (
            json!({"attention_bias": true}),
            "attention_bias is true; Qwen3 without attention bias is supported",
        ),
        (
            json!({"quantization_config": {"quant_method": "fp8"}}),
            "the weights are quantized (fp8); bf16, f16 and f32 checkpoints can be served",
        ),
        (
            json!({"use_sliding_window": true, "sliding_window": 128, "max_window_layers": 2}),
            "use_sliding_window is true; full attention is supported",
        ),
        (
            json!({"layer_types": ["full_attention", "sliding_attention"]}),
            "layer_types has \"sliding_attention\"; full_attention is supported",
        ),
        (json!({"hidden_act": "gelu"}), "hidden_act is gelu; silu is supported"),
        (
            json!({"rope_scaling": {"rope_type": "linear", "factor": 2}}),
            "rope_scaling has type linear; default and yarn are supported",
        ),
        (
            json!({"rope_scaling": {"rope_type": "yarn"}}),
            "rope_scaling.factor is missing, a number above 0 is wanted",
        ),
        (
            json!({"rope_scaling": {"rope_type": "yarn", "factor": -1}}),
            "rope_scaling.factor is -1, a number above 0 is wanted",
        ),
        (
            json!({"rope_parameters": {"full_attention": {"rope_type": "default"}}}),
            "rope_parameters differs by layer type; one for all layers is supported",
        ),
    ]);
}

#[test]
fn values_of_the_wrong_kind_are_named() {
    refused(&[
        (
            json!({"hidden_size": "abc"}),
            "hidden_size is \"abc\", an integer from 1 to 1048576 is wanted",
        ),
        (
            json!({"hidden_size": 256.0}),
            "hidden_size is 256.0, an integer from 1 to 1048576 is wanted",
        ),
        (
            json!({"num_attention_heads": 5}),
            "num_attention_heads is 5, which num_key_value_heads (2) does not divide",
        ),
        (json!({"head_dim": 3}), "head_dim is 3, an even number is wanted"),
        (json!({"rms_norm_eps": "x"}), "rms_norm_eps is \"x\", a number is wanted"),
        (
            json!({"num_hidden_layers": 0}),
            "num_hidden_layers is 0, an integer from 1 to 1048576 is wanted",
        ),
    ]);
}

fn refused(cases: &[(Value, &str)]) {
    for (changes, message) in cases {
        assert_eq!(with(changes.clone()).unwrap_err(), *message, "{changes}");
    }
}

#[test]
fn a_window_that_no_layer_uses_is_fine() {
    assert!(with(json!({"use_sliding_window": true, "sliding_window": 128})).is_ok());
    assert!(with(json!({"use_sliding_window": false, "sliding_window": 128})).is_ok());
    assert!(with(json!({"layer_types": ["full_attention", "full_attention"]})).is_ok());
}

#[test]
fn overrides_replace_keys_and_errors_name_the_file() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("models/qwen3-tiny/config.json");
    let yarn = json!({"rope_type": "yarn", "factor": 2.0});
    let overrides = object(json!({"rope_parameters": yarn, "max_position_embeddings": 8192}));
    let config = ModelConfig::load(&path, &overrides).unwrap();
    assert_eq!(config.max_model_len, 8192);
    let dims = config.dims;
    assert_eq!((dims.rope_theta, dims.rope_scaling.unwrap().factor), (1e6, 2.0));

    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("config.json");
    let error = |text: &str| {
        std::fs::write(&path, text).unwrap();
        let error = ModelConfig::load(&path, &Map::new()).unwrap_err().to_string();
        assert!(!error.contains('\n'), "{error:?}");
        error.strip_prefix(&format!("{}: ", path.display())).unwrap().to_owned()
    };
    assert_eq!(error("{"), "not a JSON object: EOF while parsing an object at line 1 column 1");
    assert!(error("[]").starts_with("not a JSON object: invalid type: sequence"));
    assert!(error("\u{feff}{}").starts_with("not a JSON object"));
    assert!(error("{}").starts_with("model_type is missing"));
}

fn any_json() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<f64>().prop_map(Value::from),
        (0u64..5000).prop_map(Value::from),
        "(yarn|default|linear|qwen3|silu|[a-z]{0,3})".prop_map(Value::from),
    ];
    leaf.prop_recursive(2, 12, 4, |inner| {
        let key =
            "(factor|rope_type|type|rope_theta|beta_fast|mscale|original_max_position_embeddings)";
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..3).prop_map(Value::from),
            prop::collection::vec((key, inner), 0..4)
                .prop_map(|pairs| Value::Object(pairs.into_iter().collect())),
        ]
    })
}

proptest! {
    /// Whatever stands in the file, reading it ends in a usable configuration or in one line.
    #[test]
    fn no_configuration_panics(
        changes in prop::collection::vec((0usize..18, any_json()), 0..4),
    ) {
        let keys = ["hidden_size", "num_hidden_layers", "num_attention_heads", "head_dim",
            "num_key_value_heads", "intermediate_size", "vocab_size", "rms_norm_eps", "rope_theta",
            "rope_scaling", "rope_parameters", "max_position_embeddings", "layer_types",
            "use_sliding_window", "architectures", "quantization_config", "dtype",
            "model_max_length"];
        let changes: Map<_, _> =
            changes.into_iter().map(|(key, value)| (keys[key].to_owned(), value)).collect();
        match with(Value::Object(changes)) {
            Ok(config) => {
                let frequencies = config.dims.inverse_frequencies();
                prop_assert_eq!(frequencies.len(), config.dims.head_dim / 2);
                prop_assert!(frequencies.iter().all(|frequency| !frequency.is_nan()));
                prop_assert!(config.dims.kv_bytes_per_token() > 0);
            }
            Err(reason) => prop_assert!(!reason.is_empty() && !reason.contains('\n')),
        }
    }
}
