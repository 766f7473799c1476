//! `run-batch`: OpenAI's batch files, answered by an engine without sockets.

use crate::client::Progress;
use crate::config::{RunBatchSettings, VLLM_VERSION};
use crate::http::{self, Frontend};
use crate::serve::stop::STOP_GRACE;
use crate::serve::{self, Told, build};
use crate::types::Clock;
use axum::body::Body;
use axum::http::{Method, Request, header};
use http_body_util::BodyExt;
use serde_json::{Map, Value, json};
use std::path::Path;
use std::sync::Arc;

/// The endpoints that a batch may use.
const ENDPOINTS: [&str; 2] = ["/v1/chat/completions", "/v1/completions"];
/// Those that vLLM has for other models.
const OTHER_MODELS: [&str; 3] =
    ["/v1/embeddings", "/v1/audio/transcriptions", "/v1/audio/translations"];

/// One line of the input.
struct Line {
    custom_id: String,
    url: String,
    body: Value,
}

/// Answers every line of the input file and writes the output file.
pub(super) fn run(settings: &RunBatchSettings) -> Result<(), String> {
    log::info!("vLLM batch processing API version {VLLM_VERSION}");
    log::info!("Reading batch from {}...", settings.input.display());
    let lines = read(&settings.input)?;
    let mut engine_settings = settings.engine.clone();
    // Nobody but this process asks.
    engine_settings.frontend.api_keys.clear();
    let model = build::open_model(&engine_settings)?;
    let sizes = build::size(&engine_settings, &model)?;
    engine_settings.frontend.request_bounds.install();
    let mut engine = build::start_engine(&engine_settings, &model, &sizes, Clock::system())?;
    let handle = engine.handle.clone();
    let frontend =
        serve::frontend(&engine_settings, &model, &sizes, handle, None, Told::default())?;
    let replies = super::runtime()?.block_on(answer_all(Arc::new(frontend), lines))?;
    let stopped = engine.running.stop(STOP_GRACE);
    let text: String = replies.iter().map(|reply| format!("{reply}\n")).collect();
    log::info!("Writing outputs to local file {}", settings.output.display());
    std::fs::write(&settings.output, text)
        .map_err(|error| format!("{}: {error}", settings.output.display()))?;
    stopped
}

fn read(path: &Path) -> Result<Vec<Line>, String> {
    let place = path.display();
    let text = std::fs::read_to_string(path).map_err(|error| format!("{place}: {error}"))?;
    let lines = text.lines().enumerate().filter(|(_, line)| !line.trim().is_empty());
    let read = |(index, line): (usize, &str)| {
        parse(line).map_err(|error| format!("{place}, line {}: {error}", index + 1))
    };
    lines.map(read).collect()
}

fn parse(line: &str) -> Result<Line, String> {
    let mut fields: Map<String, Value> =
        serde_json::from_str(line).map_err(|error| error.to_string())?;
    let mut text = |name: &str| match fields.shift_remove(name) {
        Some(Value::String(text)) => Ok(text),
        Some(other) => Err(format!("{name} is {other}, a text is wanted")),
        None => Err(format!("{name} is missing")),
    };
    let (custom_id, url) = (text("custom_id")?, text("url")?);
    text("method")?;
    let body = fields.shift_remove("body").ok_or("body is missing")?;
    Ok(Line { custom_id, url, body })
}

/// The replies, in the order of the lines.
async fn answer_all(frontend: Arc<Frontend>, lines: Vec<Line>) -> Result<Vec<Value>, String> {
    let progress = Arc::new(Progress::new("Running batch", lines.len(), true));
    let mut tasks = Vec::with_capacity(lines.len());
    for line in lines {
        let (frontend, progress) = (frontend.clone(), progress.clone());
        tasks.push(tokio::spawn(async move {
            let reply = answer(frontend, line).await;
            progress.step();
            reply
        }));
    }
    let mut replies = Vec::with_capacity(tasks.len());
    for task in tasks {
        replies.push(task.await.map_err(|error| error.to_string())?);
    }
    progress.end();
    Ok(replies)
}

async fn answer(frontend: Arc<Frontend>, line: Line) -> Value {
    let url = line.url.as_str();
    if OTHER_MODELS.contains(&url) || url.ends_with("/score") || url.ends_with("/rerank") {
        return refused(&line, format!("Model does not support endpoint: {url}"));
    }
    if !ENDPOINTS.contains(&url) {
        let known = ENDPOINTS.join(", ");
        return refused(&line, format!("URL {url} was used. Supported endpoints: {known}."));
    }
    if line.body.get("stream").is_some_and(|stream| stream == &Value::Bool(true)) {
        return refused(&line, "Request must not be sent in stream mode".to_owned());
    }
    let request = Request::builder()
        .method(Method::POST)
        .uri(url)
        .header(header::CONTENT_TYPE, "application/json")
        .body(Body::from(line.body.to_string()));
    let request = match request {
        Ok(request) => request,
        Err(error) => return refused(&line, error.to_string()),
    };
    let reply = http::answer(frontend, request).await;
    let status = reply.status().as_u16();
    let body = match reply.into_body().collect().await {
        Ok(body) => body.to_bytes(),
        Err(error) => return refused(&line, error.to_string()),
    };
    let body: Value = serde_json::from_slice(&body).unwrap_or(Value::Null);
    match status {
        200 => output(&line, status, body, Value::Null),
        _ => output(&line, status, Value::Null, body),
    }
}

/// The reply to a line that no endpoint saw.
fn refused(line: &Line, why: String) -> Value {
    output(line, 400, Value::Null, Value::from(why))
}

fn output(line: &Line, status: u16, body: Value, error: Value) -> Value {
    let id = || format!("{:016x}", rand::random::<u64>());
    json!({
        "id": format!("vllm-{}", id()),
        "custom_id": line.custom_id,
        "response": {
            "status_code": status,
            "request_id": format!("vllm-batch-{}", id()),
            "body": body,
        },
        "error": error,
    })
}
