use super::super::grammar;
use super::super::table::{self, Status};
use super::*;
use crate::types::{ReasoningFormat, ToolFormat, ToolStrictLevel};

fn env(vars: &[(&str, &str)]) -> Env {
    let find = |name: &str| vars.iter().find(|(key, _)| *key == name);
    Env::read(|name| find(name).map(|(_, value)| (*value).to_owned())).expect("a good environment")
}

fn with_env(args: &[&str], vars: &[(&str, &str)]) -> Result<Settings, String> {
    let args: Vec<String> = args.iter().map(|&arg| arg.to_owned()).collect();
    resolve(&grammar::parse(&table::SERVE, &args).expect("good flags"), env(vars), Vec::new())
}

fn settings(args: &[&str]) -> Settings {
    with_env(args, &[]).unwrap_or_else(|error| panic!("{args:?}: {error}"))
}

fn error(args: &[&str]) -> String {
    with_env(args, &[]).expect_err("a refusal")
}

#[test]
fn every_built_flag_has_a_reader() {
    // Some are read only with a certificate.
    let line = ["m", "--ssl-certfile=c", "--ssl-keyfile=k"].map(str::to_owned);
    let raw = grammar::parse(&table::SERVE, &line).expect("good flags");
    resolve(&raw, env(&[]), Vec::new()).expect("good settings");
    let mut asked = raw.asked.into_inner();
    // The file is read before the grammar, and the model is positional here.
    asked.extend(["--config", "--model"].map(str::to_owned));
    for flag in table::SERVE.flags() {
        let built = matches!(flag.status, Status::Built { .. });
        assert_eq!(asked.contains(flag.name), built, "{}", flag.name);
    }
}

#[test]
fn an_effort_may_stand_for_no_thinking() {
    let effort = |args: &[&str]| settings(args).frontend.anthropic_disabled_thinking_effort;
    assert_eq!(effort(&["m"]), None);
    let flag = "--anthropic-disabled-thinking-effort";
    assert_eq!(effort(&["m", flag, "auto"]), None);
    for known in ReasoningEffort::ALL {
        assert_eq!(effort(&["m", flag, known.name()]), Some(known));
    }
}

#[test]
fn the_table_is_sound() {
    // Help is the grammar's own.
    let mut seen = std::collections::BTreeSet::from(["-h", "--help"].map(str::to_owned));
    for flag in table::SERVE.flags() {
        for spelling in flag.spellings() {
            assert!(seen.insert(spelling.clone()), "{spelling} stands twice");
        }
        let (Status::Built { help: text }
        | Status::Hint { why: text }
        | Status::Refused { why: text }) = flag.status;
        assert!(!text.is_empty(), "{} says nothing", flag.name);
        if let table::Default::Text(value) = flag.default
            && !flag.choices.is_empty()
        {
            assert!(flag.choices.contains(&value), "{}: {value}", flag.name);
        }
    }
    assert_eq!(
        table::SERVE.flags().filter(|flag| flag.name.starts_with("--glassbox-")).count(),
        13
    );
}

#[test]
fn defaults_are_those_of_vllm() {
    let settings = settings(&[]);
    assert_eq!(settings.model.model, "Qwen/Qwen3-0.6B");
    assert_eq!(settings.model.served_names, ["Qwen/Qwen3-0.6B"]);
    assert_eq!(settings.model.context, ContextRequest::Model);
    assert_eq!(settings.model.max_logprobs, Some(20));
    assert_eq!(settings.cache.block_size, 16);
    assert_eq!(settings.cache.memory, KvMemory::Default);
    assert_eq!(settings.cache.hash_algo, HashAlgo::Sha256);
    assert!(settings.cache.prefix_caching && settings.scheduler.chunked_prefill);
    assert!(settings.scheduler.reserve_full_isl && settings.logging.stats);
    assert_eq!(settings.frontend.port, 8000);
    assert_eq!(settings.frontend.shutdown_timeout, Duration::ZERO);
    assert_eq!(settings.frontend.fingerprint, Fingerprint::Full);
    assert_eq!(settings.logging.level, Some(LogLevel::Info));
    assert_eq!(settings.non_default_args, "{}");
}

