//! vLLM's compatibility hash: peers whose blocks would not mean the same must not meet.

use crate::config::KvTransferConfig;
use crate::model::Dims;
use crate::types::json::dumps_str;
use sha2::{Digest, Sha256};
use std::fmt::Write;

/// vLLM's number for what its NixlConnector says and does; that of 0.32.
const CONNECTOR_VERSION: u32 = 14;

/// What decides whether blocks can be exchanged. The rest of vLLM's factors is the same for all
/// that Glassbox serves: bf16 weights and cache, no speculation, blocks that are pulled.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Factors {
    pub vllm_version: String,
    /// As the command line names the model.
    pub model: String,
    pub num_kv_heads: usize,
    pub head_size: usize,
    pub num_hidden_layers: usize,
    pub attn_backend_name: String,
}

impl Factors {
    /// Those of this server.
    pub fn new(config: &KvTransferConfig, dims: &Dims) -> Self {
        Self {
            vllm_version: config.vllm_version.clone(),
            model: config.model.clone(),
            num_kv_heads: dims.kv_heads,
            head_size: dims.head_dim,
            num_hidden_layers: dims.layers,
            attn_backend_name: config.attn_backend.name().to_owned(),
        }
    }

    /// 64 hexadecimal digits.
    pub fn hash(&self) -> String {
        Sha256::digest(self.json()).iter().fold(String::with_capacity(64), |mut hex, byte| {
            // Writing to a string cannot fail.
            let _ = write!(hex, "{byte:02x}");
            hex
        })
    }

    /// What is hashed: Python's `json.dumps(factors, sort_keys=True)`.
    fn json(&self) -> String {
        let text = |text: &str| {
            let mut out = String::new();
            dumps_str(&mut out, text);
            out
        };
        format!(
            "{{\"attn_backend_name\": {}, \"cache_dtype\": \"auto\", \"dtype\": \
             \"torch.bfloat16\", \"head_size\": {}, \"is_hma_enabled\": true, \"model\": {}, \
             \"nixl_connector_version\": {CONNECTOR_VERSION}, \"num_hidden_layers\": {}, \
             \"num_kv_heads\": {}, \"speculative_config\": null, \"transfer_mode\": \"pull\", \
             \"vllm_version\": {}}}",
            text(&self.attn_backend_name),
            self.head_size,
            text(&self.model),
            self.num_hidden_layers,
            self.num_kv_heads,
            text(&self.vllm_version),
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::Value;

    const GOLDEN: &str = include_str!("../../tests/data/transfer/compat-hash.json");

    #[test]
    fn hashes_are_those_of_vllm() {
        let golden: Value = serde_json::from_str(GOLDEN).expect("JSON");
        let vectors = golden["vectors"].as_array().expect("a list");
        let mut other = 0;
        for vector in vectors {
            let factor = |name: &str| &vector["factors"][name];
            let text = |name: &str| factor(name).as_str().expect("a text").to_owned();
            let number = |name: &str| factor(name).as_u64().expect("a number") as usize;
            let ours = Factors {
                vllm_version: text("vllm_version"),
                model: text("model"),
                num_kv_heads: number("num_kv_heads"),
                head_size: number("head_size"),
                num_hidden_layers: number("num_hidden_layers"),
                attn_backend_name: text("attn_backend_name"),
            };
            // A server without the hybrid KV cache manager is another.
            let same = *factor("is_hma_enabled") == true;
            assert_eq!(vector["json"] == ours.json(), same, "{vector}");
            assert_eq!(vector["sha256"] == ours.hash(), same, "{vector}");
            other += usize::from(!same);
        }
        assert_eq!((vectors.len(), other), (4, 1));
    }

    #[test]
    fn names_are_escaped_as_python_escapes_them() {
        let factors = Factors {
            vllm_version: "0.32.0".to_owned(),
            model: "/m\u{f6}del/\u{1f600} \"x\"".to_owned(),
            num_kv_heads: 2,
            head_size: 64,
            num_hidden_layers: 4,
            attn_backend_name: "CPU_ATTN".to_owned(),
        };
        assert!(
            factors.json().contains(r#""model": "/m\u00f6del/\ud83d\ude00 \"x\"", "nixl"#),
            "{}",
            factors.json()
        );
    }
}
