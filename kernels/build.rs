//! With the feature `cuda`, compiles every kernel for the GPUs that are served and embeds them.
//! Registers that spill are an error. `kernels/check` runs this file alone.

use std::env;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Mutex;

/// Machine code for these, and for what comes after them the PTX of the last.
const TARGETS: [&str; 4] = ["80", "90", "90a", "100"];

fn main() {
    let root = PathBuf::from(env::var_os("CARGO_MANIFEST_DIR").expect("set by cargo"));
    println!("cargo::rerun-if-changed=kernels/build.rs");
    // What the tests have beside the kernels stays out of the binary.
    let sources = [sources(&root.join("kernels")), sources(&root.join("tests/kernels"))];
    let [kernels, probes] = if env::var_os("CARGO_FEATURE_CUDA").is_some() {
        compile_all(&root, &sources.concat());
        sources
    } else {
        [const { Vec::new() }; 2]
    };
    write_images("fatbins.rs", "FATBINS", &kernels);
    write_images("probes.rs", "PROBES", &probes);
}

/// A table of images, each named after its file, to be included.
fn write_images(file: &str, table: &str, sources: &[PathBuf]) {
    let mut text = String::from("/// Images for GPUs, each named after its file.\n");
    text += &format!("pub static {table}: &[(&str, &[u8])] = &[\n");
    for source in sources {
        let (name, image) = (stem(source), image_of(source));
        text += &format!("    ({name:?}, include_bytes!({image:?})),\n");
    }
    text += "];\n";
    fs::write(out().join(file), text).expect("OUT_DIR can be written");
}

fn out() -> PathBuf {
    env::var_os("OUT_DIR").expect("set by cargo").into()
}

/// The kernels of a folder, in order.
fn sources(folder: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(folder).into_iter().flatten();
    let paths = entries.map(|entry| entry.expect("an entry").path());
    let mut sources: Vec<PathBuf> =
        paths.filter(|path| path.extension().is_some_and(|e| e == "cu")).collect();
    sources.sort();
    sources
}

fn compile_all(root: &Path, sources: &[PathBuf]) {
    println!("cargo::rerun-if-changed=kernels");
    println!("cargo::rerun-if-changed=tests/kernels");
    for variable in ["GLASSBOX_NVCC", "CUDA_HOME", "PATH"] {
        println!("cargo::rerun-if-env-changed={variable}");
    }
    let nvcc = find_nvcc(root);
    let queue = Mutex::new(sources.iter());
    let jobs = env::var("NUM_JOBS").ok().and_then(|n| n.parse().ok()).unwrap_or(2).clamp(1, 4);
    std::thread::scope(|scope| {
        for _ in 0..jobs {
            scope.spawn(|| {
                loop {
                    let next = queue.lock().expect("no thread panics with it").next();
                    let Some(source) = next else { break };
                    compile(&nvcc, root, source);
                }
            });
        }
    });
}

fn stem(source: &Path) -> String {
    source.file_stem().and_then(|stem| stem.to_str()).expect("a name in UTF-8").to_owned()
}

fn image_of(source: &Path) -> PathBuf {
    out().join(stem(source)).with_extension("fatbin")
}

/// GLASSBOX_NVCC, the one of CUDA_HOME, of PATH, or what `kernels/get-nvcc` has brought.
fn find_nvcc(root: &Path) -> PathBuf {
    if let Some(path) = env::var_os("GLASSBOX_NVCC") {
        return path.into();
    }
    let mut places: Vec<PathBuf> = Vec::new();
    places.extend(env::var_os("CUDA_HOME").map(|home| PathBuf::from(home).join("bin")));
    places.extend(env::var_os("PATH").iter().flat_map(env::split_paths));
    places.push(root.join(".cache/nvcc/nvidia/cu13/bin"));
    let found = places.iter().map(|place| place.join("nvcc")).find(|nvcc| nvcc.is_file());
    found.unwrap_or_else(|| {
        panic!("no nvcc: set GLASSBOX_NVCC or CUDA_HOME, or run kernels/get-nvcc")
    })
}

fn compile(nvcc: &Path, root: &Path, source: &Path) {
    let mut command = Command::new(nvcc);
    command.args(["-std=c++17", "-O3", "--fatbin", "-Xptxas", "-v"]);
    for target in TARGETS {
        command.arg(format!("-gencode=arch=compute_{target},code=sm_{target}"));
    }
    let newest = TARGETS[TARGETS.len() - 1];
    command.arg(format!("-gencode=arch=compute_{newest},code=compute_{newest}"));
    command.arg("-I").arg(root.join("kernels"));
    let output = command.arg(source).arg("-o").arg(image_of(source)).output();
    let output = output.unwrap_or_else(|e| panic!("{}: {e}", nvcc.display()));
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{} failed on {}:\n{said}", nvcc.display(), source.display());
    assert!(said.contains("spill stores"), "nvcc says nothing about spills:\n{said}");
    let spills: Vec<&str> = said.lines().filter(|line| spills(line)).collect();
    assert!(spills.is_empty(), "{} spills registers:\n{said}", source.display());
}

/// `    0 bytes stack frame, 8 bytes spill stores, 8 bytes spill loads`
fn spills(line: &str) -> bool {
    line.contains("spill stores") && !line.contains(" 0 bytes spill stores, 0 bytes spill loads")
}
