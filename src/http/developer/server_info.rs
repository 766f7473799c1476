//! `/server_info`: how this server is set up and what it runs on.

use super::super::arguments::query;
use super::super::frontend::Frontend;
use super::super::json::Json;
use super::super::respond;
use super::super::schema::{Field, Schema, optional};
use super::Asked;
use crate::config::VLLM_VERSION;
use crate::error::ApiError;
use axum::body::Body;
use axum::http::Response;
use serde_json::{Map, Value, json};
use std::fs;

const FORMAT: Schema = Schema::Literal(&["text", "json"]);

/// vLLM's three parts: the configuration as text or as JSON, the variables, the system.
pub fn answer(frontend: &Frontend, asked: Asked<'_>) -> Result<Response<Body>, ApiError> {
    const FIELDS: &[Field] = &[optional("config_format", &FORMAT)];
    let given = query(asked.query, FIELDS)?;
    let info = &frontend.options.server_info;
    let as_json = given.get("config_format").and_then(Json::as_str) == Some("json");
    let config = match as_json {
        true => Value::Object(info.config.clone()),
        false => Value::String(as_text(&info.config)),
    };
    Ok(respond::json(&json!({
        "vllm_config": config,
        "vllm_env": info.env,
        "system_env": system(),
    })))
}

/// `name=value, name=value`, as vLLM writes its configuration.
fn as_text(config: &Map<String, Value>) -> String {
    let pair = |(name, value): (&String, &Value)| match value {
        Value::String(text) => format!("{name}='{text}'"),
        Value::Null => format!("{name}=None"),
        Value::Bool(true) => format!("{name}=True"),
        Value::Bool(false) => format!("{name}=False"),
        other => format!("{name}={other}"),
    };
    config.iter().map(pair).collect::<Vec<_>>().join(", ")
}

/// What of vLLM's list there is to say about a process without Python and CUDA.
fn system() -> Value {
    let file = |path| fs::read_to_string(path).unwrap_or_default();
    let line = |text: &str, start: &str| {
        let line = text.lines().find(|line| line.starts_with(start))?;
        let value = line[start.len()..].trim_start_matches([' ', '\t', ':', '=']);
        Some(value.trim_matches('"').to_owned())
    };
    json!({
        "os": line(&file("/etc/os-release"), "PRETTY_NAME"),
        "cpu_info": line(&file("/proc/cpuinfo"), "model name"),
        "python_version": null,
        "torch_version": null,
        "is_cuda_available": false,
        "vllm_version": VLLM_VERSION,
        "glassbox_version": env!("CARGO_PKG_VERSION"),
    })
}
