//! Flags of logging, metrics, tracing and of the scheduler.

use super::Kind::*;
use super::*;

pub(super) const LOGGING: &[Flag] = &[
    flag("--logging-config", Json, NONE)
        .help("How to log: log_level, formatter (text or json), configure_logging."),
    flag("--log-level", Text, NONE)
        .choices(&["CRITICAL", "ERROR", "WARNING", "INFO", "DEBUG", "NOTSET"])
        .help("The least severe level that is logged."),
    later("--log-config-file", Text, NONE, PYTHON),
];

pub(super) const OBSERVABILITY: &[Flag] = &[
    flag("--show-hidden-metrics-for-version", Text, NONE)
        .optional()
        .help("Show metrics that are hidden since this version. vLLM 0.32 hides none."),
    flag("--otlp-traces-endpoint", Text, NONE)
        .optional()
        .help("Trace requests and send the spans to this OTLP endpoint; see OTEL_EXPORTER_OTLP_*."),
    flag("--collect-detailed-traces", Texts, NONE)
        .optional()
        .choices(&["all", "model", "worker"])
        .help("Add steps of the engine to the spans; needs --otlp-traces-endpoint."),
    hint("--per-request-spec-decode-metrics", Text, text("none"), SPEC)
        .choices(&["detailed", "none", "summary"]),
    flag("--kv-cache-metrics", Toggle, OFF)
        .help("Measure how long KV blocks keep what they hold, on a sample of them."),
    flag("--kv-cache-metrics-sample", Float, float(0.01))
        .help("Share of the blocks that --kv-cache-metrics follows, in (0, 1]."),
    flag("--custom-histogram-buckets", Json, NONE).optional().help(
        "Bounds of histogram buckets by family, as in '{\"request_latency\": [0.1, 1, 10]}'.",
    ),
    hint("--cudagraph-metrics", Toggle, OFF, KERNELS),
    hint("--enable-layerwise-nvtx-tracing", Toggle, OFF, KERNELS),
    flag("--enable-mfu-metrics", Toggle, OFF)
        .help("Estimate the operations and the memory traffic of steps, in metrics and the log."),
    flag("--enable-logging-iteration-details", Toggle, OFF)
        .help("Log a line for each step: requests, tokens, time."),
    hint("--jit-monitor-mode", Text, text("warn"), KERNELS).choices(&["error", "warn"]),
    hint("--jit-monitor-verbose", Toggle, OFF, KERNELS),
];

pub(super) const SCHEDULER: &[Flag] = &[
    flag("--max-num-batched-tokens", HumanInt, NONE).help("Most tokens in one step of the engine."),
    flag("--max-num-scheduled-tokens", HumanInt, NONE)
        .optional()
        .help("Most tokens in one step, where that is less than --max-num-batched-tokens."),
    flag("--max-num-seqs", Int, NONE).help("Most requests in one step of the engine."),
    flag("--max-num-active-seqs", Int, NONE)
        .optional()
        .help("Most requests that run at a time, where that is less than --max-num-seqs."),
    flag("--max-num-queued-reqs", Int, NONE)
        .optional()
        .help("Most requests in flight; more are answered with 503. No limit by default."),
    flag("--max-num-queued-tokens", HumanInt, NONE)
        .optional()
        .help("Most prompt tokens of requests before their first token; more are a 503."),
    flag("--long-prefill-token-threshold", Int, int(0))
        .help("Most prompt tokens of one request in a step when others run too; 0: no limit."),
    flag("--long-prefill-token-threshold-adaptive", Toggle, OFF)
        .help("That limit is never less than an equal share of the step."),
    flag("--scheduling-policy", Text, text("fcfs"))
        .choices(&["fcfs", "priority"])
        .help("Who goes first: in order of arrival, or by the request's priority."),
    flag("--enable-chunked-prefill", Toggle, NONE)
        .help("Split long prompts over several steps. On by default."),
    hint("--disable-chunked-mm-input", Toggle, OFF, OTHER_MODELS),
    later("--scheduler-cls", Text, NONE, PYTHON).optional(),
    flag("--scheduler-reserve-full-isl", Toggle, ON)
        .help("Start a request only when its whole prompt fits in the KV cache."),
    flag("--watermark", Float, float(0.0))
        .help("Share of KV blocks to keep free when a request is started."),
    hint("--prefill-schedule-interval", Int, int(1), ONE_DEVICE),
    hint("--disable-hybrid-kv-cache-manager", Toggle, NONE, OTHER_MODELS),
    hint("--async-scheduling", Toggle, NONE, NEVER_WAITS),
    flag("--stream-interval", Int, int(1)).help("Tokens in one chunk of a stream."),
];
