//! A device for tests: memory, and launches of kernels by their names.

use std::ffi::{CString, c_void};
use std::marker::PhantomData;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;

use cudarc::driver::{DriverError, result, sys};

use crate::emulator;

include!(concat!(env!("OUT_DIR"), "/fatbins.rs"));
include!(concat!(env!("OUT_DIR"), "/probes.rs"));

/// The library to test in place of the one that is built from the sources.
pub const LIBRARY: &str = "GLASSBOX_TEST_LIBCUDA";
/// After how many seconds this process ends itself.
pub const SECONDS: &str = "GLASSBOX_TEST_SECONDS";

/// How the emulator orders threads (0: as they are numbered), and whether copies to shared memory
/// are made at once.
const SCHEDULES: [(u32, bool); 6] =
    [(0, false), (0, true), (1, false), (1, true), (2, false), (3, true)];

/// Whether the kernels run on a GPU.
pub fn on_gpu() -> bool {
    std::env::var_os("GLASSBOX_TEST_GPU").is_some_and(|value| value == "1")
}

/// Runs a test under every schedule of the emulator, or once on a GPU.
pub fn every_schedule(test: impl Fn(&Device)) {
    let device = Device::open();
    if on_gpu() {
        return test(&device);
    }
    for (seed, eager) in SCHEDULES {
        schedule(seed, eager);
        test(&device);
    }
    schedule(0, false);
}

/// The emulator's own functions.
fn emulator_library() -> &'static libloading::Library {
    static LIBRARY_OPEN: OnceLock<libloading::Library> = OnceLock::new();
    LIBRARY_OPEN.get_or_init(|| {
        if let Some(seconds) = std::env::var(SECONDS).ok().and_then(|s| s.parse().ok()) {
            // SAFETY: the signal that comes ends the process.
            unsafe { libc::alarm(seconds) };
        }
        let root = Path::new(env!("CARGO_MANIFEST_DIR"));
        let probes = root.join("tests/kernels/probes.cu");
        let library = match std::env::var_os(LIBRARY) {
            Some(library) => PathBuf::from(library),
            None => emulator::build(&root.join("kernels"), &[probes]),
        };
        // SAFETY: our own library; what it does when it is loaded asks nothing of us.
        unsafe { libloading::Library::new(&library) }.expect("the library that was built")
    })
}

/// Orders the threads of what this thread launches from now on.
fn schedule(seed: u32, eager: bool) {
    // SAFETY: the function has this type in kernels/emu/machine.cc.
    unsafe {
        let set = emulator_library().get::<unsafe extern "C" fn(u32, i32)>("gb_emu_schedule");
        set.expect("the emulator's function")(seed, eager.into());
    }
}

/// Makes the emulated device what GLASSBOX_FAKE_CUDA would make it, and forget its failure.
pub fn configure(words: &str) {
    let words = CString::new(words).expect("no zeros");
    // SAFETY: the function has this type in kernels/emu/driver/control.cc.
    unsafe {
        let library = emulator_library();
        let set = library.get::<unsafe extern "C" fn(*const i8)>("gb_fake_configure");
        set.expect("the driver's function")(words.as_ptr().cast());
    }
}

pub struct Device {
    modules: Vec<sys::CUmodule>,
}

/// Memory of the device for `len` values.
pub struct Buffer<T> {
    pub address: sys::CUdeviceptr,
    len: usize,
    values: PhantomData<T>,
}

impl<T> Drop for Buffer<T> {
    fn drop(&mut self) {
        // SAFETY: the buffer's own memory, and every launch has ended. A device that has failed
        // says so again, which nobody needs to hear.
        let _ = unsafe { result::free_sync(self.address) };
    }
}

/// An argument of a kernel, of at most eight bytes.
pub struct Argument([u8; 8]);

macro_rules! plain_arguments {
    ($($type:ty),*) => {$(
        impl From<$type> for Argument {
            fn from(value: $type) -> Self {
                let mut bytes = [0; 8];
                bytes[..size_of::<$type>()].copy_from_slice(&value.to_ne_bytes());
                Self(bytes)
            }
        }
    )*};
}

plain_arguments!(i32, u32, i64, u64, f32);

impl<T> From<&Buffer<T>> for Argument {
    fn from(buffer: &Buffer<T>) -> Self {
        buffer.address.into()
    }
}

/// A null pointer.
pub const NULL: u64 = 0;

/// The arguments of a launch: buffers by reference, numbers of exactly the kernel's types.
#[macro_export]
macro_rules! args {
    ($($argument:expr),* $(,)?) => { &mut [$($crate::device::Argument::from($argument)),*] };
}

/// Blocks, threads of a block, and bytes of dynamic shared memory.
#[derive(Clone, Copy)]
pub struct Shape {
    pub grid: (u32, u32, u32),
    pub block: u32,
    pub shared: u32,
}

