//! The device that the tests run on, and backends on it.

use crate::cpu_support::{Tensors, small};
use crate::emulator;
use glassbox::config::GraphSettings;
use glassbox::model::{Dims, Weights};
use glassbox::runner::Limits;
use glassbox::runner::cuda::{CudaBackend, Gpu, Options};
use std::ffi::CString;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;

/// Whether the kernels run on a GPU.
pub fn on_gpu() -> bool {
    std::env::var_os("GLASSBOX_TEST_GPU").is_some_and(|value| value == "1")
}

/// Set: the emulated device does everything in the call that asks for it.
pub const AT_ONCE: &str = "GLASSBOX_TEST_AT_ONCE";

/// `words`, and that the emulated device is as late as it may be.
pub fn late(words: &str) -> String {
    if std::env::var_os(AT_ONCE).is_some() {
        return words.to_owned();
    }
    ["deferred", words].join(",")
}

/// The library whose device is the emulator; built once, and loaded in place of the driver's.
pub fn library() -> &'static (PathBuf, libloading::Library) {
    static LIBRARY: OnceLock<(PathBuf, libloading::Library)> = OnceLock::new();
    LIBRARY.get_or_init(|| {
        let kernels = Path::new(env!("CARGO_MANIFEST_DIR")).join("kernels");
        let path = emulator::build(&kernels, &[]);
        // SAFETY: our own library; what it does when it is loaded asks nothing of us.
        let library = unsafe { libloading::Library::new(&path) };
        let library = library.expect("the library that was built");
        set(&library, "");
        (path, library)
    })
}

/// A folder with what stands for compiled kernels.
pub fn images() -> &'static Path {
    static FOLDER: OnceLock<PathBuf> = OnceLock::new();
    FOLDER.get_or_init(|| {
        let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join("images");
        std::fs::create_dir_all(&folder).expect("the target folder can be written");
        // It appears with all it holds: other processes write and read it too.
        let mut file = tempfile::NamedTempFile::new_in(&folder).expect("the folder can be written");
        file.write_all(b"emulated\0").expect("a file");
        file.persist(folder.join("emulated.fatbin")).expect("a file");
        folder
    })
}

/// Makes the emulated device do what GLASSBOX_FAKE_CUDA would make it do, late.
pub fn configure(words: &str) {
    set(&library().1, words);
}

fn set(library: &libloading::Library, words: &str) {
    let words = CString::new(late(words)).expect("no zeros");
    // SAFETY: the function has this type in kernels/emu/driver/control.cc.
    unsafe {
        let set = library.get::<unsafe extern "C" fn(*const i8)>("gb_fake_configure");
        set.expect("the driver's function")(words.as_ptr().cast());
    }
}

/// Runs `check`, which is all of test `name`, in a process of its own, where the emulated device
/// does as `words` say. Not on a GPU.
pub fn apart(name: &str, words: &str, check: impl FnOnce()) {
    const VARIABLE: &str = "GLASSBOX_TEST_APART";
    if on_gpu() {
        return;
    }
    if std::env::var_os(VARIABLE).is_some() {
        configure(words);
        return check();
    }
    let this = std::env::current_exe().expect("this program");
    let mut command = Command::new(this);
    command.args([name, "--exact", "--nocapture"]).env(VARIABLE, "1");
    let output = command.output().expect("the same program again");
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{}: {said}", output.status);
    let out = String::from_utf8_lossy(&output.stdout);
    assert!(out.contains("1 passed"), "{out}");
}

pub fn open() -> Gpu {
    if !on_gpu() {
        library();
    }
    Gpu::open().expect("a device")
}

pub fn options(eager: bool) -> Options {
    let graph_sizes = if eager { Vec::new() } else { GraphSettings::default().sizes().unwrap() };
    Options { graph_sizes, kernels: (!on_gpu()).then(|| images().to_owned()) }
}

/// The bits of a row of logits.
pub fn bits(logits: &[f32]) -> Vec<u32> {
    logits.iter().map(|x| x.to_bits()).collect()
}

/// Those of several rows.
pub fn all_bits(rows: &[Vec<f32>]) -> Vec<Vec<u32>> {
    rows.iter().map(|row| bits(row)).collect()
}

/// A small model of a shape that the kernels know.
pub fn dims() -> Dims {
    Dims { hidden: 256, head_dim: 128, intermediate: 384, vocab: 128, ..small() }
}

pub fn backend(dims: &Dims, weights: &dyn Weights, limits: Limits, eager: bool) -> CudaBackend {
    CudaBackend::new(&open(), dims, weights, limits, options(eager)).expect("a backend")
}

/// A backend with random weights.
pub fn random(dims: &Dims, limits: Limits, eager: bool) -> CudaBackend {
    backend(dims, &Tensors::random(dims, 11), limits, eager)
}
