//! Each case was run through vLLM 0.32's own parser.

use super::*;
use proptest::prelude::*;

fn parse_line(line: &[&str]) -> Result<Raw, Failure> {
    parse(&SERVE, &line.iter().map(|&arg| arg.to_owned()).collect::<Vec<_>>())
}

fn good(line: &[&str]) -> Raw {
    parse_line(line).unwrap_or_else(|error| panic!("{line:?}: {error:?}"))
}

fn error(line: &[&str]) -> String {
    match parse_line(line) {
        Err(Failure::Usage(message)) => message,
        Err(Failure::Unrecognized(args)) => format!("unrecognized: {}", args.join(" ")),
        other => panic!("{line:?}: {other:?}"),
    }
}

#[test]
fn values_behind_a_flag_or_an_equals_sign() {
    for line in [["m", "--port", " 8_001 "].as_slice(), &["--port=8001", "m"]] {
        let raw = good(line);
        assert_eq!(raw.model.as_deref(), Some("m"));
        assert_eq!(raw.int("--port"), Some(8001));
    }
    assert_eq!(good(&["--host", "-"]).text("--host").as_deref(), Some("-"));
    assert_eq!(good(&["", "--port", "1"]).model.as_deref(), Some(""));
    assert_eq!(good(&["m", "--max-logprobs", "-1"]).int("--max-logprobs"), Some(-1));
    assert_eq!(good(&["m", "--max-model-len", "auto"]).int("--max-model-len"), Some(-1));
    assert_eq!(good(&["m", "--watermark", ".5"]).get("--watermark"), Value::Float(0.5));
    assert_eq!(good(&["m", "--watermark", "-.5"]).get("--watermark"), Value::Float(-0.5));
}

#[test]
fn defaults_and_nulls() {
    let raw = good(&["m", "--host", "None", "--num-gpu-blocks-override", ""]);
    assert_eq!(raw.get("--host"), Value::Null);
    assert_eq!(raw.int("--num-gpu-blocks-override"), None);
    assert_eq!(raw.int("--port"), Some(8000));
    assert_eq!(good(&["m", "--api-key="]).get("--api-key"), Value::Texts(vec![None]));
}

#[test]
fn lists_take_all_that_follows() {
    let raw = good(&["--api-key", "a b", "-c d", "--port", "1", "m"]);
    let keys = vec![Some("a b".to_owned()), Some("-c d".to_owned())];
    assert_eq!(raw.get("--api-key"), Value::Texts(keys));
    assert_eq!(raw.model.as_deref(), Some("m"));
    let last = good(&["m", "--api-key", "a", "--api-key", "b"]);
    assert_eq!(last.get("--api-key"), Value::Texts(vec![Some("b".to_owned())]));
    let added = good(&["m", "--middleware", "a", "--middleware", "b"]);
    let both = vec![Some("a".to_owned()), Some("b".to_owned())];
    assert_eq!(added.get("--middleware"), Value::Texts(both));
}

#[test]
fn tokens_may_stand_alone() {
    assert_eq!(good(&["m", "--hf-token"]).get("--hf-token"), Value::Bool(true));
    assert_eq!(good(&["m", "--hf-token", "t"]).text("--hf-token").as_deref(), Some("t"));
    assert_eq!(good(&["--hf-token", "m"]).model, None);
}

#[test]
fn toggles_abbreviations_and_short_flags() {
    let toggle = |arg| good(&["m", arg]).get("--enable-prefix-caching");
    assert_eq!(toggle("--enable-pref"), Value::Bool(true));
    assert_eq!(toggle("--no-enable-pref"), Value::Bool(false));
    assert!(good(&["m", "--disable-log-stat"]).is_on("--disable-log-stats"));
    for line in [["m", "-n2"].as_slice(), &["m", "-n=2"], &["m", "-n", "2"]] {
        // The value of `-n=2` is found before `-n` is taken for a flag with an attached value.
        assert_eq!(good(line).int("--nnodes"), Some(2), "{line:?}");
    }
    assert_eq!(good(&["m", "-tp=2"]).int("--tensor-parallel-size"), Some(2));
    assert_eq!(error(&["m", "-tp2"]), "unrecognized: -tp2");
}

