//! The environment variables that vLLM reads, as far as they concern Glassbox: read once at start
//! and passed down, so that nothing else in the process looks at the environment.

use super::bounds::RequestBounds;
use super::otel::OtelVars;
use super::python;
use super::settings::LogFormat;
use crate::model::HubOptions;
use serde_json::{Map, Value};
use std::time::Duration;

/// What the environment says.
#[derive(Clone, Debug)]
pub struct Env {
    /// `VLLM_API_KEY`: used when no `--api-key` is given.
    pub api_key: Option<String>,
    /// `OPENAI_API_KEY`: what clients present when no `--api-key` is given.
    pub openai_api_key: Option<String>,
    /// `VLLM_CPU_KVCACHE_SPACE`, in GiB; on a CPU it wins over every flag.
    pub cpu_kv_cache_gib: Option<u64>,
    /// `VLLM_LOGGING_LEVEL`, in upper case.
    pub logging_level: String,
    /// `VLLM_LOGGING_PREFIX`: in front of every line.
    pub logging_prefix: String,
    /// `VLLM_LOGGING_STREAM`: `ext://sys.stdout` or `ext://sys.stderr`.
    pub log_to_stderr: bool,
    /// `VLLM_CONFIGURE_LOGGING`: off leaves the process without a log.
    pub configure_logging: bool,
    /// `VLLM_LOGGING_CONFIG_PATH`.
    pub logging_config_path: Option<String>,
    /// `NO_COLOR`, `FORCE_COLOR`, `VLLM_LOGGING_COLOR`: `None` asks the terminal.
    pub color: Option<bool>,
    /// `GLASSBOX_LOG_FORMAT`: `text` or `json`.
    pub log_format: LogFormat,
    /// `VLLM_LOG_STATS_INTERVAL`.
    pub log_stats_interval: Duration,
    /// `VLLM_HTTP_TIMEOUT_KEEP_ALIVE`.
    pub http_keep_alive: Duration,
    /// Bounds on what one request asks for.
    pub request_bounds: RequestBounds,
    /// `VLLM_SERVER_DEV_MODE`: endpoints for developers.
    pub dev_mode: bool,
    /// `VLLM_ALLOW_RUNTIME_LORA_UPDATING`: the endpoints that load adapters are there.
    pub updates_adapters: bool,
    /// `VLLM_ENFORCE_STRICT_TOOL_CALLING`: calls that a model is free to make keep to a schema too.
    pub strict_tool_calls: bool,
    /// `VLLM_REGEX_COMPILATION_TIMEOUT_S`: how long a pattern may take to compile; `None` is for
    /// ever.
    pub regex_time_limit: Option<Duration>,
    /// `VLLM_ENABLE_RESPONSES_API_STORE`: responses can be asked for again.
    pub stores_responses: bool,
    /// `VLLM_SKIP_MODEL_NAME_VALIDATION`: any model name is answered.
    pub skip_model_name_validation: bool,
    /// `VLLM_ALLOW_LONG_MAX_MODEL_LEN`.
    pub allow_long_max_model_len: bool,
    /// `PYTHONHASHSEED`: seeds the root of the block hashes.
    pub python_hash_seed: Option<String>,
    /// `VLLM_HOST_IP`: the address of this node.
    pub host_ip: Option<String>,
    /// `VLLM_NIXL_SIDE_CHANNEL_HOST` and `_PORT`: where peers of KV transfer ask.
    pub nixl_side_channel_host: String,
    pub nixl_side_channel_port: u16,
    /// `VLLM_KV_EVENTS_USE_INT_BLOCK_HASHES`.
    pub kv_events_int_hashes: bool,
    /// `GLASSBOX_KV_EVENTS_ENCODING`.
    pub kv_events_encoding: Option<String>,
    /// vLLM's variables that are set, but for keys.
    pub vllm: Map<String, Value>,
    /// The hub's own variables.
    pub hub: HubOptions,
    /// The names of variables that begin with `VLLM_`, in order.
    pub(super) vllm_names: Vec<String>,
    /// OpenTelemetry's variables and the trace context of the process.
    pub(super) otel: OtelVars,
}