#[test]
fn what_is_given_arrives() {
    let settings = settings(&[
        "m",
        "--served-model-name",
        "a",
        "b",
        "--max-model-len=4k",
        "--kv-cache-memory-bytes=1G",
        "--no-enable-prefix-caching",
        "--prefix-caching-hash-algo=sha256_cbor",
        "--scheduling-policy=priority",
        "--max-logprobs=-1",
        "--load-format=dummy",
        "--override-generation-config={\"top_k\":1}",
        "--generation-config=vllm",
        "--shutdown-timeout=3",
        "--glassbox-cpu-isa=avx2",
        "--chat-template={{ x }}",
    ]);
    assert_eq!(settings.model.served_names, ["a", "b"]);
    let context = ContextRequest::Tokens { len: 4000, allow_long: false };
    assert_eq!(settings.model.context, context);
    assert_eq!(settings.model.load_format, LoadFormat::Dummy);
    assert_eq!(settings.model.generation_config, GenerationSource::Vllm);
    assert_eq!(settings.model.override_generation_config["top_k"], 1);
    assert_eq!(settings.model.chat_template.as_deref(), Some("{{ x }}"));
    assert_eq!(settings.model.max_logprobs, None);
    assert_eq!(settings.cache.memory, KvMemory::Bytes(1 << 30));
    assert!(!settings.cache.prefix_caching);
    assert_eq!(settings.cache.hash_algo, HashAlgo::Sha256Cbor);
    assert_eq!(settings.scheduler.policy, Policy::Priority);
    assert_eq!(settings.frontend.shutdown_timeout, Duration::from_secs(3));
    assert_eq!(settings.device.isa, Some(CpuIsa::Avx2));
}

#[test]
fn the_environment_fills_in() {
    let vars =
        [("VLLM_CPU_KVCACHE_SPACE", "2"), ("VLLM_API_KEY", "k"), ("VLLM_LOGGING_LEVEL", "ERROR")];
    let env_wins = with_env(&["m", "--kv-cache-memory-bytes", "1"], &vars).expect("good");
    assert_eq!(env_wins.cache.memory, KvMemory::Bytes(2 << 30));
    assert_eq!(env_wins.frontend.api_keys, ["k"]);
    assert_eq!(env_wins.logging.level, Some(LogLevel::Error));
    let flag_wins = with_env(&["m", "--api-key", "a", "b", "--log-level", "DEBUG"], &vars);
    let flag_wins = flag_wins.expect("good");
    assert_eq!(flag_wins.frontend.api_keys, ["a", "b"]);
    assert_eq!(flag_wins.logging.level, Some(LogLevel::Debug));
    // An empty key on the command line switches the environment's off, as in vLLM.
    let none = with_env(&["m", "--api-key="], &vars).expect("good");
    assert!(none.frontend.api_keys.is_empty());
}

#[test]
fn secrets_are_not_shown() {
    let shown = settings(&["m", "--api-key", "k1", "--hf-token", "t", "--port", "1", "--seed=0"]);
    let wanted = "{'model_tag': 'm', 'model': 'm', 'port': 1, 'api_key': '***', 'hf_token': '***'}";
    assert_eq!(shown.non_default_args, wanted);
}

