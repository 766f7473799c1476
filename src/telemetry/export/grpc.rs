//! OTLP over gRPC.

use super::endpoint::grpc_target;
use super::tls;
use super::transport::{Accepted, Refusal, Retry, with_causes};
use crate::config::{Compression, ExporterSettings};
use ::http::uri::PathAndQuery;
use bytes::{BufMut, Bytes};
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceResponse;
use prost::Message;
use std::time::Duration;
use tonic::codec::{Codec, CompressionEncoding, DecodeBuf, Decoder, EncodeBuf, Encoder};
use tonic::metadata::{AsciiMetadataValue, MetadataKey, MetadataMap};
use tonic::transport::{Certificate, Channel, ClientTlsConfig, Endpoint, Identity};
use tonic::{Code, Request, Status};

const METHOD: &str = "/opentelemetry.proto.collector.trace.v1.TraceService/Export";

pub(super) struct Grpc {
    client: tonic::client::Grpc<Channel>,
    endpoint: Endpoint,
    gzip: bool,
    headers: MetadataMap,
}

impl Grpc {
    pub fn new(settings: &ExporterSettings) -> Result<Self, String> {
        let (tls, target) = grpc_target(&settings.endpoint)?;
        let unusable = |error: tonic::transport::Error| {
            format!("--otlp-traces-endpoint: {}: {}", settings.endpoint, with_causes(&error))
        };
        let scheme = if tls { "https" } else { "http" };
        let agent = concat!("glassbox/", env!("CARGO_PKG_VERSION"));
        let mut endpoint = Endpoint::from_shared(format!("{scheme}://{target}"))
            .and_then(|endpoint| endpoint.user_agent(agent))
            .map_err(unusable)?;
        if tls {
            let pem = tls::read(&settings.tls)?;
            let mut config = match pem.roots {
                Some(roots) => ClientTlsConfig::new().ca_certificate(Certificate::from_pem(roots)),
                None => ClientTlsConfig::new().with_webpki_roots(),
            };
            if let Some((chain, key)) = pem.identity {
                config = config.identity(Identity::from_pem(chain, key));
            }
            endpoint = endpoint.tls_config(config).map_err(unusable)?;
        }
        let gzip = settings.compression == Compression::Gzip;
        let client = client(&endpoint, gzip);
        Ok(Self { client, endpoint, gzip, headers: metadata(&settings.headers)? })
    }

    /// Forgets the connection: the other end may be gone without a word, and would stay gone
    /// until TCP notices.
    pub fn forget_connection(&mut self) {
        self.client = client(&self.endpoint, self.gzip);
    }

    pub async fn send(&mut self, body: Bytes, within: Duration) -> Result<Accepted, Refusal> {
        self.client
            .ready()
            .await
            .map_err(|error| Refusal { reason: with_causes(&error), retry: Retry::Backoff })?;
        let mut request = Request::new(body);
        *request.metadata_mut() = self.headers.clone();
        request.set_timeout(within);
        let path = PathAndQuery::from_static(METHOD);
        let response = self.client.unary(request, path, Encoded).await;
        response.map(|response| response.into_inner().into()).map_err(|status| refusal(&status))
    }
}

/// Connects when it is first used.
fn client(endpoint: &Endpoint, gzip: bool) -> tonic::client::Grpc<Channel> {
    let client = tonic::client::Grpc::new(endpoint.connect_lazy())
        .accept_compressed(CompressionEncoding::Gzip);
    if gzip { client.send_compressed(CompressionEncoding::Gzip) } else { client }
}

fn metadata(headers: &[(String, String)]) -> Result<MetadataMap, String> {
    let mut map = MetadataMap::with_capacity(headers.len());
    for (name, value) in headers {
        // The value may be a secret.
        let bad = || format!("OTEL_EXPORTER_OTLP_HEADERS: {name} cannot be sent over gRPC");
        let key = MetadataKey::from_bytes(name.as_bytes()).map_err(|_| bad())?;
        let value = AsciiMetadataValue::try_from(value.as_str()).map_err(|_| bad())?;
        map.insert(key, value);
    }
    Ok(map)
}

/// The codes that Python's exporter tries again.
fn refusal(status: &Status) -> Refusal {
    let again = matches!(
        status.code(),
        Code::Cancelled
            | Code::DeadlineExceeded
            | Code::ResourceExhausted
            | Code::Aborted
            | Code::OutOfRange
            | Code::Unavailable
            | Code::DataLoss
    );
    let retry = match again {
        false => Retry::Never,
        true => asked_pause(status).map_or(Retry::Backoff, Retry::After),
    };
    // A status shows itself with all its parts; its message and causes are enough.
    let mut reason = format!("gRPC {:?}: {}", status.code(), status.message());
    if let Some(cause) = std::error::Error::source(status) {
        let causes = with_causes(cause);
        let causes = causes.trim_start_matches("transport error").trim_start_matches(": ");
        if !reason.contains(causes) {
            reason = format!("{reason}: {causes}");
        }
    }
    Refusal { reason, retry }
}

/// `google.rpc.RetryInfo`, among the status's details or as a trailer of its own.
fn asked_pause(status: &Status) -> Option<Duration> {
    let trailer = status.metadata().get_bin("google.rpc.retryinfo-bin");
    let trailer = trailer.and_then(|value| value.to_bytes().ok());
    let info = match trailer {
        Some(bytes) => RetryInfo::decode(bytes).ok()?,
        None => {
            let details = RpcStatus::decode(status.details()).ok()?.details;
            let info =
                details.iter().find(|detail| detail.type_url.ends_with("/google.rpc.RetryInfo"));
            RetryInfo::decode(info?.value.as_slice()).ok()?
        }
    };
    let delay = info.retry_delay?;
    let nanos = u32::try_from(delay.nanos).ok().filter(|nanos| *nanos < 1_000_000_000)?;
    Some(Duration::new(u64::try_from(delay.seconds).ok()?, nanos))
}

#[derive(Clone, PartialEq, Message)]
struct RpcStatus {
    #[prost(message, repeated, tag = "3")]
    details: Vec<Detail>,
}

#[derive(Clone, PartialEq, Message)]
struct Detail {
    #[prost(string, tag = "1")]
    type_url: String,
    #[prost(bytes = "vec", tag = "2")]
    value: Vec<u8>,
}

#[derive(Clone, PartialEq, Message)]
struct RetryInfo {
    #[prost(message, optional, tag = "1")]
    retry_delay: Option<Delay>,
}

#[derive(Clone, PartialEq, Message)]
struct Delay {
    #[prost(int64, tag = "1")]
    seconds: i64,
    #[prost(int32, tag = "2")]
    nanos: i32,
}

/// Requests are encoded once, before the first attempt.
struct Encoded;

impl Codec for Encoded {
    type Encode = Bytes;
    type Decode = ExportTraceServiceResponse;
    type Encoder = Self;
    type Decoder = Self;

    fn encoder(&mut self) -> Self {
        Self
    }

    fn decoder(&mut self) -> Self {
        Self
    }
}

impl Encoder for Encoded {
    type Item = Bytes;
    type Error = Status;

    fn encode(&mut self, item: Bytes, dst: &mut EncodeBuf<'_>) -> Result<(), Status> {
        dst.put(item);
        Ok(())
    }
}

impl Decoder for Encoded {
    type Item = ExportTraceServiceResponse;
    type Error = Status;

    fn decode(&mut self, src: &mut DecodeBuf<'_>) -> Result<Option<Self::Item>, Status> {
        let decoded = ExportTraceServiceResponse::decode(src);
        decoded.map(Some).map_err(|error| Status::internal(error.to_string()))
    }
}
