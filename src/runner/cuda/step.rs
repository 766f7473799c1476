//! One step after the other: asked for in `submit`, handed out in `collect`.

use super::driver::{Device, Event, Failure, Graph, Pinned, Stream};
use super::forward::Forward;
use super::input::{Layout, Parts, Planner, Shape};
use super::probe::Phase;
use super::report::{self, REPORT_LEN};
use super::workspace::Workspace;
use crate::model::Dims;
use crate::runner::{Limits, RowSink, SampleRow, StepBatch};
use crate::types::Token;
use std::collections::HashMap;
use std::ops::Range;
use std::sync::Arc;
use std::time::Duration;

/// Rows that steps of single tokens are padded to: these, and from there on multiples of the last.
const SMALL_BUCKETS: [usize; 4] = [1, 2, 4, 8];
const BUCKET_STEP: usize = 8;
/// The largest bucket: a longer step takes so long that starting its kernels one by one is hidden.
const LARGEST_BUCKET: usize = 512;

/// Steps that may be under way: one, and one ahead.
const UNDER_WAY: usize = 2;

/// What is needed to run steps; nothing of it grows but the graphs.
pub(super) struct Steps {
    planner: Planner,
    /// Buckets where graphs are to be had.
    buckets: Vec<usize>,
    stream: Stream,
    /// Used in turns.
    slots: [Slot; UNDER_WAY],
    /// The slot of the next step, and how many steps before it were not collected.
    next: usize,
    under_way: usize,
    /// The logits of one row.
    logits: Pinned<f32>,
    passes: Vec<Range<usize>>,
    graphs: HashMap<Shape, Graph>,
    logit_rows: usize,
    vocab: usize,
}

/// What one step has to itself until it is collected.
struct Slot {
    input: Pinned<i32>,
    /// Sampled tokens of the rows that are handed out together.
    sampled: Pinned<i32>,
    /// And what is told with them.
    reports: Pinned<i32>,
    parts: Option<Parts>,
    /// What is wanted of each wanted row.
    wants: Vec<Want>,
    /// Around the kernels.
    begin: Event,
    end: Event,
    /// The tokens are here.
    done: Event,
}

/// What is wanted of a row.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Want {
    Logits,
    Token,
    /// The token with its log-probabilities.
    Report,
}

impl Want {
    fn of(row: &SampleRow) -> Self {
        match row.draw {
            None => Self::Logits,
            Some(draw) if draw.report.is_some() => Self::Report,
            Some(_) => Self::Token,
        }
    }
}

impl Slot {
    fn new(device: &Arc<Device>, limits: &Limits, work: &Workspace) -> Result<Self, Failure> {
        Ok(Self {
            input: Pinned::new(device, work.input.len)?,
            sampled: Pinned::new(device, work.logit_rows)?,
            reports: Pinned::new(device, work.logit_rows * REPORT_LEN)?,
            parts: None,
            wants: Vec::with_capacity(limits.max_tokens),
            begin: Event::new(device)?,
            end: Event::new(device)?,
            done: Event::new(device)?,
        })
    }

    /// Asks for what is told of wanted rows `group`, whose tokens were asked for last, notes the
    /// end of the kernels, and asks for the copies home.
    fn bring_home(
        &mut self,
        forward: &Forward,
        stream: &Stream,
        parts: &Parts,
        group: Range<usize>,
    ) -> Result<(), Failure> {
        let (work, count) = (&forward.work, group.len());
        let reports = self.wants[group.clone()].contains(&Want::Report);
        if reports {
            // Not a part of graphs: few steps want it, and those are not a kind of their own.
            forward.logprobs(stream, parts, group)?;
        }
        self.end.record(stream)?;
        // SAFETY: waited for before they are looked at.
        unsafe {
            stream.download(work.sampled.part(0, count), &mut self.sampled, 0)?;
            if reports {
                let reports = work.reports.part(0, count * REPORT_LEN);
                stream.download(reports, &mut self.reports, 0)?;
            }
        }
        Ok(())
    }
}

impl Steps {
    pub fn new(
        device: &Arc<Device>,
        dims: &Dims,
        limits: &Limits,
        work: &Workspace,
        eager: bool,
    ) -> Result<Self, Failure> {
        let buckets = buckets(limits.max_seqs.min(limits.max_tokens));
        Ok(Self {
            planner: Planner {
                block_size: limits.block_size,
                blocks: limits.max_blocks_per_seq,
                group: dims.heads / dims.kv_heads,
                segments: work.segments,
                buckets: if eager { Vec::new() } else { buckets.clone() },
            },
            buckets,
            stream: Stream::new(device)?,
            slots: [Slot::new(device, limits, work)?, Slot::new(device, limits, work)?],
            next: 0,
            under_way: 0,
            logits: Pinned::new(device, dims.vocab)?,
            passes: Vec::with_capacity(limits.max_seqs),
            graphs: HashMap::new(),
            logit_rows: work.logit_rows,
            vocab: dims.vocab,
        })
    }

