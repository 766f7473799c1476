//! Flags of the process itself.

use super::Kind::*;
use super::*;

pub(super) const OPTIONS: &[Flag] = &[
    later("--headless", Switch, OFF, ONE_DEVICE),
    later("--api-server-count", Int, NONE, ONE_DEVICE).also(&["-asc"]),
    flag("--config", Text, NONE)
        .help("Read flags from this YAML file (.yaml or .yml); the command line wins."),
    later("--grpc", Switch, OFF, NO_GRPC),
    flag("--disable-log-stats", Switch, OFF)
        .help("No statistics: neither the regular log line nor the engine's metrics."),
    later("--aggregate-engine-logging", Switch, OFF, ONE_DEVICE),
    later("--fail-on-environ-validation", Toggle, OFF, NOT_YET),
    flag("--shutdown-timeout", Int, int(0))
        .help("Seconds that requests get to finish after SIGTERM or SIGINT; 0 aborts them."),
    later("--gdn-prefill-backend", Text, NONE, OTHER_MODELS),
    later("--kda-prefill-backend", Text, NONE, OTHER_MODELS),
    later("--kda-decode-backend", Text, NONE, OTHER_MODELS),
    flag("--enable-log-requests", Toggle, OFF)
        .help("Log the parameters of every request and how it ended."),
];