impl Env {
    /// Reads the process environment. The error names the variable and what it may be.
    pub fn of_process() -> Result<Self, String> {
        let names = std::env::vars_os().filter_map(|(name, _)| name.into_string().ok());
        let mut vllm_names: Vec<String> = names.filter(|name| name.starts_with("VLLM_")).collect();
        vllm_names.sort();
        let set = std::env::vars_os().filter_map(|(name, value)| {
            let name = name.into_string().ok()?;
            let is_shown = name.starts_with("VLLM_") && !name.contains("KEY");
            is_shown.then_some((name, Value::String(value.into_string().ok()?)))
        });
        let env = Self::read(|name| std::env::var(name).ok())?;
        Ok(Self { vllm: set.collect(), vllm_names, ..env })
    }

    /// Reads variables through `get`.
    pub fn read(get: impl Fn(&str) -> Option<String>) -> Result<Self, String> {
        let vars = Vars { get: &get };
        let seconds = |name, default: f64| {
            let value = vars.number(name, default, python::float)?;
            Duration::try_from_secs_f64(value)
                .map_err(|_| format!("{name} must be a number of seconds, not {value}"))
        };
        let stats = seconds("VLLM_LOG_STATS_INTERVAL", 10.0).or_else(|error| {
            let negative = get("VLLM_LOG_STATS_INTERVAL").and_then(|text| python::float(&text));
            // vLLM takes its default for anything that is not positive.
            negative.filter(|value| *value < 0.0).map(|_| Duration::ZERO).ok_or(error)
        })?;
        let usual = RequestBounds::default();
        let stream = vars.text("VLLM_LOGGING_STREAM");
        Ok(Self {
            api_key: vars.text("VLLM_API_KEY"),
            openai_api_key: vars.text("OPENAI_API_KEY"),
            cpu_kv_cache_gib: vars.optional_count("VLLM_CPU_KVCACHE_SPACE")?,
            logging_level: vars.level("VLLM_LOGGING_LEVEL")?,
            logging_prefix: vars.text("VLLM_LOGGING_PREFIX").unwrap_or_default(),
            log_to_stderr: match stream.as_deref() {
                None | Some("ext://sys.stdout") => false,
                Some("ext://sys.stderr") => true,
                Some(other) => {
                    return Err(format!(
                        "VLLM_LOGGING_STREAM must be ext://sys.stdout or ext://sys.stderr, \
                         not {other}"
                    ));
                }
            },
            configure_logging: vars.switch("VLLM_CONFIGURE_LOGGING", true)?,
            logging_config_path: vars.text("VLLM_LOGGING_CONFIG_PATH"),
            color: vars.color(),
            log_format: vars.log_format()?,
            log_stats_interval: if stats.is_zero() { Duration::from_secs(10) } else { stats },
            http_keep_alive: seconds("VLLM_HTTP_TIMEOUT_KEEP_ALIVE", 5.0)?,
            request_bounds: RequestBounds {
                n: vars.count("VLLM_MAX_N_SEQUENCES", usual.n)?,
                prompts: vars.count("VLLM_MAX_COMPLETION_PROMPTS", usual.prompts)?,
                stop_strings: vars.count("VLLM_MAX_STOP_STRINGS", usual.stop_strings)?,
                bad_words: vars.count("VLLM_MAX_NUM_BAD_WORDS", usual.bad_words)?,
            },
            dev_mode: vars.switch("VLLM_SERVER_DEV_MODE", false)?,
            updates_adapters: vars.is_true("VLLM_ALLOW_RUNTIME_LORA_UPDATING", false),
            strict_tool_calls: vars.is_true("VLLM_ENFORCE_STRICT_TOOL_CALLING", true),
            regex_time_limit: vars
                .number("VLLM_REGEX_COMPILATION_TIMEOUT_S", Some(Duration::from_secs(5)), |text| {
                    python::int(text).map(|limit| limit.try_into().ok().map(Duration::from_secs))
                })?
                .filter(|limit| !limit.is_zero()),
            stores_responses: vars.switch("VLLM_ENABLE_RESPONSES_API_STORE", false)?,
            skip_model_name_validation: vars.switch("VLLM_SKIP_MODEL_NAME_VALIDATION", false)?,
            allow_long_max_model_len: vars.switch("VLLM_ALLOW_LONG_MAX_MODEL_LEN", false)?,
            python_hash_seed: get("PYTHONHASHSEED"),
            host_ip: vars.text("VLLM_HOST_IP"),
            nixl_side_channel_host: vars
                .text("VLLM_NIXL_SIDE_CHANNEL_HOST")
                .unwrap_or_else(|| "localhost".to_owned()),
            nixl_side_channel_port: vars.port("VLLM_NIXL_SIDE_CHANNEL_PORT", 5600)?,
            kv_events_int_hashes: vars.switch("VLLM_KV_EVENTS_USE_INT_BLOCK_HASHES", true)?,
            kv_events_encoding: vars.text("GLASSBOX_KV_EVENTS_ENCODING"),
            vllm: Map::new(),
            hub: HubOptions::from_vars(&get),
            vllm_names: Vec::new(),
            otel: OtelVars::read(&get),
        })
    }
}

