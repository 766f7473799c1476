//! From a request to the handler of its path: authentication, routing, common headers.

mod table;

pub use table::POST;

use super::body::blocking;
use super::call::Call;
use super::developer::{self, Asked};
use super::frontend::Frontend;
use super::guard::LoadGuard;
use super::headers::REQUEST_ID;
use super::keep_alive::keep_alive;
use super::{
    adapters, body, chat, completions, decisions, derender, elastic, generate, guard, invocations,
    messages, metrics, models, operations, render, reply, respond, responses, scoring, tokenize,
    tokenizer_info,
};
use crate::error::ApiError;
use axum::body::{Body, Bytes};
use axum::http::request::Parts;
use axum::http::{HeaderValue, Method, Request, Response, StatusCode, header};
use futures_util::FutureExt;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use table::{Endpoint, READ, ROUTES, Route};

const METRICS: &str = "/metrics";
/// Paths that need a key, when keys are configured.
const GUARDED: [&str; 4] = ["/v1", "/v2", "/inference", "/cohere"];
/// The methods that the server below vLLM's application knows; others are no HTTP to it.
#[rustfmt::skip]
const METHODS: [&str; 35] = [
    "GET", "POST", "PUT", "DELETE", "HEAD", "OPTIONS", "PATCH", "CONNECT", "TRACE", "COPY", "LOCK",
    "MKCOL", "MOVE", "PROPFIND", "PROPPATCH", "SEARCH", "UNLOCK", "BIND", "REBIND", "UNBIND", "ACL",
    "REPORT", "MKACTIVITY", "CHECKOUT", "MERGE", "M-SEARCH", "NOTIFY", "SUBSCRIBE", "UNSUBSCRIBE",
    "PURGE", "MKCALENDAR", "LINK", "UNLINK", "SOURCE", "QUERY",
];

/// What a path is to the router: without the server's root path, if that ends at a slash.
pub fn path<'p>(frontend: &Frontend, path: &'p str) -> &'p str {
    match path.strip_prefix(frontend.options.root_path.as_str()) {
        Some(rest) if rest.is_empty() || rest.starts_with('/') => rest,
        _ => path,
    }
}

/// Whether a path needs a key. Here the root path need not end at a slash.
fn is_guarded(frontend: &Frontend, path: &str) -> bool {
    let path = path.strip_prefix(frontend.options.root_path.as_str()).unwrap_or(path);
    GUARDED.iter().any(|prefix| path.starts_with(prefix))
}

/// The paths of all endpoints but the metrics page.
pub fn paths() -> Vec<&'static str> {
    all().map(|(path, ..)| path).collect()
}

/// Every endpoint, shown or not.
fn all() -> impl Iterator<Item = Route> {
    let developer = developer::ROUTES.iter();
    let developer =
        developer.map(|(path, methods, one)| (*path, *methods, Endpoint::Developer(*one)));
    let stored = responses::ROUTES.into_iter();
    let stored = stored.map(|(path, methods, one)| (path, methods, Endpoint::Stored(one)));
    let adapters = adapters::ROUTES.into_iter();
    let adapters = adapters.map(|(path, methods, one)| (path, methods, Endpoint::Adapters(one)));
    ROUTES.iter().copied().chain(stored).chain(developer).chain(adapters)
}

/// Whether there is an endpoint for the method at the path.
fn takes(frontend: &Frontend, path: &str, method: &Method) -> bool {
    let found = find(frontend, path, method);
    is_metrics(path) || found.is_some_and(|(_, methods, _)| methods.contains(method))
}

/// The endpoint at a path, one that takes the method if there is one; some are for developers.
fn find(frontend: &Frontend, path: &str, method: &Method) -> Option<Route> {
    let fixed = all().find(|(known, ..)| *known == path);
    let stored = responses::route(path);
    let stored = stored.map(|(_, (path, methods, one))| (path, methods, Endpoint::Stored(one)));
    let named = adapters::route(path);
    let named = named.map(|(_, (path, methods, one))| (path, methods, Endpoint::Adapters(one)));
    let stored = stored.or(named);
    let takes = |(_, methods, _): &Route| methods.contains(method);
    let found = fixed.filter(takes).or(stored.filter(takes)).or(fixed).or(stored);
    found.filter(|(_, _, endpoint)| is_shown(frontend, *endpoint))
}

fn is_shown(frontend: &Frontend, endpoint: Endpoint) -> bool {
    match endpoint {
        Endpoint::TokenizerInfo => frontend.options.tokenizer_info.is_some(),
        Endpoint::Developer(_) => frontend.options.dev_mode,
        Endpoint::Adapters(_) => frontend.options.updates_adapters,
        Endpoint::Docs(page) => page.is_shown(frontend.options.docs),
        _ => true,
    }
}

