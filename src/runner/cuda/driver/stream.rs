//! Work in order: copies, events, graphs.

use super::device::Device;
use super::error::{Failure, ok};
use super::memory::{Pinned, Span};
use cudarc::driver::sys::{self, CUevent, CUgraphExec, CUstream, CUstreamCaptureMode};
use std::sync::Arc;
use std::time::Duration;

const DISABLE_TIMING: u32 = sys::CUevent_flags::CU_EVENT_DISABLE_TIMING as u32;
const BLOCKING_SYNC: u32 = sys::CUevent_flags::CU_EVENT_BLOCKING_SYNC as u32;

/// A queue of work on the device, which runs it in order.
#[derive(Debug)]
pub struct Stream {
    pub(super) raw: CUstream,
    /// A kernel may start before the one ahead of it has ended, where the device can do that.
    pub early: bool,
    device: Arc<Device>,
}

// SAFETY: the driver's handles may be used by any thread.
unsafe impl Send for Stream {}

impl Stream {
    pub fn new(device: &Arc<Device>) -> Result<Self, Failure> {
        let mut raw = std::ptr::null_mut();
        let flags = sys::CUstream_flags::CU_STREAM_NON_BLOCKING as u32;
        // SAFETY: a place for the result.
        ok("cuStreamCreate", unsafe { sys::cuStreamCreate(&raw mut raw, flags) })?;
        Ok(Self { raw, early: true, device: device.clone() })
    }

    /// Copies the first `len` elements of `from` to the start of `to`, later.
    ///
    /// # Safety
    /// Nobody writes them before the stream has passed this point.
    pub unsafe fn upload<T>(
        &self,
        from: &Pinned<T>,
        len: usize,
        to: Span<T>,
    ) -> Result<(), Failure> {
        // SAFETY: as the caller's promise.
        unsafe { self.upload_from(from, 0, to.part(0, len)) }
    }

    /// Copies the elements of `from` from `start` on to `to`, later.
    ///
    /// # Safety
    /// As [`Stream::upload`].
    pub unsafe fn upload_from<T>(
        &self,
        from: &Pinned<T>,
        start: usize,
        to: Span<T>,
    ) -> Result<(), Failure> {
        let from = &from[start..start + to.len];
        // SAFETY: both hold as many elements; the caller keeps them as they are.
        ok("cuMemcpyHtoDAsync", unsafe {
            sys::cuMemcpyHtoDAsync_v2(to.at, from.as_ptr().cast(), to.bytes(), self.raw)
        })
    }

    /// Copies `from` to the elements of `to` from `start` on, later.
    ///
    /// # Safety
    /// Nobody looks at them before the stream has passed this point.
    pub unsafe fn download<T>(
        &self,
        from: Span<T>,
        to: &mut Pinned<T>,
        start: usize,
    ) -> Result<(), Failure> {
        let to = &mut to[start..start + from.len];
        // SAFETY: both hold as many elements; the caller keeps away from them.
        ok("cuMemcpyDtoHAsync", unsafe {
            sys::cuMemcpyDtoHAsync_v2(to.as_mut_ptr().cast(), from.at, from.bytes(), self.raw)
        })
    }

    /// Copies `from` to the start of `to`, later.
    pub fn copy<T>(&self, from: Span<T>, to: Span<T>) -> Result<(), Failure> {
        let to = to.part(0, from.len);
        // SAFETY: both are the device's, and of the same length.
        ok("cuMemcpyDtoDAsync", unsafe {
            sys::cuMemcpyDtoDAsync_v2(to.at, from.at, from.bytes(), self.raw)
        })
    }

    /// Sets all bytes of `span` to 0, later.
    pub fn clear<T>(&self, span: Span<T>) -> Result<(), Failure> {
        if span.bytes() == 0 {
            return Ok(());
        }
        // SAFETY: the span is the device's.
        ok("cuMemsetD8Async", unsafe { sys::cuMemsetD8Async(span.at, 0, span.bytes(), self.raw) })
    }

    /// Waits until everything that was asked for is done.
    pub fn wait(&self) -> Result<(), Failure> {
        // SAFETY: a stream of ours.
        ok("cuStreamSynchronize", unsafe { sys::cuStreamSynchronize(self.raw) })
    }

