//! Memory on the device, planned before it is taken, and memory of the host that the device reads.

use super::device::Device;
use super::error::{Failure, ok};
use cudarc::driver::sys::{self, CUdeviceptr};
use std::marker::PhantomData;
use std::ops::{Deref, DerefMut};
use std::sync::Arc;

/// Where spans start: what the widest loads and the copy engines like.
const ALIGNMENT: usize = 256;

/// `len` elements on the device.
#[derive(Debug)]
pub struct Span<T> {
    pub at: CUdeviceptr,
    pub len: usize,
    of: PhantomData<fn() -> T>,
}

impl<T> Clone for Span<T> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<T> Copy for Span<T> {}

impl<T> Span<T> {
    /// The elements from `start` on, `len` of them.
    ///
    /// # Panics
    /// When there are not so many.
    pub fn part(self, start: usize, len: usize) -> Self {
        assert!(start <= self.len && len <= self.len - start, "{start} + {len} of {}", self.len);
        let at = self.at + (start * size_of::<T>()) as CUdeviceptr;
        Self { at, len, of: PhantomData }
    }

    pub fn bytes(self) -> usize {
        self.len * size_of::<T>()
    }
}

/// Hands out spans one after the other; the first pass over it, with [`Plan::new`], finds how many
/// bytes there must be, the second cuts them.
#[derive(Debug)]
pub struct Plan {
    start: CUdeviceptr,
    used: usize,
}

impl Plan {
    /// Only adds up.
    pub fn new() -> Self {
        Self { start: 0, used: 0 }
    }

    /// Room for `len` elements.
    pub fn take<T>(&mut self, len: usize) -> Span<T> {
        let at = self.start + self.used as CUdeviceptr;
        self.used += (len * size_of::<T>()).next_multiple_of(ALIGNMENT);
        Span { at, len, of: PhantomData }
    }

    /// Bytes handed out.
    pub fn bytes(&self) -> usize {
        self.used
    }
}

/// One allocation of the driver (`cuMemAlloc`, not a pool: NIXL registers it as it is).
#[derive(Debug)]
pub struct Arena {
    at: CUdeviceptr,
    bytes: usize,
    device: Arc<Device>,
}

impl Arena {
    pub fn new(device: &Arc<Device>, bytes: usize) -> Result<Self, Failure> {
        let mut at = 0;
        if bytes > 0 {
            // SAFETY: a place for the result.
            ok("cuMemAlloc", unsafe { sys::cuMemAlloc_v2(&raw mut at, bytes) })?;
        }
        Ok(Self { at, bytes, device: device.clone() })
    }

    /// Of no bytes.
    pub fn empty(device: &Arc<Device>) -> Self {
        Self { at: 0, bytes: 0, device: device.clone() }
    }

    /// Cuts this arena as `plan` added it up: `cut` makes the same calls again.
    ///
    /// # Panics
    /// When it takes more than there is.
    pub fn cut<R>(&self, cut: impl FnOnce(&mut Plan) -> R) -> R {
        let mut plan = Plan { start: self.at, used: 0 };
        let parts = cut(&mut plan);
        assert!(plan.used <= self.bytes, "{} bytes of {}", plan.used, self.bytes);
        parts
    }
}

impl Arena {
    /// The bytes at an address that was handed out.
    ///
    /// # Panics
    /// When they are not all of this arena.
    pub fn bytes_at(&self, at: CUdeviceptr, len: usize) -> Span<u8> {
        let offset = at.checked_sub(self.at).and_then(|offset| usize::try_from(offset).ok());
        let end = offset.and_then(|offset| offset.checked_add(len));
        assert!(end.is_some_and(|end| end <= self.bytes), "{len} bytes at {at:#x}");
        Span { at, len, of: PhantomData }
    }
}

impl Drop for Arena {
    fn drop(&mut self) {
        if self.bytes > 0 && self.device.bind().is_ok() {
            // SAFETY: allocated in `new`; spans are only numbers, and their users are gone.
            unsafe { sys::cuMemFree_v2(self.at) };
        }
    }
}

/// Memory of the host that stays where it is, so that the device copies from and to it by itself.
#[derive(Debug)]
pub struct Pinned<T> {
    at: *mut T,
    len: usize,
    device: Arc<Device>,
}

// SAFETY: plain memory with one owner.
unsafe impl<T: Send> Send for Pinned<T> {}

/// Numbers, of which all zeros is one.
///
/// # Safety
/// Every pattern of bits is a value, and there is no padding.
pub unsafe trait Plain: Copy {}

// SAFETY: a number.
unsafe impl Plain for u8 {}
// SAFETY: a number.
unsafe impl Plain for i32 {}
// SAFETY: a number.
unsafe impl Plain for f32 {}
// SAFETY: the bits of a number.
unsafe impl Plain for half::bf16 {}

impl<T: Plain> Pinned<T> {
    /// `len` zeros.
    pub fn new(device: &Arc<Device>, len: usize) -> Result<Self, Failure> {
        let mut at = std::ptr::null_mut();
        let bytes = (len * size_of::<T>()).max(1);
        // SAFETY: a place for the result; `bytes` of it are ours when the call succeeds.
        unsafe {
            ok("cuMemHostAlloc", sys::cuMemHostAlloc(&raw mut at, bytes, 0))?;
            std::ptr::write_bytes(at.cast::<u8>(), 0, bytes);
        }
        Ok(Self { at: at.cast(), len, device: device.clone() })
    }
}

impl<T> Deref for Pinned<T> {
    type Target = [T];

    fn deref(&self) -> &[T] {
        // SAFETY: `len` plain elements, all written at the start.
        unsafe { std::slice::from_raw_parts(self.at, self.len) }
    }
}

impl<T> DerefMut for Pinned<T> {
    fn deref_mut(&mut self) -> &mut [T] {
        // SAFETY: as above, and `self` is borrowed for it.
        unsafe { std::slice::from_raw_parts_mut(self.at, self.len) }
    }
}

impl<T> Drop for Pinned<T> {
    fn drop(&mut self) {
        if self.device.bind().is_ok() {
            // SAFETY: allocated in `new`.
            unsafe { sys::cuMemFreeHost(self.at.cast()) };
        }
    }
}
