//! Flags of `bench latency` and `bench throughput`.

use super::Kind::*;
use super::bench_common::*;
use super::*;

pub(super) const LATENCY: &[Flag] = &[
    flag("--input-len", Int, int(32)).help("Tokens in a prompt, whatever the data set."),
    flag("--output-len", Int, int(128)).help("Tokens in a reply, whatever the data set."),
    flag("--batch-size", Int, int(8)).help("Prompts of one batch."),
    N,
    USE_BEAM_SEARCH,
    flag("--num-iters-warmup", Int, int(10)).help("Batches before the measurement."),
    flag("--num-iters", Int, int(30)).help("Batches that are measured."),
    PROFILE,
    OUTPUT_JSON,
    DISABLE_DETOKENIZE,
];

pub(super) const THROUGHPUT: &[Flag] = &[
    flag("--backend", Text, text("vllm"))
        .choices(&["vllm", "hf", "mii", "vllm-chat"])
        .help("Which API is used."),
    flag("--dataset-name", Text, text("sharegpt"))
        .choices(&[
            "sharegpt",
            "random",
            "burstgpt",
            "hf",
            "prefix_repetition",
            "random-mm",
            "random-rerank",
            "custom_audio",
        ])
        .help("Where prompts come from."),
    DATASET_PATH,
    NO_OVERSAMPLE,
    ENABLE_MULTIMODAL_CHAT,
    flag("--custom-output-len", Int, NONE)
        .help("Tokens in a reply to a custom prompt; -1 takes its output_tokens."),
    INPUT_LEN,
    OUTPUT_LEN,
    N,
    NUM_PROMPTS,
    NUM_WARMUPS,
    hint("--hf-max-batch-size", Int, NONE, ENGINE_ALONE),
    hint("--hf-enable-torch-compile", Switch, OFF, ENGINE_ALONE),
    OUTPUT_JSON,
    hint("--async-engine", Switch, OFF, ENGINE_ALONE),
    hint("--prequeue-requests", Switch, OFF, ENGINE_ALONE),
    DISABLE_DETOKENIZE,
    later("--lora-path", Text, NONE, LORA_ADAPTERS),
    LORA_ASSIGNMENT,
    flag("--prefix-len", Int, int(0)).help("Tokens that all prompts begin with."),
    HF_SUBSET,
    HF_SPLIT,
    HF_NAME,
    PROFILE,
    flag("--prefix-repetition-prefix-len", Int, NONE).help("Tokens of a shared prefix."),
    flag("--prefix-repetition-suffix-len", Int, NONE).help("Tokens behind it."),
    flag("--prefix-repetition-num-prefixes", Int, NONE).help("How many prefixes there are."),
    flag("--prefix-repetition-output-len", Int, NONE).help("Tokens in a reply."),
    RANDOM_INPUT_LEN,
    RANDOM_OUTPUT_LEN,
    RANDOM_RANGE_RATIO,
    RANDOM_PREFIX_LEN,
    RANDOM_BATCH_SIZE,
    NO_RERANKER,
    RANDOM_MM_BASE_ITEMS_PER_REQUEST,
    RANDOM_MM_NUM_MM_ITEMS_RANGE_RATIO,
    RANDOM_MM_LIMIT_MM_PER_PROMPT,
    RANDOM_MM_BUCKET_CONFIG,
    ASR_MIN_AUDIO_LEN_SEC,
    ASR_MAX_AUDIO_LEN_SEC,
];