#[test]
fn errors_are_those_of_argparse() {
    for (line, message) in [
        (["--port", "x"].as_slice(), "argument --port: invalid int value: 'x'"),
        (&["--port"], "argument --port: expected one argument"),
        (&["--port", "--host"], "argument --port: expected one argument"),
        (&["--port="], "argument --port: invalid int value: ''"),
        (&["--port=1=2"], "argument --port: invalid int value: '1=2'"),
        (&["--seed", "None"], "argument --seed: invalid int value: 'None'"),
        (
            &["--gpu-memory-utilization", "abc"],
            "argument --gpu-memory-utilization/--device-memory-utilization: invalid float value: \
             'abc'",
        ),
        (
            &["--max-model-len", "1.5K"],
            "argument --max-model-len: Decimals are not allowed with binary suffixes like K. Did \
             you mean to use 1.5k instead?",
        ),
        (
            &["--max-model-len", "abc"],
            "argument --max-model-len: invalid human_readable_int_or_auto value: 'abc'",
        ),
        (
            &["--num-gpu-blocks-override", "x"],
            "argument --num-gpu-blocks-override: Value x cannot be converted to <class 'int'>.",
        ),
        (
            &["--enforce-eager=1"],
            "argument --enforce-eager/--no-enforce-eager: ignored explicit argument '1'",
        ),
        (&["--disable-log-stats=1"], "argument --disable-log-stats: ignored explicit argument '1'"),
        (
            &["--scheduling-policy", "lifo"],
            "argument --scheduling-policy: invalid choice: 'lifo' (choose from 'fcfs', 'priority')",
        ),
        (
            &["--log-level", "debug"],
            "argument --log-level: invalid choice: 'debug' (choose from 'CRITICAL', 'ERROR', \
             'WARNING', 'INFO', 'DEBUG', 'NOTSET')",
        ),
        (&["--served-model-name"], "argument --served-model-name: expected at least one argument"),
        (&["-q"], "argument --quantization/-q: expected one argument"),
        (&["-nx"], "argument --nnodes/-n: invalid int value: 'x'"),
        (
            &["--default-chat-template-kwargs", "{"],
            "argument --default-chat-template-kwargs: invalid loads value: '{'",
        ),
        (&["a", "b"], "unrecognized: b"),
        (&["a", "--bogus", "1", "--x=2"], "unrecognized: --bogus 1 --x=2"),
        (&["--bogus", "m"], "unrecognized: --bogus"),
        (&["m", "-O", "fast"], "unrecognized: -O fast"),
        (&["m", "--no-disable-log-stats"], "unrecognized: --no-disable-log-stats"),
        (&["m", "--no-host", "x"], "unrecognized: --no-host x"),
    ] {
        assert_eq!(error(line), message, "{line:?}");
    }
}

#[test]
fn ambiguous_abbreviations_list_their_candidates_in_the_order_of_vllm() {
    for (line, message) in [
        (
            ["m", "--port", "x", "--h=1"].as_slice(),
            "ambiguous option: --h=1 could match --help, --headless, --host, \
             --h11-max-incomplete-event-size, --h11-max-header-count, --hf-config-path, \
             --hf-token, --hf-overrides",
        ),
        (
            &["-d", "1"],
            "ambiguous option: -d could match -dcp, -dp, -dpn, -dpr, -dpl, -dpa, -dpp, -dpb, \
             -dph, -dpe, -dpm, -dc",
        ),
        (
            &["--devi", "cpu"],
            "ambiguous option: --devi could match --device-ids, --device-memory-utilization, \
             --device",
        ),
        (
            &["--max", "3"],
            "ambiguous option: --max could match --max-log-len, --max-model-len, --max-logprobs, \
             --max-parallel-loading-workers, --max-loras, --max-lora-rank, --max-cpu-loras, \
             --max-lora-cls-labels, --max-num-batched-tokens, --max-num-scheduled-tokens, \
             --max-num-seqs, --max-num-active-seqs, --max-num-queued-reqs, \
             --max-num-queued-tokens, --max-cudagraph-capture-size",
        ),
    ] {
        assert_eq!(error(line), message, "{line:?}");
    }
}

#[test]
fn help_ends_the_reading_but_not_what_stands_before_it() {
    assert!(good(&["-h", "--port", "x"]).help);
    assert!(!error(&["--port", "x", "-h"]).is_empty());
    assert_eq!(error(&["-hx"]), "argument -h/--help: ignored explicit argument 'x'");
}

#[test]
fn a_separator_makes_the_rest_positional() {
    assert_eq!(good(&["--port", "1", "--", "--m"]).model.as_deref(), Some("--m"));
    assert_eq!(error(&["m", "--api-key", "a", "--", "c"]), "unrecognized: c");
}

proptest! {
    #[test]
    fn any_arguments_are_read_or_refused(
        args in proptest::collection::vec("(--?[a-z-]{0,12})?[=.]?[ -~é]{0,6}", 0..8)
    ) {
        match parse(&SERVE, &args) {
            Ok(raw) => prop_assert!(raw.model.is_none_or(|model| args.contains(&model))),
            Err(Failure::Unrecognized(extra)) => {
                prop_assert!(!extra.is_empty() && extra.iter().all(|arg| args.contains(arg)));
            }
            Err(Failure::Usage(message) | Failure::Invalid(message)) => {
                prop_assert!(message.starts_with("argument ") || message.starts_with("ambig"));
            }
        }
    }

    #[test]
    fn numbers_come_back(value in -i64::MAX..=i64::MAX) {
        let text = format!("--seed={value}");
        prop_assert_eq!(good(&["m", &text]).int("--seed"), Some(value));
    }
}
