//! What a client is told when something goes wrong: one place from error to status and body.

use std::fmt;

/// The form of an error's body.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Shape {
    /// `{"error":{"message","type","param","code"}}`
    Error,
    /// `{"detail":message}`, as the web framework below vLLM answers.
    Detail,
    /// `{"type":"error","error":{"type","message"}}`, as Anthropic's API has it.
    Anthropic,
}

/// An error with the HTTP status, type, parameter and message of vLLM's error body.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ApiError {
    pub status: u16,
    pub shape: Shape,
    /// The body's `type`.
    pub kind: &'static str,
    pub param: Option<String>,
    pub message: String,
}

impl ApiError {
    fn new(status: u16, kind: &'static str, message: impl Into<String>) -> Self {
        Self { status, shape: Shape::Error, kind, param: None, message: message.into() }
    }

    /// A request that vLLM refuses after its schema was checked.
    pub fn bad_request(message: impl Into<String>) -> Self {
        Self::new(400, "BadRequestError", message)
    }

    /// The same for one parameter; the message names it and, when given, its value.
    pub fn parameter(message: impl fmt::Display, name: &str, value: Option<&str>) -> Self {
        let message = match value {
            Some(value) => format!("{message} (parameter={name}, value={value})"),
            None => format!("{message} (parameter={name})"),
        };
        Self::bad_request(message).with_param(name)
    }

    /// A request that does not fit the schema.
    pub fn schema(message: impl Into<String>, param: Option<String>) -> Self {
        Self { param, ..Self::new(400, "Bad Request", message) }
    }

    /// An answer of the web framework: unknown path, wrong method, unreadable body.
    pub fn detail(status: u16, message: &'static str) -> Self {
        Self { shape: Shape::Detail, ..Self::new(status, "", message) }
    }

    /// What vLLM's handlers raise as an exception of the web framework: the type is the status's
    /// name.
    pub fn http(status: u16, message: impl Into<String>) -> Self {
        let kind = match status {
            400 => "Bad Request",
            500 => "Internal Server Error",
            _ => "Error",
        };
        Self::new(status, kind, message)
    }

    /// A body beyond the limit of `max_bytes`. vLLM knows no limit; the shape is its.
    pub fn body_too_large(max_bytes: usize) -> Self {
        let message = format!("The request body is larger than {max_bytes} bytes.");
        Self::new(413, "Request Entity Too Large", message)
    }

    /// A body that took longer than its limit. vLLM waits for ever.
    pub fn body_too_slow(limit: std::time::Duration) -> Self {
        let seconds = limit.as_secs_f64();
        let message = format!("The request body did not arrive within {seconds} seconds.");
        Self::new(408, "Request Timeout", message)
    }

    /// Something that the operator has not switched on.
    pub fn permission_denied(message: impl Into<String>) -> Self {
        Self::new(403, "PermissionDeniedError", message)
    }

    /// A model name that is not served.
    pub fn unknown_model(name: &str, served: &[String]) -> Self {
        let aliases = served.join(", ");
        let message = format!("The model `{name}` does not exist. Valid aliases: {aliases}.");
        Self::new(404, "NotFoundError", message).with_param("model")
    }

    /// What the user got wrong about adapters.
    pub fn invalid_user_input(message: impl Into<String>) -> Self {
        Self::new(400, "InvalidUserInput", message)
    }

    /// Something other than a model that there is not.
    pub fn not_found(message: impl Into<String>) -> Self {
        Self::new(404, "NotFoundError", message)
    }

    /// What the Responses API refuses about one parameter.
    pub fn invalid_request(status: u16, message: impl Into<String>, name: &str) -> Self {
        Self::new(status, "invalid_request_error", message).with_param(name)
    }

    /// Something vLLM does and Glassbox does not (yet).
    pub fn not_implemented(what: impl fmt::Display) -> Self {
        Self::new(501, "NotImplementedError", format!("{what} is not supported by this server."))
    }

    /// Something that vLLM does for other models only.
    pub fn not_supported(message: impl Into<String>) -> Self {
        Self::new(501, "NotImplementedError", message)
    }

    /// More requests are in flight than `--max-num-queued-reqs` allows.
    pub fn overloaded() -> Self {
        let message = "The engine is currently busy and cannot accept new requests. \
                       Please try again later or on a different instance.";
        Self::new(503, "Service Unavailable", message)
    }

    /// Too many prompt tokens wait.
    pub fn backlog() -> Self {
        let message = "The engine has reached its prefill token backlog limit. \
                       Please try again later or on a different instance.";
        Self::new(503, "Service Unavailable", message)
    }

    /// The engine has failed.
    pub fn engine_dead() -> Self {
        let message = "EngineCore encountered an issue. \
                       See stack trace (above) for the root cause.";
        Self::internal(message)
    }

    /// One generation has failed.
    pub fn generation_failed() -> Self {
        Self::internal("Internal server error")
    }

    /// A failure of the server.
    pub fn internal(message: impl Into<String>) -> Self {
        Self::new(500, "InternalServerError", message)
    }

    /// The same for a client of Anthropic's API.
    pub fn for_anthropic(self) -> Self {
        Self { shape: Shape::Anthropic, ..self }
    }

    /// Sets the parameter without naming it in the message.
    pub fn with_param(mut self, name: &str) -> Self {
        self.param = Some(name.to_owned());
        self
    }
}

impl fmt::Display for ApiError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl std::error::Error for ApiError {}