#[test]
fn what_cannot_be_is_refused_with_the_reason() {
    for (args, start) in [
        (["m", "--dtype=half"].as_slice(), "argument --dtype: half is not supported: Glassbox"),
        (&["m", "--load-format=gguf"], "argument --load-format: gguf is not supported"),
        (&["m", "--block-size=12"], "argument --block-size: must be a multiple of 16, not 12"),
        (&["m", "--block-size=0"], "argument --block-size: must be at least 1, not 0"),
        (&["m", "--gpu-memory-utilization=2"], "argument --gpu-memory-utilization: must be in"),
        (&["m", "--gpu-memory-utilization=nan"], "argument --gpu-memory-utilization: must be in"),
        (&["m", "--max-num-seqs=0"], "argument --max-num-seqs: must be at least 1, not 0"),
        (&["m", "--max-num-batched-tokens=-5"], "argument --max-num-batched-tokens: must be at"),
        (&["m", "--max-num-queued-reqs=-1"], "argument --max-num-queued-reqs: must be at least 0"),
        (&["m", "--max-model-len=0"], "argument --max-model-len: max_model_len must be a pos"),
        (
            &["m", "--kv-cache-metrics-sample=0"],
            "argument --kv-cache-metrics-sample: must be in (0, 1], not 0.0",
        ),
        (&["m", "--watermark=-0.5"], "argument --watermark: must be in [0, 1), not -0.5"),
        (&["m", "--stream-interval=0"], "argument --stream-interval: must be at least 1, not 0"),
        (&["m", "--shutdown-timeout=-1"], "argument --shutdown-timeout: must be at least 0"),
        (&["m", "--port=70000"], "argument --port: must be 0 to 65535, not 70000"),
        (&["m", "--max-logprobs=-2"], "argument --max-logprobs: must be -1 or a count, not -2"),
        (&["m", "--fingerprint-mode=custom"], "argument --fingerprint-mode: custom needs"),
        (
            &["m", "--override-generation-config=[1]"],
            "argument --override-generation-config: must be a JSON object, not [1]",
        ),
        (&["", "--port=1"], "argument model_tag: the model's name is empty"),
        (&["m", "--enable-lora"], "argument --enable-lora/--no-enable-lora: not supported: Glass"),
        (&["m", "-tp=2"], "argument --tensor-parallel-size/-tp: not supported: a Glassbox"),
        (&["m", "--grpc-port=1"], "argument --grpc-port: not supported: "),
        (
            &["m", "--enable-auto-tool-choice"],
            "Error: --enable-auto-tool-choice requires --tool-call-parser",
        ),
        (
            &["m", "--enable-auto-tool-choice", "--tool-call-parser=x"],
            "invalid tool call parser: x (chose from { apertus,cohere_command3,",
        ),
        (
            &["m", "--enable-auto-tool-choice", "--tool-call-parser=mistral"],
            "argument --tool-call-parser: mistral is not supported: it is for models that",
        ),
        (
            &["m", "--reasoning-parser=x"],
            "invalid reasoning parser: x (chose from { cohere_command3,cohere_command4,deepseek",
        ),
        (&["m", "--reasoning-parser=glm45"], "argument --reasoning-parser: glm45 is not supp"),
        (&["m", "--runner=pooling"], "argument --runner: not supported: it is for models that"),
        (&["m", "--kv-cache-dtype=fp8"], "argument --kv-cache-dtype: not supported: Glassbox"),
        (&["m", "--max-num-active-seqs=0"], "argument --max-num-active-seqs: must be at least 1"),
    ] {
        let error = error(args);
        assert!(error.starts_with(start), "{args:?}: {error}");
        assert!(!error.contains('\n'), "{error}");
    }
}

#[test]
fn refused_flags_may_ask_for_what_happens_anyway() {
    settings(&["m", "-tp", "1", "--no-enable-lora", "--uds", "None", "--quantization="]);
    settings(&["m", "--kv-cache-dtype=auto", "--allowed-origins=[]", "--no-async-scheduling"]);
    settings(&["m", "--hf-overrides", "{}", "--runner", "auto", "--enforce-eager"]);
    settings(&["m", "--runner=generate", "--kv-cache-dtype=bfloat16", "--tokenizer-mode=hf"]);
    settings(&["m", "--data-parallel-size-local=1", "--data-parallel-rank", "0"]);
}

#[test]
fn flags_that_change_nothing_are_said_with_the_reason() {
    assert!(settings(&["m", "--no-enforce-eager", "--optimization-level=2"]).idle.is_empty());
    let said = settings(&[
        "m",
        "--attention-backend=FLASH_ATTN",
        "--trust-remote-code",
        "--no-async-scheduling",
        "--limit-mm-per-prompt={}",
        "--moe-backend=Deep-GEMM",
    ]);
    assert_eq!(
        said.idle,
        ["flags that change nothing here: --trust-remote-code (it steers Python code, and \
             Glassbox runs none); --attention-backend (it tunes vLLM's own \
             kernels and compiler, which Glassbox does not use); --moe-backend (it is for models \
             that Glassbox does not serve (only dense Qwen3))"]
    );
}