/// The paths that have an endpoint, with its methods, but for those of the docs themselves.
pub fn shown(frontend: &Frontend) -> impl Iterator<Item = (&'static str, &'static [Method])> {
    let metrics = (METRICS, &READ[..1]);
    let is_listed =
        |endpoint| !matches!(endpoint, Endpoint::Docs(_)) && is_shown(frontend, endpoint);
    let listed = all().filter(move |(_, _, endpoint)| is_listed(*endpoint));
    listed.map(|(path, methods, _)| (path, methods)).chain([metrics])
}

fn is_metrics(path: &str) -> bool {
    path.strip_prefix(METRICS).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
}

/// Answers any request.
pub async fn respond_to<B>(
    frontend: Arc<Frontend>,
    call: Call,
    request: Request<B>,
) -> Response<Body>
where
    B: hyper::body::Body<Data = Bytes> + Send + 'static,
    B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
{
    if !METHODS.contains(&request.method().as_str()) {
        return respond::invalid_request();
    }
    let options = &frontend.options;
    let wants_id = options.enable_request_id_headers;
    let id = wants_id.then(|| {
        let given = request.headers().get(REQUEST_ID).cloned();
        given.unwrap_or_else(random_header)
    });
    let key = request.headers().get(header::AUTHORIZATION).map(HeaderValue::as_bytes);
    let is_let_in = request.method() == Method::OPTIONS
        || !is_guarded(&frontend, request.uri().path())
        || frontend.is_authorized(key);
    let mut response = if !is_let_in {
        call.failed(&ApiError::detail(401, "Unauthorized"));
        unauthorized()
    } else if let Some(answer) = frontend.cors.preflight(request.method(), request.headers()) {
        answer
    } else {
        let path = path(&frontend, request.uri().path()).to_owned();
        // To the instrumentation of vLLM's server, a wrong method is no path either.
        let is_known = takes(&frontend, &path, request.method());
        let found = find(&frontend, &path, request.method());
        let name = found.map_or(path.as_str(), |(name, ..)| name);
        let counting = metrics::begin(&frontend, name, is_known, &request);
        let origin = request.headers().get(header::ORIGIN).cloned();
        let mut response = route(frontend.clone(), call, &path, request).await;
        if let Some(counting) = counting {
            response = counting.until_sent(response);
        }
        frontend.cors.allow(origin.as_ref(), response.headers_mut());
        response
    };
    let headers = response.headers_mut();
    headers.insert(header::SERVER, HeaderValue::from_static("uvicorn"));
    if let Some(id) = id.filter(|id| !id.is_empty()) {
        headers.insert(REQUEST_ID, id);
    }
    response
}

/// 32 hexadecimal digits, as a UUID without dashes.
fn random_header() -> HeaderValue {
    let id = reply::random_id() + &reply::random_id();
    HeaderValue::try_from(id).unwrap_or(HeaderValue::from_static("0"))
}

fn unauthorized() -> Response<Body> {
    let mut response = respond::json(&serde_json::json!({"error": "Unauthorized"}));
    *response.status_mut() = StatusCode::UNAUTHORIZED;
    response
}

/// Finds the endpoint at `path` and runs it.
async fn route<B>(
    frontend: Arc<Frontend>,
    call: Call,
    path: &str,
    request: Request<B>,
) -> Response<Body>
where
    B: hyper::body::Body<Data = Bytes> + Send + 'static,
    B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
{
    if is_metrics(path) {
        let is_plain_get = path == METRICS && request.method() == Method::GET;
        return operations::metrics(&frontend, is_plain_get, request.headers());
    }
    let method = request.method().clone();
    let find = |path: &str| find(&frontend, path, &method);
    match find(path) {
        Some((_, methods, Endpoint::Stored(_))) if methods.contains(request.method()) => {
            let load = LoadGuard::count(&frontend, true);
            guard::hold(responses::stored(&frontend, path, request.uri().query()), load)
        }
        Some((_, methods, endpoint)) if methods.contains(request.method()) => {
            run(frontend, call, endpoint, request).await
        }
        Some((_, methods, _)) => wrong_method(methods),
        None if path.ends_with('/') && find(path.trim_end_matches('/')).is_some() => {
            redirect(&frontend, &request)
        }
        None => respond::error(&ApiError::detail(404, "Not Found")),
    }
}

fn wrong_method(methods: &[Method]) -> Response<Body> {
    let mut response = respond::error(&ApiError::detail(405, "Method Not Allowed"));
    // GET and HEAD are one route; to vLLM, any other two methods at a path are two, and it names
    // those of the first.
    let own = if methods == READ { methods } else { &methods[..1] };
    let allow: Vec<&str> = own.iter().map(Method::as_str).collect();
    if let Ok(allow) = HeaderValue::try_from(allow.join(", ")) {
        response.headers_mut().insert(header::ALLOW, allow);
    }
    response
}

