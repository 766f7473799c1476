//! What is logged, and how: `--logging-config` and the flags and variables beside it.

use super::env::Env;
use super::grammar::Raw;
use super::settings::{LogFormat, LogLevel, LoggingSettings, RequestLogSettings};
use super::value::Value;
use serde_json::{Map, Value as Json};

const FLAG: &str = "argument --logging-config";
const FIELDS: [&str; 4] = ["log_level", "formatter", "configure_logging", "pylogging_config_file"];

/// The fields of `--logging-config`, where they are given.
#[derive(Debug, Default, PartialEq)]
struct Config {
    level: Option<String>,
    format: Option<LogFormat>,
    configures: Option<bool>,
}

/// Reads the flags. A flag of its own wins over the field of the same meaning, and that over the
/// environment.
pub(super) fn read(raw: &Raw, env: &Env) -> Result<LoggingSettings, String> {
    let config = match raw.get("--logging-config") {
        Value::Json(Json::Object(config)) => {
            config_of(&config).map_err(|error| format!("{FLAG}: {error}"))?
        }
        Value::Null | Value::Json(Json::Null) => Config::default(),
        other => return Err(format!("{FLAG}: must be a JSON object, not {}", other.repr())),
    };
    let level = raw.text("--log-level").or(config.level);
    let level = level.unwrap_or_else(|| env.logging_level.clone());
    let level = LogLevel::named(&level)
        .ok_or_else(|| format!("argument --log-level: there is no level {level}"))?;
    let own_format = raw.text("--glassbox-log-format").and_then(|name| LogFormat::named(&name));
    let server_level = raw.text("--uvicorn-log-level").unwrap_or_default().to_uppercase();
    let configures = config.configures.unwrap_or(env.configure_logging);
    if let Some(file) = &env.logging_config_path {
        return Err(format!("VLLM_LOGGING_CONFIG_PATH={file}: {DICT_CONFIG}"));
    }
    Ok(LoggingSettings {
        level: configures.then_some(level),
        format: own_format.or(config.format).unwrap_or(env.log_format),
        server_level: LogLevel::named(&server_level).unwrap_or(LogLevel::Info),
        prefix: env.logging_prefix.clone(),
        to_stderr: env.log_to_stderr,
        color: env.color,
        access_log: !raw.is_on("--disable-uvicorn-access-log"),
        requests: request_log(raw)?,
        stats: !raw.is_on("--disable-log-stats"),
        stats_interval: env.log_stats_interval,
        steps: raw.is_on("--enable-logging-iteration-details"),
    })
}

/// Why no dictConfig is followed.
const DICT_CONFIG: &str = "not supported: a dictConfig names Python's loggers, handlers and \
                           classes; log_level and formatter of --logging-config, \
                           VLLM_LOGGING_STREAM and VLLM_LOGGING_PREFIX are followed";

fn config_of(config: &Map<String, Json>) -> Result<Config, String> {
    if let Some(unknown) = config.keys().find(|key| !FIELDS.contains(&key.as_str())) {
        return Err(format!("there is no field {unknown}; the fields are {}", FIELDS.join(", ")));
    }
    if config.get("pylogging_config_file").is_some_and(|file| !file.is_null()) {
        return Err(format!("pylogging_config_file: {DICT_CONFIG}"));
    }
    const LEVELS: [&str; 6] = ["CRITICAL", "ERROR", "WARNING", "INFO", "DEBUG", "NOTSET"];
    let level = match config.get("log_level") {
        None => None,
        Some(Json::String(level)) if LEVELS.contains(&level.as_str()) => Some(level.clone()),
        Some(other) => {
            return Err(format!("log_level must be one of {}, not {other}", LEVELS.join(", ")));
        }
    };
    let format = match config.get("formatter").map(|format| (format, format.as_str())) {
        None => None,
        Some((_, Some("text"))) => Some(LogFormat::Text),
        Some((_, Some("json"))) => Some(LogFormat::PythonJson),
        Some((other, _)) => return Err(format!("formatter must be text or json, not {other}")),
    };
    let configures = match config.get("configure_logging") {
        None => None,
        Some(Json::Bool(configures)) => Some(*configures),
        Some(other) => return Err(format!("configure_logging must be true or false, not {other}")),
    };
    Ok(Config { level, format, configures })
}

fn request_log(raw: &Raw) -> Result<Option<RequestLogSettings>, String> {
    let settings = RequestLogSettings {
        max_len: raw.int("--max-log-len"),
        outputs: raw.is_on("--enable-log-outputs"),
        deltas: raw.is_on("--enable-log-deltas"),
    };
    match raw.is_on("--enable-log-requests") {
        true => Ok(Some(settings)),
        false if settings.outputs => {
            Err("Error: --enable-log-outputs requires --enable-log-requests".to_owned())
        }
        false => Ok(None),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn the_fields_of_the_config() {
        let read = |config: Json| config_of(config.as_object().expect("an object"));
        let all = json!({"log_level": "DEBUG", "formatter": "json", "configure_logging": false,
            "pylogging_config_file": null});
        let wanted = Config {
            level: Some("DEBUG".to_owned()),
            format: Some(LogFormat::PythonJson),
            configures: Some(false),
        };
        assert_eq!(read(all), Ok(wanted));
        assert_eq!(read(json!({})), Ok(Config::default()));
        for (config, error) in [
            (json!({"level": "INFO"}), "there is no field level; the fields are log_level, "),
            (json!({"log_level": "info"}), "log_level must be one of CRITICAL, ERROR, WARNING, "),
            (json!({"formatter": "xml"}), "formatter must be text or json, not \"xml\""),
            (json!({"configure_logging": 1}), "configure_logging must be true or false, not 1"),
            (json!({"pylogging_config_file": "x.json"}), "pylogging_config_file: not supported: "),
        ] {
            let refused = read(config).expect_err(error);
            assert!(refused.starts_with(error), "{refused}");
        }
    }
}
