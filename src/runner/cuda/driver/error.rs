//! What the driver says went wrong.

use cudarc::driver::sys::{self, CUresult};
use std::ffi::CStr;
use std::fmt;

/// A call that failed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Failure {
    /// The driver's function, and what it was called for.
    pub call: &'static str,
    pub code: CUresult,
}

/// The result of `call`.
pub fn ok(call: &'static str, code: CUresult) -> Result<(), Failure> {
    match code {
        CUresult::CUDA_SUCCESS => Ok(()),
        code => Err(Failure { call, code }),
    }
}

impl Failure {
    /// Nobody is left to answer: another thread failed first, and its error is the one to tell.
    pub fn closed() -> Self {
        Self { call: "upload", code: CUresult::CUDA_ERROR_NOT_READY }
    }

    /// Whether a module has no such kernel.
    pub fn is_not_found(&self) -> bool {
        self.code == CUresult::CUDA_ERROR_NOT_FOUND
    }

    /// Whether it says nothing of the device but that a graph cannot be had: there is no memory for
    /// it, or the driver does not capture what was asked for.
    pub fn is_about_graphs(&self) -> bool {
        use CUresult as Code;
        let about_capture = Code::CUDA_ERROR_STREAM_CAPTURE_UNSUPPORTED as u32
            ..=Code::CUDA_ERROR_STREAM_CAPTURE_WRONG_THREAD as u32;
        self.is_out_of_memory()
            || about_capture.contains(&(self.code as u32))
            || matches!(self.code, Code::CUDA_ERROR_NOT_SUPPORTED | Code::CUDA_ERROR_INVALID_HANDLE)
    }

    /// Whether there was no memory on the device.
    pub fn is_out_of_memory(&self) -> bool {
        self.code == CUresult::CUDA_ERROR_OUT_OF_MEMORY
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut text = std::ptr::null();
        // SAFETY: the driver gives a string that lives as long as it does, or null.
        let known = unsafe { sys::cuGetErrorString(self.code, &raw mut text) };
        let (call, code) = (self.call, self.code);
        if known != CUresult::CUDA_SUCCESS || text.is_null() {
            return write!(f, "{call}: {code:?}");
        }
        // SAFETY: as above.
        let text = unsafe { CStr::from_ptr(text) }.to_string_lossy();
        write!(f, "{call}: {code:?} ({text})")
    }
}

impl std::error::Error for Failure {}