struct Vars<'a> {
    get: &'a dyn Fn(&str) -> Option<String>,
}

impl Vars<'_> {
    /// An empty variable counts as not set.
    fn text(&self, name: &str) -> Option<String> {
        (self.get)(name).filter(|text| !text.is_empty())
    }

    fn number<T>(
        &self,
        name: &str,
        default: T,
        read: impl Fn(&str) -> Option<T>,
    ) -> Result<T, String> {
        let Some(text) = self.text(name) else { return Ok(default) };
        read(&text).ok_or_else(|| format!("{name} must be a number, not {}", python::repr(&text)))
    }

    fn count(&self, name: &str, default: usize) -> Result<usize, String> {
        self.number(name, default, |text| python::int(text)?.try_into().ok())
    }

    fn port(&self, name: &str, default: u16) -> Result<u16, String> {
        self.number(name, default, |text| python::int(text)?.try_into().ok())
    }

    fn optional_count(&self, name: &str) -> Result<Option<u64>, String> {
        self.number(name, None, |text| Some(Some(python::int(text)?.try_into().ok()?)))
    }

    fn switch(&self, name: &str, default: bool) -> Result<bool, String> {
        let Some(text) = self.text(name) else { return Ok(default) };
        match text.trim().to_ascii_lowercase().as_str() {
            "true" | "yes" | "on" => Ok(true),
            "false" | "no" | "off" => Ok(false),
            number => python::int(number)
                .map(|value| value != 0)
                .ok_or_else(|| format!("{name} must be 0 or 1, not {}", python::repr(&text))),
        }
    }

    /// What is neither `1` nor `true` is off; an empty text too.
    fn is_true(&self, name: &str, default: bool) -> bool {
        let given = (self.get)(name);
        given.map_or(default, |text| ["1", "true"].contains(&&*text.trim().to_ascii_lowercase()))
    }

    fn level(&self, name: &str) -> Result<String, String> {
        let level = self.text(name).unwrap_or_else(|| "INFO".to_owned()).to_uppercase();
        if super::settings::LogLevel::named(&level).is_some() {
            return Ok(level);
        }
        Err(format!("{name} must be one of CRITICAL, ERROR, WARNING, INFO, DEBUG, not {level}"))
    }

    fn log_format(&self) -> Result<LogFormat, String> {
        let name = "GLASSBOX_LOG_FORMAT";
        let Some(text) = self.text(name) else { return Ok(LogFormat::default()) };
        LogFormat::named(&text)
            .ok_or_else(|| format!("{name} must be text or json, not {}", python::repr(&text)))
    }

    fn color(&self) -> Option<bool> {
        let set = |name| self.text(name).is_some_and(|value| value != "0");
        let asked = self.text("VLLM_LOGGING_COLOR");
        if set("NO_COLOR") || asked.as_deref() == Some("0") {
            Some(false)
        } else if set("FORCE_COLOR") || asked.as_deref() == Some("1") {
            Some(true)
        } else {
            None
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn with(vars: &[(&str, &str)]) -> Result<Env, String> {
        let find = |name: &str| vars.iter().find(|(key, _)| *key == name);
        Env::read(|name| find(name).map(|(_, value)| (*value).to_owned()))
    }

    #[test]
    fn an_empty_environment_gives_the_defaults_of_vllm() {
        let env = with(&[]).expect("defaults");
        assert_eq!(env.logging_level, "INFO");
        assert_eq!(env.log_stats_interval, Duration::from_secs(10));
        assert_eq!(env.http_keep_alive, Duration::from_secs(5));
        assert_eq!(env.request_bounds, RequestBounds::default());
        assert_eq!(env.cpu_kv_cache_gib, None);
        assert_eq!(env.nixl_side_channel_host, "localhost");
        assert_eq!(env.nixl_side_channel_port, 5600);
        assert!(env.configure_logging && !env.hub.offline && env.color.is_none());
        let empty = with(&[("VLLM_CPU_KVCACHE_SPACE", ""), ("VLLM_API_KEY", "")]);
        assert_eq!(format!("{:?}", empty.expect("valid")), format!("{env:?}"));
    }

    #[test]
    fn variables_are_read() {
        let env = with(&[
            ("VLLM_CPU_KVCACHE_SPACE", "2"),
            ("VLLM_LOGGING_LEVEL", "debug"),
            ("VLLM_LOG_STATS_INTERVAL", "0.5"),
            ("TRANSFORMERS_OFFLINE", "1"),
            ("NO_COLOR", "1"),
            ("FORCE_COLOR", "1"),
            ("PYTHONHASHSEED", "0"),
            ("GLASSBOX_LOG_FORMAT", "json"),
        ])
        .expect("good values");
        assert_eq!(env.cpu_kv_cache_gib, Some(2));
        assert_eq!(env.logging_level, "DEBUG");
        assert_eq!(env.log_stats_interval, Duration::from_millis(500));
        assert!(env.hub.offline);
        assert_eq!(env.color, Some(false));
        assert_eq!(env.log_format, LogFormat::Json);
        assert_eq!(env.python_hash_seed.as_deref(), Some("0"));
    }

    #[test]
    fn bad_values_name_the_variable() {
        for (name, value) in [
            ("VLLM_CPU_KVCACHE_SPACE", "0.5"),
            ("VLLM_CPU_KVCACHE_SPACE", "-1"),
            ("VLLM_LOGGING_LEVEL", "LOUD"),
            ("VLLM_SKIP_MODEL_NAME_VALIDATION", "maybe"),
            ("VLLM_HTTP_TIMEOUT_KEEP_ALIVE", "-1"),
            ("VLLM_LOG_STATS_INTERVAL", "nan"),
            ("VLLM_NIXL_SIDE_CHANNEL_PORT", "65536"),
            ("VLLM_LOGGING_STREAM", "/tmp/log"),
            ("VLLM_REGEX_COMPILATION_TIMEOUT_S", "5s"),
            ("GLASSBOX_LOG_FORMAT", "JSON"),
        ] {
            let error = with(&[(name, value)]).expect_err(value);
            assert!(error.starts_with(name), "{error}");
        }
        for (text, is_on) in [("1", true), ("True", true), ("yes", false), ("", false)] {
            let names = ["VLLM_ALLOW_RUNTIME_LORA_UPDATING", "VLLM_ENFORCE_STRICT_TOOL_CALLING"];
            let env = with(&names.map(|name| (name, text))).expect("anything goes");
            assert_eq!([env.updates_adapters, env.strict_tool_calls], [is_on; 2], "{text}");
        }
        for (text, seconds) in [("9", Some(9)), ("0", None), ("-1", None)] {
            let env = with(&[("VLLM_REGEX_COMPILATION_TIMEOUT_S", text)]).expect("a number");
            assert_eq!(env.regex_time_limit, seconds.map(Duration::from_secs), "{text}");
        }
        let negative = with(&[("VLLM_LOG_STATS_INTERVAL", "-3")]).expect("the default instead");
        assert_eq!(negative.log_stats_interval, Duration::from_secs(10));
    }
}
