//! Steps of single tokens as CUDA graphs: captured before the first step, one for each size.

use super::driver::{Device, Failure, Graph, Stream};
use std::sync::Arc;
use std::time::Instant;

/// Bytes that graphs leave alone: the driver, and whoever reads the KV pool, need some at times.
const LEFT_ALONE: u64 = 256 << 20;

/// The graphs, by the number of rows.
pub(super) struct Graphs {
    device: Arc<Device>,
    all: Vec<(usize, Graph)>,
}

impl Graphs {
    pub fn new(device: &Arc<Device>) -> Self {
        Self { device: device.clone(), all: Vec::new() }
    }

    /// That of steps of `rows` rows, padding included.
    pub fn of(&self, rows: usize) -> Option<&Graph> {
        self.all.iter().find(|(of, _)| *of == rows).map(|(_, graph)| graph)
    }

    /// Captures what `work` asks of `stream` for each of `sizes`, ascending, in the place of all
    /// that there are. Steps without a graph can be run anyway, so one that the device does not
    /// make is no failure: none of a larger size is tried then, and the log says why.
    pub fn capture(
        &mut self,
        stream: &Stream,
        sizes: &[usize],
        work: impl Fn(usize) -> Result<(), Failure>,
    ) -> Result<(), Failure> {
        self.all.clear();
        if sizes.is_empty() {
            return Ok(());
        }
        let (begin, (before, _)) = (Instant::now(), self.device.memory()?);
        for &rows in sizes {
            let (free, _) = self.device.memory()?;
            let captured = match free < LEFT_ALONE {
                true => Err(format!("{} MiB of memory are free", free >> 20)),
                false => match stream.capture(|| work(rows)) {
                    Err(failure) if !failure.is_about_graphs() => return Err(failure),
                    captured => captured.map_err(|failure| failure.to_string()),
                },
            };
            match captured {
                Ok(graph) => self.all.push((rows, graph)),
                Err(why) => {
                    warn(rows, &why);
                    break;
                }
            }
        }
        let (after, _) = self.device.memory()?;
        log::info!(
            "capture CUDA graphs took {:.3} s: {} of them, {:.1} MiB on the GPU",
            begin.elapsed().as_secs_f64(),
            self.all.len(),
            before.saturating_sub(after) as f64 / f64::from(1 << 20)
        );
        Ok(())
    }

    /// Gives all of them back.
    pub fn clear(&mut self) {
        self.all.clear();
    }
}

fn warn(rows: usize, why: &str) {
    log::warn!(
        "no CUDA graph for steps of {rows} and more sequences: {why}. They start their kernels \
         one by one, which is slower. Give fewer --cudagraph-capture-sizes, or a smaller \
         --gpu-memory-utilization, if memory is short"
    );
}
