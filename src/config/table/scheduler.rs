//! Flags of logging, metrics, tracing and of the scheduler.

use super::Kind::*;
use super::*;

pub(super) const LOGGING: &[Flag] = &[
    later("--logging-config", Json, NONE, NOT_YET),
    flag("--log-level", Text, NONE)
        .choices(&["CRITICAL", "ERROR", "WARNING", "INFO", "DEBUG", "NOTSET"])
        .help("The least severe level that is logged."),
    later("--log-config-file", Text, NONE, NOT_YET),
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
    later("--per-request-spec-decode-metrics", Text, text("none"), SPEC),
    later("--kv-cache-metrics", Toggle, OFF, NOT_YET),
    later("--kv-cache-metrics-sample", Float, float(0.01), NOT_YET),
    flag("--custom-histogram-buckets", Json, NONE).optional().help(
        "Bounds of histogram buckets by family, as in '{\"request_latency\": [0.1, 1, 10]}'.",
    ),
    later("--cudagraph-metrics", Toggle, OFF, KERNELS),
    later("--enable-layerwise-nvtx-tracing", Toggle, OFF, KERNELS),
    later("--enable-mfu-metrics", Toggle, OFF, NOT_YET),
    later("--enable-logging-iteration-details", Toggle, OFF, NOT_YET),
    later("--jit-monitor-mode", Text, text("warn"), KERNELS),
    later("--jit-monitor-verbose", Toggle, OFF, KERNELS),
];

pub(super) const SCHEDULER: &[Flag] = &[
    flag("--max-num-batched-tokens", HumanInt, NONE).help("Most tokens in one step of the engine."),
    later("--max-num-scheduled-tokens", HumanInt, NONE, NOT_YET).optional(),
    flag("--max-num-seqs", Int, NONE).help("Most requests in one step of the engine."),
    later("--max-num-active-seqs", Int, NONE, NOT_YET).optional(),
    flag("--max-num-queued-reqs", Int, NONE)
        .optional()
        .help("Most requests in flight; more are answered with 503. No limit by default."),
    later("--max-num-queued-tokens", HumanInt, NONE, NOT_YET).optional(),
    flag("--long-prefill-token-threshold", Int, int(0))
        .help("Most prompt tokens of one request in a step when others run too; 0: no limit."),
    later("--long-prefill-token-threshold-adaptive", Toggle, OFF, NOT_YET),
    flag("--scheduling-policy", Text, text("fcfs"))
        .choices(&["fcfs", "priority"])
        .help("Who goes first: in order of arrival, or by the request's priority."),
    flag("--enable-chunked-prefill", Toggle, NONE)
        .help("Split long prompts over several steps. On by default."),
    later("--disable-chunked-mm-input", Toggle, OFF, OTHER_MODELS),
    later("--scheduler-cls", Text, NONE, PYTHON).optional(),
    flag("--scheduler-reserve-full-isl", Toggle, ON)
        .help("Start a request only when its whole prompt fits in the KV cache."),
    flag("--watermark", Float, float(0.0))
        .help("Share of KV blocks to keep free when a request is started."),
    later("--prefill-schedule-interval", Int, int(1), NOT_YET),
    later("--disable-hybrid-kv-cache-manager", Toggle, NONE, OTHER_MODELS),
    later("--async-scheduling", Toggle, NONE, NOT_YET),
    flag("--stream-interval", Int, int(1)).help("Tokens in one chunk of a stream."),
];
