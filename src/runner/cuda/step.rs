//! One step after the other: asked for in `submit`, handed out in `collect`.

use super::driver::{Device, Event, Failure, Pinned, Stream};
use super::forward::Forward;
use super::graphs::Graphs;
use super::input::{Layout, Parts, Planner, Shape, segments_of};
use super::logits::Logits;
use super::probe::Phase;
use super::report::{self, REPORT_LEN};
use super::workspace::Workspace;
use crate::model::Dims;
use crate::runner::{Limits, RowSink, SampleRow, StepBatch};
use crate::types::Token;
use std::ops::Range;
use std::sync::Arc;
use std::time::Duration;

/// Steps that may be under way: one, and one ahead.
const UNDER_WAY: usize = 2;

/// What is needed to run steps; nothing of it grows but the graphs.
pub(super) struct Steps {
    planner: Planner,
    stream: Stream,
    /// Used in turns.
    slots: [Slot; UNDER_WAY],
    /// The slot of the next step, and how many steps before it were not collected.
    next: usize,
    under_way: usize,
    logits: Logits,
    passes: Vec<Range<usize>>,
    graphs: Graphs,
    logit_rows: usize,
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
    /// The tokens are here. Whoever waits for it spins: every token waits for that, and to be woken
    /// takes as long as a kernel does.
    done: Event,
}

/// What is wanted of a row.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Want {
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
            done: Event::untimed(device)?,
        })
    }

    /// The step begins: asks for the copy of its description of `len` integers.
    fn send(&self, stream: &Stream, len: usize, forward: &Forward) -> Result<(), Failure> {
        self.begin.record(stream)?;
        // SAFETY: the slot is not written again before the step was waited for.
        unsafe { stream.upload(&self.input, len, forward.work.input) }
    }

    /// Asks for what is told of wanted rows `group`, whose tokens were asked for last, notes the
    /// end of the kernels, and asks for the copies home: done when those have come.
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
        self.done.record(stream)
    }
}

impl Steps {
    pub fn new(
        device: &Arc<Device>,
        dims: &Dims,
        limits: &Limits,
        work: &Workspace,
        graph_sizes: &[usize],
    ) -> Result<Self, Failure> {
        Ok(Self {
            planner: Planner {
                block_size: limits.block_size,
                longest: segments_of(limits.max_blocks_per_seq * limits.block_size),
                group: dims.heads / dims.kv_heads,
                kv_heads: dims.kv_heads,
                processors: device.processors as usize,
                segments: work.segments,
                buckets: buckets(graph_sizes, limits),
                pads: true,
                splits: true,
            },
            stream: Stream::new(device)?,
            slots: [Slot::new(device, limits, work)?, Slot::new(device, limits, work)?],
            next: 0,
            under_way: 0,
            logits: Logits::new(device, work.logit_rows, dims.vocab)?,
            passes: Vec::with_capacity(limits.max_seqs),
            graphs: Graphs::new(device),
            logit_rows: work.logit_rows,
        })
    }

    /// Asks the device for all layers of `batch` and for its first wanted rows. `batch` was
    /// checked.
    pub fn submit(&mut self, forward: &Forward, batch: &StepBatch) -> Result<(), Failure> {
        assert!(self.under_way < UNDER_WAY, "steps are collected before others are submitted");
        let slot = &mut self.slots[self.next];
        slot.wants.clear();
        slot.wants.extend(batch.rows.iter().map(Want::of));
        let (shape, padded, layout, len) = self.describe(batch);
        let (slot, stream) = (&mut self.slots[self.next], &self.stream);
        let parts = layout.parts(forward.work.input);
        slot.send(stream, len, forward)?;
        if !batch.feed.is_empty() {
            forward.feed(stream, batch.num_tokens(), &parts)?;
        }
        match self.graphs.of(shape.rows).filter(|_| padded) {
            Some(graph) => stream.replay(graph)?,
            None => forward.step(stream, &shape, &parts, &self.passes)?,
        }
        slot.parts = Some(parts);
        let first = 0..batch.rows.len().min(self.logit_rows);
        slot.bring_home(forward, stream, &parts, first.clone())?;
        self.logits.begin(stream, forward.work.logits, &slot.wants[first])?;
        self.next = (self.next + 1) % UNDER_WAY;
        self.under_way += 1;
        Ok(())
    }

