//! Flags of the model: which one, how it is loaded, how it computes.

use super::Kind::*;
use super::*;

pub(super) const MODEL: &[Flag] = &[
    flag("--model", Text, text("Qwen/Qwen3-0.6B"))
        .help("The model. Prefer to give it without a flag."),
    later("--runner", Text, text("auto"), OTHER_MODELS)
        .same(&["generate"])
        .choices(&["auto", "draft", "generate", "pooling"]),
    later("--convert", Text, text("auto"), OTHER_MODELS)
        .same(&["none"])
        .choices(&["auto", "classify", "embed", "none"]),
    flag("--tokenizer", Text, NONE)
        .help("Folder or hub id of the tokenizer; the model's own when not given."),
    later("--tokenizer-mode", Text, text("auto"), OTHER_MODELS).same(&["hf", "slow"]),
    hint("--trust-remote-code", Toggle, OFF, PYTHON),
    flag("--dtype", Text, text("auto"))
        .choices(&["auto", "bfloat16", "float", "float16", "float32", "half"])
        .help("Type of the weights: auto or bfloat16, the one that Glassbox computes in."),
    flag("--seed", Int, int(0))
        .help("Seed of the engine's random numbers, for requests that bring none."),
    flag("--hf-config-path", Text, NONE)
        .optional()
        .help("Folder or hub id whose config.json is read in place of the model's own."),
    hint("--allowed-local-media-path", Text, text(""), OTHER_MODELS),
    hint("--allowed-media-domains", Texts, NONE, OTHER_MODELS).optional(),
    flag("--revision", Text, NONE)
        .optional()
        .help("Branch, tag or commit of the model on the hub."),
    hint("--code-revision", Text, NONE, PYTHON).optional(),
    flag("--tokenizer-revision", Text, NONE)
        .optional()
        .help("Branch, tag or commit of the tokenizer; that of the model when not given."),
    flag("--max-model-len", LengthOrAuto, NONE)
        .help("Most tokens of prompt and output together; auto or -1: what fits in the KV cache."),
    later("--quantization", Text, NONE, QUANT).optional().also(&["-q"]),
    later("--quantization-config", Json, NONE, QUANT).optional(),
    hint("--allow-deprecated-quantization", Toggle, OFF, QUANT),
    flag("--enforce-eager", Toggle, OFF)
        .help("No CUDA graphs: every kernel of a step is started by itself."),
    later("--enable-return-routed-experts", Toggle, OFF, OTHER_MODELS),
    later("--return-sampling-mask", Toggle, OFF, NOT_YET),
    flag("--max-logprobs", Int, int(20))
        .help("Most log-probabilities a request may ask for per token; -1 for no limit."),
    flag("--logprobs-mode", Text, text("raw_logprobs"))
        .choices(&["processed_logits", "processed_logprobs", "raw_logits", "raw_logprobs"])
        .help("What is told of tokens: raw, or processed by penalties and temperature."),
    hint("--use-fp64-gumbel", Toggle, OFF, KERNELS),
    later("--enable-trace-replay", Toggle, OFF, NOT_YET),
    hint("--disable-sliding-window", Toggle, OFF, OTHER_MODELS),
    hint("--disable-cascade-attn", Toggle, NONE, KERNELS),
    flag("--skip-tokenizer-init", Toggle, OFF)
        .help("Load no tokenizer: requests and replies hold token ids, no text and no chats."),
    later("--enable-prompt-embeds", Toggle, OFF, NOT_YET),
    flag("--served-model-name", Texts, NONE)
        .optional()
        .help("Names that requests may use; replies and metrics show the first."),
    later("--config-format", Text, text("auto"), OTHER_MODELS).same(&["hf"]),
    flag("--hf-token", MaybeText, NONE)
        .help("Token for the hub; without a value, the one stored on this machine."),
    flag("--hf-overrides", Json, NONE)
        .help("JSON object of keys that win over those of config.json."),
    later("--model-class-overrides", Json, NONE, PYTHON),
    hint("--pooler-config", Json, NONE, OTHER_MODELS).optional(),
    flag("--generation-config", Text, text("auto"))
        .help("Source of default sampling parameters: auto (the model), vllm (none), or a folder."),
    flag("--override-generation-config", Json, NONE)
        .help("JSON object of sampling parameters that win over the generation config."),
    flag("--enable-sleep-mode", Toggle, OFF).help("Let /sleep give memory back to the system."),
    hint("--sleep-mode-offload-cudagraph", Toggle, OFF, KERNELS),
    later("--sleep-preserve-parameter-names", Texts, NONE, NOT_YET),
    hint("--enable-cumem-allocator", Toggle, OFF, KERNELS),
    hint("--enable-nccl-comm-suspend", Toggle, OFF, ONE_DEVICE),
    hint("--model-impl", Text, text("auto"), PYTHON),
    later("--logits-processors", Texts, NONE, PYTHON).optional(),
    later("--io-processor-plugin", Text, NONE, PYTHON).optional(),
    hint("--renderer-num-workers", Int, int(1), ONE_PROCESS),
];

pub(super) const LOAD: &[Flag] = &[
    flag("--load-format", Text, text("auto"))
        .help("auto and safetensors read the checkpoint; dummy makes seeded random weights."),
    flag("--download-dir", Text, NONE)
        .optional()
        .help("Where to store what comes from the hub, in place of the hub cache."),
    hint("--safetensors-load-strategy", Text, NONE, LOADER)
        .optional()
        .choices(&["eager", "lazy", "prefetch", "torchao"]),
    hint("--safetensors-prefetch-num-threads", Int, int(8), LOADER),
    hint("--safetensors-prefetch-block-size", HumanInt, int(16777216), LOADER),
    hint("--model-loader-extra-config", Json, NONE, LOADER),
    hint("--ignore-patterns", Texts, NONE, LOADER),
    hint("--use-tqdm-on-load", Toggle, ON, LOADER),
    hint("--pt-load-map-location", Text, text("cpu"), PYTHON),
];

pub(super) const ATTENTION: &[Flag] =
    &[hint("--attention-backend", Text, NONE, KERNELS).optional()];

pub(super) const MAMBA: &[Flag] = &[
    hint("--mamba-backend", Text, text("triton"), OTHER_MODELS),
    hint("--mamba-ssu-algorithm", Text, NONE, OTHER_MODELS).optional().choices(&[
        "auto",
        "horizontal",
        "simple",
        "vertical",
    ]),
    hint("--enable-mamba-cache-stochastic-rounding", Toggle, OFF, OTHER_MODELS),
    hint("--mamba-cache-philox-rounds", Int, int(0), OTHER_MODELS),
];

pub(super) const STRUCTURED_OUTPUTS: &[Flag] = &[
    flag("--reasoning-parser", Text, text(""))
        .help("How the model writes its reasoning: qwen3 or deepseek_r1."),
    later("--reasoning-parser-plugin", Text, text(""), PYTHON),
];
