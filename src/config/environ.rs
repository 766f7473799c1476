//! Variables that begin with `VLLM_`: those that vLLM does not know either, and those that have no
//! meaning here.

/// All that vLLM 0.32 knows, one a line.
const KNOWN: &str = include_str!("env_names.txt");

/// Those that are followed.
const READ: [&str; 27] = [
    "VLLM_ALLOW_LONG_MAX_MODEL_LEN",
    "VLLM_ALLOW_RUNTIME_LORA_UPDATING",
    "VLLM_API_KEY",
    "VLLM_CONFIGURE_LOGGING",
    "VLLM_CPU_KVCACHE_SPACE",
    "VLLM_ENABLE_RESPONSES_API_STORE",
    "VLLM_ENFORCE_STRICT_TOOL_CALLING",
    "VLLM_HOST_IP",
    "VLLM_HTTP_TIMEOUT_KEEP_ALIVE",
    "VLLM_KV_EVENTS_USE_INT_BLOCK_HASHES",
    "VLLM_LOGGING_COLOR",
    "VLLM_LOGGING_CONFIG_PATH",
    "VLLM_LOGGING_LEVEL",
    "VLLM_LOGGING_PREFIX",
    "VLLM_LOGGING_STREAM",
    "VLLM_LOG_STATS_INTERVAL",
    "VLLM_MAX_COMPLETION_PROMPTS",
    "VLLM_MAX_NUM_BAD_WORDS",
    "VLLM_MAX_N_SEQUENCES",
    "VLLM_MAX_STOP_STRINGS",
    "VLLM_NIXL_SIDE_CHANNEL_HOST",
    "VLLM_NIXL_SIDE_CHANNEL_PORT",
    "VLLM_REGEX_COMPILATION_TIMEOUT_S",
    "VLLM_SERVER_DEV_MODE",
    "VLLM_SKIP_MODEL_NAME_VALIDATION",
    // Nothing is reported and no logo is shown, whatever these say.
    "VLLM_DISABLE_LOG_LOGO",
    "VLLM_NO_USAGE_STATS",
];

/// What vLLM says of a name that it does not know.
pub(super) fn unknown(names: &[String]) -> Vec<String> {
    let is_unknown = |name: &&String| !KNOWN.lines().any(|known| known == name.as_str());
    let say = |name: &String| format!("Unknown vLLM environment variable detected: {name}");
    names.iter().filter(is_unknown).map(say).collect()
}

/// What the log says of names that change nothing here.
pub(super) fn idle(names: &[String]) -> Option<String> {
    let is_idle = |name: &&str| KNOWN.lines().any(|known| known == *name) && !READ.contains(name);
    let idle: Vec<&str> = names.iter().map(String::as_str).filter(is_idle).collect();
    let list = idle.join(", ");
    (!idle.is_empty()).then(|| format!("environment variables that change nothing here: {list}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_sorted_into_three_kinds() {
        assert!(READ.iter().all(|name| KNOWN.lines().any(|known| known == *name)));
        let names = ["VLLM_API_KEY", "VLLM_PORT", "VLLM_NOTHING"].map(str::to_owned);
        assert_eq!(unknown(&names), ["Unknown vLLM environment variable detected: VLLM_NOTHING"]);
        let idle = idle(&names).expect("one of them");
        assert_eq!(idle, "environment variables that change nothing here: VLLM_PORT");
        assert_eq!(super::idle(&names[..1]), None);
    }
}
