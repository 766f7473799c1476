//! Memory that is mapped once at start and never moves.

use std::io;
use std::marker::PhantomData;
use std::ptr::NonNull;

/// What mapping rounds up to, and what tables of memory count in.
const PAGE: usize = 4096;

#[cfg(test)]
thread_local! {
    /// All bytes that this thread ever mapped.
    pub(super) static MAPPED: std::cell::Cell<usize> = const { std::cell::Cell::new(0) };
}

/// An element that any bits are a value of, so that fresh (zero) pages hold valid ones.
pub(super) trait Plain: Copy + Send + Sync + 'static {}

impl Plain for u16 {}
impl Plain for u32 {}
impl Plain for f32 {}

/// How the kernel should back a mapping.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Paging {
    /// Committed as it is touched.
    Lazy,
    /// In huge pages where the system gives them: for what is read from end to end.
    Huge,
}

/// `len` zeroed elements in a mapping of their own, aligned to a page.
///
/// Workers write disjoint parts of one buffer at the same time, which slices cannot say; they go
/// through [`Buffer::at`], whose callers say why their parts are disjoint.
pub(super) struct Buffer<T: Plain> {
    start: NonNull<T>,
    len: usize,
    element: PhantomData<T>,
}

// SAFETY: plain memory, owned.
unsafe impl<T: Plain> Send for Buffer<T> {}
// SAFETY: shared access goes through raw pointers whose users answer for data races.
unsafe impl<T: Plain> Sync for Buffer<T> {}

impl<T: Plain> Buffer<T> {
    /// Of nothing.
    pub fn empty() -> Self {
        Self { start: NonNull::dangling(), len: 0, element: PhantomData }
    }

    /// Maps `len` zeroed elements.
    ///
    /// # Errors
    /// The operating system's, when it has no such memory.
    pub fn new(len: usize, paging: Paging) -> io::Result<Self> {
        let bytes = Self::bytes(len);
        if bytes == 0 {
            return Ok(Self::empty());
        }
        let flags = libc::MAP_PRIVATE | libc::MAP_ANONYMOUS | libc::MAP_NORESERVE;
        let access = libc::PROT_READ | libc::PROT_WRITE;
        // SAFETY: a fresh anonymous mapping touches nothing that exists.
        let start = unsafe { libc::mmap(std::ptr::null_mut(), bytes, access, flags, -1, 0) };
        if start == libc::MAP_FAILED {
            return Err(io::Error::last_os_error());
        }
        #[cfg(test)]
        MAPPED.set(MAPPED.get() + bytes);
        #[cfg(target_os = "linux")]
        if paging == Paging::Huge {
            // SAFETY: advice on our own mapping; a refusal costs speed only.
            unsafe { libc::madvise(start, bytes, libc::MADV_HUGEPAGE) };
        }
        #[cfg(not(target_os = "linux"))]
        let _ = paging;
        let start = NonNull::new(start.cast()).ok_or_else(io::Error::last_os_error)?;
        Ok(Self { start, len, element: PhantomData })
    }

    /// The bytes that `len` elements take, to the page.
    pub fn bytes(len: usize) -> usize {
        (len * size_of::<T>()).next_multiple_of(PAGE)
    }

    /// Where element `index` is. Reading or writing through it is subject to the usual rules: no
    /// other thread may touch what is being written.
    pub fn at(&self, index: usize) -> *mut T {
        assert!(index <= self.len, "element {index} of a buffer of {}", self.len);
        // SAFETY: within the mapping or one past its end.
        unsafe { self.start.as_ptr().add(index) }
    }

    /// Gives the memory back to the system. The mapping stays, and holds zeros from here on.
    /// Nobody may use it meanwhile.
    pub fn discard(&self) {
        let bytes = Self::bytes(self.len);
        if bytes > 0 {
            // SAFETY: our own mapping, which nobody uses now; zeros are valid elements. Where the
            // advice is refused, the memory only stays in use.
            unsafe { libc::madvise(self.start.as_ptr().cast(), bytes, libc::MADV_DONTNEED) };
        }
    }

    /// All elements.
    pub fn as_slice(&self) -> &[T] {
        // SAFETY: `len` valid elements; users of `at` do not write while this is borrowed.
        unsafe { std::slice::from_raw_parts(self.start.as_ptr(), self.len) }
    }

    /// All elements, for writing.
    pub fn as_mut_slice(&mut self) -> &mut [T] {
        // SAFETY: `len` valid elements, borrowed alone.
        unsafe { std::slice::from_raw_parts_mut(self.start.as_ptr(), self.len) }
    }
}

impl<T: Plain> Drop for Buffer<T> {
    fn drop(&mut self) {
        let bytes = Self::bytes(self.len);
        if bytes > 0 {
            // SAFETY: our own mapping, unused from here on.
            unsafe { libc::munmap(self.start.as_ptr().cast(), bytes) };
        }
    }
}

/// What the backend maps, in bytes to the page: exact, and known before anything is mapped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CpuMemory {
    /// Packed matrices, norm weights and, unless it is the LM head, the embedding table.
    pub weights: usize,
    /// The KV pool. Committed as blocks are first written.
    pub kv_cache: usize,
    /// Activations of one pass, scratch of each thread, logits and the rotary table.
    pub workspace: usize,
}

impl CpuMemory {
    /// All of it.
    pub fn total(&self) -> usize {
        self.weights + self.kv_cache + self.workspace
    }
}
