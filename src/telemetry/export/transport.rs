//! One attempt to hand a request to a collector, by either protocol.

use super::grpc::Grpc;
use super::http::Http;
use crate::config::{ExporterSettings, OtlpProtocol};
use bytes::Bytes;
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceResponse;
use std::time::Duration;

/// The way to the collector.
pub(super) enum Transport {
    Grpc(Box<Grpc>),
    Http(Http),
}

/// The collector took the request.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Accepted {
    /// Spans that it left out nevertheless.
    pub rejected: u64,
    /// Why, or a warning.
    pub message: String,
}

/// It did not.
#[derive(Debug)]
pub(super) struct Refusal {
    /// A few words.
    pub reason: String,
    pub retry: Retry,
}

/// Whether another attempt may help.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Retry {
    Never,
    /// After the usual pause.
    Backoff,
    /// After a pause that the collector asks for.
    After(Duration),
}

impl Transport {
    /// Checks the settings; nothing is sent yet. Called inside the runtime.
    pub fn new(settings: &ExporterSettings) -> Result<Self, String> {
        Ok(match settings.protocol {
            OtlpProtocol::Grpc => Self::Grpc(Box::new(Grpc::new(settings)?)),
            OtlpProtocol::HttpProtobuf => Self::Http(Http::new(settings)?),
        })
    }

    /// After a request that was not answered; over HTTP its connection ended with it.
    pub fn forget_connection(&mut self) {
        if let Self::Grpc(grpc) = self {
            grpc.forget_connection();
        }
    }

    /// Sends an encoded request.
    pub async fn send(&mut self, body: Bytes, within: Duration) -> Result<Accepted, Refusal> {
        match self {
            Self::Grpc(grpc) => grpc.send(body, within).await,
            Self::Http(http) => http.send(body, within).await,
        }
    }
}

impl From<ExportTraceServiceResponse> for Accepted {
    fn from(response: ExportTraceServiceResponse) -> Self {
        let partial = response.partial_success.unwrap_or_default();
        let rejected = u64::try_from(partial.rejected_spans).unwrap_or_default();
        Self { rejected, message: partial.error_message }
    }
}

/// An error with all its causes, in one line and without repetition.
pub(super) fn with_causes(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        let more = error.to_string();
        // gRPC's own layers have nothing to say.
        if more != "transport error" && !text.contains(&more) {
            text = format!("{text}: {more}");
        }
        cause = error.source();
    }
    text
}
