//! Which paths there are.

use super::super::adapters::Adapters;
use super::super::developer::Developer;
use super::super::docs::Page;
use super::super::responses::Stored;
use axum::http::Method;

/// What a path leads to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Endpoint {
    Health,
    Version,
    Load,
    KvEventSources,
    Models,
    Chat,
    ChatBatch,
    Completions,
    Messages,
    CountTokens,
    Responses,
    /// What is stored of a response.
    Stored(Stored),
    Tokenize,
    Detokenize,
    RenderChat,
    RenderCompletions,
    RenderMessages,
    RenderResponses,
    DerenderChat,
    DerenderCompletions,
    Generate,
    AbortRequests,
    Scoring,
    Decisions,
    Docs(Page),
    TokenizerInfo,
    Invocations,
    ScaleElasticEp,
    IsScalingElasticEp,
    Developer(Developer),
    Adapters(Adapters),
}

impl Endpoint {
    /// Whether its requests count as load.
    pub fn is_load(self) -> bool {
        use Endpoint::*;
        matches!(
            self,
            Chat | ChatBatch
                | Completions
                | Messages
                | CountTokens
                | Responses
                | Stored(_)
                | Invocations
                | Generate
                | Decisions
                | Scoring
        )
    }

    /// Whether it may continue what another server computed.
    pub fn generates(self) -> bool {
        use Endpoint::*;
        matches!(
            self,
            Chat | ChatBatch | Completions | Messages | Responses | Invocations | Generate
        )
    }

    /// Whether it is there only for scaling out.
    pub fn scales_out(self) -> bool {
        use Endpoint::*;
        matches!(
            self,
            RenderChat
                | RenderCompletions
                | RenderMessages
                | RenderResponses
                | DerenderChat
                | DerenderCompletions
                | Generate
                | AbortRequests
        )
    }
}

/// A path, the methods it takes, and where it leads.
pub type Route = (&'static str, &'static [Method], Endpoint);

/// All of them but the metrics page and those for developers.
pub const ROUTES: &[Route] = &[
    ("/health", &[Method::GET], Endpoint::Health),
    ("/ping", &[Method::GET, Method::POST], Endpoint::Health),
    ("/version", &[Method::GET], Endpoint::Version),
    ("/load", &[Method::GET], Endpoint::Load),
    ("/kv_event_sources", &[Method::GET], Endpoint::KvEventSources),
    ("/v1/models", &[Method::GET], Endpoint::Models),
    ("/v1/chat/completions", &[Method::POST], Endpoint::Chat),
    ("/v1/chat/completions/batch", &[Method::POST], Endpoint::ChatBatch),
    ("/v1/completions", &[Method::POST], Endpoint::Completions),
    ("/v1/messages", &[Method::POST], Endpoint::Messages),
    ("/v1/messages/count_tokens", &[Method::POST], Endpoint::CountTokens),
    ("/v1/responses", &[Method::POST], Endpoint::Responses),
    ("/tokenize", &[Method::POST], Endpoint::Tokenize),
    ("/detokenize", &[Method::POST], Endpoint::Detokenize),
    ("/v1/chat/completions/render", &[Method::POST], Endpoint::RenderChat),
    ("/v1/completions/render", &[Method::POST], Endpoint::RenderCompletions),
    ("/v1/messages/render", &[Method::POST], Endpoint::RenderMessages),
    ("/v1/responses/render", &[Method::POST], Endpoint::RenderResponses),
    ("/v1/chat/completions/derender", &[Method::POST], Endpoint::DerenderChat),
    ("/v1/completions/derender", &[Method::POST], Endpoint::DerenderCompletions),
    ("/inference/v1/generate", &[Method::POST], Endpoint::Generate),
    ("/inference/v1/abort_requests", &[Method::POST], Endpoint::AbortRequests),
    ("/generative_scoring", &[Method::POST], Endpoint::Scoring),
    ("/v1/systemone", &[Method::POST], Endpoint::Decisions),
    ("/tokenizer_info", &[Method::GET], Endpoint::TokenizerInfo),
    ("/invocations", POST, Endpoint::Invocations),
    ("/scale_elastic_ep", POST, Endpoint::ScaleElasticEp),
    ("/is_scaling_elastic_ep", POST, Endpoint::IsScalingElasticEp),
    ("/openapi.json", &READ, Endpoint::Docs(Page::OpenApi)),
    ("/docs", &READ, Endpoint::Docs(Page::Swagger)),
    ("/docs/oauth2-redirect", &READ, Endpoint::Docs(Page::SwaggerRedirect)),
    ("/redoc", &READ, Endpoint::Docs(Page::Redoc)),
];
/// What most endpoints take.
pub const POST: &[Method] = &[Method::POST];
/// What pages take.
pub const READ: [Method; 2] = [Method::GET, Method::HEAD];
