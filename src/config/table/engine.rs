//! Flags of compilation and kernels, and those that hold whole configurations.

use super::Kind::*;
use super::*;

pub(super) const COMPILATION: &[Flag] = &[
    later("--cudagraph-capture-sizes", Texts, NONE, KERNELS),
    later("--max-cudagraph-capture-size", Int, NONE, KERNELS),
];

pub(super) const KERNEL: &[Flag] = &[
    later("--ir-op-priority", Json, NONE, KERNELS),
    later("--enable-flashinfer-autotune", Toggle, NONE, KERNELS),
    later("--moe-backend", Text, text("auto"), KERNELS),
    later("--linear-backend", Text, text("auto"), KERNELS),
    later("--sparse-indexer-topk-backend", Text, text("auto"), KERNELS),
];

pub(super) const VLLM: &[Flag] = &[
    later("--speculative-config", Json, NONE, SPEC).optional().also(&["-sc"]),
    later("--spec-method", Text, NONE, SPEC).optional(),
    later("--spec-model", Text, NONE, SPEC).optional(),
    later("--spec-tokens", Int, NONE, SPEC),
    later("--watermark-config", Json, NONE, NOT_YET).optional(),
    later("--diffusion-config", Json, NONE, OTHER_MODELS).optional().also(&["-dc"]),
    later("--kv-transfer-config", Json, NONE, NOT_YET).optional(),
    flag("--kv-events-config", Json, NONE)
        .optional()
        .help("Publish what the prefix cache holds: vLLM's KVEventsConfig as JSON."),
    later("--ec-transfer-config", Json, NONE, OTHER_MODELS).optional(),
    later("--ec-manager-config", Json, NONE, OTHER_MODELS),
    later("--compilation-config", Json, NONE, KERNELS).also(&["-cc"]),
    later("--attention-config", Json, NONE, KERNELS).also(&["-ac"]),
    later("--engram-config", Json, NONE, OTHER_MODELS).optional(),
    later("--reasoning-config", Json, NONE, NOT_YET).optional(),
    later("--kernel-config", Json, NONE, KERNELS),
    later("--additional-config", Json, NONE, PYTHON),
    flag("--structured-outputs-config", Json, NONE).help(
        "How output is held to schemas and grammars: vLLM's StructuredOutputsConfig as JSON.",
    ),
    later("--aux-output-config", Json, NONE, OTHER_MODELS),
    later("--profiler-config", Json, NONE, PYTHON),
    later("--optimization-level", Text, text("2"), KERNELS),
    later("--performance-mode", Text, text("balanced"), NOT_YET),
    later("--weight-transfer-config", Json, NONE, PYTHON).optional(),
];
