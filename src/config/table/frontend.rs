//! Flags of the HTTP server and the OpenAI API.

use super::Kind::*;
use super::*;

/// The OpenAI API.
pub(super) const API: &[Flag] = &[
    later("--lora-modules", Texts, NONE, LORA_ADAPTERS).optional(),
    flag("--chat-template", Text, NONE)
        .optional()
        .help("A Jinja chat template, as a file or as text, in place of the model's own."),
    flag("--chat-template-content-format", Text, text("auto"))
        .choices(&["auto", "openai", "string"])
        .help("How the template gets content: as parts, as text, or as it looks like it wants it."),
    flag("--trust-request-chat-template", Toggle, OFF)
        .help("Let requests bring a chat template of their own; it runs in a sandbox."),
    flag("--trust-request-mm-kwargs", Toggle, OFF)
        .help("Accept arguments for media with a request; otherwise they are a 400."),
    flag("--default-chat-template-kwargs", Json, NONE)
        .help("JSON object of variables for the chat template; those of a request win."),
    flag("--response-role", Text, text("assistant")).help("The role that chat replies carry."),
    flag("--return-tokens-as-token-ids", Toggle, OFF)
        .help("Write tokens in log-probabilities as `token_id:N`."),
    flag("--enable-auto-tool-choice", Toggle, OFF)
        .help("Let the model call tools when it wants to; needs --tool-call-parser."),
    flag("--exclude-tools-when-tool-choice-none", Toggle, OFF)
        .help("Keep tools out of the prompt when a request may not use them."),
    flag("--tool-call-parser", Text, NONE).optional().help(
        "How the model writes tool calls: hermes (or qwen3_json), qwen3_coder (or qwen3_xml).",
    ),
    later("--tool-parser-plugin", Text, text(""), PYTHON),
    flag("--tool-strict-level", Text, text("auto"))
        .choices(&["auto", "function", "parameter"])
        .help("Hold at least the names, or also the arguments, of tool calls to their schema."),
    later("--tool-server", Text, NONE, NOT_YET).optional(),
    flag("--max-log-len", Int, NONE).optional().help(
        "Characters or token ids of a prompt or a reply that are logged; no limit by default.",
    ),
    flag("--enable-prompt-tokens-details", Toggle, OFF)
        .help("Report in `usage` how many prompt tokens came from the prefix cache."),
    flag("--enable-per-request-metrics", Toggle, OFF)
        .help("Report the times of a request in `metrics` of its reply."),
    flag("--enable-server-load-tracking", Toggle, OFF)
        .help("Let /load count the requests in work."),
    flag("--enable-force-include-usage", Toggle, OFF)
        .help("Send usage with every chunk of every stream, asked for or not."),
    flag("--sse-keep-alive-interval", Int, int(0))
        .help("Seconds of silence in a stream after which a comment is sent; 0 sends none."),
    flag("--enable-tokenizer-info-endpoint", Toggle, OFF)
        .help("Answer /tokenizer_info, chat template included."),
    flag("--enable-log-outputs", Toggle, OFF).help(
        "Log the text of replies, and at DEBUG their token ids; needs --enable-log-requests.",
    ),
    flag("--enable-log-deltas", Toggle, ON)
        .help("With --enable-log-outputs, log each piece of a stream too, not only its whole."),
    hint("--cohere-is-reasoning-model", Toggle, ON, OTHER_MODELS),
    hint("--cohere-format", Text, text("cmd4"), OTHER_MODELS),
    flag("--anthropic-disabled-thinking-effort", Text, text("auto"))
        .choices(&["auto", "high", "low", "max", "medium", "none", "xhigh"])
        .help("The reasoning_effort that /v1/messages asks for when thinking is disabled."),
    hint("--log-error-stack", Toggle, OFF, ONE_PROCESS),
    later("--tokens-only", Toggle, OFF, NOT_YET),
    flag("--enable-scale-out", Toggle, OFF)
        .help("Answer what routers ask: /render and /derender of an API, /inference/v1."),
    flag("--fingerprint-mode", Text, text("full"))
        .choices(&["custom", "full", "hash", "none"])
        .help(
            "What system_fingerprint says: all settings, their hash, --fingerprint-value, nothing.",
        ),
    flag("--fingerprint-value", Text, NONE)
        .optional()
        .help("The fingerprint of `--fingerprint-mode custom`."),
];

