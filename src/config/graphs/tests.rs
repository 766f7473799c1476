use super::*;
use crate::config::{Env, Settings, parse_serve};

fn settings(args: &[&str]) -> Result<Settings, String> {
    let args = [&["vllm", "serve", "m"], args].concat();
    let args: Vec<String> = args.into_iter().map(str::to_owned).collect();
    parse_serve(&args, Env::read(|_| None)).map_err(|exit| exit.stderr)
}

fn graphs(args: &[&str]) -> GraphSettings {
    settings(args).unwrap_or_else(|error| panic!("{args:?}: {error}")).graphs
}

fn error(args: &[&str]) -> String {
    settings(args).and_then(|settings| settings.graphs.sizes()).expect_err("no")
}

#[test]
fn the_usual_sizes_are_those_of_vllm() {
    let sizes = graphs(&[]).sizes().expect("sizes");
    assert_eq!(sizes[..5], [1, 2, 4, 8, 16]);
    let from = sizes.iter().position(|&size| size == 240).expect("a stride of 8");
    assert_eq!(sizes[from..from + 4], [240, 248, 256, 272]);
    assert_eq!((sizes.len(), sizes.last()), (51, Some(&512)));
    let fewer = graphs(&["--max-cudagraph-capture-size=20"]);
    assert_eq!(fewer.sizes(), Ok(vec![1, 2, 4, 8, 16]));
    let fine = graphs(&["--performance-mode=interactivity"]).sizes().expect("sizes");
    assert_eq!(fine[30..34], [31, 32, 40, 48]);
    assert_eq!(graphs(&["-cc.max_cudagraph_capture_size=2"]).sizes(), Ok(vec![1, 2]));
}

#[test]
fn sizes_may_be_given_in_two_ways() {
    for args in [
        &["--cudagraph-capture-sizes", "8", "1", "3", "8"][..],
        &["--compilation-config", r#"{"cudagraph_capture_sizes": [8, 1, 3]}"#],
        &["-cc", r#"{"cudagraph_capture_sizes": [8, 1, 3], "cudagraph_mode": "full"}"#],
        &["--cudagraph-capture-sizes", "8", "1", "3", "--max-cudagraph-capture-size", "8"],
    ] {
        assert_eq!(graphs(args).sizes(), Ok(vec![1, 3, 8]), "{args:?}");
    }
}

#[test]
fn there_are_four_ways_to_have_none() {
    for args in [
        &["--enforce-eager"][..],
        &["-O0"],
        &["-cc.cudagraph_mode=none"],
        &["-cc", r#"{"cudagraph_mode": 0, "cudagraph_capture_sizes": []}"#],
    ] {
        assert_eq!(graphs(args).sizes(), Ok(vec![]), "{args:?}");
    }
    let both = ["-O0", "-cc.cudagraph_mode=FULL_DECODE_ONLY"];
    assert_eq!(graphs(&both), GraphSettings::default(), "the mode has the last word");
    assert_eq!(graphs(&["-O3"]), GraphSettings::default());
}

#[test]
fn what_cannot_be() {
    for (args, text) in [
        (
            &["--cudagraph-capture-sizes=1", "-cc.cudagraph_capture_sizes=[2]"][..],
            "cudagraph_capture_sizes and compilation_config.cudagraph_capture_sizes are mutually \
             exclusive",
        ),
        (
            &["--max-cudagraph-capture-size=1", "-cc.max_cudagraph_capture_size=1"],
            "max_cudagraph_capture_size and compilation_config.max_cudagraph_capture_size are \
             mutually exclusive",
        ),
        (
            &["--cudagraph-capture-sizes", "4", "8", "--max-cudagraph-capture-size=4"],
            "customized max_cudagraph_capture_size(=4) should be consistent with the max value of \
             cudagraph_capture_sizes(=8)",
        ),
        (
            &["-cc", r#"{"cudagraph_capture_sizes": []}"#],
            "cudagraph_capture_sizes should contain at least one element when using cuda graph.",
        ),
        (
            &["--max-cudagraph-capture-size=0"],
            "Maximum cudagraph size should be greater than or equal to 1 when using cuda graph.",
        ),
        (&["--cudagraph-capture-sizes=0"], "cudagraph_capture_sizes must be positive"),
        (
            &["--cudagraph-capture-sizes=-1"],
            "cudagraph_capture_sizes must be a positive integer, not -1",
        ),
        (
            &["-cc.cudagraph_mode=some"],
            "cudagraph_mode must be one of NONE, PIECEWISE, FULL, FULL_DECODE_ONLY, \
             FULL_AND_PIECEWISE, not \"some\"",
        ),
    ] {
        let error = error(args);
        assert!(error.trim_end().ends_with(text), "{args:?}: {error}");
    }
}

#[test]
fn what_is_about_the_compiler_is_said_to_change_nothing() {
    let said = settings(&["-cc", r#"{"mode": 3, "cudagraph_mode": "FULL", "backend": ""}"#]);
    let said = said.expect("settings").idle;
    assert_eq!(said.len(), 1, "{said:?}");
    let start = "--compilation-config: these change nothing: mode, backend (they are about";
    assert!(said[0].starts_with(start), "{said:?}");
}