    /// Notes what `work` asks for instead of doing it, to be done by [`Stream::replay`]. Addresses,
    /// sizes and arguments are those of now. The device has what it needs for it afterwards.
    pub fn capture(&self, work: impl FnOnce() -> Result<(), Failure>) -> Result<Graph, Failure> {
        let mode = CUstreamCaptureMode::CU_STREAM_CAPTURE_MODE_THREAD_LOCAL;
        let mut graph = std::ptr::null_mut();
        // SAFETY: the capture is ended whatever `work` says; the graph is destroyed once it is
        // made ready to run.
        unsafe {
            ok("cuStreamBeginCapture", sys::cuStreamBeginCapture_v2(self.raw, mode))?;
            let done = work();
            let ended = ok("cuStreamEndCapture", sys::cuStreamEndCapture(self.raw, &raw mut graph));
            let mut ready = std::ptr::null_mut();
            let made = done.and(ended).and_then(|()| {
                ok("cuGraphInstantiate", sys::cuGraphInstantiateWithFlags(&raw mut ready, graph, 0))
            });
            if !graph.is_null() {
                sys::cuGraphDestroy(graph);
            }
            made?;
            let graph = Graph { ready, device: self.device.clone() };
            ok("cuGraphUpload", sys::cuGraphUpload(graph.ready, self.raw))?;
            Ok(graph)
        }
    }

    /// Does what `graph` noted, later.
    pub fn replay(&self, graph: &Graph) -> Result<(), Failure> {
        // SAFETY: both are ours.
        ok("cuGraphLaunch", unsafe { sys::cuGraphLaunch(graph.ready, self.raw) })
    }
}

impl Drop for Stream {
    fn drop(&mut self) {
        if self.device.bind().is_ok() {
            // SAFETY: created in `new`.
            unsafe { sys::cuStreamDestroy_v2(self.raw) };
        }
    }
}

/// Work that was noted once and runs as a whole.
#[derive(Debug)]
pub struct Graph {
    ready: CUgraphExec,
    device: Arc<Device>,
}

// SAFETY: used by its owner alone.
unsafe impl Send for Graph {}

impl Drop for Graph {
    fn drop(&mut self) {
        if self.device.bind().is_ok() {
            // SAFETY: made in `capture`.
            unsafe { sys::cuGraphExecDestroy(self.ready) };
        }
    }
}

/// A point in a stream.
#[derive(Debug)]
pub struct Event {
    raw: CUevent,
    device: Arc<Device>,
}

// SAFETY: the driver's handles may be used by any thread.
unsafe impl Send for Event {}

impl Event {
    /// With its time. Whoever waits for it spins.
    pub fn new(device: &Arc<Device>) -> Result<Self, Failure> {
        Self::with(device, 0)
    }

    /// Without its time, which the device need not note then. Whoever waits for it spins.
    pub fn untimed(device: &Arc<Device>) -> Result<Self, Failure> {
        Self::with(device, DISABLE_TIMING)
    }

    /// Without its time. Whoever waits for it sleeps: for threads that are not in a hurry, since
    /// one that spins uses up a container's share of the processors.
    pub fn restful(device: &Arc<Device>) -> Result<Self, Failure> {
        Self::with(device, DISABLE_TIMING | BLOCKING_SYNC)
    }

    fn with(device: &Arc<Device>, flags: u32) -> Result<Self, Failure> {
        let mut raw = std::ptr::null_mut();
        // SAFETY: a place for the result.
        ok("cuEventCreate", unsafe { sys::cuEventCreate(&raw mut raw, flags) })?;
        Ok(Self { raw, device: device.clone() })
    }

    /// Moves it to the end of what `stream` was asked for.
    pub fn record(&self, stream: &Stream) -> Result<(), Failure> {
        // SAFETY: both are ours.
        ok("cuEventRecord", unsafe { sys::cuEventRecord(self.raw, stream.raw) })
    }

    /// Waits until the stream has passed it.
    pub fn wait(&self) -> Result<(), Failure> {
        // SAFETY: an event of ours.
        ok("cuEventSynchronize", unsafe { sys::cuEventSynchronize(self.raw) })
    }

    /// From `earlier` to this, both of which have times and were passed by the stream.
    pub fn since(&self, earlier: &Event) -> Result<Duration, Failure> {
        let mut milliseconds = 0.0;
        // SAFETY: events of ours and a place for the result.
        ok("cuEventElapsedTime", unsafe {
            sys::cuEventElapsedTime_v2(&raw mut milliseconds, earlier.raw, self.raw)
        })?;
        Ok(Duration::from_secs_f64(f64::from(milliseconds.max(0.0)) / 1e3))
    }
}

impl Drop for Event {
    fn drop(&mut self) {
        if self.device.bind().is_ok() {
            // SAFETY: created in `new`.
            unsafe { sys::cuEventDestroy_v2(self.raw) };
        }
    }
}
