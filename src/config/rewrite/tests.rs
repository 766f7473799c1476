use super::super::table::SERVE;
use super::*;

fn words(line: &str) -> Vec<String> {
    line.split(' ').filter(|word| !word.is_empty()).map(str::to_owned).collect()
}

fn args(line: &str) -> Vec<String> {
    rewrite(&SERVE, &words(line)).expect(line).args
}

#[test]
fn the_model_moves_to_the_front() {
    let out = rewrite(&SERVE, &words("-tp 2 --model x --port 1")).expect("good");
    assert_eq!(out.args, ["x", "-tp", "2", "--port", "1"]);
    assert_eq!(out.warnings.len(), 1);
    assert_eq!(args("--port 1 --model=x"), ["x", "--port", "1"]);
    // Python's splitting of the arguments leaves the other model behind, to be refused.
    assert_eq!(args("m --model x"), ["x", "m"]);
}

#[test]
fn served_names_need_a_model() {
    let fails = |line| rewrite(&SERVE, &words(line)).is_err();
    assert!(fails("--served-model-name x"));
    assert!(fails("--port 1 --served_model_name=x"));
    assert!(!fails("m --served-model-name x"));
    assert!(!fails("--model m --served-model-name x"));
}

#[test]
fn names_are_spelled_with_dashes_up_to_a_dot_or_equals() {
    assert_eq!(args("m --max_model_len=a_b"), ["m", "--max-model-len=a_b"]);
    assert_eq!(args("m --no_enforce_eager a_b"), ["m", "--no-enforce-eager", "a_b"]);
    assert_eq!(args("--x_y.a_b 1"), ["--x-y", "{\"a_b\":1}"]);
}

#[test]
fn optimization_levels() {
    for line in ["-O3", "-O=3", "-O 3"] {
        assert_eq!(args(line), ["--optimization-level", "3"], "{line}");
    }
    assert_eq!(args("-O fast"), ["-O", "fast"]);
    assert_eq!(args("-O"), ["-O"]);
}

#[test]
fn help_words_are_taken_out() {
    let out = rewrite(&SERVE, &words("m --help=Max_Model")).expect("good");
    assert_eq!(out.args, ["m", "--help"]);
    assert_eq!(out.help_about.as_deref(), Some("max-model"));
}

#[test]
fn dotted_keys_become_one_object_at_the_end() {
    let line = "m --j.a.b 1 --port 2 --j.a.c+=x,y --j.a.c+ z --j.d true --j.e=1k --j.f word";
    let object = r#"{"a":{"b":1,"c":["x","y","z"]},"d":true,"e":1000,"f":"word"}"#;
    assert_eq!(args(line), ["m", "--port", "2", "--j", object]);
    assert_eq!(args("-cc.mode 3 m"), ["m", "-cc", "{\"mode\":3}"]);
    assert_eq!(
        args("--port=1.5 -0.5 --watermark -.5"),
        ["--port=1.5", "-0.5", "--watermark", "-.5"]
    );
    let error = rewrite(&SERVE, &words("m --j.a")).expect_err("no value");
    assert_eq!(error, Failure::usage("argument --j.a: expected one argument"));
}

#[test]
fn duplicates_are_said() {
    let warnings = |line| rewrite(&SERVE, &words(line)).expect("good").warnings;
    assert_eq!(warnings("m --port 1 --port=2 --port 3"), ["Found duplicate keys --port"]);
    assert_eq!(warnings("m --j.a 1 --j.a 2"), ["Found duplicate keys --j.a"]);
    assert_eq!(warnings("m --j.a.b 1 --j.a.c 2"), [""; 0]);
}

#[test]
fn a_configuration_file_goes_behind_the_model() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("c.yaml");
    std::fs::write(&path, "port: 1\n").expect("written");
    let path = path.to_str().expect("UTF-8");
    let with_model = args(&format!("m --seed 1 --config {path} --port 2"));
    assert_eq!(with_model, ["m", "--port", "1", "--seed", "1", "--port", "2"]);
    assert_eq!(args(&format!("m --config={path}")), ["m", "--port", "1"]);
    let error = rewrite(&SERVE, &words(&format!("--config {path}"))).expect_err("no model");
    assert!(matches!(error, Failure::Invalid(text) if text.starts_with("No model specified!")));
    std::fs::write(path, "model: x\n").expect("written");
    assert_eq!(args(&format!("--seed 1 --config {path}")), ["--model", "x", "--seed", "1"]);
    let twice = rewrite(&SERVE, &words(&format!("m --config {path} --config {path}")));
    assert!(matches!(twice, Err(Failure::Invalid(text)) if text.starts_with("More than one")));
}
