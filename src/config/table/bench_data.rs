//! Flags of the data sets of `bench serve`.

use super::Kind::*;
use super::bench_common::*;
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
    ASR_MAX_AUDIO_LEN_SEC,
    ASR_MIN_AUDIO_LEN_SEC,
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
    HF_SUBSET,
    HF_SPLIT,
    HF_NAME,
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
