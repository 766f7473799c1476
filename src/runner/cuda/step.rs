//! One step after the other: asked for in `submit`, handed out in `collect`.

use super::Options;
use super::driver::{Device, Event, Failure, Graph, Pinned, Stream};
use super::forward::Forward;
use super::input::{Layout, Parts, Planner, Shape};
use super::workspace::Workspace;
use crate::model::Dims;
use crate::runner::{Limits, RowSink, StepBatch};
use crate::types::Token;
use std::collections::HashMap;
use std::ops::Range;
use std::sync::Arc;
use std::time::Duration;

/// Rows of a graph's step that there is a bucket for: then every power of two, or every 8.
const SMALL_BUCKETS: [usize; 4] = [1, 2, 4, 8];
const BUCKET_STEP: usize = 8;
/// The largest bucket: a longer step takes so long that starting its kernels one by one is hidden.
const LARGEST_BUCKET: usize = 512;

/// What is needed to run steps; nothing of it grows but the graphs.
pub(super) struct Steps {
    planner: Planner,
    width: usize,
    stream: Stream,
    input: Pinned<i32>,
    /// Sampled tokens of the rows that are handed out together.
    sampled: Pinned<i32>,
    /// The logits of one row.
    logits: Pinned<f32>,
    passes: Vec<Range<usize>>,
    begin: Event,
    end: Event,
    /// By bucket.
    graphs: HashMap<Shape, Graph>,
    current: Current,
    logit_rows: usize,
    vocab: usize,
}

/// The step that was submitted.
struct Current {
    parts: Option<Parts>,
    /// Of each wanted row: its logits are wanted.
    needs_logits: Vec<bool>,
}

impl Steps {
    pub fn new(
        device: &Arc<Device>,
        dims: &Dims,
        limits: &Limits,
        work: &Workspace,
        options: Options,
    ) -> Result<Self, Failure> {
        let buckets = match options.eager {
            true => Vec::new(),
            false => buckets(limits.max_seqs.min(limits.max_tokens)),
        };
        Ok(Self {
            planner: Planner {
                block_size: limits.block_size,
                group: dims.heads / dims.kv_heads,
                segments: work.segments,
                buckets,
            },
            width: limits.max_blocks_per_seq,
            stream: Stream::new(device)?,
            input: Pinned::new(device, work.input.len)?,
            sampled: Pinned::new(device, work.logit_rows)?,
            logits: Pinned::new(device, dims.vocab)?,
            passes: Vec::with_capacity(limits.max_seqs),
            begin: Event::new(device)?,
            end: Event::new(device)?,
            graphs: HashMap::new(),
            current: Current { parts: None, needs_logits: Vec::with_capacity(limits.max_tokens) },
            logit_rows: work.logit_rows,
            vocab: dims.vocab,
        })
    }

    /// Asks the device for all layers of `batch` and for its first wanted rows. `batch` was
    /// checked.
    pub fn submit(&mut self, forward: &Forward, batch: &StepBatch) -> Result<(), Failure> {
        self.current.parts = None;
        let (shape, padded) = self.planner.shape(batch);
        let layout = Layout::new(shape, self.width);
        self.planner.write(batch, &layout, &mut self.input, &mut self.passes);
        self.current.needs_logits.clear();
        self.current.needs_logits.extend(batch.rows.iter().map(|row| row.draw.is_none()));
        let parts = layout.parts(forward.work.input);
        self.begin.record(&self.stream)?;
        // SAFETY: `collect` waits for the step before the next one writes its input.
        unsafe { self.stream.upload(&self.input, layout.len(), forward.work.input)? };
        if padded {
            self.replay(forward, shape, &parts)?;
        } else {
            forward.layers(&self.stream, &shape, &parts, &self.passes)?;
            let first = 0..shape.wanted.min(self.logit_rows);
            forward.head(&self.stream, &parts, first)?;
        }
        self.end.record(&self.stream)?;
        self.current.parts = Some(parts);
        Ok(())
    }

    /// Runs a padded step by its graph, which is captured when it is met first.
    fn replay(&mut self, forward: &Forward, shape: Shape, parts: &Parts) -> Result<(), Failure> {
        if !self.graphs.contains_key(&shape) {
            let (stream, passes) = (&self.stream, &self.passes);
            let graph = stream.capture(|| {
                forward.layers(stream, &shape, parts, passes)?;
                forward.head(stream, parts, 0..shape.wanted)
            })?;
            self.graphs.insert(shape, graph);
        }
        self.stream.replay(&self.graphs[&shape])
    }

    /// The next steps are captured anew.
    pub fn forget_graphs(&mut self) {
        self.graphs.clear();
    }

    /// Waits for the step and hands its results to `sink`. Gives the time on the device.
    pub fn collect(
        &mut self,
        forward: &Forward,
        sink: &mut dyn RowSink,
    ) -> Result<Duration, Failure> {
        let Some(parts) = self.current.parts.take() else { return Ok(Duration::ZERO) };
        let rows = self.current.needs_logits.len();
        let mut device = Duration::ZERO;
        for start in (0..rows.max(1)).step_by(self.logit_rows) {
            let group = start..rows.min(start + self.logit_rows);
            if start > 0 {
                sink.progress();
                self.begin.record(&self.stream)?;
                forward.head(&self.stream, &parts, group.clone())?;
                self.end.record(&self.stream)?;
            }
            self.hand_out(forward, group, sink)?;
            device += self.end.since(&self.begin)?;
        }
        Ok(device)
    }

    /// Hands out wanted rows `group`, whose logits are the first ones on the device.
    fn hand_out(
        &mut self,
        forward: &Forward,
        group: Range<usize>,
        sink: &mut dyn RowSink,
    ) -> Result<(), Failure> {
        let work = &forward.work;
        // SAFETY: waited for before it is looked at.
        unsafe {
            self.stream.download(work.sampled.part(0, group.len()), &mut self.sampled, 0)?;
        }
        self.stream.wait()?;
        for (i, row) in group.enumerate() {
            if !self.current.needs_logits[row] {
                sink.sampled(row, self.sampled[i] as Token);
                continue;
            }
            let logits = work.logits.part(i * self.vocab, self.vocab);
            // SAFETY: waited for before it is looked at.
            unsafe { self.stream.download(logits, &mut self.logits, 0)? };
            self.stream.wait()?;
            sink.logits(row, &mut self.logits);
        }
        Ok(())
    }
}

/// Ascending numbers of rows up to `most`, which is one of them.
fn buckets(most: usize) -> Vec<usize> {
    let most = most.min(LARGEST_BUCKET);
    let steps = (2 * BUCKET_STEP..most).step_by(BUCKET_STEP);
    let mut buckets: Vec<usize> = SMALL_BUCKETS.into_iter().chain(steps).collect();
    buckets.retain(|&bucket| bucket < most);
    buckets.push(most);
    buckets
}
