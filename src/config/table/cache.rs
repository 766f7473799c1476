//! Flags of the KV cache and of moving memory off the device.

use super::Kind::*;
use super::*;

pub(super) const CACHE: &[Flag] = &[
    flag("--block-size", Int, NONE).help("Tokens in one block of the KV cache."),
    flag("--gpu-memory-utilization", Float, float(0.92))
        .also(&["--device-memory-utilization"])
        .help("Share of the device's memory for weights and KV cache; on a CPU, of main memory."),
    flag("--kv-cache-memory-bytes", HumanInt, NONE)
        .optional()
        .help("Size of the KV cache; wins over --gpu-memory-utilization."),
    later("--kv-cache-dtype", Text, text("auto"), QUANT),
    flag("--num-gpu-blocks-override", Int, NONE)
        .optional()
        .help("Blocks in the KV cache, whatever the memory says."),
    flag("--enable-prefix-caching", Toggle, NONE)
        .help("Share the KV blocks of equal prompt beginnings. On by default."),
    flag("--prefix-caching-hash-algo", Text, text("sha256"))
        .choices(&["sha256", "sha256_cbor", "xxhash", "xxhash_cbor"])
        .help("Hash of the KV blocks' contents."),
    later("--prefix-cache-retention-interval", Int, int(0), OTHER_MODELS).optional(),
    later("--kv-cache-dtype-skip-layers", Texts, NONE, QUANT),
    later("--kv-sharing-fast-prefill", Toggle, OFF, OTHER_MODELS),
    later("--swa-bounded-replay", Toggle, ON, OTHER_MODELS),
    later("--mamba-cache-dtype", Text, text("auto"), OTHER_MODELS),
    later("--mamba-ssm-cache-dtype", Text, text("auto"), OTHER_MODELS),
    later("--mamba-block-size", Int, NONE, OTHER_MODELS).optional(),
    later("--prefix-match-unit", Int, NONE, OTHER_MODELS).optional(),
    later("--mamba-cache-mode", Text, text("none"), OTHER_MODELS),
    later("--enable-mamba-shared-prefix-checkpoint", Toggle, OFF, OTHER_MODELS),
    later("--replayssm-buffer-len", Int, int(16), OTHER_MODELS),
    later("--use-replayssm", Toggle, OFF, OTHER_MODELS),
    later("--kv-offloading-size", Float, NONE, OFFLOAD).optional(),
    later("--kv-offloading-backend", Text, text("native"), OFFLOAD),
];

pub(super) const OFFLOAD_GROUP: &[Flag] = &[
    later("--offload-backend", Text, text("auto"), OFFLOAD),
    later("--cpu-offload-gb", Float, float(0.0), OFFLOAD),
    later("--cpu-offload-params", Texts, NONE, OFFLOAD),
    later("--offload-group-size", Int, int(0), OFFLOAD),
    later("--offload-num-in-group", Int, int(1), OFFLOAD),
    later("--offload-prefetch-step", Int, int(1), OFFLOAD),
    later("--offload-params", Texts, NONE, OFFLOAD),
];
