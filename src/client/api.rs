//! Requests to a server and the streams that it answers with.

use super::connect::Connector;
use super::sse::Events;
use axum::http::{HeaderMap, HeaderName, HeaderValue, Method, Request, StatusCode, header};
use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper_util::client::legacy;
use hyper_util::rt::{TokioExecutor, TokioTimer};
use serde_json::Value;
use std::time::Duration;

/// What went wrong with a request, in words for a person.
#[derive(Debug, thiserror::Error)]
pub(super) enum ApiFailure {
    #[error("{0}")]
    Connection(String),
    /// The server said no.
    #[error("Error code: {} - {body}", status.as_u16())]
    Status { status: StatusCode, body: String },
    #[error("the server's reply is not what the API promises: {0}")]
    Reply(String),
}

/// A client with open connections; cheap to clone.
#[derive(Clone)]
pub(super) struct Api {
    client: legacy::Client<Connector, Full<Bytes>>,
    headers: HeaderMap,
}

impl Api {
    /// A client that sends `headers` with every request.
    pub fn new(key: Option<&str>, headers: &[(String, String)]) -> Result<Self, String> {
        let mut map = HeaderMap::new();
        map.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
        if let Some(key) = key {
            let value = HeaderValue::try_from(format!("Bearer {key}"));
            map.insert(header::AUTHORIZATION, value.map_err(|_| "the API key is no header value")?);
        }
        for (name, value) in headers {
            let bad = |_| format!("{name}: {value} is no header");
            map.insert(
                HeaderName::try_from(name.as_str()).map_err(|error| bad(error.to_string()))?,
                HeaderValue::try_from(value.as_str()).map_err(|error| bad(error.to_string()))?,
            );
        }
        let client = legacy::Client::builder(TokioExecutor::new())
            .pool_idle_timeout(Duration::from_secs(60))
            .pool_timer(TokioTimer::new())
            .build(Connector::new());
        Ok(Self { client, headers: map })
    }

    /// The reply to a request, whatever its status.
    async fn send(
        &self,
        method: Method,
        url: &str,
        id: Option<&str>,
        body: Bytes,
    ) -> Result<hyper::Response<Incoming>, ApiFailure> {
        let mut request = Request::builder().method(method).uri(url);
        if let Some(headers) = request.headers_mut() {
            headers.extend(self.headers.clone());
            if let Some(id) = id.and_then(|id| HeaderValue::try_from(id).ok()) {
                headers.insert("x-request-id", id);
            }
        }
        let request = request
            .body(Full::new(body))
            .map_err(|error| ApiFailure::Connection(format!("{url}: {error}")))?;
        self.client.request(request).await.map_err(|error| ApiFailure::Connection(words(&error)))
    }

    /// The JSON that a path holds.
    pub async fn get(&self, url: &str) -> Result<Value, ApiFailure> {
        let reply = self.send(Method::GET, url, None, Bytes::new()).await?;
        let reply = checked(reply).await?;
        let body = reply.into_body().collect().await;
        let body = body.map_err(|error| ApiFailure::Connection(words(&error)))?.to_bytes();
        serde_json::from_slice(&body).map_err(|error| ApiFailure::Reply(error.to_string()))
    }

    /// Asks for a path of which the status says all.
    pub async fn probe(&self, url: &str) -> Result<(), ApiFailure> {
        checked(self.send(Method::GET, url, None, Bytes::new()).await?).await.map(|_| ())
    }

    /// Posts a request that is answered by a stream.
    pub async fn stream(
        &self,
        url: &str,
        id: Option<&str>,
        body: Bytes,
    ) -> Result<EventStream, ApiFailure> {
        let reply = checked(self.send(Method::POST, url, id, body).await?).await?;
        Ok(EventStream { body: reply.into_body(), events: Events::default() })
    }
}

/// A reply of status 200, or the reason for which it is none.
async fn checked(
    reply: hyper::Response<Incoming>,
) -> Result<hyper::Response<Incoming>, ApiFailure> {
    let status = reply.status();
    if status == StatusCode::OK {
        return Ok(reply);
    }
    let body = reply.into_body().collect().await.map(|body| body.to_bytes()).unwrap_or_default();
    Err(ApiFailure::Status { status, body: String::from_utf8_lossy(&body).into_owned() })
}

/// An error with what caused it.
fn words(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        text += &format!(": {cause}");
        source = cause.source();
    }
    text
}

/// The events of a reply, as they arrive.
pub(super) struct EventStream {
    body: Incoming,
    events: Events,
}

impl EventStream {
    /// The data of the next event; `None` at the end of the stream or at `[DONE]`.
    pub async fn next(&mut self) -> Result<Option<&[u8]>, ApiFailure> {
        while !self.events.find() {
            match self.body.frame().await {
                None => return Ok(None),
                Some(Err(error)) => return Err(ApiFailure::Connection(words(&error))),
                Some(Ok(frame)) => {
                    if let Some(piece) = frame.data_ref() {
                        self.events.push(piece);
                    }
                }
            }
        }
        Ok(self.events.take().filter(|data| *data != b"[DONE]"))
    }
}
