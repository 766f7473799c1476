//! `--structured-outputs-config`: how output is held to schemas and grammars.

use super::grammar::Raw;
use super::value::Value;
use serde_json::{Map, Value as Json};
use std::time::Duration;

const FLAG: &str = "argument --structured-outputs-config";
const FIELDS: [&str; 6] = [
    "backend",
    "disable_any_whitespace",
    "disable_additional_properties",
    "reasoning_parser",
    "reasoning_parser_plugin",
    "enable_in_reasoning",
];
const BACKENDS: [&str; 5] = ["auto", "xgrammar", "guidance", "outlines", "lm-format-enforcer"];

/// Structured output.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct StructuredOutputSettings {
    /// Schemas mean what they mean to llguidance, also where vLLM would ask xgrammar.
    pub guidance: bool,
    pub disable_any_whitespace: bool,
    pub disable_additional_properties: bool,
    /// Grammars rule reasoning too.
    pub enable_in_reasoning: bool,
    /// How long a pattern may take to compile; `None`: for ever.
    pub regex_time_limit: Option<Duration>,
}

/// Reads the flag, with vLLM's checks.
pub(super) fn read(
    raw: &Raw,
    warnings: &mut Vec<String>,
) -> Result<StructuredOutputSettings, String> {
    let config = match raw.get("--structured-outputs-config") {
        Value::Json(Json::Object(config)) => config,
        Value::Null | Value::Json(Json::Null) => return Ok(StructuredOutputSettings::default()),
        other => return Err(format!("{FLAG}: must be a JSON object, not {}", other.repr())),
    };
    settings(&config, warnings).map_err(|error| format!("{FLAG}: {error}"))
}

fn settings(
    config: &Map<String, Json>,
    warnings: &mut Vec<String>,
) -> Result<StructuredOutputSettings, String> {
    if let Some(unknown) = config.keys().find(|key| !FIELDS.contains(&key.as_str())) {
        return Err(format!("there is no field {unknown}; the fields are {}", FIELDS.join(", ")));
    }
    let flag = |name: &str| match config.get(name) {
        None => Ok(false),
        Some(Json::Bool(value)) => Ok(*value),
        Some(other) => Err(format!("{name} must be true or false, not {other}")),
    };
    let backend = match config.get("backend") {
        None => "auto",
        Some(Json::String(name)) if BACKENDS.contains(&name.as_str()) => name,
        Some(other) => {
            return Err(format!("backend must be one of {}, not {other}", BACKENDS.join(", ")));
        }
    };
    if config.get("reasoning_parser").is_some_and(|parser| parser.as_str() != Some("")) {
        return Err("reasoning_parser is given by --reasoning-parser".to_owned());
    }
    if config.get("reasoning_parser_plugin").is_some_and(|plugin| plugin.as_str() != Some("")) {
        return Err("reasoning_parser_plugin: Glassbox loads no Python".to_owned());
    }
    let settings = StructuredOutputSettings {
        guidance: backend == "guidance",
        disable_any_whitespace: flag("disable_any_whitespace")?,
        disable_additional_properties: flag("disable_additional_properties")?,
        enable_in_reasoning: flag("enable_in_reasoning")?,
        regex_time_limit: None,
    };
    if settings.disable_any_whitespace && !["xgrammar", "guidance"].contains(&backend) {
        let message =
            "disable_any_whitespace is only supported for xgrammar and guidance backends.";
        return Err(message.to_owned());
    }
    if settings.disable_additional_properties && backend != "guidance" {
        let message = "disable_additional_properties is only supported for the guidance backend.";
        return Err(message.to_owned());
    }
    if !["auto", "guidance"].contains(&backend) {
        warnings.push(format!(
            "Structured output is served by llguidance, which reads what xgrammar reads; the \
             backend {backend} of --structured-outputs-config is not there"
        ));
    }
    Ok(settings)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn read(config: Json) -> Result<StructuredOutputSettings, String> {
        settings(config.as_object().expect("an object"), &mut Vec::new())
    }

    #[test]
    fn the_fields_and_what_goes_together() {
        let guidance = read(json!({"backend": "guidance", "disable_additional_properties": true}));
        let guidance = guidance.expect("goes together");
        assert!(guidance.guidance && guidance.disable_additional_properties);
        assert!(read(json!({"backend": "xgrammar", "disable_any_whitespace": true})).is_ok());
        for (config, error) in [
            (json!({"backend": "x"}), "backend must be one of auto, xgrammar, guidance, "),
            (json!({"disable_any_whitespace": true}), "disable_any_whitespace is only supported"),
            (
                json!({"backend": "xgrammar", "disable_additional_properties": true}),
                "disable_additional_properties is only supported for the guidance backend.",
            ),
            (json!({"enable_in_reasoning": 1}), "enable_in_reasoning must be true or false, "),
            (json!({"other": 1}), "there is no field other; "),
        ] {
            let refused = read(config).expect_err(error);
            assert!(refused.starts_with(error), "{refused}");
        }
    }

    #[test]
    fn another_backend_is_named_once() {
        let mut warnings = Vec::new();
        let config = json!({"backend": "outlines"});
        settings(config.as_object().expect("an object"), &mut warnings).expect("taken");
        assert_eq!(warnings.len(), 1);
    }
}
