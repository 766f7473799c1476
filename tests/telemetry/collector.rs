//! Collectors on loopback that answer as they are told.

use http_body_util::{BodyExt, Full};
use hyper::body::{Bytes, Incoming};
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use opentelemetry_proto::tonic::collector::trace::v1::trace_service_server::{
    TraceService, TraceServiceServer,
};
use opentelemetry_proto::tonic::collector::trace::v1::{
    ExportTracePartialSuccess, ExportTraceServiceRequest, ExportTraceServiceResponse,
};
use opentelemetry_proto::tonic::trace::v1::Span;
use prost::Message;
use std::collections::{HashMap, VecDeque};
use std::io::Read;
use std::net::SocketAddr;
use std::sync::{Arc, Condvar, Mutex};
use std::time::Duration;
use tokio::net::TcpListener;
use tokio::runtime::Runtime;
use tokio_rustls::TlsAcceptor;
use tonic::codec::CompressionEncoding;
use tonic::transport::server::TcpIncoming;
use tonic::transport::{Server, ServerTlsConfig};
use tonic::{Code, Request, Response, Status};

/// Longer than anything here takes.
pub const PATIENCE: Duration = Duration::from_secs(20);

/// What a collector says.
#[derive(Clone, Debug)]
pub enum Answer {
    Accept,
    /// Leaves out so many spans.
    Reject(i64),
    /// A gRPC code, with the bytes of a `google.rpc.Status`.
    Code(Code, Vec<u8>),
    /// An HTTP status, with `Retry-After`.
    Status(u16, Option<&'static str>),
    /// Nothing, ever.
    Hang,
}

/// One request, spans in it or none.
#[derive(Clone, Debug)]
pub struct Received {
    pub request: ExportTraceServiceRequest,
    /// Names in lower case.
    pub headers: HashMap<String, String>,
    /// Of HTTP.
    pub path: String,
    /// The other end of the connection, over gRPC.
    pub peer: Option<SocketAddr>,
}

impl Received {
    pub fn spans(&self) -> Vec<Span> {
        let resources = self.request.resource_spans.iter();
        let scopes = resources.flat_map(|resource| &resource.scope_spans);
        scopes.flat_map(|scope| scope.spans.clone()).collect()
    }
}

struct State {
    /// Answers to requests with spans, in order; then `usual`.
    script: Mutex<VecDeque<Answer>>,
    usual: Answer,
    received: Mutex<Vec<Received>>,
    arrived: Condvar,
}

impl State {
    fn receive(&self, received: Received) -> Answer {
        let probe = received.spans().is_empty();
        self.received.lock().expect("not poisoned").push(received);
        self.arrived.notify_all();
        let mut script = self.script.lock().expect("not poisoned");
        match (probe, &self.usual) {
            (true, Answer::Hang) => Answer::Hang,
            (true, _) => Answer::Accept,
            (false, usual) => script.pop_front().unwrap_or_else(|| usual.clone()),
        }
    }
}

/// A collector; dropped, it is gone with its connections.
pub struct Collector {
    pub address: SocketAddr,
    state: Arc<State>,
    runtime: Option<Runtime>,
}

/// How to listen.
pub enum Listen {
    Grpc,
    GrpcTls(Box<ServerTlsConfig>),
    Http,
    HttpTls(TlsAcceptor),
}

impl Collector {
    /// On a free port, accepting everything.
    pub fn start(listen: Listen) -> Self {
        Self::answering(listen, [], Answer::Accept)
    }

    /// On a free port, with these answers to requests with spans.
    pub fn answering(
        listen: Listen,
        script: impl IntoIterator<Item = Answer>,
        usual: Answer,
    ) -> Self {
        Self::at("127.0.0.1:0".parse().expect("an address"), listen, script, usual)
    }

    /// On this address.
    pub fn at(
        address: SocketAddr,
        listen: Listen,
        script: impl IntoIterator<Item = Answer>,
        usual: Answer,
    ) -> Self {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .enable_all()
            .build()
            .expect("a runtime");
        let listener = runtime.block_on(TcpListener::bind(address)).expect("a free port");
        let address = listener.local_addr().expect("bound");
        let state = Arc::new(State {
            script: Mutex::new(script.into_iter().collect()),
            usual,
            received: Mutex::default(),
            arrived: Condvar::new(),
        });
        let service = Arc::clone(&state);
        match listen {
            Listen::Grpc => runtime.spawn(grpc(listener, service, None)),
            Listen::GrpcTls(tls) => runtime.spawn(grpc(listener, service, Some(*tls))),
            Listen::Http => runtime.spawn(http(listener, service, None)),
            Listen::HttpTls(tls) => runtime.spawn(http(listener, service, Some(tls))),
        };
        Self { address, state, runtime: Some(runtime) }
    }

    /// All requests so far.
    pub fn received(&self) -> Vec<Received> {
        self.state.received.lock().expect("not poisoned").clone()
    }

    /// All spans so far.
    pub fn spans(&self) -> Vec<Span> {
        self.received().iter().flat_map(Received::spans).collect()
    }

    /// Requests with spans.
    pub fn batches(&self) -> Vec<Received> {
        self.received().into_iter().filter(|one| !one.spans().is_empty()).collect()
    }

