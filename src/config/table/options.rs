//! Flags of the process itself.

use super::Kind::*;
use super::*;

/// Of `serve` alone.
pub(super) const SERVE: &[Flag] = &[
    later("--headless", Switch, OFF, ONE_DEVICE),
    hint("--api-server-count", Int, NONE, ONE_PROCESS).also(&["-asc"]),
    flag("--config", Text, NONE)
        .help("Read flags from this YAML file (.yaml or .yml); the command line wins."),
    later("--grpc", Switch, OFF, NO_GRPC),
];

pub(super) const PROCESS: &[Flag] = &[
    flag("--disable-log-stats", Switch, OFF)
        .help("No statistics: neither the regular log line nor the engine's metrics."),
    hint("--aggregate-engine-logging", Switch, OFF, ONE_PROCESS),
    flag("--fail-on-environ-validation", Toggle, OFF)
        .help("Refuse to start with a VLLM_* variable that vLLM does not know."),
    flag("--shutdown-timeout", Int, int(0))
        .help("Seconds that requests get to finish after SIGTERM or SIGINT; 0 aborts them."),
    hint("--gdn-prefill-backend", Text, NONE, OTHER_MODELS).choices(&[
        "flashinfer",
        "triton",
        "cutedsl",
        "aiter_flydsl",
    ]),
    hint("--kda-prefill-backend", Text, NONE, OTHER_MODELS).choices(&[
        "auto",
        "triton",
        "flashkda",
        "flashinfer",
        "fused",
    ]),
    hint("--kda-decode-backend", Text, NONE, OTHER_MODELS).choices(&[
        "auto",
        "native",
        "flashinfer",
        "triton",
    ]),
];

/// Of those that read requests.
pub(super) const REQUESTS: &[Flag] = &[flag("--enable-log-requests", Toggle, OFF)
    .help("Log the parameters of every request and how it ended.")];
