//! `--reasoning-config`: what starts reasoning, and what ends it when its budget is used up.

use super::grammar::Raw;
use super::value::Value;
use serde_json::{Map, Value as Json};

const FLAG: &str = "argument --reasoning-config";
/// The parser is what `--reasoning-parser` says, whatever stands here; as in vLLM.
const FIELDS: [&str; 3] = ["reasoning_parser", "reasoning_start_str", "reasoning_end_str"];

/// Texts in place of those of the reasoning parser; empty ones are the parser's.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ReasoningSettings {
    pub start: String,
    /// Forced on reasoning that is over its budget: it may say more than the parser's end.
    pub end: String,
}

/// Reads the flag.
pub(super) fn read(raw: &Raw) -> Result<ReasoningSettings, String> {
    match raw.get("--reasoning-config") {
        Value::Json(Json::Object(config)) => {
            settings(&config).map_err(|error| format!("{FLAG}: {error}"))
        }
        Value::Null | Value::Json(Json::Null) => Ok(ReasoningSettings::default()),
        other => Err(format!("{FLAG}: must be a JSON object, not {}", other.repr())),
    }
}

fn settings(config: &Map<String, Json>) -> Result<ReasoningSettings, String> {
    if let Some(unknown) = config.keys().find(|key| !FIELDS.contains(&key.as_str())) {
        return Err(format!("there is no field {unknown}; the fields are {}", FIELDS.join(", ")));
    }
    let text = |name: &str| match config.get(name) {
        None => Ok(String::new()),
        Some(Json::String(text)) => Ok(text.clone()),
        Some(other) => Err(format!("{name} must be a text, not {other}")),
    };
    text("reasoning_parser")?;
    Ok(ReasoningSettings { start: text("reasoning_start_str")?, end: text("reasoning_end_str")? })
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn texts_are_read_and_anything_else_is_refused() {
        let read = |config: Json| settings(config.as_object().expect("an object"));
        let both = read(json!({"reasoning_start_str": "<a>", "reasoning_end_str": "</a>"}));
        let wanted = ReasoningSettings { start: "<a>".to_owned(), end: "</a>".to_owned() };
        assert_eq!(both, Ok(wanted));
        assert_eq!(read(json!({"reasoning_parser": "qwen3"})), Ok(ReasoningSettings::default()));
        for (config, error) in [
            (json!({"reasoning_end": "x"}), "there is no field reasoning_end; the fields are rea"),
            (json!({"reasoning_end_str": 1}), "reasoning_end_str must be a text, not 1"),
            (json!({"reasoning_parser": null}), "reasoning_parser must be a text, not null"),
        ] {
            let refused = read(config).expect_err(error);
            assert!(refused.starts_with(error), "{refused}");
        }
    }
}