#[test]
fn flags_of_the_queue_and_of_the_step_arrive() {
    let scheduler = settings(&[
        "m",
        "--max-num-active-seqs=3",
        "--max-num-scheduled-tokens=1K",
        "--max-num-queued-tokens=2k",
        "--long-prefill-token-threshold-adaptive",
        "--performance-mode=throughput",
    ])
    .scheduler;
    assert_eq!(scheduler.max_num_active_seqs, Some(3));
    assert_eq!(scheduler.max_num_scheduled_tokens, Some(1024));
    assert_eq!(scheduler.max_num_queued_tokens, Some(2000));
    assert!(scheduler.adaptive_long_prefill && scheduler.favors_throughput);
}

#[test]
fn output_parsers_are_named() {
    let read = |args: &[&str]| settings(args).frontend.parsers;
    let none = read(&["m"]);
    assert_eq!((none.reasoning, none.tools, none.counts_tool_calls), (None, None, false));
    assert_eq!(none.tool_strict_level, ToolStrictLevel::Auto);
    // Without auto choice a parser of tools is only a name.
    let idle = read(&["m", "--tool-call-parser=anything", "--tool-strict-level=parameter"]);
    assert_eq!((idle.tools, idle.counts_tool_calls), (None, true));
    assert_eq!(idle.tool_strict_level, ToolStrictLevel::Parameter);
    for (name, format) in [
        ("--tool-call-parser=hermes", ToolFormat::Hermes),
        ("--tool-call-parser=qwen3_json", ToolFormat::Hermes),
        ("--tool-call-parser=qwen3_coder", ToolFormat::Qwen3Xml),
        ("--tool-call-parser=qwen3_xml", ToolFormat::Qwen3Xml),
    ] {
        let parsers = read(&["m", "--enable-auto-tool-choice", name]);
        assert_eq!(parsers.tools, Some(format));
    }
    let thinks = |name: &str| read(&["m", "--reasoning-parser", name]).reasoning;
    assert_eq!(thinks("qwen3"), Some(ReasoningFormat::Qwen3));
    assert_eq!(thinks("deepseek_r1"), Some(ReasoningFormat::DeepSeekR1));
    assert_eq!(thinks(""), None);
}

#[test]
fn the_flag_decides_how_the_log_is_written() {
    let json = [("GLASSBOX_LOG_FORMAT", "json")];
    let of = |args: &[&str], vars: &[_]| with_env(args, vars).expect("settings").logging.format;
    assert_eq!(of(&["m"], &[]), LogFormat::Text);
    assert_eq!(of(&["m"], &json), LogFormat::Json);
    assert_eq!(of(&["m", "--glassbox-log-format", "text"], &json), LogFormat::Text);
    assert_eq!(of(&["m", "--glassbox-log-format", "json"], &[]), LogFormat::Json);
}

#[test]
fn outputs_are_logged_only_with_requests() {
    let refused = error(&["m", "--enable-log-outputs"]);
    assert_eq!(refused, "Error: --enable-log-outputs requires --enable-log-requests");
    assert_eq!(settings(&["m", "--max-log-len", "5"]).logging.requests, None);
    let plain = settings(&["m", "--enable-log-requests"]).logging.requests;
    assert_eq!(plain, Some(RequestLogSettings { max_len: None, outputs: false, deltas: true }));
    let all = settings(&[
        "m",
        "--enable-log-requests",
        "--enable-log-outputs",
        "--no-enable-log-deltas",
        "--max-log-len",
        "-5",
    ]);
    let wanted = RequestLogSettings { max_len: Some(-5), outputs: true, deltas: false };
    assert_eq!(all.logging.requests, Some(wanted));
}