    /// Asks the device for all layers of `batch` and for its first wanted rows. `batch` was
    /// checked.
    pub fn submit(&mut self, forward: &Forward, batch: &StepBatch) -> Result<(), Failure> {
        assert!(self.under_way < UNDER_WAY, "steps are collected before others are submitted");
        let slot = &mut self.slots[self.next];
        slot.wants.clear();
        slot.wants.extend(batch.rows.iter().map(Want::of));
        let (shape, padded, parts) = self.describe(forward, batch)?;
        self.slots[self.next].parts = Some(parts);
        if !batch.feed.is_empty() {
            forward.feed(&self.stream, batch.num_tokens(), &parts)?;
        }
        if padded {
            self.replay(forward, shape, &parts)?;
        } else {
            forward.layers(&self.stream, &shape, &parts, &self.passes)?;
            let first = 0..shape.wanted.min(self.logit_rows);
            forward.head(&self.stream, &parts, first)?;
        }
        let first = 0..batch.rows.len().min(self.logit_rows);
        let slot = &mut self.slots[self.next];
        slot.bring_home(forward, &self.stream, &parts, first)?;
        slot.done.record(&self.stream)?;
        self.next = (self.next + 1) % UNDER_WAY;
        self.under_way += 1;
        Ok(())
    }

    /// Writes `batch` for the device into the next slot and asks for the copy; the step begins with
    /// that. Gives its shape, whether it is padded to a bucket, and its parts on the device.
    fn describe(
        &mut self,
        forward: &Forward,
        batch: &StepBatch,
    ) -> Result<(Shape, bool, Parts), Failure> {
        let (shape, padded) = self.planner.shape(batch);
        let layout = Layout::new(shape);
        let slot = &mut self.slots[self.next];
        self.planner.write(batch, &layout, &mut slot.input, &mut self.passes);
        slot.begin.record(&self.stream)?;
        // SAFETY: the slot is not written again before the step was waited for.
        unsafe { self.stream.upload(&slot.input, layout.len(), forward.work.input)? };
        Ok((shape, padded, layout.parts(forward.work.input)))
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

    /// Whether there are graphs at all, and whether kernels start early.
    pub fn choose(&mut self, graphs: bool, early: bool) {
        self.forget_graphs();
        self.planner.buckets = if graphs { self.buckets.clone() } else { Vec::new() };
        self.stream.early = early;
    }

    /// Runs one phase of a step of `batch` in every layer in turn, `rounds` times, as a graph of
    /// its own, and gives the time of one.
    pub fn probe(
        &mut self,
        forward: &Forward,
        batch: &StepBatch,
        phase: Phase,
        rounds: usize,
    ) -> Result<Duration, Failure> {
        assert!(self.under_way == 0, "a probe stands alone");
        let (shape, _, parts) = self.describe(forward, batch)?;
        let (stream, passes, layers) = (&self.stream, &self.passes, forward.dims.layers);
        let slot = &self.slots[self.next];
        // A kernel's code may only come to the device when it is launched first.
        forward.phase(phase, 0, stream, &shape, &parts, passes)?;
        let graph = stream.capture(|| {
            (0..layers)
                .try_for_each(|layer| forward.phase(phase, layer, stream, &shape, &parts, passes))
        })?;
        // The first time, the device makes the graph its own.
        stream.replay(&graph)?;
        slot.begin.record(stream)?;
        (0..rounds).try_for_each(|_| stream.replay(&graph))?;
        slot.end.record(stream)?;
        stream.wait()?;
        Ok(slot.end.since(&slot.begin)?.div_f64((rounds * layers) as f64))
    }

    /// Waits for the oldest step under way and hands its results to `sink`. Gives the time on the
    /// device.
    pub fn collect(
        &mut self,
        forward: &Forward,
        sink: &mut dyn RowSink,
    ) -> Result<Duration, Failure> {
        if self.under_way == 0 {
            return Ok(Duration::ZERO);
        }
        let at = (self.next + UNDER_WAY - self.under_way) % UNDER_WAY;
        self.under_way -= 1;
        let slot = &mut self.slots[at];
        slot.done.wait()?;
        let mut device = slot.end.since(&slot.begin)?;
        let (rows, parts) = (slot.wants.len(), slot.parts.take().expect("submitted"));
        self.hand_out(forward, at, 0..rows.min(self.logit_rows), sink)?;
        for start in (self.logit_rows..rows).step_by(self.logit_rows) {
            sink.progress();
            let group = start..rows.min(start + self.logit_rows);
            device += self.more(forward, at, &parts, group.clone())?;
            self.hand_out(forward, at, group, sink)?;
        }
        Ok(device)
    }

    /// Computes wanted rows `group` of the step in slot `at`, which is the last one submitted.
    fn more(
        &mut self,
        forward: &Forward,
        at: usize,
        parts: &Parts,
        group: Range<usize>,
    ) -> Result<Duration, Failure> {
        let slot = &mut self.slots[at];
        slot.begin.record(&self.stream)?;
        forward.head(&self.stream, parts, group.clone())?;
        slot.bring_home(forward, &self.stream, parts, group)?;
        self.stream.wait()?;
        slot.end.since(&slot.begin)
    }

    /// Hands out wanted rows `group` of the step in slot `at`, whose tokens are here and whose
    /// logits are the first ones on the device.
    fn hand_out(
        &mut self,
        forward: &Forward,
        at: usize,
        group: Range<usize>,
        sink: &mut dyn RowSink,
    ) -> Result<(), Failure> {
        for (i, row) in group.enumerate() {
            let slot = &self.slots[at];
            let token = slot.sampled[i] as Token;
            match slot.wants[row] {
                Want::Token => sink.sampled(row, token),
                Want::Report => {
                    let told = &slot.reports[i * REPORT_LEN..][..REPORT_LEN];
                    sink.reported(row, report::decode(token, told));
                }
                Want::Logits => {
                    let logits = forward.work.logits.part(i * self.vocab, self.vocab);
                    // SAFETY: waited for before it is looked at.
                    unsafe { self.stream.download(logits, &mut self.logits, 0)? };
                    self.stream.wait()?;
                    sink.logits(row, &mut self.logits);
                }
            }
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