impl Shape {
    /// A grid of one dimension, without dynamic shared memory.
    pub fn line(blocks: usize, block: u32) -> Self {
        let grid = (u32::try_from(blocks).expect("a grid"), 1, 1);
        Self { grid, block, shared: 0 }
    }
}

impl Device {
    /// The first device; one context serves all threads.
    pub fn open() -> Self {
        if on_gpu() {
            assert!(!FATBINS.is_empty(), "tests on a GPU need --features cuda");
        } else {
            emulator_library();
        }
        result::init().expect("a device");
        let device = result::device::get(0).expect("a device");
        let images: Vec<&[u8]> = match on_gpu() {
            true => FATBINS.iter().chain(PROBES).map(|(_, image)| *image).collect(),
            false => vec![b"emulated\0"],
        };
        // SAFETY: the context is never released, and images are what nvcc made.
        let modules = unsafe {
            let context = result::primary_ctx::retain(device).expect("a context");
            result::ctx::set_current(context).expect("a context");
            images.iter().map(|image| result::module::load_data(image.as_ptr().cast())).collect()
        };
        let modules: Result<_, DriverError> = modules;
        Self { modules: modules.expect("images for this device") }
    }

    /// Memory that nobody has written: on the emulator, no numbers.
    pub fn empty<T>(&self, len: usize) -> Buffer<T> {
        // SAFETY: the memory belongs to the buffer.
        let address = unsafe { result::malloc_sync(len * size_of::<T>()) };
        Buffer { address: address.expect("memory"), len, values: PhantomData }
    }

    pub fn upload<T: Copy>(&self, values: &[T]) -> Buffer<T> {
        let buffer = self.empty(values.len());
        // SAFETY: as many values as the buffer was made for.
        unsafe { result::memcpy_htod_sync(buffer.address, values) }.expect("a copy");
        arrived();
        buffer
    }

    /// `len` values, all of whose bytes are 0.
    pub fn zeros<T>(&self, len: usize) -> Buffer<T> {
        let buffer = self.empty::<T>(len);
        // SAFETY: the buffer's own bytes.
        unsafe { result::memset_d8_sync(buffer.address, 0, len * size_of::<T>()) }.expect("zeros");
        arrived();
        buffer
    }

    pub fn download<T: Copy + Default>(&self, buffer: &Buffer<T>) -> Vec<T> {
        let mut values = vec![T::default(); buffer.len];
        // SAFETY: as many values as the buffer holds, of a type without invalid ones.
        unsafe { result::memcpy_dtoh_sync(&mut values, buffer.address) }.expect("a copy");
        values
    }

    /// Runs a kernel to its end.
    pub fn launch(&self, kernel: &str, shape: Shape, arguments: &mut [Argument]) {
        if let Err(error) = self.try_launch(kernel, shape, arguments) {
            panic!("{kernel}: {error}");
        }
    }

    pub fn try_launch(
        &self,
        kernel: &str,
        shape: Shape,
        arguments: &mut [Argument],
    ) -> Result<(), DriverError> {
        let mut pointers: Vec<*mut c_void> =
            arguments.iter_mut().map(|argument| argument.0.as_mut_ptr().cast()).collect();
        let function = self.function(kernel);
        let block = (shape.block, 1, 1);
        // SAFETY: the caller gives what the kernel takes; it has ended when this returns.
        unsafe {
            allow_shared(function, shape.shared)?;
            let stream = std::ptr::null_mut();
            let (grid, shared) = (shape.grid, shape.shared);
            result::launch_kernel(function, grid, block, shared, stream, &mut pointers)?;
        }
        result::ctx::synchronize()
    }

    /// The kernel of this name.
    pub fn function(&self, kernel: &str) -> sys::CUfunction {
        let name = CString::new(kernel).expect("a name");
        // SAFETY: modules stay loaded.
        let find = |module| unsafe { result::module::get_function(module, name.clone()) };
        let found = self.modules.iter().find_map(|module| find(*module).ok());
        found.unwrap_or_else(|| panic!("no kernel {kernel}"))
    }
}

/// What fills memory may come back before it is there, and streams of a test do not wait for it.
fn arrived() {
    result::ctx::synchronize().expect("a device that works");
}

/// More than 48 KiB must be asked for.
unsafe fn allow_shared(function: sys::CUfunction, bytes: u32) -> Result<(), DriverError> {
    if bytes <= 48 << 10 {
        return Ok(());
    }
    let most = sys::CUfunction_attribute::CU_FUNC_ATTRIBUTE_MAX_DYNAMIC_SHARED_SIZE_BYTES;
    // SAFETY: the caller's function is one of a module that is loaded.
    unsafe { result::function::set_function_attribute(function, most, bytes as i32) }
}
