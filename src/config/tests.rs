use super::*;

fn invoke(line: &[&str]) -> Result<Invocation, Exit> {
    let args: Vec<String> = line.iter().map(|&arg| arg.to_owned()).collect();
    parse(&args, Env::read(|_| None))
}

fn run(line: &[&str]) -> Result<Settings, Exit> {
    match invoke(line)? {
        Invocation::Serve(settings) => Ok(*settings),
        other => panic!("{line:?}: {other:?}"),
    }
}

fn exit(line: &[&str]) -> Exit {
    invoke(line).expect_err("an exit")
}

#[test]
fn the_guide_line_is_read() {
    let kv = "{\"kv_connector\":\"NixlConnector\", \"kv_role\":\"kv_both\"}";
    let line = ["/bin/vllm", "serve", "Qwen/Qwen3-0.6B", "--host", "0.0.0.0", "--port", "8200"];
    let line =
        [&line[..], &["--block-size", "64", "--prefix-caching-hash-algo", "sha256_cbor"]].concat();
    let line = [&line[..], &["--kv-transfer-config", kv]].concat();
    let settings = run(&line).expect("all of these are built");
    assert_eq!((settings.cache.block_size, settings.frontend.port), (64, 8200));
    let transfer = settings.kv_transfer.expect("a connector");
    assert_eq!((transfer.role, transfer.model.as_str()), (KvRole::Both, "Qwen/Qwen3-0.6B"));
}

#[test]
fn errors_have_the_frame_of_argparse() {
    assert_eq!(
        exit(&["vllm", "serve", "--port", "x"]),
        Exit {
            code: 2,
            stdout: String::new(),
            stderr: "usage: vllm serve [model_tag] [options]\n\
                     vllm serve: error: argument --port: invalid int value: 'x'\n"
                .to_owned(),
        }
    );
    let unknown = exit(&["./glassbox", "serve", "m", "--bogus"]);
    assert_eq!(unknown.code, 2);
    let wanted = "usage: glassbox [-h] [-v] \
                  {chat,complete,serve,bench,collect-env,run-batch,healthcheck} ...\n\
                  glassbox: error: unrecognized arguments: --bogus\n";
    assert_eq!(unknown.stderr, wanted);
    let task = exit(&["vllm", "serve", "m", "--task", "embed"]);
    assert!(task.stderr.contains("unrecognized arguments: --task embed\n\nHint: --task is not"));
}

#[test]
fn warnings_stand_before_errors() {
    let exit = exit(&["vllm", "serve", "m", "--port", "1", "--port", "x"]);
    assert!(exit.stderr.starts_with("Found duplicate keys --port\nusage: "), "{}", exit.stderr);
    let settings = run(&["vllm", "serve", "m", "--port", "1", "--port", "2"]).expect("good");
    assert_eq!(settings.warnings, ["Found duplicate keys --port"]);
    assert_eq!(settings.frontend.port, 2);
}

#[test]
fn subcommands() {
    assert_eq!(exit(&["vllm"]).code, 0);
    assert_eq!(exit(&["vllm", "-v"]).stdout, "0.32.0\n");
    assert!(exit(&["glassbox", "--version"]).stdout.starts_with("glassbox "));
    let snapshot = exit(&["vllm", "snapshot", "create"]);
    assert_eq!(snapshot.code, 2);
    let wanted = "argument subparser: 'snapshot' is not supported: a process starts";
    assert!(snapshot.stderr.contains(wanted), "{}", snapshot.stderr);
    let sweep = exit(&["vllm", "bench", "sweep"]);
    let wanted = "usage: vllm bench <bench_type> [options]\n\
                  vllm bench: error: argument bench_type: 'sweep' is not supported: one line";
    assert!(sweep.stderr.starts_with(wanted), "{}", sweep.stderr);
    let other = exit(&["vllm", "ser"]);
    let wanted = "vllm: error: argument subparser: invalid choice: 'ser' (choose from 'chat', \
                  'complete', 'serve', 'bench', 'collect-env', 'run-batch', 'healthcheck')\n";
    assert!(other.stderr.ends_with(wanted), "{}", other.stderr);
    assert_eq!(exit(&["vllm", "--bogus"]).code, 2);
}

#[test]
fn help_texts() {
    let help = |word: &str| {
        let exit = exit(&["vllm", "serve", word]);
        assert_eq!((exit.code, exit.stderr.as_str()), (0, ""), "{word}");
        exit.stdout
    };
    let overview = help("--help");
    assert!(overview.contains("\n  SchedulerConfig         Which requests"), "{overview}");
    let all = help("--help=all");
    assert!(all.lines().all(|line| line.len() <= 100 || line.contains("--")));
    for flag in table::SERVE.flags() {
        assert!(all.contains(&format!("  {}", flag.name)), "{}", flag.name);
    }
    let group = help("--help=cacheconfig");
    assert!(group.starts_with("CacheConfig:\n  The KV cache.\n\n  --block-size BLOCK_SIZE"));
    let found = help("--help=max_model");
    let wanted = "Arguments matching 'max-model':\n  --max-model-len MAX_MODEL_LEN\n";
    assert!(found.starts_with(wanted), "{found}");
    assert!(help("--help=zzz").starts_with("No group or arguments matching 'zzz'.\n"));
}

#[test]
fn a_bad_environment_does_not_hide_the_help() {
    let args = |words: &[&str]| words.iter().map(|&word| word.to_owned()).collect::<Vec<_>>();
    let bad = || Err("VLLM_X is bad".to_owned());
    assert_eq!(parse(&args(&["vllm", "serve", "-h"]), bad()).expect_err("help").code, 0);
    let exit = parse(&args(&["vllm", "serve", "m"]), bad()).expect_err("refused");
    assert_eq!((exit.code, exit.stderr.as_str()), (1, "vllm serve: error: VLLM_X is bad\n"));
}
