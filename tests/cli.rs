//! The real program: what it prints and how it exits.

use std::process::{Command, Output, Stdio};

fn glassbox(args: &[&str], env: &[(&str, &str)]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_glassbox"))
        .args(args)
        .env_remove("VLLM_CPU_KVCACHE_SPACE")
        .envs(env.iter().copied())
        .stdin(Stdio::null())
        .output()
        .expect("the program starts")
}

fn text(bytes: &[u8]) -> &str {
    std::str::from_utf8(bytes).expect("UTF-8")
}

/// Exit code, stdout and stderr.
fn run(args: &[&str]) -> (i32, String, String) {
    let output = glassbox(args, &[]);
    let code = output.status.code().expect("no signal");
    (code, text(&output.stdout).to_owned(), text(&output.stderr).to_owned())
}

#[test]
fn bad_flags_exit_2_with_usage() {
    for (args, line) in [
        (["serve", "--port", "x"].as_slice(), "argument --port: invalid int value: 'x'"),
        (&["serve", "m", "--dtype", "int8"], "argument --dtype: invalid choice: 'int8' (choose"),
        (&["serve", "m", "--max", "3"], "ambiguous option: --max could match --max-log-len, "),
        (&["serve", "m", "--enforce-eager=1"], "argument --enforce-eager/--no-enforce-eager: ig"),
    ] {
        let (code, out, err) = run(args);
        assert_eq!((code, out.as_str()), (2, ""), "{args:?}");
        let wanted =
            format!("usage: glassbox serve [model_tag] [options]\nglassbox serve: error: {line}");
        assert!(err.starts_with(&wanted), "{err}");
    }
    let (code, _, err) = run(&["serve", "m", "--bogus"]);
    assert_eq!(code, 2);
    assert!(err.ends_with("glassbox: error: unrecognized arguments: --bogus\n"), "{err}");
}

#[test]
fn bad_values_exit_1_with_one_line() {
    for (args, line) in [
        (["serve", "m", "--block-size", "12"].as_slice(), "argument --block-size: must be a mult"),
        (&["serve", "m", "--dtype", "float16"], "argument --dtype: float16 is not supported: "),
        (&["serve", "m", "-tp", "2"], "argument --tensor-parallel-size/-tp: not supported: "),
        (&["serve", "--served-model-name", "x"], "`model` should be provided as the first pos"),
        (&["serve", "m", "--config", "c.json"], "Config file must be of a yaml/yml type. json s"),
        (&["serve", "m", "--config", "nowhere.yaml"], "Unable to read the config file at nowher"),
    ] {
        let (code, out, err) = run(args);
        assert_eq!((code, out.as_str()), (1, ""), "{args:?}");
        assert!(err.starts_with(&format!("glassbox serve: error: {line}")), "{err}");
        assert_eq!(err.lines().count(), 1, "{err}");
    }
    let output = glassbox(&["serve", "m"], &[("VLLM_CPU_KVCACHE_SPACE", "lots")]);
    assert_eq!(output.status.code(), Some(1));
    let wanted = "glassbox serve: error: VLLM_CPU_KVCACHE_SPACE must be a number, not 'lots'\n";
    assert_eq!(text(&output.stderr), wanted);
    let unknown = [("VLLM_NOTHING", "1")];
    let output = glassbox(&["serve", "m", "--fail-on-environ-validation"], &unknown);
    assert_eq!(output.status.code(), Some(1));
    let wanted = "Unknown vLLM environment variable detected: VLLM_NOTHING\n";
    assert_eq!(text(&output.stderr), format!("glassbox serve: error: {wanted}"));
    let output = glassbox(&["serve", "m", "--port", "70000"], &unknown);
    assert_eq!(output.status.code(), Some(1));
}

#[test]
fn a_taken_port_is_one_line() {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a free port");
    let port = listener.local_addr().expect("bound").port().to_string();
    let (code, _, err) = run(&["serve", "m", "--host", "127.0.0.1", "--port", &port]);
    assert_eq!(code, 1);
    let wanted = format!("glassbox: error: cannot listen on 127.0.0.1:{port}: Address already in");
    assert!(err.starts_with(&wanted), "{err}");
    assert_eq!(err.lines().count(), 1, "{err}");
}

#[test]
fn help_and_version_exit_0() {
    let (code, out, err) = run(&[]);
    assert_eq!((code, err.as_str()), (0, ""));
    let usage = "usage: glassbox [-h] [-v] \
                 {chat,complete,serve,bench,collect-env,run-batch,healthcheck} ...";
    assert!(out.starts_with(usage), "{out}");
    assert_eq!(run(&["--help"]).1, out);
    let (code, version, _) = run(&["--version"]);
    let wanted = format!("glassbox {} (vLLM 0.32.0 API)\n", env!("CARGO_PKG_VERSION"));
    assert_eq!((code, version), (0, wanted));
    let (code, out, _) = run(&["serve", "--help=SchedulerConfig"]);
    assert_eq!(code, 0);
    assert!(out.starts_with("SchedulerConfig:\n"), "{out}");
    assert!(run(&["serve", "--help=all"]).1.contains("--kv-transfer-config"));
    assert!(run(&["serve", "--help"]).1.contains("Config Groups:"));
}

#[cfg(unix)]
#[test]
fn under_the_name_of_vllm_it_speaks_as_vllm() {
    let folder = tempfile::tempdir().expect("a folder");
    let link = folder.path().join("vllm");
    std::os::unix::fs::symlink(env!("CARGO_BIN_EXE_glassbox"), &link).expect("a link");
    let output = Command::new(&link).arg("--version").output().expect("the program starts");
    assert_eq!((output.status.code(), text(&output.stdout)), (Some(0), "0.32.0\n"));
    let output = Command::new(&link).args(["serve", "--port"]).output().expect("it starts");
    let wanted = "usage: vllm serve [model_tag] [options]\n\
                  vllm serve: error: argument --port: expected one argument\n";
    assert_eq!((output.status.code(), text(&output.stderr)), (Some(2), wanted));
}

#[test]
fn other_subcommands_of_vllm_are_refused_with_the_reason() {
    let (code, _, err) = run(&["launch", "render"]);
    assert_eq!(code, 2);
    assert!(err.contains("argument subparser: 'launch' is not supported: there is no"), "{err}");
    let (code, out, _) = run(&["bench", "--help"]);
    assert_eq!(code, 0);
    assert!(out.starts_with("usage: glassbox bench <bench_type> [options]\n"), "{out}");
    assert!(run(&["bench", "serve", "--help=rate"]).1.contains("--request-rate REQUEST_RATE"));
    let (code, _, err) = run(&["run-batch", "-i", "in.jsonl"]);
    assert_eq!(code, 2);
    assert!(err.contains("the following arguments are required: -o/--output-file"), "{err}");
}
