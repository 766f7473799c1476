//! A server over the simulated device, and a client that sends exactly the bytes it is given.

use super::scripted::{Script, Scripted};
use glassbox::config::Env;
use glassbox::config::memory::KvPlan;
use glassbox::engine::{self, Core, EngineConfig, EngineHandle, StepHistograms};
use glassbox::http::{
    Frontend, Limits, Listener, Options, Tls, paths, serve, system_fingerprint, tokenizer_info,
};
use glassbox::model::{
    ChatTemplate, GenerationDefaults, GenerationSource, Tokenizer, TokenizerFiles,
};
use glassbox::runner::sim::{Samples, SimBackend, SimConfig};
use glassbox::runner::{self, Backend};
use glassbox::scheduler::SchedulerConfig;
use glassbox::telemetry::metrics::{Health, Metrics, MetricsConfig, Snapshot, Steps};
use glassbox::telemetry::trace::Tracer;
use glassbox::types::{Clock, Policy};
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::net::{TcpListener, UnixListener};
use tokio::runtime::Runtime;
use tokio::sync::oneshot;

pub const MODEL: &str = "models/qwen3-tiny";
pub const MAX_MODEL_LEN: u32 = 4096;
pub const VOCAB_SIZE: u32 = 2048;
/// Nothing here should take long; a test that waits for more is stuck.
pub const PATIENCE: Duration = Duration::from_secs(30);

/// What differs from test to test.
pub struct Setup {
    pub step_time: Duration,
    pub max_in_flight: usize,
    pub max_queued_tokens: usize,
    pub fails_at: Option<u64>,
    pub options: Options,
    /// The model's tokenizer is there.
    pub tokenizer: bool,
    pub tracer: Option<Tracer>,
    pub tls: Option<Tls>,
    /// Listen here, not on a port.
    pub uds: Option<PathBuf>,
    /// What the model writes, in place of the simulated device.
    pub script: Option<Script>,
}

impl Default for Setup {
    fn default() -> Self {
        let limits = Limits {
            max_model_len: MAX_MODEL_LEN,
            vocab_size: VOCAB_SIZE,
            max_logprobs: 20,
            reasoning: None,
            has_tokenizer: true,
        };
        let options = Options {
            served_model_names: vec!["qwen3-tiny".into(), "alias-b".into()],
            enable_prompt_tokens_details: true,
            system_fingerprint: Some(system_fingerprint(&["test"])),
            ..Options::new(MODEL, limits)
        };
        Self {
            step_time: Duration::ZERO,
            max_in_flight: 20_000,
            max_queued_tokens: usize::MAX,
            fails_at: None,
            options,
            tokenizer: true,
            tracer: None,
            tls: None,
            uds: None,
            script: None,
        }
    }
}

/// A running server; stops when dropped.
pub struct Server {
    pub address: SocketAddr,
    pub engine: EngineHandle,
    stop: Option<oneshot::Sender<()>>,
    thread: Option<std::thread::JoinHandle<()>>,
    engine_thread: Option<engine::EngineThread>,
}

pub fn start(setup: Setup) -> Server {
    let limits = runner::Limits {
        max_tokens: 2048,
        max_seqs: 128,
        max_blocks_per_seq: 256,
        num_blocks: 4096,
        block_size: 16,
        vocab_size: VOCAB_SIZE as usize,
    };
    let sim = SimConfig {
        limits,
        step_time: setup.step_time,
        samples: Samples::No,
        fails_at: setup.fails_at,
    };
    let config = EngineConfig {
        scheduler: SchedulerConfig {
            max_num_batched_tokens: 2048,
            max_num_seqs: 128,
            policy: Policy::Fcfs,
            chunked_prefill: true,
            long_prefill_token_threshold: 0,
            adaptive_long_prefill: false,
            reserve_full_prompt: true,
            watermark: 0.0,
        },
        max_model_len: MAX_MODEL_LEN as usize,
        prefix_caching: None,
        max_in_flight: setup.max_in_flight,
        max_queued_tokens: setup.max_queued_tokens,
        seed: 0,
        iteration_buckets: Vec::new(),
        logprobs: Default::default(),
        observation: Default::default(),
    };
    let backend: Box<dyn Backend> = match setup.script {
        Some(script) => Box::new(Scripted::new(limits, script)),
        None => Box::new(SimBackend::new(sim)),
    };
    let (core, engine) = Core::new(config, backend, Clock::system());
    let engine_thread = engine::spawn(core).expect("a thread");
    let frontend = frontend(setup.options, setup.tokenizer, engine.clone()).traced_by(setup.tracer);
    let frontend = Arc::new(frontend);
    let (stop, stopped) = oneshot::channel::<()>();
    let (send_address, address) = std::sync::mpsc::channel();
    let thread = std::thread::spawn(move || {
        let runtime = Runtime::new().expect("a runtime");
        runtime.block_on(async {
            let socket = TcpListener::bind("127.0.0.1:0").await.expect("a port");
            let address = socket.local_addr().unwrap();
            let listener: Listener = match setup.uds {
                Some(path) => UnixListener::bind(path).expect("a path").into(),
                None => socket.into(),
            };
            send_address.send(address).unwrap();
            let listener = listener.with_tls(setup.tls);
            serve(vec![listener], frontend, async { drop(stopped.await) }).await;
        });
    });
    Server {
        address: address.recv().unwrap(),
        engine,
        stop: Some(stop),
        thread: Some(thread),
        engine_thread: Some(engine_thread),
    }
}

