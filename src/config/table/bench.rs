//! Flags of `bench serve`, `bench latency` and `bench throughput`.

use super::Kind::*;
use super::bench_common::*;
use super::*;

pub(super) const SERVE: &[Flag] = &[
    hint("--trust-remote-code", Switch, OFF, PYTHON),
    flag("--seed", Int, int(0)).help("Seed of lengths, prompts and pauses."),
    NUM_PROMPTS,
    flag("--dataset-name", Text, text("random"))
        .choices(&[
            "sharegpt",
            "burstgpt",
            "random",
            "random-mm",
            "random-rerank",
            "hf",
            "custom",
            "custom_audio",
            "custom_image",
            "prefix_repetition",
            "spec_bench",
            "speed_bench",
            "timed_trace",
        ])
        .help("Where prompts come from."),
    later("--no-stream", Switch, OFF, STREAMS),
    DATASET_PATH,
    NO_OVERSAMPLE,
    flag("--skip-chat-template", Switch, OFF).help("Send prompts of a custom file as they are."),
    ENABLE_MULTIMODAL_CHAT,
    flag("--disable-shuffle", Switch, OFF).help("Keep the order of a file."),
    flag("--label", Text, NONE).help("A name for the results; the backend when not given."),
    flag("--backend", Text, text("openai"))
        .choices(&[
            "vllm",
            "openai",
            "openai-chat",
            "openai-responses",
            "openai-audio",
            "openai-embeddings",
            "openai-embeddings-chat",
            "openai-embeddings-clip",
            "openai-embeddings-vlm2vec",
            "infinity-embeddings",
            "infinity-embeddings-clip",
            "vllm-pooling",
            "vllm-rerank",
        ])
        .help("Which API is used."),
    flag("--base-url", Text, NONE).help("Where the server is; wins over --host and --port."),
    flag("--host", Text, text("127.0.0.1")).help("The host of the server."),
    flag("--port", Int, int(8000)).help("The port of the server."),
    flag("--endpoint", Text, text("/v1/completions")).help("The path of the API."),
    flag("--header", AnyTexts, NONE).help("Headers for every request, each KEY=VALUE."),
    flag("--max-concurrency", Int, NONE).help("Most requests in flight; no limit by default."),
    flag("--model", Text, NONE).help(
        "The name that requests use, and the tokenizer; the first of the server when not given.",
    ),
    INPUT_LEN,
    OUTPUT_LEN,
    flag("--tokenizer", Text, NONE)
        .help("Folder or hub id of the tokenizer; the model's when not given."),
    hint("--tokenizer-mode", Text, text("auto"), PYTHON),
    USE_BEAM_SEARCH,
    flag("--logprobs", Int, NONE).help("Log-probabilities that requests ask for."),
    flag("--request-rate", Float, float(f64::INFINITY))
        .help("Requests a second; inf sends all at once."),
    flag("--burstiness", Float, float(1.0)).help(
        "Shape of the gamma distribution of pauses: 1 is a Poisson process, less is burstier.",
    ),
    flag("--probe-request-rate", Float, float(0.0))
        .help("Short requests a second beside the load, to see how these fare."),
    flag("--disable-tqdm", Switch, OFF).help("Show no progress."),
    NUM_WARMUPS,
    PROFILE,
    flag("--save-result", Switch, OFF).help("Write the results to a JSON file."),
    flag("--save-detailed", Switch, OFF).help("Write times and texts of each request too."),
    flag("--append-result", Switch, OFF).help("Add the results to the file."),
    flag("--metadata", AnyTexts, NONE).help("What to write with the results, each KEY=VALUE."),
    flag("--result-dir", Text, NONE).help("The folder of the results."),
    flag("--result-filename", Text, NONE).help("The file of the results."),
    flag("--ignore-eos", Switch, OFF).help("Let replies go on to their full length."),
    later("--self-timed", Toggle, NONE, DOWNLOADS),
    flag("--percentile-metrics", Text, NONE)
        .help("Which of ttft, tpot, itl, e2el are shown; ttft,tpot,itl when not given."),
    flag("--metric-percentiles", Text, text("99")).help("Percentiles, with commas between them."),
    flag("--goodput", Texts, NONE).help(
        "Limits in milliseconds, each ttft:N, tpot:N or e2el:N, for the requests that \
             count as good.",
    ),
    flag("--request-id-prefix", Text, NONE)
        .help("The beginning of request ids; random when not given."),
    flag("--served-model-name", Text, NONE)
        .help("The name that requests use, where it is not --model."),
    later("--lora-modules", Texts, NONE, LORA_ADAPTERS),
    LORA_ASSIGNMENT,
    flag("--ramp-up-strategy", Text, NONE)
        .choices(&["linear", "exponential"])
        .help("Let the rate grow, by the same amount or by the same factor."),
    flag("--ramp-up-start-rps", Int, NONE).help("The rate at the beginning."),
    flag("--ramp-up-end-rps", Int, NONE).help("The rate at the end."),
    flag("--ready-check-timeout-sec", Int, int(0))
        .help("Seconds to wait for the server; 0 does not."),
    flag("--chat-template-kwargs", Json, NONE)
        .help("JSON object of variables for the chat template of custom prompts."),
    flag("--extra-body", Json, NONE).help("JSON object of members for every request."),
    flag("--skip-tokenizer-init", Switch, OFF).help(
        "Use no tokenizer: only for custom \
         data sets.",
    ),
    later("--insecure", Switch, OFF, CHECKED_TLS),
    later("--plot-timeline", Switch, OFF, NO_PLOTS),
    hint("--timeline-itl-thresholds", Text, text("25,50"), NO_PLOTS),
    later("--plot-dataset-stats", Switch, OFF, NO_PLOTS),
];

pub(super) const SAMPLING: &[Flag] = &[
    flag("--top-p", Float, NONE).help("Asked for by every request."),
    flag("--top-k", Int, NONE).help("Asked for by every request."),
    flag("--min-p", Float, NONE).help("Asked for by every request."),
    flag("--temperature", Float, NONE)
        .help("Asked for by every request; the server's default when not given."),
    flag("--frequency-penalty", Float, NONE).help("Asked for by every request."),
    flag("--presence-penalty", Float, NONE).help("Asked for by every request."),
    flag("--repetition-penalty", Float, NONE).help("Asked for by every request."),
];

pub(super) use super::bench_data::DATASETS;
pub(super) use super::bench_engine::{LATENCY, THROUGHPUT};
