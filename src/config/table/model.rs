//! Flags of the model: which one, how it is loaded, how it computes.

use super::Kind::*;
use super::*;

pub(super) const MODEL: &[Flag] = &[
    flag("--model", Text, text("Qwen/Qwen3-0.6B"))
        .help("The model. Prefer to give it without a flag."),
    later("--runner", Text, text("auto"), OTHER_MODELS),
    later("--convert", Text, text("auto"), OTHER_MODELS),
    flag("--tokenizer", Text, NONE)
        .help("Folder or hub id of the tokenizer; the model's own when not given."),
    later("--tokenizer-mode", Text, text("auto"), OTHER_MODELS),
    later("--trust-remote-code", Toggle, OFF, PYTHON),
    flag("--dtype", Text, text("auto"))
        .choices(&["auto", "bfloat16", "float", "float16", "float32", "half"])
        .help("Type of the weights: auto or bfloat16, the one that Glassbox computes in."),
    flag("--seed", Int, int(0))
        .help("Seed of the engine's random numbers, for requests that bring none."),
    later("--hf-config-path", Text, NONE, NOT_YET).optional(),
    later("--allowed-local-media-path", Text, text(""), OTHER_MODELS),
    later("--allowed-media-domains", Texts, NONE, OTHER_MODELS).optional(),
    flag("--revision", Text, NONE)
        .optional()
        .help("Branch, tag or commit of the model on the hub."),
    later("--code-revision", Text, NONE, PYTHON).optional(),
    later("--tokenizer-revision", Text, NONE, NOT_YET).optional(),
    flag("--max-model-len", LengthOrAuto, NONE)
        .help("Most tokens of prompt and output together; auto or -1: what fits in the KV cache."),
    later("--quantization", Text, NONE, QUANT).optional().also(&["-q"]),
    later("--quantization-config", Json, NONE, QUANT).optional(),
    later("--allow-deprecated-quantization", Toggle, OFF, QUANT),
    flag("--enforce-eager", Toggle, OFF)
        .help("A hint to do without captured graphs; the CPU backend never uses any."),
    later("--enable-return-routed-experts", Toggle, OFF, OTHER_MODELS),
    later("--return-sampling-mask", Toggle, OFF, NOT_YET),
    flag("--max-logprobs", Int, int(20))
        .help("Most log-probabilities a request may ask for per token; -1 for no limit."),
    flag("--logprobs-mode", Text, text("raw_logprobs"))
        .choices(&["processed_logits", "processed_logprobs", "raw_logits", "raw_logprobs"])
        .help("Only raw_logprobs: log-probabilities before penalties and temperature."),
    later("--use-fp64-gumbel", Toggle, OFF, KERNELS),
    later("--enable-trace-replay", Toggle, OFF, NOT_YET),
    later("--disable-sliding-window", Toggle, OFF, OTHER_MODELS),
    later("--disable-cascade-attn", Toggle, NONE, KERNELS),
    later("--skip-tokenizer-init", Toggle, OFF, NOT_YET),
    later("--enable-prompt-embeds", Toggle, OFF, NOT_YET),
    flag("--served-model-name", Texts, NONE)
        .optional()
        .help("Names that requests may use; replies and metrics show the first."),
    later("--config-format", Text, text("auto"), OTHER_MODELS),
    flag("--hf-token", MaybeText, NONE)
        .help("Token for the hub; without a value, the one stored on this machine."),
    later("--hf-overrides", Json, NONE, NOT_YET),
    later("--model-class-overrides", Json, NONE, PYTHON),
    later("--pooler-config", Json, NONE, OTHER_MODELS).optional(),
    flag("--generation-config", Text, text("auto"))
        .help("Source of default sampling parameters: auto (the model), vllm (none), or a folder."),
    flag("--override-generation-config", Json, NONE)
        .help("JSON object of sampling parameters that win over the generation config."),
    flag("--enable-sleep-mode", Toggle, OFF).help("Let /sleep give memory back to the system."),
    later("--sleep-mode-offload-cudagraph", Toggle, OFF, KERNELS),
    later("--sleep-preserve-parameter-names", Texts, NONE, NOT_YET),
    later("--enable-cumem-allocator", Toggle, OFF, KERNELS),
    later("--enable-nccl-comm-suspend", Toggle, OFF, ONE_DEVICE),
    later("--model-impl", Text, text("auto"), PYTHON),
    later("--logits-processors", Texts, NONE, PYTHON).optional(),
    later("--io-processor-plugin", Text, NONE, PYTHON).optional(),
    later("--renderer-num-workers", Int, int(1), NOT_YET),
];

pub(super) const LOAD: &[Flag] = &[
    flag("--load-format", Text, text("auto"))
        .help("auto and safetensors read the checkpoint; dummy makes seeded random weights."),
    flag("--download-dir", Text, NONE)
        .optional()
        .help("Where to store what comes from the hub, in place of the hub cache."),
    later("--safetensors-load-strategy", Text, NONE, LOADER).optional(),
    later("--safetensors-prefetch-num-threads", Int, int(8), LOADER),
    later("--safetensors-prefetch-block-size", HumanInt, int(16777216), LOADER),
    later("--model-loader-extra-config", Json, NONE, LOADER),
    later("--ignore-patterns", Texts, NONE, LOADER),
    later("--use-tqdm-on-load", Toggle, ON, LOADER),
    later("--pt-load-map-location", Text, text("cpu"), PYTHON),
];

pub(super) const ATTENTION: &[Flag] =
    &[later("--attention-backend", Text, NONE, KERNELS).optional()];

pub(super) const MAMBA: &[Flag] = &[
    later("--mamba-backend", Text, text("triton"), OTHER_MODELS),
    later("--mamba-ssu-algorithm", Text, NONE, OTHER_MODELS).optional(),
    later("--enable-mamba-cache-stochastic-rounding", Toggle, OFF, OTHER_MODELS),
    later("--mamba-cache-philox-rounds", Int, int(0), OTHER_MODELS),
];

pub(super) const STRUCTURED_OUTPUTS: &[Flag] = &[
    flag("--reasoning-parser", Text, text(""))
        .help("How the model writes its reasoning: qwen3 or deepseek_r1."),
    later("--reasoning-parser-plugin", Text, text(""), PYTHON),
];