fn frontend(options: Options, has_tokenizer: bool, engine: EngineHandle) -> Frontend {
    let file = |name: &str| Path::new(MODEL).join(name);
    let tokenizer = Tokenizer::load(&TokenizerFiles {
        tokenizer: file("tokenizer.json"),
        config: Some(file("tokenizer_config.json")),
        special_tokens_map: None,
    });
    let template = ChatTemplate::load(None, Some(&file("tokenizer_config.json")));
    let defaults = GenerationDefaults::load(
        &GenerationSource::Auto,
        &file("config.json"),
        Some(&file("generation_config.json")),
        &serde_json::Map::new(),
    );
    let metrics = metrics(options.tool_format.is_some());
    let render = {
        let (metrics, status) = (metrics.clone(), engine.shared_status());
        Box::new(move |format| {
            let StepHistograms { iteration_tokens, time, device_time } = &status.steps;
            let steps = Steps { tokens: iteration_tokens, time, device_time };
            metrics.render(&Snapshot::idle(steps), &Health::default(), format)
        })
    };
    let (tokenizer, template) =
        (tokenizer.expect("tokenizer"), template.expect("template").map(Arc::new));
    let defaults = defaults.expect("defaults");
    let tokenizer_info = options.dev_mode.then(|| tokenizer_info(&tokenizer, MODEL, true));
    let options = Options { tokenizer_info, ..options };
    let tokenizer = has_tokenizer.then_some(&tokenizer);
    let template = template.filter(|_| has_tokenizer);
    Frontend::new(options, engine, tokenizer, template, defaults, metrics, render)
        .expect("a byte-level tokenizer")
}

fn metrics(counts_tool_calls: bool) -> Arc<Metrics> {
    let args = ["glassbox", "serve", MODEL, "--block-size", "64"].map(str::to_owned);
    let settings = glassbox::config::parse_serve(&args, Env::read(|_| None)).expect("good flags");
    Arc::new(Metrics::new(&MetricsConfig {
        model_name: "qwen3-tiny",
        cache: &settings.cache,
        plan: &KvPlan {
            num_blocks: 100,
            block_size: 64,
            block_bytes: 1,
            max_model_len: MAX_MODEL_LEN as usize,
        },
        settings: &settings.metrics,
        shows_engine: true,
        counts_tool_calls,
        paths: &paths(),
    }))
}

impl Drop for Server {
    fn drop(&mut self) {
        drop(self.stop.take());
        self.engine.abort_all();
        self.engine.stop();
        let ended = self.thread.take().map(std::thread::JoinHandle::join);
        let engine_ended = self.engine_thread.take().map(engine::EngineThread::join);
        if !std::thread::panicking() {
            assert!(ended.is_some_and(|ended| ended.is_ok()), "the server failed");
            assert!(engine_ended.is_some_and(|ended| ended.is_ok()), "the engine panicked");
        }
    }
}

/// One answer.
#[derive(Debug)]
pub struct Reply {
    pub status: u16,
    pub headers: Vec<(String, String)>,
    pub body: String,
}

