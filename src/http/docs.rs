//! `/openapi.json` and the pages that show it: what this server answers, as OpenAPI 3.1.

use super::frontend::Frontend;
use super::request::{
    BATCH_SCHEMA, CHAT_SCHEMA, COMPLETION_SCHEMA, COUNT_TOKENS_SCHEMA, DECISION_SCHEMA,
    DETOKENIZE_SCHEMA, GENERATE_SCHEMA, MESSAGES_SCHEMA, PROMPT_SCHEMA, SCORING_SCHEMA,
    TOKENIZE_TEXT_SCHEMA, responses_schema,
};
use super::respond;
use super::routes::shown;
use super::schema::{Schema, describe};
use crate::config::{Docs, VLLM_VERSION};
use axum::body::{Body, Bytes};
use axum::http::{Method, Response};
use serde_json::{Map, Value, json};

const TITLE: &str = "Glassbox";

/// One of the pages.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Page {
    OpenApi,
    Swagger,
    SwaggerRedirect,
    Redoc,
}

impl Page {
    /// Whether it is there.
    pub fn is_shown(self, docs: Docs) -> bool {
        match docs {
            Docs::Off => false,
            Docs::Online => true,
            // vLLM's own page takes the place of both.
            Docs::Offline => self != Self::Redoc,
        }
    }

    /// What it holds.
    pub fn show(self, frontend: &Frontend) -> Response<Body> {
        let root = &frontend.options.root_path;
        match self {
            Self::OpenApi => {
                let text = frontend
                    .openapi
                    .get_or_init(|| Bytes::from(super::reply::to_json(&description(frontend))));
                respond::json_text(text.clone())
            }
            Self::Swagger if frontend.options.docs == Docs::Offline => {
                respond::html(OFFLINE.replace("{root}", root))
            }
            Self::Swagger => respond::html(SWAGGER.replace("{root}", root)),
            Self::SwaggerRedirect => respond::html(REDIRECT),
            Self::Redoc => respond::html(REDOC.replace("{root}", root)),
        }
    }
}

const SWAGGER: &str = r##"<!DOCTYPE html>
<html lang="en"><head><meta charset="utf-8"><title>Glassbox - Swagger UI</title>
<link rel="stylesheet" href="https://cdn.jsdelivr.net/npm/swagger-ui-dist@5/swagger-ui.css"></head>
<body><div id="swagger-ui"></div>
<script src="https://cdn.jsdelivr.net/npm/swagger-ui-dist@5/swagger-ui-bundle.js"></script>
<script>
SwaggerUIBundle({url: "{root}/openapi.json", dom_id: "#swagger-ui", deepLinking: true,
  oauth2RedirectUrl: location.origin + "{root}/docs/oauth2-redirect"});
</script></body></html>
"##;

const REDOC: &str = r##"<!DOCTYPE html>
<html lang="en"><head><meta charset="utf-8"><title>Glassbox - ReDoc</title></head>
<body style="margin: 0"><redoc spec-url="{root}/openapi.json"></redoc>
<script src="https://cdn.jsdelivr.net/npm/redoc@2/bundles/redoc.standalone.js"></script>
</body></html>
"##;

/// No endpoint here asks for OAuth: the page that Swagger UI would come back to has nothing to do.
const REDIRECT: &str = r##"<!DOCTYPE html>
<html lang="en"><head><meta charset="utf-8"><title>Swagger UI: OAuth2 Redirect</title></head>
<body><script>window.close();</script></body></html>
"##;

