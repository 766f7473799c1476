//! `vllm:cache_config_info`: vLLM's cache configuration as labels.

use crate::config::memory::KvPlan;
use crate::config::{CacheSettings, repr_float};

/// One label for each field of vLLM's cache configuration, as Python writes it, sorted.
pub(super) fn labels(cache: &CacheSettings, plan: &KvPlan) -> Vec<(&'static str, String)> {
    let optional = |value: Option<u64>| value.map_or("None".to_owned(), |value| value.to_string());
    let boolean = |value: bool| if value { "True" } else { "False" }.to_owned();
    let block_size = plan.block_size.to_string();
    let blocks_override = cache.num_blocks_override.map(|blocks| blocks as u64);
    let concurrency = repr_float(plan.max_concurrency());
    let mut labels = vec![
        ("engine", "0".to_owned()),
        ("_block_size_resolved", boolean(true)),
        ("block_size", block_size.clone()),
        ("effective_attention_block_size", block_size),
        ("enable_prefix_caching", boolean(cache.prefix_caching)),
        ("gpu_memory_utilization", repr_float(cache.memory_utilization)),
        ("kv_cache_max_concurrency", concurrency),
        ("kv_cache_memory_bytes", optional(cache.memory_bytes)),
        ("kv_cache_size_tokens", plan.tokens().to_string()),
        ("num_gpu_blocks", plan.num_blocks.to_string()),
        ("num_gpu_blocks_override", optional(blocks_override)),
        ("prefix_caching_hash_algo", cache.hash_algo.name().to_owned()),
        ("user_specified_block_size", boolean(cache.user_block_size)),
    ];
    labels.extend(FIXED.map(|(name, value)| (name, value.to_owned())));
    labels.sort_unstable();
    labels
}

/// Fields that are always at vLLM's default, since Glassbox has nothing to set there.
const FIXED: [(&str, &str); 24] = [
    ("cache_dtype", "auto"),
    ("cache_hit_alignment_tokens", "None"),
    ("enable_mamba_shared_prefix_checkpoint", "False"),
    ("is_attention_free", "False"),
    ("kv_cache_dtype_skip_layers", "[]"),
    ("hash_block_size", "None"),
    ("kv_cache_layout", "None"),
    ("kv_offloading_backend", "native"),
    ("kv_offloading_size", "None"),
    ("kv_sharing_fast_prefill", "False"),
    ("mamba_block_size", "None"),
    ("mamba_cache_dtype", "auto"),
    ("mamba_cache_mode", "none"),
    ("mamba_page_size_padded", "None"),
    ("mamba_ssm_cache_dtype", "float32"),
    ("num_cpu_blocks", "None"),
    ("prefix_cache_retention_interval", "0"),
    ("prefix_match_unit", "None"),
    ("replayssm_buffer_len", "16"),
    ("skip_page_size_padded", "None"),
    ("sliding_window", "None"),
    ("swa_bounded_replay", "True"),
    ("use_kda_recoverssm", "False"),
    ("use_replayssm", "False"),
];
