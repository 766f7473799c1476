//! `/tokenizer_info`: the tokenizer's settings, as transformers holds them once it has read them.

use super::frontend::Frontend;
use super::respond;
use crate::model::Tokenizer;
use axum::body::Body;
use axum::http::Response;
use serde_json::{Map, Value, json};

/// Settings that come first, whatever the file's order.
const FIRST: [&str; 5] = ["unk_token", "bos_token", "eos_token", "pad_token", "add_prefix_space"];
/// Settings of the file that transformers keeps elsewhere or not at all.
const ELSEWHERE: [&str; 4] =
    ["tokenizer_class", "added_tokens_decoder", "additional_special_tokens", "add_bos_token"];

/// Answers one request.
pub(super) fn show(frontend: &Frontend) -> Response<Body> {
    match frontend.encoder.check() {
        Ok(()) => respond::json(&frontend.options.tokenizer_info),
        Err(error) => respond::error(&error.into()),
    }
}

/// What is told of `tokenizer`, which was opened as `name`, a folder if `is_local`.
pub fn tokenizer_info(tokenizer: &Tokenizer, name: &str, is_local: bool) -> Value {
    let config = &tokenizer.config;
    let class = config.get("tokenizer_class").and_then(Value::as_str).unwrap_or_default();
    let mut info = Map::new();
    // vLLM wraps it.
    info.insert("tokenizer_class".to_owned(), json!(format!("TokenizerPoolCached{class}")));
    for key in FIRST {
        let value = config.get(key).cloned().unwrap_or_default();
        info.insert(key.to_owned(), value);
    }
    let added = tokenizer.hf().get_added_tokens_decoder();
    let mut added: Vec<_> = added.into_iter().collect();
    added.sort_unstable_by_key(|(id, _)| *id);
    let added: Map<String, Value> =
        added.into_iter().map(|(id, token)| (id.to_string(), token.content.into())).collect();
    info.insert("added_tokens_decoder".to_owned(), added.into());
    for (key, value) in config {
        if !FIRST.contains(&key.as_str()) && !ELSEWHERE.contains(&key.as_str()) {
            info.insert(key.clone(), value.clone());
        }
    }
    info.insert("truncation_side".to_owned(), json!("left"));
    if let Some(special) = config.get("additional_special_tokens") {
        info.insert("extra_special_tokens".to_owned(), special.clone());
    }
    for (key, value) in [
        ("name_or_path", json!(name)),
        ("is_local", json!(is_local)),
        ("local_files_only", json!(is_local)),
        ("backend", json!("tokenizers")),
    ] {
        info.insert(key.to_owned(), value);
    }
    Value::Object(info)
}
