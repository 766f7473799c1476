//! Flags of multi-modal models and of LoRA.

use super::Kind::*;
use super::*;

pub(super) const MULTI_MODAL: &[Flag] = &[
    later("--language-model-only", Toggle, OFF, OTHER_MODELS),
    later("--limit-mm-per-prompt", Json, NONE, OTHER_MODELS),
    later("--enable-mm-embeds", Toggle, OFF, OTHER_MODELS),
    later("--media-io-kwargs", Json, NONE, OTHER_MODELS),
    later("--mm-processor-kwargs", Text, NONE, OTHER_MODELS).optional(),
    later("--mm-processor-cache-gb", Float, float(4.0), OTHER_MODELS),
    later("--mm-processor-cache-type", Text, text("lru"), OTHER_MODELS),
    later("--mm-hasher-algorithm", Text, text("blake3"), OTHER_MODELS),
    later("--mm-shm-cache-max-object-size-mb", Int, int(128), OTHER_MODELS),
    later("--mm-encoder-only", Toggle, OFF, OTHER_MODELS),
    later("--mm-encoder-tp-mode", Text, text("weights"), OTHER_MODELS),
    later("--mm-encoder-attn-backend", Text, NONE, OTHER_MODELS).optional(),
    later("--mm-encoder-attn-dtype", Text, NONE, OTHER_MODELS).optional(),
    later("--mm-encoder-fp8-scale-path", Text, NONE, OTHER_MODELS).optional(),
    later("--mm-encoder-fp8-scale-save-path", Text, NONE, OTHER_MODELS).optional(),
    later("--mm-encoder-fp8-scale-save-margin", Float, float(1.5), OTHER_MODELS),
    later("--interleave-mm-strings", Toggle, OFF, OTHER_MODELS),
    later("--skip-mm-profiling", Toggle, OFF, OTHER_MODELS),
    later("--video-pruning-rate", Float, NONE, OTHER_MODELS).optional(),
    later("--video-pruning-method", Text, text("evs"), OTHER_MODELS),
    later("--mm-tensor-ipc", Text, text("direct_rpc"), OTHER_MODELS),
    later("--mm-processor-device", Text, text("auto"), OTHER_MODELS),
    later("--mm-ipc-gpu-memory-gb", Float, float(0.0), OTHER_MODELS),
    later("--mm-device-do-normalize", Toggle, NONE, OTHER_MODELS),
];

pub(super) const LORA: &[Flag] = &[
    later("--enable-lora", Toggle, NONE, NOT_YET),
    later("--max-loras", Int, int(1), NOT_YET),
    later("--max-lora-rank", Int, int(16), NOT_YET),
    later("--lora-dtype", Text, text("auto"), NOT_YET),
    later("--enable-tower-connector-lora", Toggle, OFF, OTHER_MODELS),
    later("--max-cpu-loras", Int, NONE, NOT_YET).optional(),
    later("--fully-sharded-loras", Toggle, OFF, NOT_YET),
    later("--lora-target-modules", Texts, NONE, NOT_YET).optional(),
    later("--default-mm-loras", Text, NONE, OTHER_MODELS).optional(),
    later("--specialize-active-lora", Toggle, OFF, NOT_YET),
    later("--enable-mixed-moe-lora-format", Toggle, OFF, OTHER_MODELS),
    later("--enable-moe-shared-loras", Toggle, OFF, OTHER_MODELS),
    later("--max-lora-cls-labels", Int, NONE, NOT_YET).optional(),
];