    /// Until `done` holds of the requests.
    pub fn wait_until(&self, done: impl Fn(&[Received]) -> bool) {
        let received = self.state.received.lock().expect("not poisoned");
        let waited =
            self.state.arrived.wait_timeout_while(received, PATIENCE, |received| !done(received));
        assert!(!waited.expect("not poisoned").1.timed_out(), "this never arrived");
    }

    /// Until this many requests with spans came.
    pub fn wait_for_batches(&self, count: usize) {
        self.wait_until(|received| {
            received.iter().filter(|one| !one.spans().is_empty()).count() >= count
        });
    }
}

impl Drop for Collector {
    fn drop(&mut self) {
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_timeout(PATIENCE);
        }
    }
}

struct Grpc(Arc<State>);

#[tonic::async_trait]
impl TraceService for Grpc {
    async fn export(
        &self,
        request: Request<ExportTraceServiceRequest>,
    ) -> Result<Response<ExportTraceServiceResponse>, Status> {
        let headers = request.metadata().clone().into_headers();
        let headers = headers.iter().map(|(name, value)| {
            (name.to_string(), String::from_utf8_lossy(value.as_bytes()).into_owned())
        });
        let headers = headers.collect();
        let peer = request.remote_addr();
        let request = request.into_inner();
        let received = Received { headers, path: String::new(), peer, request };
        match self.0.receive(received) {
            Answer::Code(code, details) => {
                Err(Status::with_details(code, "not today", details.into()))
            }
            Answer::Hang => std::future::pending().await,
            Answer::Status(..) => panic!("gRPC has no such answer"),
            answer => Ok(Response::new(response(&answer))),
        }
    }
}

fn response(answer: &Answer) -> ExportTraceServiceResponse {
    let partial_success = match answer {
        Answer::Reject(count) => Some(ExportTracePartialSuccess {
            rejected_spans: *count,
            error_message: "too odd".to_owned(),
        }),
        _ => None,
    };
    ExportTraceServiceResponse { partial_success }
}

async fn grpc(listener: TcpListener, state: Arc<State>, tls: Option<ServerTlsConfig>) {
    let service = TraceServiceServer::new(Grpc(state)).accept_compressed(CompressionEncoding::Gzip);
    let mut server = Server::builder();
    if let Some(tls) = tls {
        server = server.tls_config(tls).expect("good certificates");
    }
    let served = server.add_service(service).serve_with_incoming(TcpIncoming::from(listener));
    served.await.expect("a server");
}

async fn http(listener: TcpListener, state: Arc<State>, tls: Option<TlsAcceptor>) {
    loop {
        let (stream, _) = listener.accept().await.expect("a connection");
        let (state, tls) = (Arc::clone(&state), tls.clone());
        tokio::spawn(async move {
            match tls {
                None => serve(stream, state).await,
                Some(tls) => {
                    // A client that does not trust us hangs up.
                    if let Ok(stream) = tls.accept(stream).await {
                        serve(stream, state).await;
                    }
                }
            }
        });
    }
}

async fn serve<S>(stream: S, state: Arc<State>)
where
    S: tokio::io::AsyncRead + tokio::io::AsyncWrite + Unpin + Send + 'static,
{
    let service = service_fn(|request| answer_http(request, Arc::clone(&state)));
    let connection = hyper::server::conn::http1::Builder::new();
    // How the connection ends is the client's business.
    let _ = connection.serve_connection(TokioIo::new(stream), service).await;
}

async fn answer_http(
    request: hyper::Request<Incoming>,
    state: Arc<State>,
) -> Result<hyper::Response<Full<Bytes>>, hyper::Error> {
    let (head, body) = request.into_parts();
    let body = body.collect().await?.to_bytes();
    let headers: HashMap<String, String> = head
        .headers
        .iter()
        .map(|(name, value)| (name.to_string(), String::from_utf8_lossy(value.as_bytes()).into()))
        .collect();
    let mut plain = Vec::new();
    let unpacked = match headers.get("content-encoding").map(String::as_str) {
        Some("gzip") => flate2::read::GzDecoder::new(&*body).read_to_end(&mut plain),
        Some("deflate") => flate2::read::ZlibDecoder::new(&*body).read_to_end(&mut plain),
        _ => (&*body).read_to_end(&mut plain),
    };
    unpacked.expect("a sound body");
    let request = ExportTraceServiceRequest::decode(&*plain).expect("a request of OTLP");
    let path = head.uri.path().to_owned();
    let mut builder = hyper::Response::builder();
    let body = match state.receive(Received { request, headers, path, peer: None }) {
        Answer::Hang => std::future::pending().await,
        Answer::Status(status, after) => {
            builder = builder.status(status);
            if let Some(after) = after {
                builder = builder.header("retry-after", after);
            }
            Vec::new()
        }
        Answer::Code(..) => panic!("HTTP has no such answer"),
        answer => response(&answer).encode_to_vec(),
    };
    Ok(builder.body(Full::from(body)).expect("a response"))
}

/// An address that nobody listens on.
pub fn free_address() -> SocketAddr {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a free port");
    listener.local_addr().expect("bound")
}
