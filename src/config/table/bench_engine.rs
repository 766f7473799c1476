//! Flags of `bench latency` and `bench throughput`.

use super::Kind::*;
use super::*;

pub(super) const LATENCY: &[Flag] = &[
    flag("--input-len", Int, int(32)).help("Tokens in a prompt, whatever the data set."),
    flag("--output-len", Int, int(128)).help("Tokens in a reply, whatever the data set."),
    flag("--batch-size", Int, int(8)).help("Prompts of one batch."),
    flag("--n", Int, int(1)).help("Replies to each prompt."),
    later("--use-beam-search", Switch, OFF, NOT_YET),
    flag("--num-iters-warmup", Int, int(10)).help("Batches before the measurement."),
    flag("--num-iters", Int, int(30)).help("Batches that are measured."),
    later("--profile", Switch, OFF, PYTHON),
    flag("--output-json", Text, NONE).help("Write the results to this JSON file."),
    hint("--disable-detokenize", Switch, OFF, ENGINE_ALONE),
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
    flag("--dataset-path", Text, NONE).help("The file of a data set."),
    flag("--no-oversample", Switch, OFF).help(
        "Do not repeat prompts of a file that has \
         too few.",
    ),
    later("--enable-multimodal-chat", Switch, OFF, MEDIA_DATA),
    flag("--custom-output-len", Int, NONE)
        .help("Tokens in a reply to a custom prompt; -1 takes its output_tokens."),
    flag("--input-len", Int, NONE).help("Tokens in a prompt, whatever the data set."),
    flag("--output-len", Int, NONE).help("Tokens in a reply, whatever the data set."),
    flag("--n", Int, int(1)).help("Replies to each prompt."),
    flag("--num-prompts", Int, int(1000)).help("How many requests are sent."),
    flag("--num-warmups", Int, int(0)).help("Requests before the measurement."),
    hint("--hf-max-batch-size", Int, NONE, ENGINE_ALONE),
    hint("--hf-enable-torch-compile", Switch, OFF, ENGINE_ALONE),
    flag("--output-json", Text, NONE).help("Write the results to this JSON file."),
    hint("--async-engine", Switch, OFF, ENGINE_ALONE),
    hint("--prequeue-requests", Switch, OFF, ENGINE_ALONE),
    hint("--disable-detokenize", Switch, OFF, ENGINE_ALONE),
    later("--lora-path", Text, NONE, LORA_ADAPTERS),
    hint("--lora-assignment", Text, text("random"), LORA_ADAPTERS)
        .choices(&["random", "round-robin"]),
    flag("--prefix-len", Int, int(0)).help("Tokens that all prompts begin with."),
    hint("--hf-subset", Text, NONE, DOWNLOADS),
    hint("--hf-split", Text, NONE, DOWNLOADS),
    hint("--hf-name", Text, NONE, DOWNLOADS),
    later("--profile", Switch, OFF, PYTHON),
    flag("--prefix-repetition-prefix-len", Int, NONE).help("Tokens of a shared prefix."),
    flag("--prefix-repetition-suffix-len", Int, NONE).help("Tokens behind it."),
    flag("--prefix-repetition-num-prefixes", Int, NONE).help("How many prefixes there are."),
    flag("--prefix-repetition-output-len", Int, NONE).help("Tokens in a reply."),
    flag("--random-input-len", Int, int(1024)).help("Tokens in a random prompt."),
    flag("--random-output-len", Int, int(128)).help("Tokens in a reply to a random prompt."),
    flag("--random-range-ratio", Text, text("0.0")).help(
        "How far lengths stray from these, in [0, 1), or a JSON object with input and output.",
    ),
    flag("--random-prefix-len", Int, int(0)).help("Tokens that all random prompts begin with."),
    hint("--random-batch-size", Int, int(1), MEDIA_DATA),
    hint("--no-reranker", Switch, OFF, MEDIA_DATA),
    hint("--random-mm-base-items-per-request", Int, int(1), MEDIA_DATA),
    hint("--random-mm-num-mm-items-range-ratio", Float, float(0.0), MEDIA_DATA),
    hint("--random-mm-limit-mm-per-prompt", Json, NONE, MEDIA_DATA),
    hint("--random-mm-bucket-config", Text, NONE, MEDIA_DATA),
    hint("--asr-min-audio-len-sec", Float, float(0.0), MEDIA_DATA),
    hint("--asr-max-audio-len-sec", Float, float(f64::INFINITY), MEDIA_DATA),
];
