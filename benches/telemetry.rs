//! What tracing costs: `cargo bench --bench telemetry`.
//!
//! The first lines are paid by a request's own thread, the last ones by the export thread, with
//! sinks in this process that answer at once; the one for gRPC decodes what it gets, on a thread
//! that shares the machine.

use glassbox::config::{self, Env, TracingSettings};
use glassbox::telemetry::trace::{SpanIds, Spans, Tracer};
use opentelemetry::trace::{SpanId, SpanKind, Status};
use opentelemetry::{InstrumentationScope, KeyValue};
use opentelemetry_proto::tonic::collector::trace::v1::trace_service_server::{
    TraceService, TraceServiceServer,
};
use opentelemetry_proto::tonic::collector::trace::v1::{
    ExportTraceServiceRequest, ExportTraceServiceResponse,
};
use opentelemetry_sdk::trace::SpanData;
use std::hint::black_box;
use std::io::{Read, Write};
use std::net::TcpListener;
use std::time::{Duration, Instant, SystemTime};
use tonic::transport::Server;
use tonic::transport::server::TcpIncoming;
use tonic::{Request, Response};

const SAMPLED: &str = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
const UNSAMPLED: &str = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-00";
const SPANS: usize = 8;
const TREES: usize = 12_500;

fn main() {
    let (grpc, http) = (grpc_sink(), http_sink());
    let quiet = [("OTEL_BSP_SCHEDULE_DELAY", "3600000")];
    let (tracer, _guard) = start(&grpc, &quiet);
    each("begin, sampled parent", || begin(&tracer, Some(SAMPLED)));
    each("begin, unsampled parent", || begin(&tracer, Some(UNSAMPLED)));
    each("begin, no parent", || begin(&tracer, None));
    let off =
        [("OTEL_TRACES_SAMPLER", "parentbased_traceidratio"), ("OTEL_TRACES_SAMPLER_ARG", "0")];
    let (none, _guard) = start(&grpc, &[&quiet[..], &off].concat());
    each("begin, no parent, ratio 0", || begin(&none, None));
    submissions(&grpc);
    for (name, url, protocol) in
        [("grpc", &grpc, "grpc"), ("http/protobuf", &http, "http/protobuf")]
    {
        exports(name, url, protocol);
    }
}

fn settings(endpoint: &str, vars: &[(&str, &str)]) -> TracingSettings {
    let args = ["vllm", "serve", "m", "--otlp-traces-endpoint", endpoint].map(str::to_owned);
    let find = |name: &str| vars.iter().find(|(key, _)| *key == name);
    let env = Env::read(|name| find(name).map(|(_, value)| (*value).to_owned()));
    config::parse_serve(&args, env).expect("good settings").tracing.expect("tracing is on")
}

fn start(
    endpoint: &str,
    vars: &[(&str, &str)],
) -> (Tracer, glassbox::telemetry::trace::TracerGuard) {
    Tracer::start(&settings(endpoint, vars)).expect("a tracer")
}

fn begin(tracer: &Tracer, traceparent: Option<&str>) -> Option<SpanIds> {
    let traceparent = traceparent.map(str::as_bytes);
    tracer.begin(|name| traceparent.filter(|_| name == "traceparent"))
}

/// Prints the best of some rounds: the rest is noise.
fn each<T>(name: &str, mut run: impl FnMut() -> T) {
    const CALLS: u32 = 200_000;
    let mut best = Duration::MAX;
    for _ in 0..7 {
        let begin = Instant::now();
        (0..CALLS).for_each(|_| drop(black_box(run())));
        best = best.min(begin.elapsed());
    }
    print(name, best.as_secs_f64() / f64::from(CALLS), "call");
}

fn print(name: &str, seconds: f64, of: &str) {
    println!("{name:<44} {:>9.1} ns/{of}", seconds * 1e9);
}

/// As a request leaves it: nothing is written down yet.
struct Tree(SpanIds);

impl Spans for Tree {
    fn count(&self) -> usize {
        SPANS
    }

    fn build(self: Box<Self>, out: &mut Vec<SpanData>) {
        let now = SystemTime::now();
        for i in 0..SPANS {
            let id = SpanId::from(i as u64 + 1);
            out.push(SpanData {
                span_context: self.0.child(id),
                parent_span_id: self.0.span_id,
                parent_span_is_remote: i == 0,
                span_kind: if i == 0 { SpanKind::Server } else { SpanKind::Internal },
                name: if i == 0 { "llm_request" } else { "phase" }.into(),
                start_time: now,
                end_time: now + Duration::from_millis(3),
                attributes: attributes(if i == 0 { 30 } else { 4 }),
                dropped_attributes_count: 0,
                events: Default::default(),
                links: Default::default(),
                status: Status::Unset,
                instrumentation_scope: InstrumentationScope::builder("vllm.tracing.otel").build(),
            });
        }
    }
}

