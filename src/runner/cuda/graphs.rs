//! Steps as CUDA graphs: each is captured when a step of its shape is met first.

use super::driver::{Device, Failure, Graph, Stream};
use super::input::Shape;
use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// Bytes that graphs leave alone: the driver, and whoever reads the KV pool, need some at times.
const LEFT_ALONE: u64 = 256 << 20;

/// The graphs so far. Nothing else on the device grows after start.
pub(super) struct Graphs {
    device: Arc<Device>,
    ready: HashMap<Shape, Graph>,
    /// There is no memory for more.
    full: bool,
    /// What capturing has taken.
    bytes: u64,
    time: Duration,
}

impl Graphs {
    pub fn new(device: &Arc<Device>) -> Self {
        let (ready, bytes, time) = (HashMap::new(), 0, Duration::ZERO);
        Self { device: device.clone(), ready, full: false, bytes, time }
    }

    /// The graph of steps of `shape`, captured from what `work` asks of `stream` if there is none
    /// yet; `None`: there is no memory for it, and `work` must be done step by step.
    pub fn of(
        &mut self,
        stream: &Stream,
        shape: Shape,
        work: impl FnOnce() -> Result<(), Failure>,
    ) -> Result<Option<&Graph>, Failure> {
        if !self.ready.contains_key(&shape) && !self.full {
            self.capture(stream, shape, work)?;
        }
        Ok(self.ready.get(&shape))
    }

    fn capture(
        &mut self,
        stream: &Stream,
        shape: Shape,
        work: impl FnOnce() -> Result<(), Failure>,
    ) -> Result<(), Failure> {
        let (free, _) = self.device.memory()?;
        if free < LEFT_ALONE {
            self.stop(free);
            return Ok(());
        }
        let begin = Instant::now();
        match stream.capture(work) {
            Ok(graph) => self.ready.insert(shape, graph),
            Err(failure) if failure.is_out_of_memory() => {
                self.stop(free);
                return Ok(());
            }
            Err(failure) => return Err(failure),
        };
        let (left, _) = self.device.memory()?;
        let (time, bytes) = (begin.elapsed(), free.saturating_sub(left));
        self.time += time;
        self.bytes += bytes;
        self.tell(shape, time, bytes);
        Ok(())
    }

    fn tell(&self, shape: Shape, time: Duration, bytes: u64) {
        let Shape { rows, width, .. } = shape;
        log::debug!(
            "CUDA graph of {rows} sequences of up to {width} blocks: {time:?}, {bytes} bytes"
        );
        let count = self.ready.len();
        // Seldom enough for a log, and the first one at once.
        if count.is_power_of_two() {
            log::info!(
                "CUDA graphs: {count} captured so far, in {:.3} s, {:.1} MiB on the GPU",
                self.time.as_secs_f64(),
                self.bytes as f64 / f64::from(1 << 20)
            );
        }
    }

    fn stop(&mut self, free: u64) {
        self.full = true;
        log::warn!(
            "no memory for more CUDA graphs than {} ({} MiB are free): steps of other sizes start \
             their kernels one by one, which is slower. Give fewer --cudagraph-capture-sizes, or a \
             smaller --gpu-memory-utilization",
            self.ready.len(),
            free >> 20
        );
    }

    /// Gives all of them back: the next steps are captured anew.
    pub fn clear(&mut self) {
        *self = Self::new(&self.device);
    }
}