    /// Writes `batch` for the device into the next slot. Gives its shape, whether it is padded to a
    /// bucket, where its parts are, and how many integers they are.
    fn describe(&mut self, batch: &StepBatch) -> (Shape, bool, Layout, usize) {
        let (shape, padded) = self.planner.shape(batch);
        let layout = Layout::new(shape);
        let slot = &mut self.slots[self.next];
        let len = self.planner.write(batch, &layout, &mut slot.input, &mut self.passes);
        (shape, padded, layout, len)
    }

    /// Captures graphs for all steps that have one, in the place of those there are.
    pub fn capture(&mut self, forward: &Forward) -> Result<(), Failure> {
        let (planner, stream) = (&self.planner, &self.stream);
        let sizes: &[usize] = if planner.pads { &planner.buckets } else { &[] };
        self.graphs.capture(stream, sizes, |rows| {
            let shape = planner.padded(rows);
            let parts = Layout::new(shape).parts(forward.work.input);
            forward.step(stream, &shape, &parts, std::slice::from_ref(&(0..rows)))
        })
    }

    /// There are no graphs until they are captured again.
    pub fn forget_graphs(&mut self) {
        self.graphs.clear();
    }

    /// Whether there are graphs at all, whether tiles may be split, and kernels start early.
    pub fn choose(
        &mut self,
        forward: &Forward,
        (graphs, splits): (bool, bool),
        early: bool,
    ) -> Result<(), Failure> {
        self.planner.pads = graphs;
        self.planner.splits = splits;
        self.stream.early = early;
        self.capture(forward)
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
        let (shape, _, layout, len) = self.describe(batch);
        let parts = layout.parts(forward.work.input);
        let (stream, passes, layers) = (&self.stream, &self.passes, forward.dims.layers);
        let slot = &self.slots[self.next];
        slot.send(stream, len, forward)?;
        // A kernel's code may only come to the device when it is launched first.
        forward.phase(phase, 0, stream, &shape, &parts, passes)?;
        let graph = stream.capture(|| {
            (0..layers)
                .try_for_each(|layer| forward.phase(phase, layer, stream, &shape, &parts, passes))
        })?;
        // The first time is not counted: the device wakes up.
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
        slot.bring_home(forward, &self.stream, parts, group.clone())?;
        self.logits.begin(&self.stream, forward.work.logits, &slot.wants[group])?;
        slot.done.wait()?;
        slot.end.since(&slot.begin)
    }

    /// Hands out wanted rows `group` of the step in slot `at`, whose tokens are here and whose
    /// logits are on their way.
    fn hand_out(
        &mut self,
        forward: &Forward,
        at: usize,
        group: Range<usize>,
        sink: &mut dyn RowSink,
    ) -> Result<(), Failure> {
        let slot = &self.slots[at];
        let wants = &slot.wants[group.clone()];
        for (i, row) in group.enumerate() {
            let token = slot.sampled[i] as Token;
            match wants[i] {
                Want::Token => sink.sampled(row, token),
                Want::Report => {
                    let told = &slot.reports[i * REPORT_LEN..][..REPORT_LEN];
                    sink.reported(row, report::decode(token, told));
                }
                Want::Logits => {
                    let logits = forward.work.logits;
                    sink.logits(row, self.logits.take(&self.stream, logits, wants)?);
                }
            }
        }
        Ok(())
    }
}

/// The sizes that are used of ascending `sizes`: those that are larger than any step are that.
pub(super) fn buckets(sizes: &[usize], limits: &Limits) -> Vec<usize> {
    let most = limits.max_seqs.min(limits.max_tokens);
    let mut buckets: Vec<usize> = sizes.iter().map(|&size| size.min(most)).collect();
    buckets.dedup();
    buckets
}
