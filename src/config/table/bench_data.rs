//! Flags of the data sets of `bench serve`.

use super::Kind::*;
use super::*;

pub(super) const DATASETS: &[Flag] = &[
    flag("--custom-output-len", Int, int(256))
        .help("Tokens in a reply to a custom prompt; -1 takes its output_tokens."),
    hint("--custom-ensure-client-side-data", Switch, OFF, MEDIA_DATA),
    hint("--spec-bench-output-len", Int, int(256), DOWNLOADS),
    hint("--spec-bench-category", Text, NONE, DOWNLOADS),
    flag("--sharegpt-output-len", Int, NONE)
        .help("Tokens in a reply to a ShareGPT prompt; as long as its answer when not given."),
    hint("--timed-trace-chunk-hash-size", Int, int(16), DOWNLOADS),
    hint("--timed-trace-sec-multiplier", Float, float(1.0), DOWNLOADS),
    hint("--timed-trace-label-timestamp", Text, text("timestamp"), DOWNLOADS),
    hint("--timed-trace-label-input-length", Text, text("input_length"), DOWNLOADS),
    hint("--timed-trace-label-output-length", Text, text("output_length"), DOWNLOADS),
    hint("--timed-trace-label-hash-ids", Text, text("hash_ids"), DOWNLOADS),
    hint("--blazedit-min-distance", Float, float(0.0), DOWNLOADS),
    hint("--blazedit-max-distance", Float, float(1.0), DOWNLOADS),
    hint("--asr-max-audio-len-sec", Float, float(f64::INFINITY), MEDIA_DATA),
    hint("--asr-min-audio-len-sec", Float, float(0.0), MEDIA_DATA),
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
    hint("--hf-subset", Text, NONE, DOWNLOADS),
    hint("--hf-split", Text, NONE, DOWNLOADS),
    hint("--hf-name", Text, NONE, DOWNLOADS),
    hint("--hf-output-len", Int, NONE, DOWNLOADS),
    hint("--bfcl-categories", Text, NONE, DOWNLOADS),
    flag("--prefix-repetition-prefix-len", Int, int(256)).help("Tokens of a shared prefix."),
    flag("--prefix-repetition-suffix-len", Int, int(256)).help("Tokens behind it."),
    flag("--prefix-repetition-num-prefixes", Int, int(10)).help("How many prefixes there are."),
    flag("--prefix-repetition-output-len", Int, int(128)).help("Tokens in a reply."),
    hint("--speed-bench-dataset-subset", Text, text("qualitative"), DOWNLOADS).choices(&[
        "throughput_1k",
        "throughput_32k",
        "throughput_2k",
        "throughput_8k",
        "throughput_16k",
        "qualitative",
    ]),
    hint("--speed-bench-output-len", Int, int(4096), DOWNLOADS),
    hint("--speed-bench-category", Text, NONE, DOWNLOADS),
];
