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
    later("--kv-cache-dtype", Text, text("auto"), QUANT).same(&["bfloat16"]).choices(&[
        "auto",
        "bfloat16",
        "float16",
        "fp8",
        "fp8_ds_mla",
        "fp8_e4m3",
        "fp8_e5m2",
        "fp8_inc",
        "fp8_per_token_head",
        "int4_per_token_head",
        "int8_per_token_head",
        "nvfp4",
        "nvfp4_4over6",
        "nvfp4_ds_mla",
        "turboquant_3bit_nc",
        "turboquant_4bit_nc",
        "turboquant_k3v4_nc",
        "turboquant_k8v4",
        "ultraquant_4bit",
    ]),
    flag("--num-gpu-blocks-override", Int, NONE)
        .optional()
        .help("Blocks in the KV cache, whatever the memory says."),
    flag("--enable-prefix-caching", Toggle, NONE)
        .help("Share the KV blocks of equal prompt beginnings. On by default."),
    flag("--prefix-caching-hash-algo", Text, text("sha256"))
        .choices(&["sha256", "sha256_cbor", "xxhash", "xxhash_cbor"])
        .help("Hash of the KV blocks' contents."),
    hint("--prefix-cache-retention-interval", Int, int(0), OTHER_MODELS).optional(),
    hint("--kv-cache-dtype-skip-layers", Texts, NONE, QUANT),
    hint("--kv-sharing-fast-prefill", Toggle, OFF, OTHER_MODELS),
    hint("--swa-bounded-replay", Toggle, ON, OTHER_MODELS),
    hint("--mamba-cache-dtype", Text, text("auto"), OTHER_MODELS)
        .choices(&["auto", "bfloat16", "float16", "float32"]),
    hint("--mamba-ssm-cache-dtype", Text, text("auto"), OTHER_MODELS)
        .choices(&["auto", "bfloat16", "float16", "float32"]),
    hint("--mamba-block-size", Int, NONE, OTHER_MODELS).optional(),
    later("--prefix-match-unit", Int, NONE, OTHER_MODELS).optional(),
    hint("--mamba-cache-mode", Text, text("none"), OTHER_MODELS).choices(&["align", "none"]),
    hint("--enable-mamba-shared-prefix-checkpoint", Toggle, OFF, OTHER_MODELS),
    hint("--replayssm-buffer-len", Int, int(16), OTHER_MODELS),
    hint("--use-replayssm", Toggle, OFF, OTHER_MODELS),
    later("--kv-offloading-size", Float, NONE, OFFLOAD).optional(),
    hint("--kv-offloading-backend", Text, text("native"), OFFLOAD).choices(&["lmcache", "native"]),
];

pub(super) const OFFLOAD_GROUP: &[Flag] = &[
    hint("--offload-backend", Text, text("auto"), OFFLOAD).choices(&["auto", "prefetch", "uva"]),
    later("--cpu-offload-gb", Float, float(0.0), OFFLOAD),
    hint("--cpu-offload-params", Texts, NONE, OFFLOAD),
    later("--offload-group-size", Int, int(0), OFFLOAD),
    hint("--offload-num-in-group", Int, int(1), OFFLOAD),
    hint("--offload-prefetch-step", Int, int(1), OFFLOAD),
    hint("--offload-params", Texts, NONE, OFFLOAD),
];
