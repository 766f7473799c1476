//! Flags of `run-batch`.

use super::Kind::*;
use super::*;

pub(super) const BATCH: &[Flag] = &[
    flag("--input-file", Text, NONE).optional().letter("-i").help("A file, one request a line."),
    flag("--output-file", Text, NONE)
        .optional()
        .letter("-o")
        .help("The file that gets the replies, one a line."),
    hint("--output-tmp-dir", Text, NONE, IN_MEMORY).optional(),
    later("--enable-metrics", Switch, OFF, NO_METRICS),
    hint("--host", Text, NONE, NO_METRICS).optional(),
    hint("--port", Int, int(8000), NO_METRICS),
    hint("--url", Text, text("0.0.0.0"), NO_METRICS),
];
