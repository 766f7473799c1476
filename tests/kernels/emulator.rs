//! Builds the `libcuda.so` whose device is the emulator. Objects are kept under the target folder
//! by what went into them, so that a changed kernel is all that is compiled again.

use std::collections::BTreeSet;
use std::fs;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Mutex;

const FLAGS: &[&str] = &[
    "-std=c++17",
    "-O2",
    "-fno-strict-aliasing",
    "-ffp-contract=off",
    "-fPIC",
    "-fvisibility=hidden",
    "-Wno-unknown-pragmas",
    "-DGB_EMU",
];

/// The library of the kernels in `kernels`, and of the units in `more`.
pub fn build(kernels: &Path, more: &[PathBuf]) -> PathBuf {
    let cache = Path::new(env!("CARGO_TARGET_TMPDIR")).join("emulator");
    fs::create_dir_all(&cache).expect("the target folder can be written");
    let mut units = files(kernels, "cu");
    units.extend(files(&kernels.join("emu"), "cc"));
    units.extend(files(&kernels.join("emu/driver"), "cc"));
    units.extend_from_slice(more);
    let objects: Vec<PathBuf> = units.iter().map(|unit| object_of(unit, kernels, &cache)).collect();
    compile_all(&units, &objects, kernels);
    let mut hasher = DefaultHasher::new();
    objects.hash(&mut hasher);
    let library = cache.join(format!("libcuda-{:016x}.so", hasher.finish()));
    if !library.exists() {
        produce(&library, |command| {
            command.args(["-shared", "-Wl,-soname,libcuda.so"]).args(&objects);
        });
    }
    library
}

fn compiler() -> String {
    std::env::var("CXX").unwrap_or_else(|_| "c++".to_owned())
}

/// The files of a folder with this extension, in order.
pub fn files(folder: &Path, extension: &str) -> Vec<PathBuf> {
    let entries = fs::read_dir(folder).unwrap_or_else(|e| panic!("{}: {e}", folder.display()));
    let paths = entries.map(|entry| entry.expect("an entry").path());
    let mut found: Vec<PathBuf> =
        paths.filter(|path| path.extension().is_some_and(|e| e == extension)).collect();
    found.sort();
    found
}

/// Where a unit's object is kept: a name that changes with all that is compiled.
fn object_of(unit: &Path, kernels: &Path, cache: &Path) -> PathBuf {
    let mut sources = BTreeSet::new();
    follow(unit, kernels, &mut sources);
    let mut hasher = DefaultHasher::new();
    (compiler(), FLAGS).hash(&mut hasher);
    for source in sources {
        fs::read(&source).expect("a source").hash(&mut hasher);
    }
    let stem = unit.file_stem().and_then(|stem| stem.to_str()).expect("a name in UTF-8");
    cache.join(format!("{stem}-{:016x}.o", hasher.finish()))
}

/// The unit and the files of ours that it includes.
fn follow(source: &Path, kernels: &Path, found: &mut BTreeSet<PathBuf>) {
    let text = fs::read_to_string(source).unwrap_or_else(|e| panic!("{}: {e}", source.display()));
    if !found.insert(source.to_owned()) {
        return;
    }
    for line in text.lines() {
        let Some(name) = line.strip_prefix("#include \"") else { continue };
        let name = name.trim_end().trim_end_matches('"');
        let beside = source.with_file_name(name);
        let included = if beside.exists() { beside } else { kernels.join(name) };
        follow(&included.canonicalize().expect("an included file"), kernels, found);
    }
}

fn compile_all(units: &[PathBuf], objects: &[PathBuf], kernels: &Path) {
    let missing = units.iter().zip(objects).filter(|(_, object)| !object.exists());
    let queue = Mutex::new(missing);
    let threads = std::thread::available_parallelism().map_or(1, |n| n.get());
    std::thread::scope(|scope| {
        for _ in 0..threads {
            scope.spawn(|| {
                loop {
                    let next = queue.lock().expect("no thread panics with it").next();
                    let Some((unit, object)) = next else { break };
                    produce(object, |command| {
                        command.args(FLAGS).arg("-I").arg(kernels);
                        command.args(["-x", "c++", "-c"]).arg(unit);
                    });
                }
            });
        }
    });
}

/// Runs the compiler. The file appears when it is complete: other processes build it too.
fn produce(file: &Path, arguments: impl Fn(&mut Command)) {
    let folder = file.parent().expect("a file in the cache");
    let unfinished = tempfile::NamedTempFile::new_in(folder).expect("the cache can be written");
    let mut command = Command::new(compiler());
    arguments(&mut command);
    let output = command.arg("-o").arg(unfinished.path()).output().unwrap_or_else(|e| {
        panic!("the kernels' tests need a C++ compiler, and {:?} is none: {e}", compiler())
    });
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{command:?}:\n{said}");
    unfinished.persist(file).expect("the cache can be written");
}
