//! OTLP over HTTP with protobuf bodies.

use super::tls;
use super::transport::{Accepted, Refusal, Retry, with_causes};
use crate::config::{Compression, ExporterSettings};
use ::http::{HeaderMap, HeaderName, HeaderValue, Uri};
use bytes::Bytes;
use flate2::write::{GzEncoder, ZlibEncoder};
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceResponse;
use prost::Message;
use std::io::Write;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};
use ureq::tls::{Certificate, ClientCert, PemItem, PrivateKey, RootCerts, TlsConfig, parse_pem};
use ureq::{Agent, Error};

/// A longer answer is not read to its end.
const MAX_ANSWER: u64 = 64 << 10;

pub(super) struct Http {
    post: Arc<Post>,
}

/// What every request has in common.
struct Post {
    agent: Agent,
    url: Uri,
    headers: Vec<(HeaderName, HeaderValue)>,
    compression: Compression,
}

impl Http {
    pub fn new(settings: &ExporterSettings) -> Result<Self, String> {
        let endpoint = &settings.endpoint;
        let url = endpoint.parse::<Uri>().ok().filter(|url| {
            matches!(url.scheme_str(), Some("http" | "https")) && url.host().is_some()
        });
        let url = url.ok_or_else(|| {
            format!(
                "--otlp-traces-endpoint: {endpoint} is no http:// or https:// URL, which \
                 http/protobuf needs"
            )
        })?;
        let secure = url.scheme_str() == Some("https");
        let mut config = Agent::config_builder()
            .http_status_as_error(false)
            .max_redirects(0)
            .user_agent(concat!("glassbox/", env!("CARGO_PKG_VERSION")));
        if secure {
            config = config.tls_config(tls_config(&tls::read(&settings.tls)?)?);
        }
        let post = Post {
            agent: config.build().into(),
            url,
            headers: headers(settings)?,
            compression: settings.compression,
        };
        Ok(Self { post: Arc::new(post) })
    }

    /// Sends from a thread that may block. A request that is given up on ends with its timeout.
    pub async fn send(&mut self, body: Bytes, within: Duration) -> Result<Accepted, Refusal> {
        let post = Arc::clone(&self.post);
        let sent = tokio::task::spawn_blocking(move || post.send(&body, within)).await;
        sent.unwrap_or_else(|error| Err(Refusal { reason: error.to_string(), retry: Retry::Never }))
    }
}

fn tls_config(pem: &tls::Pem) -> Result<TlsConfig, String> {
    let certificates = |pem: &[u8]| -> Vec<Certificate<'static>> {
        let items = parse_pem(pem).filter_map(Result::ok);
        items
            .filter_map(|item| match item {
                PemItem::Certificate(certificate) => Some(certificate),
                _ => None,
            })
            .collect()
    };
    let mut config = TlsConfig::builder().root_certs(match &pem.roots {
        Some(roots) => RootCerts::new_with_certs(&certificates(roots)),
        None => RootCerts::WebPki,
    });
    if let Some((chain, key)) = &pem.identity {
        let key = PrivateKey::from_pem(key)
            .map_err(|error| format!("the key of OTEL_EXPORTER_OTLP_CLIENT_KEY: {error}"))?;
        config = config.client_cert(Some(ClientCert::new_with_certs(&certificates(chain), key)));
    }
    Ok(config.build())
}

/// The user's headers win over the usual ones.
fn headers(settings: &ExporterSettings) -> Result<Vec<(HeaderName, HeaderValue)>, String> {
    let mut headers = vec![(
        HeaderName::from_static("content-type"),
        HeaderValue::from_static("application/x-protobuf"),
    )];
    let encoding = match settings.compression {
        Compression::None => None,
        Compression::Gzip => Some("gzip"),
        Compression::Deflate => Some("deflate"),
    };
    let encoding = encoding.map(HeaderValue::from_static);
    headers.extend(encoding.map(|value| (HeaderName::from_static("content-encoding"), value)));
    for (name, value) in &settings.headers {
        // The value may be a secret.
        let bad = || format!("OTEL_EXPORTER_OTLP_HEADERS: {name} cannot be sent over HTTP");
        let name: HeaderName = name.parse().map_err(|_| bad())?;
        let value = HeaderValue::from_str(value).map_err(|_| bad())?;
        headers.retain(|(known, _)| *known != name);
        headers.push((name, value));
    }
    Ok(headers)
}