/// Sends a client to the path without its trailing slash.
fn redirect<B>(frontend: &Frontend, request: &Request<B>) -> Response<Body> {
    let host = request.headers().get(header::HOST).map(HeaderValue::as_bytes);
    let host = String::from_utf8_lossy(host.unwrap_or(b"localhost"));
    let path = request.uri().path().trim_end_matches('/');
    let query = request.uri().query().map(|query| format!("?{query}")).unwrap_or_default();
    let scheme = if frontend.options.tls { "https" } else { "http" };
    let mut response = respond::empty(StatusCode::TEMPORARY_REDIRECT);
    if let Ok(location) = HeaderValue::try_from(format!("{scheme}://{host}{path}{query}")) {
        response.headers_mut().insert(header::LOCATION, location);
    }
    response
}

/// Runs an endpoint; whatever goes wrong becomes an error body.
async fn run<B>(
    frontend: Arc<Frontend>,
    call: Call,
    endpoint: Endpoint,
    request: Request<B>,
) -> Response<Body>
where
    B: hyper::body::Body<Data = Bytes> + Send + 'static,
    B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
{
    match endpoint {
        Endpoint::Health => return operations::health(&frontend),
        Endpoint::Version => return operations::version(),
        Endpoint::Load => return operations::load(&frontend),
        Endpoint::KvEventSources => return operations::kv_event_sources(&frontend),
        Endpoint::TokenizerInfo => return tokenizer_info::show(&frontend),
        Endpoint::IsScalingElasticEp => return elastic::is_scaling(),
        Endpoint::Models => return models::list(&frontend),
        Endpoint::Docs(page) => return page.show(&frontend),
        _ => {}
    }
    let (head, body) = request.into_parts();
    // A panic is a bug; the client still gets an answer, and the connection stays.
    let answer =
        AssertUnwindSafe(post(frontend, call.clone(), endpoint, head, body)).catch_unwind();
    let error = match answer.await {
        Ok(Ok(response)) => return response,
        Ok(Err(error)) => error,
        Err(_) => ApiError::internal("The request handler failed."),
    };
    call.failed(&error);
    respond::error(&error)
}

async fn post<B>(
    frontend: Arc<Frontend>,
    call: Call,
    endpoint: Endpoint,
    head: Parts,
    body: B,
) -> Result<Response<Body>, ApiError>
where
    B: hyper::body::Body<Data = Bytes> + Send + 'static,
    B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
{
    if endpoint.scales_out() && !frontend.options.enable_scale_out {
        return Err(render::disabled());
    }
    let body = body::collect(&frontend, body).await?;
    let answer = answer(frontend, call.clone(), endpoint, head, body.clone()).await;
    if answer.is_err() && endpoint.generates() {
        call.refused(&body);
    }
    answer
}

async fn answer(
    frontend: Arc<Frontend>,
    call: Call,
    endpoint: Endpoint,
    Parts { headers, uri, .. }: Parts,
    body: Bytes,
) -> Result<Response<Body>, ApiError> {
    use Endpoint::*;
    let load = LoadGuard::count(&frontend, endpoint.is_load());
    let interval = frontend.options.sse_keep_alive;
    let kept = |response, load| guard::hold(keep_alive(response, interval), load);
    match endpoint {
        RenderChat => render::chat(&frontend, &headers, &body).await,
        RenderCompletions => render::completions(&frontend, &headers, &body).await,
        RenderMessages => messages::render(&frontend, &headers, &body).await,
        Chat => Ok(kept(chat::create(frontend, call, headers, &body).await?, load)),
        ChatBatch => chat::create_batch(&frontend, call, headers, &body).await,
        Completions => Ok(kept(completions::create(frontend, call, headers, &body).await?, load)),
        Invocations => Ok(kept(invocations::answer(frontend, call, headers, body).await?, load)),
        ScaleElasticEp => elastic::scale(&headers, &body),
        Endpoint::Developer(endpoint) => {
            let asked = Asked { query: uri.query(), headers: &headers, body: &body };
            developer::answer(&frontend, endpoint, asked).await
        }
        Endpoint::Adapters(asked) => {
            let path = path(&frontend, uri.path());
            adapters::answer(&frontend, asked, path, &headers, &body)
        }
        AbortRequests => generate::abort_requests(&frontend, &body),
        DerenderChat => blocking(body.len(), || derender::chat(&frontend, &headers, &body)),
        DerenderCompletions => {
            blocking(body.len(), || derender::completions(&frontend, &headers, &body))
        }
        Decisions => decisions::create(&frontend, call, &headers, &body).await,
        Scoring => scoring::create(&frontend, call, &headers, &body).await,
        // No comments keep these streams alive, as in vLLM.
        Generate => Ok(guard::hold(generate::create(frontend, call, headers, &body).await?, load)),
        Messages => Ok(guard::hold(messages::create(frontend, call, headers, &body).await?, load)),
        Responses => {
            Ok(guard::hold(responses::create(frontend, call, headers, &body).await?, load))
        }
        RenderResponses => render::responses(&frontend, &headers, &body).await,
        CountTokens => messages::count_tokens(&frontend, &headers, &body).await,
        Tokenize => tokenize::tokenize(&frontend, &headers, &body).await,
        Detokenize => tokenize::detokenize(&frontend, &headers, &body),
        _ => Err(ApiError::detail(404, "Not Found")),
    }
}