fn attributes(count: usize) -> Vec<KeyValue> {
    (0..count)
        .map(|i| match i % 3 {
            0 => KeyValue::new("gen_ai.usage.prompt_tokens", 1234),
            1 => KeyValue::new("gen_ai.latency.time_to_first_token", 0.125),
            _ => KeyValue::new("gen_ai.request.id", format!("chatcmpl-{i:032x}")),
        })
        .collect()
}

/// Into a queue that is large enough, in rounds that the export thread sleeps through.
fn submissions(url: &str) {
    let vars = [
        ("OTEL_BSP_SCHEDULE_DELAY", "3600000"),
        ("OTEL_BSP_MAX_QUEUE_SIZE", "2000000"),
        ("OTEL_BSP_MAX_EXPORT_BATCH_SIZE", "1000000"),
    ];
    let (tracer, guard) = start(url, &vars);
    let ids = begin(&tracer, Some(SAMPLED)).expect("sampled");
    let mut best = Duration::MAX;
    for _ in 0..7 {
        let trees: Vec<_> = (0..TREES).map(|_| Box::new(Tree(ids.clone()))).collect();
        let begin = Instant::now();
        trees.into_iter().for_each(|tree| tracer.submit(tree));
        best = best.min(begin.elapsed());
    }
    assert_eq!(tracer.stats().read().dropped_total(), 0);
    print("submit, a tree of 8", best.as_secs_f64() / TREES as f64, "tree");
    guard.shutdown(Duration::ZERO);
}

/// From the queue to the collector's answer, on the export thread.
fn exports(name: &str, url: &str, protocol: &str) {
    let vars = [
        ("OTEL_EXPORTER_OTLP_TRACES_PROTOCOL", protocol),
        ("OTEL_BSP_SCHEDULE_DELAY", "3600000"),
        ("OTEL_BSP_MAX_QUEUE_SIZE", "2000000"),
    ];
    let (tracer, guard) = start(url, &vars);
    let ids = begin(&tracer, Some(SAMPLED)).expect("sampled");
    let begin = Instant::now();
    (0..TREES).for_each(|_| tracer.submit(Box::new(Tree(ids.clone()))));
    guard.shutdown(Duration::from_secs(600));
    let counts = tracer.stats().read();
    assert_eq!(counts.exported, (TREES * SPANS) as u64, "{counts:?}");
    let took = begin.elapsed().as_secs_f64() / counts.exported as f64;
    print(&format!("build, encode and export, {name}"), took, "span");
}

struct Sink;

#[tonic::async_trait]
impl TraceService for Sink {
    async fn export(
        &self,
        _: Request<ExportTraceServiceRequest>,
    ) -> Result<Response<ExportTraceServiceResponse>, tonic::Status> {
        Ok(Response::new(ExportTraceServiceResponse::default()))
    }
}

fn grpc_sink() -> String {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let runtime = runtime.expect("a runtime");
    let listener = runtime.block_on(tokio::net::TcpListener::bind("127.0.0.1:0"));
    let listener = listener.expect("a free port");
    let url = format!("http://{}", listener.local_addr().expect("bound"));
    std::thread::spawn(move || {
        let server = Server::builder().add_service(TraceServiceServer::new(Sink));
        runtime.block_on(server.serve_with_incoming(TcpIncoming::from(listener)))
    });
    url
}

/// Reads bodies by their length and answers with an empty message.
fn http_sink() -> String {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let url = format!("http://{}/v1/traces", listener.local_addr().expect("bound"));
    std::thread::spawn(move || {
        for stream in listener.incoming().map_while(Result::ok) {
            std::thread::spawn(move || serve(stream));
        }
    });
    url
}

fn serve(mut stream: std::net::TcpStream) -> Option<()> {
    let mut buffer = Vec::new();
    let mut chunk = vec![0; 1 << 16];
    loop {
        let end = loop {
            if let Some(at) = buffer.windows(4).position(|four| four == b"\r\n\r\n") {
                break at + 4;
            }
            let read = stream.read(&mut chunk).ok().filter(|read| *read > 0)?;
            buffer.extend_from_slice(&chunk[..read]);
        };
        let head = String::from_utf8_lossy(&buffer[..end]).to_lowercase();
        let length = head.lines().find_map(|line| line.strip_prefix("content-length: "))?;
        let length: usize = length.trim().parse().ok()?;
        while buffer.len() < end + length {
            let read = stream.read(&mut chunk).ok().filter(|read| *read > 0)?;
            buffer.extend_from_slice(&chunk[..read]);
        }
        buffer.drain(..end + length);
        stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n").ok()?;
    }
}
