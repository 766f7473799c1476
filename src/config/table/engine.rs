//! Flags of compilation and kernels, and those that hold whole configurations.

use super::Kind::*;
use super::*;

pub(super) const COMPILATION: &[Flag] = &[
    flag("--cudagraph-capture-sizes", Ints, NONE)
        .help("Sequences of a step of single tokens that is a CUDA graph; others are padded."),
    flag("--max-cudagraph-capture-size", Int, NONE)
        .help("The largest of the usual sizes; 512 when not given."),
];

pub(super) const KERNEL: &[Flag] = &[
    hint("--ir-op-priority", Json, NONE, KERNELS),
    hint("--enable-flashinfer-autotune", Toggle, NONE, KERNELS),
    hint("--moe-backend", Name, text("auto"), OTHER_MODELS).choices(&[
        "aiter",
        "aiter_mega_moe",
        "aiter_triton_mxfp4_bf16",
        "auto",
        "b12x",
        "batched_triton",
        "cutlass",
        "deep_gemm",
        "deep_gemm_mega_moe",
        "emulation",
        "flashinfer_b12x",
        "flashinfer_cutedsl",
        "flashinfer_cutlass",
        "flashinfer_moe_ep_cutedsl",
        "flashinfer_moe_ep_mega_deep_gemm",
        "flashinfer_trtllm",
        "flydsl",
        "hpc",
        "humming",
        "marlin",
        "rdna3",
        "triton",
        "triton_unfused",
    ]),
    hint("--linear-backend", Name, text("auto"), KERNELS).choices(&[
        "aiter",
        "auto",
        "b12x",
        "conch",
        "cutlass",
        "deep_gemm",
        "emulation",
        "exllama",
        "fbgemm",
        "flashinfer_b12x",
        "flashinfer_cudnn",
        "flashinfer_cutedsl",
        "flashinfer_cutlass",
        "flashinfer_trtllm",
        "humming",
        "machete",
        "marlin",
        "torch",
        "triton",
        "xpu",
        "xpu_woq",
    ]),
    hint("--sparse-indexer-topk-backend", Name, text("auto"), OTHER_MODELS).choices(&[
        "aiter",
        "auto",
        "cooperative",
        "deep_select",
        "flashinfer",
        "per_row",
        "persistent",
        "torch",
    ]),
];

pub(super) const VLLM: &[Flag] = &[
    later("--speculative-config", Json, NONE, SPEC).optional().also(&["-sc"]),
    later("--spec-method", Text, NONE, SPEC).optional().choices(&[
        "bailing_hybrid_mtp",
        "bailing_hybrid_v3_mtp",
        "custom_class",
        "deepseek_mtp",
        "dflash",
        "dots3_note_mtp",
        "draft_model",
        "dspark",
        "eagle",
        "eagle3",
        "ernie_mtp",
        "exaone4_5_mtp",
        "exaone_moe_mtp",
        "extract_hidden_states",
        "gemma4_mtp",
        "glm4_moe_lite_mtp",
        "glm4_moe_mtp",
        "glm5_next_mtp",
        "glm_ocr_mtp",
        "hy_v3_mtp",
        "hy_v4_mtp",
        "inkling_mtp",
        "kimi_k3_mtp",
        "longcat_flash_mtp",
        "medusa",
        "mimo_mtp",
        "mimo_v2_mtp",
        "minimax_m3_mtp",
        "mlp_speculator",
        "mtp",
        "nemotron_h_mtp",
        "ngram",
        "ngram_gpu",
        "pangu_ultra_moe_mtp",
        "qwen3_5_mtp",
        "qwen3_next_mtp",
        "qwen4_exp_mtp",
        "step3p5_mtp",
        "suffix",
    ]),
    later("--spec-model", Text, NONE, SPEC).optional(),
    later("--spec-tokens", Int, NONE, SPEC),
    later("--watermark-config", Json, NONE, NOT_YET).optional(),
    later("--diffusion-config", Json, NONE, OTHER_MODELS).optional().also(&["-dc"]),
    flag("--kv-transfer-config", Json, NONE)
        .optional()
        .help("Prompts computed here and continued elsewhere: vLLM's KVTransferConfig as JSON."),
    flag("--kv-events-config", Json, NONE)
        .optional()
        .help("Publish what the prefix cache holds: vLLM's KVEventsConfig as JSON."),
    later("--ec-transfer-config", Json, NONE, OTHER_MODELS).optional(),
    hint("--ec-manager-config", Json, NONE, OTHER_MODELS),
    flag("--compilation-config", Json, NONE).also(&["-cc"]).help(
        "cudagraph_mode (NONE or another), and the capture sizes, of vLLM's CompilationConfig.",
    ),
    hint("--attention-config", Json, NONE, KERNELS).also(&["-ac"]),
    later("--engram-config", Json, NONE, OTHER_MODELS).optional(),
    flag("--reasoning-config", Json, NONE).optional().help(
        "What starts reasoning, and what ends it over its budget: reasoning_start_str, _end_str.",
    ),
    hint("--kernel-config", Json, NONE, KERNELS),
    hint("--additional-config", Json, NONE, PYTHON),
    flag("--structured-outputs-config", Json, NONE).help(
        "How output is held to schemas and grammars: vLLM's StructuredOutputsConfig as JSON.",
    ),
    later("--aux-output-config", Json, NONE, OTHER_MODELS),
    later("--profiler-config", Json, NONE, PYTHON),
    flag("--optimization-level", Text, text("2"))
        .help("0: no CUDA graphs, unless a cudagraph_mode asks for them."),
    flag("--performance-mode", Text, text("balanced"))
        .choices(&["balanced", "interactivity", "throughput"])
        .help(
            "throughput doubles the defaults of --max-num-seqs and --max-num-batched-tokens; \
             interactivity has CUDA graphs of every size up to 32.",
        ),
    later("--weight-transfer-config", Json, NONE, PYTHON).optional(),
];
