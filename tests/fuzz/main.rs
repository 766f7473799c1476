//! A fuzz target for each parser of what others send: `GLASSBOX_FUZZ_SECONDS` for each (a fraction
//! of a second by default), seeds from `corpus/<target>/`, mutated without end.
//!
//! What must hold is in [`targets`] and [`outputs`]: no panic, bounded time, and whatever else can
//! be said of any input. An input that breaks it is written to the temporary folder; once fixed, it
//! moves into the corpus, whose files are run as they are before anything is mutated.

mod mutate;
mod outputs;
mod targets;

use mutate::Mutator;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

/// No input may take longer, whatever else runs on the machine.
const SLOW: Duration = Duration::from_secs(20);

/// Runs `target` on its corpus, then on mutations of it until the time is up.
fn fuzz(name: &str, target: impl Fn(&[u8])) {
    let corpus = corpus(name);
    assert!(!corpus.is_empty(), "the target {name} has no corpus");
    for (path, input) in &corpus {
        run(&format!("{}", path.display()), input, &target);
    }
    let seconds = std::env::var("GLASSBOX_FUZZ_SECONDS").ok();
    let seconds = seconds.map_or(0.2, |text| text.parse().expect("GLASSBOX_FUZZ_SECONDS"));
    let end = Instant::now() + Duration::from_secs_f64(seconds);
    let seeds = corpus.into_iter().map(|(_, input)| input).collect();
    let mut mutator = Mutator::new(seed(), seeds);
    while Instant::now() < end {
        let input = mutator.next();
        run(name, &input, &target);
    }
}

/// GLASSBOX_FUZZ_SEED repeats a run; otherwise each is another.
fn seed() -> u64 {
    match std::env::var("GLASSBOX_FUZZ_SEED") {
        Ok(text) => text.parse().expect("GLASSBOX_FUZZ_SEED"),
        Err(_) => {
            let now = SystemTime::now().duration_since(UNIX_EPOCH).expect("a clock after 1970");
            now.as_nanos() as u64
        }
    }
}

fn corpus(name: &str) -> Vec<(PathBuf, Vec<u8>)> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fuzz/corpus").join(name);
    let entries = std::fs::read_dir(&folder).expect("a folder of inputs");
    let mut paths: Vec<PathBuf> = entries.map(|entry| entry.expect("an entry").path()).collect();
    paths.sort();
    paths.into_iter().map(|path| (path.clone(), std::fs::read(path).expect("a file"))).collect()
}

fn run(name: &str, input: &[u8], target: &impl Fn(&[u8])) {
    let start = Instant::now();
    let outcome = catch_unwind(AssertUnwindSafe(|| target(input)));
    let took = start.elapsed();
    if outcome.is_ok() && took < SLOW {
        return;
    }
    let file = name.replace(['/', '\\'], "-");
    let kept = std::env::temp_dir().join(format!("glassbox-fuzz-{file}-{}", std::process::id()));
    std::fs::write(&kept, input).expect("a writable temporary folder");
    let what = if outcome.is_err() { "it panicked".to_owned() } else { format!("{took:?}") };
    panic!("{name}: {what}, with {} bytes of input, kept at {}", input.len(), kept.display());
}

#[test]
fn json() {
    fuzz("json", targets::json);
}

#[test]
fn chat() {
    fuzz("chat", targets::chat);
}

#[test]
fn completions() {
    fuzz("completions", targets::completions);
}

#[test]
fn messages() {
    fuzz("messages", targets::messages);
}

#[test]
fn responses() {
    fuzz("responses", targets::responses);
}

#[test]
fn output() {
    fuzz("output", outputs::output);
}

#[test]
fn grammar() {
    fuzz("grammar", outputs::grammar);
}

#[test]
fn tokenize() {
    fuzz("tokenize", targets::tokenize);
}

#[test]
fn query() {
    fuzz("query", targets::query);
}

#[test]
fn events() {
    fuzz("events", targets::error_event);
}

#[test]
fn template() {
    fuzz("template", targets::template);
}

#[test]
fn flags() {
    fuzz("flags", targets::flags);
}

#[test]
fn zmtp() {
    fuzz("zmtp", targets::zmtp);
}

#[test]
fn nixl_metadata() {
    fuzz("nixl_metadata", targets::nixl_metadata);
}

#[test]
fn nixl_query() {
    fuzz("nixl_query", targets::nixl_query);
}

#[test]
fn trace_context() {
    fuzz("trace_context", targets::trace_context);
}

#[test]
fn ciphers() {
    fuzz("ciphers", targets::ciphers);
}

#[test]
fn transfer_tcp() {
    fuzz("transfer_tcp", glassbox::transfer::tcp::fuzz::received);
}
