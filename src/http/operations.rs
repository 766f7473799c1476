//! What operators and load balancers ask: `/health`, `/ping`, `/version`, `/load`, `/metrics`.

use super::frontend::Frontend;
use super::respond;
use crate::config::VLLM_VERSION;
use crate::telemetry::metrics::Format;
use axum::body::Body;
use axum::http::{HeaderMap, HeaderValue, Response, StatusCode, header};
use serde_json::json;
use std::sync::atomic::Ordering::Relaxed;

/// 503 when the engine is dead, or when work waits and no step has ended for too long.
pub fn health(frontend: &Frontend) -> Response<Body> {
    let status = frontend.engine.status();
    let stalled = status.stalled_for() > frontend.options.stall_limit;
    respond::empty(match status.is_dead() || stalled {
        true => StatusCode::SERVICE_UNAVAILABLE,
        false => StatusCode::OK,
    })
}

/// The vLLM release whose behaviour this server has.
pub fn version() -> Response<Body> {
    respond::json(&json!({"version": VLLM_VERSION}))
}

/// Requests in work, 0 unless they are counted.
pub fn load(frontend: &Frontend) -> Response<Body> {
    respond::json(&json!({"server_load": frontend.load.load(Relaxed)}))
}

/// Where each publisher of KV events is, by its rank.
pub fn kv_event_sources(frontend: &Frontend) -> Response<Body> {
    respond::json(&frontend.options.kv_event_sources)
}

/// The metrics page: OpenMetrics for who prefers it, otherwise Prometheus' text. Scrapers that GET
/// exactly `/metrics` get another version of the text's type.
pub fn metrics(frontend: &Frontend, is_plain_get: bool, headers: &HeaderMap) -> Response<Body> {
    let accept = headers.get_all(header::ACCEPT).iter();
    let format = preferred(accept.filter_map(|value| value.to_str().ok()));
    let page = (frontend.render_metrics)(format);
    let mut response = Response::new(Body::from(page));
    let kind = match (format, is_plain_get) {
        (Format::OpenMetrics, _) => "application/openmetrics-text; version=1.0.0; charset=utf-8",
        (Format::Plain, true) => "text/plain; version=1.0.0; charset=utf-8",
        (Format::Plain, false) => "text/plain; version=0.0.4; charset=utf-8",
    };
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static(kind));
    response
}

/// What a client would rather read, by its `Accept` headers. OpenMetrics has to be named; of two
/// texts that are as welcome, the one that is named first wins over wildcards and later ones.
fn preferred<'a>(accept: impl Iterator<Item = &'a str>) -> Format {
    // What is not wanted at all (q=0) is never better than this.
    let (mut best, mut format) = ((0.0, true), Format::Plain);
    for range in accept.flat_map(|header| header.split(',')) {
        let mut parts = range.split(';').map(str::trim);
        let kind = parts.next().unwrap_or_default().to_ascii_lowercase();
        let (mut quality, mut version) = (1.0, "");
        for (name, value) in parts.filter_map(|part| part.split_once('=')) {
            match name.trim().to_ascii_lowercase().as_str() {
                "q" => quality = value.trim().parse::<f32>().unwrap_or(0.0),
                "version" => version = value.trim().trim_matches('"'),
                _ => {}
            }
        }
        let (offered, is_named) = match kind.as_str() {
            "application/openmetrics-text" if version.is_empty() || version == "1.0.0" => {
                (Format::OpenMetrics, true)
            }
            "text/plain" => (Format::Plain, true),
            "text/*" | "*/*" => (Format::Plain, false),
            _ => continue,
        };
        if (quality, is_named) > best {
            (best, format) = ((quality, is_named), offered);
        }
    }
    format
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn open_metrics_is_for_those_who_prefer_it() {
        // What Prometheus 2.53 and 3.5 send.
        let older = "application/openmetrics-text;version=1.0.0;q=0.5,\
                     application/openmetrics-text;version=0.0.1;q=0.4,text/plain;version=0.0.4;\
                     q=0.3,*/*;q=0.2";
        let newer = "application/openmetrics-text;version=1.0.0;escaping=allow-utf-8;q=0.6,\
                     application/openmetrics-text;version=0.0.1;q=0.5,text/plain;version=1.0.0;\
                     escaping=allow-utf-8;q=0.4,text/plain;version=0.0.4;q=0.3,*/*;q=0.2";
        for open in [
            older,
            newer,
            "application/openmetrics-text",
            "*/*, Application/OpenMetrics-Text; version=\"1.0.0\"",
            "text/plain;q=0.5, application/openmetrics-text",
            "application/openmetrics-text, text/plain",
        ] {
            assert_eq!(preferred([open].into_iter()), Format::OpenMetrics, "{open}");
        }
        for plain in [
            "",
            "*/*",
            "text/plain",
            "application/json",
            "text/plain, application/openmetrics-text",
            "application/openmetrics-text;version=2.0.0",
            "application/openmetrics-text;q=0",
            "application/openmetrics-text;q=x",
            "application/openmetrics-text;q=0.3, */*",
        ] {
            assert_eq!(preferred([plain].into_iter()), Format::Plain, "{plain}");
        }
        let two = ["text/plain;q=0.1", "application/openmetrics-text"];
        assert_eq!(preferred(two.into_iter()), Format::OpenMetrics);
    }
}