/// The HTTP server.
pub(super) const SERVER: &[Flag] = &[
    flag("--host", Text, NONE)
        .optional()
        .help("The address to listen on; all IPv4 interfaces when not given."),
    flag("--port", Int, int(8000)).help("The TCP port to listen on; 0 takes a free one."),
    later("--grpc-port", Int, NONE, NO_GRPC).optional(),
    hint("--data-parallel-supervisor-port", Int, int(9256), ONE_DEVICE),
    hint("--dp-supervisor-probe-interval-s", Float, float(5.0), ONE_DEVICE),
    hint("--dp-supervisor-probe-timeout-s", Float, float(5.0), ONE_DEVICE),
    hint("--dp-supervisor-probe-failure-threshold", Int, int(3), ONE_DEVICE),
    flag("--uds", Text, NONE)
        .optional()
        .help("The path of a Unix socket to listen on, in place of host and port."),
    flag("--uvicorn-log-level", Text, text("info"))
        .choices(&["critical", "debug", "error", "info", "trace", "warning"])
        .help("The least severe level that the HTTP server logs."),
    flag("--disable-uvicorn-access-log", Toggle, OFF)
        .help("Do not log a line for each HTTP request."),
    flag("--disable-access-log-for-endpoints", Text, NONE)
        .optional()
        .help("Paths, with commas between, whose requests are not logged."),
    flag("--allow-credentials", Toggle, OFF).help("Let pages of allowed origins send credentials."),
    flag("--allowed-origins", Json, NONE)
        .help("JSON list of origins whose pages may use the API; none by default."),
    flag("--allowed-methods", Json, NONE)
        .help("JSON list of the methods that such pages may use; all by default."),
    flag("--allowed-headers", Json, NONE)
        .help("JSON list of the headers that such pages may send; all by default."),
    flag("--api-key", Texts, NONE)
        .optional()
        .help("Keys; a client must present one as bearer token. Wins over VLLM_API_KEY."),
    flag("--ssl-keyfile", Text, NONE).optional().help(
        "The private key of the certificate, PEM; without it the certificate's file holds both.",
    ),
    flag("--ssl-certfile", Text, NONE)
        .optional()
        .help("The certificate chain of this server, PEM; turns HTTPS on."),
    flag("--ssl-ca-certs", Text, NONE)
        .optional()
        .help("Certificates of the authorities of clients, PEM."),
    flag("--enable-ssl-refresh", Toggle, OFF).help("Read the TLS files again when they change."),
    flag("--ssl-cert-reqs", Int, int(0))
        .help("Client certificates: 0 not asked for, 1 checked when there, 2 required."),
    flag("--ssl-ciphers", Text, NONE)
        .optional()
        .help("OpenSSL cipher list for TLS 1.2; what rustls does not have is refused."),
    flag("--root-path", Text, NONE)
        .optional()
        .help("The path below which a proxy shows this server."),
    later("--middleware", Append, NONE, PYTHON),
    flag("--enable-request-id-headers", Toggle, OFF)
        .help("Send X-Request-Id with every reply: the client's own, or a new one."),
    flag("--disable-fastapi-docs", Toggle, OFF).help("No /openapi.json, /docs and /redoc."),
    flag("--h11-max-incomplete-event-size", Int, int(4194304))
        .help("Bytes that the head of a request may have."),
    flag("--h11-max-header-count", Int, int(256)).help("Headers that a request may have."),
    flag("--enable-offline-docs", Toggle, OFF)
        .help("Show /docs with nothing from other servers; no /redoc."),
    hint("--enable-flash-late-interaction", Toggle, ON, OTHER_MODELS),
];
