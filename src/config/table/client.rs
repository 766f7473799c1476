//! Flags of `chat`, `complete` and `healthcheck`.

use super::Kind::*;
use super::*;

const URL: Flag =
    flag("--url", Text, text("http://localhost:8000/v1")).help("Where the server's API is.");
const MODEL_NAME: Flag =
    flag("--model-name", Text, NONE).help("The model; the server's first one when not given.");
const API_KEY: Flag =
    flag("--api-key", Text, NONE).help("The server's key; wins over OPENAI_API_KEY.");
const STATS: Flag = flag("--stats", Switch, OFF).help("Show after each reply how long it took.");

pub(super) const CHAT: &[Flag] = &[
    URL,
    MODEL_NAME,
    API_KEY,
    flag("--system-prompt", Text, NONE).help("A system message that comes first."),
    flag("--quick", Text, NONE).letter("-q").help("Send this one message, print the reply, end."),
    STATS,
];

pub(super) const COMPLETE: &[Flag] = &[
    URL,
    MODEL_NAME,
    API_KEY,
    flag("--max-tokens", Int, NONE).help("Most tokens of a completion."),
    flag("--quick", Text, NONE).letter("-q").help("Send this one prompt, print what follows, end."),
    STATS,
];

pub(super) const HEALTHCHECK: &[Flag] = &[flag("--url", Text, NONE).help(
    "Where the server is, as in http://localhost:8000; when not given, the one that runs here is \
     found by its command line.",
)];
