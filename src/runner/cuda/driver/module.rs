//! Compiled kernels, and starting them.

use super::device::Device;
use super::error::{Failure, ok};
use super::memory::Span;
use super::stream::Stream;
use cudarc::driver::sys::{
    self, CUdeviceptr, CUfunction, CUfunction_attribute_enum, CUlaunchAttribute,
    CUlaunchAttributeID, CUlaunchAttributeValue, CUlaunchConfig, CUmodule,
};
use std::ffi::{CStr, c_void};
use std::sync::Arc;

/// Shared memory that a block gets without asking.
const SHARED_WITHOUT_ASKING: u32 = 48 << 10;
/// The share of a multiprocessor's cache that is shared memory, in percent.
const SHARED_SHARE: i32 = 100;

/// An image of compiled kernels on the device.
#[derive(Debug)]
pub struct Module {
    raw: CUmodule,
    device: Arc<Device>,
}

// SAFETY: the driver's handles may be used by any thread.
unsafe impl Send for Module {}

impl Module {
    /// Loads a fatbin: machine code for this device, or PTX for a newer one.
    pub fn load(device: &Arc<Device>, image: &[u8]) -> Result<Self, Failure> {
        let mut raw = std::ptr::null_mut();
        // SAFETY: the image names its own length in its header.
        ok("cuModuleLoadData", unsafe {
            sys::cuModuleLoadData(&raw mut raw, image.as_ptr().cast())
        })?;
        Ok(Self { raw, device: device.clone() })
    }

    /// The kernel `name`, loaded at once: a launch that is only noted for a graph might not. It may
    /// use `shared` bytes of dynamic shared memory.
    pub fn function(&self, name: &'static CStr, shared: u32) -> Result<Function, Failure> {
        let mut raw = std::ptr::null_mut();
        let call = name.to_str().unwrap_or("cuModuleGetFunction");
        // SAFETY: a module of ours, a text that ends with a zero, a place for the result.
        ok(call, unsafe { sys::cuModuleGetFunction(&raw mut raw, self.raw, name.as_ptr()) })?;
        // SAFETY: a function of ours.
        ok(call, unsafe { sys::cuFuncLoad(raw) })?;
        use CUfunction_attribute_enum as Attribute;
        // SAFETY: a function of ours.
        let set = |which, value| ok(call, unsafe { sys::cuFuncSetAttribute(raw, which, value) });
        if shared > SHARED_WITHOUT_ASKING {
            set(Attribute::CU_FUNC_ATTRIBUTE_MAX_DYNAMIC_SHARED_SIZE_BYTES, shared as i32)?;
        }
        // The same for all: a multiprocessor that has to change it must be empty first, and the
        // kernel of the next launch could not start early.
        set(Attribute::CU_FUNC_ATTRIBUTE_PREFERRED_SHARED_MEMORY_CARVEOUT, SHARED_SHARE)?;
        Ok(Function { raw, name: call, early: self.device.has_dependent_launch() })
    }
}

impl Drop for Module {
    fn drop(&mut self) {
        if self.device.bind().is_ok() {
            // SAFETY: loaded in `load`.
            unsafe { sys::cuModuleUnload(self.raw) };
        }
    }
}

/// A kernel. Its module outlives it: both are fields of one backend.
#[derive(Clone, Copy, Debug)]
pub struct Function {
    raw: CUfunction,
    name: &'static str,
    /// Whether it may start before the kernel ahead of it has ended (it waits by itself).
    early: bool,
}

// SAFETY: the driver's handles may be used by any thread.
unsafe impl Send for Function {}

/// How many threads run a kernel.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Launch {
    pub grid: [u32; 3],
    pub block: u32,
    /// Bytes of dynamic shared memory.
    pub shared: u32,
}

impl Function {
    pub fn name(&self) -> &'static str {
        self.name
    }

    /// How many blocks of `block` threads and `shared` bytes a multiprocessor holds at once.
    pub fn resident(&self, block: u32, shared: usize) -> Result<usize, Failure> {
        let mut blocks = 0;
        // SAFETY: a function of ours and a place for the result.
        ok(self.name, unsafe {
            let (raw, block) = (self.raw, block as i32);
            sys::cuOccupancyMaxActiveBlocksPerMultiprocessor(&raw mut blocks, raw, block, shared)
        })?;
        Ok(blocks as usize)
    }

    /// Asks `stream` to run it.
    ///
    /// # Safety
    /// `arguments` point to values of the types of the kernel's parameters, and what those point
    /// to on the device is there until the stream has passed this point.
    pub unsafe fn launch(
        &self,
        stream: &Stream,
        launch: Launch,
        arguments: &mut [*mut c_void],
    ) -> Result<(), Failure> {
        if launch.grid.contains(&0) {
            return Ok(());
        }
        let early = self.early && stream.early;
        let mut attribute = CUlaunchAttribute {
            id: CUlaunchAttributeID::CU_LAUNCH_ATTRIBUTE_PROGRAMMATIC_STREAM_SERIALIZATION,
            pad: [0; 4],
            value: CUlaunchAttributeValue { programmaticStreamSerializationAllowed: 1 },
        };
        let [x, y, z] = launch.grid;
        let config = CUlaunchConfig {
            gridDimX: x,
            gridDimY: y,
            gridDimZ: z,
            blockDimX: launch.block,
            blockDimY: 1,
            blockDimZ: 1,
            sharedMemBytes: launch.shared,
            hStream: stream.raw,
            attrs: &raw mut attribute,
            numAttrs: u32::from(early),
        };
        // SAFETY: the caller answers for the arguments; the driver copies them before it returns.
        ok(self.name, unsafe {
            let none = std::ptr::null_mut();
            sys::cuLaunchKernelEx(&raw const config, self.raw, arguments.as_mut_ptr(), none)
        })
    }
}

/// A value as a kernel takes it: spans are pointers.
pub trait Argument {
    type Raw;

    fn raw(self) -> Self::Raw;
}

impl<T> Argument for Span<T> {
    type Raw = CUdeviceptr;

    fn raw(self) -> CUdeviceptr {
        self.at
    }
}

/// A pointer that may be null.
impl<T> Argument for Option<Span<T>> {
    type Raw = CUdeviceptr;

    fn raw(self) -> CUdeviceptr {
        self.map_or(0, |span| span.at)
    }
}

/// A pointer to elements of whatever type.
impl Argument for CUdeviceptr {
    type Raw = CUdeviceptr;

    fn raw(self) -> CUdeviceptr {
        self
    }
}

impl Argument for usize {
    type Raw = i32;

    /// # Panics
    /// When it is too large for a kernel: sizes were checked when the backend was built.
    fn raw(self) -> i32 {
        i32::try_from(self).expect("sizes fit a kernel's int")
    }
}

impl Argument for f32 {
    type Raw = f32;

    fn raw(self) -> f32 {
        self
    }
}

/// `launch!(function, stream, launch, argument, …)`: [`Function::launch`] with arguments in the
/// order and of the types of the kernel's parameters. Unsafe, as that is.
macro_rules! launch {
    ($function:expr, $stream:expr, $launch:expr, $($argument:expr),+ $(,)?) => {
        $function.launch($stream, $launch, &mut [$(
            std::ptr::from_ref(&$crate::runner::cuda::driver::Argument::raw($argument))
                .cast_mut()
                .cast::<std::ffi::c_void>(),
        )+])
    };
}

pub(in super::super) use launch;