/// Shows the description without any script from elsewhere.
const OFFLINE: &str = r##"<!DOCTYPE html>
<html lang="en"><head><meta charset="utf-8"><title>Glassbox</title>
<style>body{font:15px sans-serif;margin:2em}code{font-weight:bold}pre{background:#eee;padding:1em}
</style></head><body><h1>Glassbox</h1><div id="all">Reading the description…</div>
<script>
const add = (to, kind, text) => {
  const made = document.createElement(kind);
  made.textContent = text;
  return to.appendChild(made);
};
fetch("{root}/openapi.json").then(reply => reply.json()).then(api => {
  const all = document.getElementById("all");
  all.textContent = "";
  for (const [path, methods] of Object.entries(api.paths)) {
    for (const [method, what] of Object.entries(methods)) {
      const details = add(all, "details", "");
      const summary = add(details, "summary", "");
      add(summary, "code", method.toUpperCase() + " " + path);
      summary.append(" " + what.summary);
      const body = what.requestBody && what.requestBody.content["application/json"].schema;
      const name = body && body.$ref && body.$ref.split("/").pop();
      const schema = name ? api.components.schemas[name] : body;
      add(details, "pre", JSON.stringify(schema || {}, null, 2));
    }
  }
});
</script></body></html>
"##;

/// What there is to say about a path.
struct About {
    path: &'static str,
    summary: &'static str,
    body: Option<&'static str>,
}

const fn about(path: &'static str, summary: &'static str, body: Option<&'static str>) -> About {
    About { path, summary, body }
}

const MESSAGES: &str = "AnthropicMessagesRequest";
const COUNT_TOKENS: &str = "AnthropicCountTokensRequest";

const ABOUT: &[About] = &[
    about("/health", "200 while the engine is alive and makes progress, 503 otherwise.", None),
    about("/ping", "The same, for SageMaker.", None),
    about("/version", "The vLLM release whose API this is.", None),
    about("/load", "Requests in work; 0 unless they are counted.", None),
    about("/metrics", "Metrics for Prometheus.", None),
    about("/kv_event_sources", "Where KV events are published.", None),
    about("/v1/models", "The served names of the model.", None),
    about("/v1/chat/completions", "Answers a conversation.", Some("ChatCompletionRequest")),
    about("/v1/completions", "Goes on with prompts.", Some("CompletionRequest")),
    about("/v1/messages", "Answers a conversation, as Anthropic's API.", Some(MESSAGES)),
    about("/v1/messages/count_tokens", "How many tokens that takes.", Some(COUNT_TOKENS)),
    about("/v1/messages/render", "What that comes to, in tokens.", Some(MESSAGES)),
    about(
        "/v1/chat/completions/render",
        "What a conversation comes to, in tokens.",
        Some("ChatCompletionRequest"),
    ),
    about("/v1/completions/render", "What prompts come to, in tokens.", Some("CompletionRequest")),
    about(
        "/v1/chat/completions/batch",
        "Answers several conversations.",
        Some("BatchChatCompletionRequest"),
    ),
    about("/v1/chat/completions/derender", "Generated tokens as a chat's reply.", None),
    about("/v1/completions/derender", "Generated tokens as a completion.", None),
    about("/inference/v1/generate", "Goes on with tokens.", Some("GenerateRequest")),
    about("/inference/v1/abort_requests", "Ends requests by their ids.", None),
    about(
        "/generative_scoring",
        "How likely labels are to follow prompts.",
        Some("GenerativeScoringRequest"),
    ),
    about("/v1/systemone", "Answers questions with one token each.", Some("SystemOneRequest")),
    about("/v1/responses", "Answers, as OpenAI's Responses API does.", Some("ResponsesRequest")),
    about("/v1/responses/{response_id}", "A stored response, or its events.", None),
    about("/v1/responses/{response_id}/cancel", "Ends a response in the background.", None),
    about("/v1/responses/render", "What a response comes to, in tokens.", Some("ResponsesRequest")),
    about("/tokenize", "The tokens of a text or a conversation.", Some("TokenizeRequest")),
    about("/detokenize", "The text of tokens.", Some("DetokenizeRequest")),
    about("/tokenizer_info", "The tokenizer's settings.", None),
    about("/invocations", "A chat or a completion, for SageMaker.", Some("InvocationRequest")),
];

fn description(frontend: &Frontend) -> Value {
    let mut paths = Map::new();
    for (path, methods) in shown(frontend) {
        let about = ABOUT.iter().find(|about| about.path == path);
        let operations = methods.iter().filter(|method| **method != Method::HEAD).map(|method| {
            let name = method.as_str().to_lowercase();
            let operation = operation(path, about, &name);
            (name, operation)
        });
        paths.insert(path.to_owned(), Value::Object(operations.collect()));
    }
    let mut description = json!({
        "openapi": "3.1.0",
        "info": {
            "title": TITLE,
            "description": format!("Answers as vLLM {VLLM_VERSION}."),
            "version": env!("CARGO_PKG_VERSION"),
        },
        "paths": paths,
        "components": {"schemas": schemas()},
    });
    if !frontend.options.root_path.is_empty() {
        description["servers"] = json!([{"url": frontend.options.root_path}]);
    }
    if !frontend.options.api_keys.is_empty() {
        description["components"]["securitySchemes"] =
            json!({"key": {"type": "http", "scheme": "bearer"}});
    }
    description
}

fn operation(path: &str, about: Option<&About>, method: &str) -> Value {
    let error = |what: &str| {
        let schema = json!({"$ref": "#/components/schemas/ErrorResponse"});
        json!({"description": what, "content": {"application/json": {"schema": schema}}})
    };
    let name: String = path.chars().map(|c| if c.is_alphanumeric() { c } else { '_' }).collect();
    let mut operation = json!({
        "summary": about.map_or("See vLLM's documentation.", |about| about.summary),
        "operationId": format!("{method}{name}"),
        "responses": {"200": {"description": "Successful Response"}},
    });
    if let Some(body) = about.and_then(|about| about.body).filter(|_| method == "post") {
        let schema = json!({"$ref": format!("#/components/schemas/{body}")});
        operation["requestBody"] =
            json!({"required": true, "content": {"application/json": {"schema": schema}}});
        let responses = &mut operation["responses"];
        responses["400"] = error("Bad Request");
        responses["404"] = error("Not Found");
        responses["500"] = error("Internal Server Error");
        responses["503"] = error("Service Unavailable");
    }
    operation
}

fn schemas() -> Value {
    let named = |title: &str, schema: &Schema| {
        let mut described = describe(schema);
        described["title"] = json!(title);
        described
    };
    let either = |names: [&str; 2]| {
        let names = names.map(|name| json!({"$ref": format!("#/components/schemas/{name}")}));
        json!({"anyOf": names})
    };
    let text = json!({"type": "string"});
    json!({
        "ChatCompletionRequest": named("ChatCompletionRequest", &CHAT_SCHEMA),
        "CompletionRequest": named("CompletionRequest", &COMPLETION_SCHEMA),
        "BatchChatCompletionRequest": named("BatchChatCompletionRequest", &BATCH_SCHEMA),
        "GenerateRequest": named("GenerateRequest", &GENERATE_SCHEMA),
        "GenerativeScoringRequest": named("GenerativeScoringRequest", &SCORING_SCHEMA),
        "SystemOneRequest": named("SystemOneRequest", &DECISION_SCHEMA),
        MESSAGES: named(MESSAGES, &MESSAGES_SCHEMA),
        COUNT_TOKENS: named(COUNT_TOKENS, &COUNT_TOKENS_SCHEMA),
        "ResponsesRequest": named("ResponsesRequest", &responses_schema()),
        "TokenizeCompletionRequest": named("TokenizeCompletionRequest", &TOKENIZE_TEXT_SCHEMA),
        "TokenizeChatRequest": named("TokenizeChatRequest", &PROMPT_SCHEMA),
        "TokenizeRequest": either(["TokenizeCompletionRequest", "TokenizeChatRequest"]),
        "InvocationRequest": either(["ChatCompletionRequest", "CompletionRequest"]),
        "DetokenizeRequest": named("DetokenizeRequest", &DETOKENIZE_SCHEMA),
        "ErrorInfo": {
            "type": "object",
            "properties": {
                "message": text,
                "type": text,
                "param": {"anyOf": [text, {"type": "null"}]},
                "code": {"type": "integer"},
            },
            "required": ["message", "type", "code"],
            "title": "ErrorInfo",
        },
        "ErrorResponse": {
            "type": "object",
            "properties": {"error": {"$ref": "#/components/schemas/ErrorInfo"}},
            "required": ["error"],
            "title": "ErrorResponse",
        },
    })
}