impl Post {
    /// A connection that was lost while it was idle is made anew, once and at once.
    fn send(&self, body: &[u8], within: Duration) -> Result<Accepted, Refusal> {
        let deadline = Instant::now() + within;
        let body = self
            .compress(body)
            .map_err(|error| Refusal { reason: error.to_string(), retry: Retry::Never })?;
        let first = self.post(&body, within);
        let left = deadline.saturating_duration_since(Instant::now());
        let answer = match first {
            Err(error) if is_connection(&error) && !left.is_zero() => self.post(&body, left),
            other => other,
        };
        match answer {
            Ok(response) => self.read(response),
            Err(error) => {
                let retry = if is_connection(&error) { Retry::Backoff } else { Retry::Never };
                Err(Refusal { reason: with_causes(&error), retry })
            }
        }
    }

    fn compress(&self, body: &[u8]) -> std::io::Result<Vec<u8>> {
        let level = flate2::Compression::default();
        match self.compression {
            Compression::None => Ok(body.to_vec()),
            Compression::Gzip => {
                let mut encoder = GzEncoder::new(Vec::new(), level);
                encoder.write_all(body)?;
                encoder.finish()
            }
            Compression::Deflate => {
                let mut encoder = ZlibEncoder::new(Vec::new(), level);
                encoder.write_all(body)?;
                encoder.finish()
            }
        }
    }

    fn post(&self, body: &[u8], within: Duration) -> Result<Response, Error> {
        let mut request = self.agent.post(self.url.clone());
        for (name, value) in &self.headers {
            request = request.header(name.clone(), value.clone());
        }
        request.config().timeout_global(Some(within)).build().send(body)
    }

    fn read(&self, mut response: Response) -> Result<Accepted, Refusal> {
        let status = response.status();
        let answer = response.body_mut().with_config().limit(MAX_ANSWER).read_to_vec();
        if status.is_success() {
            // What is no answer of OTLP says nothing about rejected spans.
            let answer = answer
                .ok()
                .and_then(|bytes| ExportTraceServiceResponse::decode(bytes.as_slice()).ok());
            return Ok(answer.map(Accepted::from).unwrap_or_default());
        }
        let retry = match status.as_u16() {
            429 | 502..=504 => pause(response.headers()).map_or(Retry::Backoff, Retry::After),
            _ => Retry::Never,
        };
        let mut reason = format!("HTTP {status}");
        if status.as_u16() == 404 && self.url.path() == "/" {
            reason += " (the URL is used as it stands: should it end in /v1/traces?)";
        }
        Err(Refusal { reason, retry })
    }
}

type Response = ::http::Response<ureq::Body>;

/// Nothing was said about the request itself, so that another attempt may help.
fn is_connection(error: &Error) -> bool {
    matches!(
        error,
        Error::Io(_)
            | Error::HostNotFound
            | Error::ConnectionFailed
            | Error::ConnectProxyFailed(_)
            | Error::Tls(_)
            | Error::Rustls(_)
    )
}

/// `Retry-After`: seconds, or a moment.
fn pause(headers: &HeaderMap) -> Option<Duration> {
    let value = headers.get("retry-after")?.to_str().ok()?.trim();
    match value.parse::<f64>() {
        Ok(seconds) if seconds.is_nan() => None,
        Ok(seconds) => Duration::try_from_secs_f64(seconds.max(0.0)).ok(),
        Err(_) => {
            let at = httpdate::parse_http_date(value).ok()?;
            Some(at.duration_since(SystemTime::now()).unwrap_or_default())
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_are_seconds_or_moments() {
        let asked = |value: &str| {
            let value = HeaderValue::from_str(value).expect("a value");
            pause(&HeaderMap::from_iter([(HeaderName::from_static("retry-after"), value)]))
        };
        assert_eq!(asked("3"), Some(Duration::from_secs(3)));
        assert_eq!(asked(" 0.5 "), Some(Duration::from_millis(500)));
        assert_eq!(asked("-1"), Some(Duration::ZERO));
        assert_eq!(asked("Thu, 01 Jan 1970 00:00:00 GMT"), Some(Duration::ZERO));
        let later = SystemTime::now() + Duration::from_secs(3600);
        let found = asked(&httpdate::fmt_http_date(later)).expect("a moment");
        assert!((3500..=3600).contains(&found.as_secs()), "{found:?}");
        for bad in ["", "soon", "inf", "nan"] {
            assert_eq!(asked(bad), None, "{bad}");
        }
        assert_eq!(pause(&HeaderMap::new()), None);
    }
}
