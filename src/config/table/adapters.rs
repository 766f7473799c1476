//! Flags of multi-modal models and of LoRA.

use super::Kind::*;
use super::*;

pub(super) const MULTI_MODAL: &[Flag] = &[
    hint("--language-model-only", Toggle, OFF, OTHER_MODELS),
    hint("--limit-mm-per-prompt", Json, NONE, OTHER_MODELS),
    hint("--enable-mm-embeds", Toggle, OFF, OTHER_MODELS),
    hint("--media-io-kwargs", Json, NONE, OTHER_MODELS),
    hint("--mm-processor-kwargs", Json, NONE, OTHER_MODELS).optional(),
    hint("--mm-processor-cache-gb", Float, float(4.0), OTHER_MODELS),
    hint("--mm-processor-cache-type", Text, text("lru"), OTHER_MODELS).choices(&["lru", "shm"]),
    hint("--mm-hasher-algorithm", Text, text("blake3"), OTHER_MODELS)
        .choices(&["blake3", "sha256", "sha512"]),
    hint("--mm-shm-cache-max-object-size-mb", Int, int(128), OTHER_MODELS),
    hint("--mm-encoder-only", Toggle, OFF, OTHER_MODELS),
    hint("--mm-encoder-tp-mode", Text, text("weights"), OTHER_MODELS).choices(&["data", "weights"]),
    hint("--mm-encoder-attn-backend", Text, NONE, OTHER_MODELS).optional(),
    hint("--mm-encoder-attn-dtype", Text, NONE, OTHER_MODELS).optional().choices(&["fp8"]),
    hint("--mm-encoder-fp8-scale-path", Text, NONE, OTHER_MODELS).optional(),
    hint("--mm-encoder-fp8-scale-save-path", Text, NONE, OTHER_MODELS).optional(),
    hint("--mm-encoder-fp8-scale-save-margin", Float, float(1.5), OTHER_MODELS),
    hint("--interleave-mm-strings", Toggle, OFF, OTHER_MODELS),
    hint("--skip-mm-profiling", Toggle, OFF, OTHER_MODELS),
    hint("--video-pruning-rate", Float, NONE, OTHER_MODELS).optional(),
    hint("--video-pruning-method", Text, text("evs"), OTHER_MODELS).choices(&["evs", "vidcom2"]),
    hint("--mm-tensor-ipc", Text, text("direct_rpc"), OTHER_MODELS)
        .choices(&["direct_rpc", "torch_shm"]),
    hint("--mm-processor-device", Text, text("auto"), OTHER_MODELS).choices(&["auto", "cpu"]),
    hint("--mm-ipc-gpu-memory-gb", Float, float(0.0), OTHER_MODELS),
    hint("--mm-device-do-normalize", Toggle, NONE, OTHER_MODELS),
];

pub(super) const LORA: &[Flag] = &[
    later("--enable-lora", Toggle, NONE, LORA_ADAPTERS),
    hint("--max-loras", Int, int(1), LORA_ADAPTERS),
    hint("--max-lora-rank", Int, int(16), LORA_ADAPTERS)
        .choices(&["1", "8", "16", "32", "64", "128", "256", "320", "512"]),
    hint("--lora-dtype", Text, text("auto"), LORA_ADAPTERS)
        .choices(&["auto", "bfloat16", "float16"]),
    hint("--enable-tower-connector-lora", Toggle, OFF, LORA_ADAPTERS),
    hint("--max-cpu-loras", Int, NONE, LORA_ADAPTERS).optional(),
    hint("--fully-sharded-loras", Toggle, OFF, LORA_ADAPTERS),
    hint("--lora-target-modules", Texts, NONE, LORA_ADAPTERS).optional(),
    hint("--default-mm-loras", Json, NONE, LORA_ADAPTERS).optional(),
    hint("--specialize-active-lora", Toggle, OFF, LORA_ADAPTERS),
    hint("--enable-mixed-moe-lora-format", Toggle, OFF, LORA_ADAPTERS),
    hint("--enable-moe-shared-loras", Toggle, OFF, LORA_ADAPTERS),
    hint("--max-lora-cls-labels", Int, NONE, LORA_ADAPTERS).optional(),
];
