//! Proves that a test can fail: runs it again with kernels that were changed for the worse.

use std::fs;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use crate::device::{LIBRARY, SECONDS, on_gpu};
use crate::emulator;

/// A change to one file: every `from` becomes `to`.
pub struct Mutant {
    pub file: &'static str,
    pub from: &'static str,
    pub to: &'static str,
}

/// Runs `test` (by its full name) with each of the mutants; it must fail every time, and pass with
/// the kernels as they are.
pub fn must_fail(test: &str, mutants: &[Mutant]) {
    if on_gpu() {
        return;
    }
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let healthy = emulator::build(&root.join("kernels"), &[probes(root)]);
    let output = run_test(test, &[(LIBRARY, healthy.to_str().expect("a path in UTF-8"))]);
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success() && said.contains(" 1 passed"), "{test} itself:\n{said}");
    let mut survivors = Vec::new();
    for mutant in mutants {
        let library = build(mutant);
        let library = library.to_str().expect("a path in UTF-8");
        if run_test(test, &[(LIBRARY, library)]).status.success() {
            let (file, from, to) = (mutant.file, mutant.from, mutant.to);
            survivors.push(format!("{file}: {from:?} -> {to:?}"));
        }
    }
    assert!(survivors.is_empty(), "{test} passes with\n{}", survivors.join("\n"));
}

/// Runs one test of this program in a process of its own, which lasts at most two minutes.
pub fn run_test(test: &str, environment: &[(&str, &str)]) -> Output {
    let program = std::env::current_exe().expect("this program");
    let mut command = Command::new(program);
    command.args(["--exact", test, "--test-threads=1"]).env(SECONDS, "120");
    command.envs(environment.iter().copied()).output().expect("a test that runs")
}

fn probes(root: &Path) -> PathBuf {
    root.join("tests/kernels/probes.cu")
}

/// The library of a copy of the sources with the change.
fn build(mutant: &Mutant) -> PathBuf {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut hasher = DefaultHasher::new();
    (mutant.file, mutant.from, mutant.to).hash(&mut hasher);
    let name = format!("mutant-{:016x}-{}", hasher.finish(), std::process::id());
    let copy = Path::new(env!("CARGO_TARGET_TMPDIR")).join(name);
    let kernels = copy.join("kernels");
    fs::create_dir_all(kernels.join("emu/driver")).expect("the target folder can be written");
    for folder in ["", "emu", "emu/driver"] {
        for extension in ["cu", "cuh", "h", "cc"] {
            for file in emulator::files(&root.join("kernels").join(folder), extension) {
                let to = kernels.join(folder).join(file.file_name().expect("a file"));
                fs::copy(&file, to).expect("a copy");
            }
        }
    }
    fs::copy(probes(root), copy.join("probes.cu")).expect("a copy");
    let path = match mutant.file {
        "probes.cu" => copy.join("probes.cu"),
        file => kernels.join(file),
    };
    let text = fs::read_to_string(&path).expect("a file of the kernels");
    assert!(text.contains(mutant.from), "{} has no {:?}", mutant.file, mutant.from);
    fs::write(&path, text.replace(mutant.from, mutant.to)).expect("the copy can be written");
    let library = emulator::build(&kernels, &[copy.join("probes.cu")]);
    fs::remove_dir_all(&copy).expect("the copy can go");
    library
}
