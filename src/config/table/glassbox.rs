//! Glassbox's own flags: only what vLLM has no name for.

use super::Kind::*;
use super::*;

pub(super) const GLASSBOX: &[Flag] = &[
    flag("--device", Text, text("auto"))
        .choices(&["auto", "cpu", "cuda", "sim"])
        .help("What runs the model: auto takes a GPU if there is one; sim computes nothing."),
    flag("--glassbox-sim-step-ms", Float, float(0.0))
        .help("Milliseconds that a step takes --device sim."),
    flag("--glassbox-threads", Int, NONE)
        .help("Threads of the CPU backend; the cores that this process may use by default."),
    flag("--glassbox-cpu-isa", Text, text("auto"))
        .choices(&["auto", "avx512bf16", "avx2", "neon", "portable"])
        .help("Instruction set of the CPU kernels; auto takes the best one."),
    flag("--glassbox-trace-level", Text, text("phases"))
        .choices(&["request", "phases", "steps"])
        .help("What a traced request shows: one span, its phases, or steps of the engine too."),
    flag("--glassbox-log-format", Text, NONE)
        .choices(&["text", "json"])
        .help("The log: vLLM's lines, or a JSON object a line. Wins over GLASSBOX_LOG_FORMAT."),
    flag("--glassbox-kv-events-encoding", Text, NONE)
        .choices(&["map", "array", "array-2025"])
        .help("Form of KV cache events: map (vLLM 0.32, the default) or an older vLLM's array."),
    flag("--glassbox-kv-events-wait", Float, float(10.0))
        .help("Seconds that the first batch of KV cache events waits for a subscriber."),
    flag("--glassbox-max-body-bytes", HumanInt, int(64 << 20))
        .help("Bytes that the body of a request may have; a longer one is a 413."),
    flag("--glassbox-responses-store-bytes", HumanInt, int(256 << 20))
        .help("Memory for the responses that VLLM_ENABLE_RESPONSES_API_STORE keeps."),
    flag("--glassbox-max-connections", Int, int(16384))
        .help("Connections at a time; one more is answered 503 and closed."),
    flag("--glassbox-head-timeout", Float, float(30.0))
        .help("Seconds for a TLS handshake, and for the head of a request."),
    flag("--glassbox-body-timeout", Float, float(120.0))
        .help("Seconds for the body of a request; a slower one is a 408."),
    flag("--glassbox-send-timeout", Float, float(120.0))
        .help("Seconds in which a client may take no byte of its reply before it is cut off."),
];
