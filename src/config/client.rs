//! What `chat` and `complete` are told.

use super::env::Env;
use super::grammar::Raw;

/// A server that speaks OpenAI's API.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ApiServer {
    /// Without a slash at the end: `http://localhost:8000/v1`.
    pub url: String,
    pub api_key: Option<String>,
    /// `None` takes the first that the server names.
    pub model: Option<String>,
}

/// The settings of `chat`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ChatSettings {
    pub server: ApiServer,
    pub system_prompt: Option<String>,
    /// One message instead of a conversation.
    pub quick: Option<String>,
    /// Whether to show how long replies took.
    pub stats: bool,
}

/// The settings of `complete`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CompleteSettings {
    pub server: ApiServer,
    pub max_tokens: Option<i64>,
    /// One prompt instead of many.
    pub quick: Option<String>,
    /// Whether to show how long replies took.
    pub stats: bool,
}

fn server(raw: &Raw, env: &Env) -> ApiServer {
    // An empty key counts as none, as in Python.
    let given = raw.text("--api-key").filter(|key| !key.is_empty());
    ApiServer {
        url: raw.text("--url").unwrap_or_default().trim_end_matches('/').to_owned(),
        api_key: given.or_else(|| env.openai_api_key.clone()),
        model: raw.text("--model-name").filter(|name| !name.is_empty()),
    }
}

pub(super) fn chat(raw: &Raw, env: &Env) -> ChatSettings {
    ChatSettings {
        server: server(raw, env),
        system_prompt: raw.text("--system-prompt"),
        quick: raw.text("--quick"),
        stats: raw.is_on("--stats"),
    }
}

pub(super) fn complete(raw: &Raw, env: &Env) -> CompleteSettings {
    CompleteSettings {
        server: server(raw, env),
        max_tokens: raw.int("--max-tokens"),
        quick: raw.text("--quick"),
        stats: raw.is_on("--stats"),
    }
}

pub(super) fn healthcheck(raw: &Raw) -> Option<String> {
    raw.text("--url").map(|url| url.trim_end_matches('/').to_owned())
}