impl Reply {
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(key, _)| key == name).map(|(_, value)| value.as_str())
    }

    pub fn json(&self) -> serde_json::Value {
        serde_json::from_str(&self.body).unwrap_or_else(|e| panic!("{e}: {}", self.body))
    }

    /// Checks the whole body of an error without a parameter.
    pub fn assert_error(&self, code: u16, kind: &str, message: &str) {
        let body = format!(
            r#"{{"error":{{"message":"{message}","type":"{kind}","param":null,"code":{code}}}}}"#
        );
        assert_eq!((self.status, &self.body), (code, &body));
    }

    /// The data of a stream's events, `[DONE]` included.
    pub fn events(&self) -> Vec<&str> {
        let events = self.body.split_terminator("\n\n");
        events.map(|event| event.strip_prefix("data: ").expect("data")).collect()
    }
}

impl Server {
    pub fn connect(&self) -> TcpStream {
        let stream = TcpStream::connect(self.address).expect("the server listens");
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        stream.set_write_timeout(Some(PATIENCE)).unwrap();
        stream
    }

    /// The head of a request, without the empty line behind it.
    pub fn head(&self, method: &str, path: &str, headers: &[(&str, &str)]) -> String {
        let mut head = format!("{method} {path} HTTP/1.1\r\nhost: {}\r\n", self.address);
        for (name, value) in headers {
            head += &format!("{name}: {value}\r\n");
        }
        head
    }

    /// Sends one request and reads the whole answer.
    pub fn send(
        &self,
        method: &str,
        path: &str,
        headers: &[(&str, &str)],
        body: Option<&[u8]>,
    ) -> Reply {
        let head = self.head(method, path, headers);
        send_over(&mut self.connect(), head, body)
    }

    pub fn post(&self, path: &str, body: &str) -> Reply {
        self.send("POST", path, &[("content-type", "application/json")], Some(body.as_bytes()))
    }

    pub fn get(&self, path: &str) -> Reply {
        self.send("GET", path, &[], None)
    }

    /// How often clients met a limit.
    pub fn met(&self, limit: &str) -> u64 {
        let page = self.get("/metrics").body;
        let start = format!("glassbox_http_limits_total{{limit=\"{limit}\"}} ");
        let line = page.lines().find_map(|line| line.strip_prefix(&start));
        line.expect("the limit is counted").parse::<f64>().unwrap() as u64
    }

    /// Waits until the engine has nothing in flight.
    pub fn wait_until_idle(&self) {
        let start = Instant::now();
        while self.engine.in_flight() > 0 {
            assert!(start.elapsed() < PATIENCE, "{} in flight", self.engine.in_flight());
            std::thread::yield_now();
        }
    }
}

/// Sends one request with this head by `stream` and reads the whole answer.
pub fn send_over(stream: &mut (impl Read + Write), head: String, body: Option<&[u8]>) -> Reply {
    let mut head = head + "connection: close\r\n";
    if let Some(body) = body {
        head += &format!("content-length: {}\r\n", body.len());
    }
    stream.write_all((head + "\r\n").as_bytes()).unwrap();
    // A server that refuses a body may close before it has read all of it.
    let _ = stream.write_all(body.unwrap_or_default());
    let mut bytes = Vec::new();
    let _ = stream.read_to_end(&mut bytes);
    parse(&bytes)
}

pub fn parse(bytes: &[u8]) -> Reply {
    let end = bytes.windows(4).position(|w| w == b"\r\n\r\n").expect("a head");
    let head = std::str::from_utf8(&bytes[..end]).unwrap();
    let mut lines = head.split("\r\n");
    let status = lines.next().unwrap().split(' ').nth(1).unwrap().parse().unwrap();
    let pair = |line: &str| {
        let (name, value) = line.split_once(':').unwrap();
        (name.to_ascii_lowercase(), value.trim().to_owned())
    };
    let headers: Vec<(String, String)> = lines.map(pair).collect();
    let raw = &bytes[end + 4..];
    let chunked =
        headers.iter().any(|(name, value)| name == "transfer-encoding" && value == "chunked");
    let body = if chunked { dechunk(raw) } else { raw.to_vec() };
    Reply { status, headers, body: String::from_utf8(body).unwrap() }
}

fn dechunk(mut raw: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    while let Some(end) = raw.windows(2).position(|w| w == b"\r\n") {
        let size = usize::from_str_radix(std::str::from_utf8(&raw[..end]).unwrap(), 16).unwrap();
        out.extend_from_slice(&raw[end + 2..end + 2 + size]);
        raw = &raw[end + 4 + size..];
    }
    out
}
