//! What a step writes and reads on the device: activations and the step's own description.

use super::driver::{Plan, Span};
use super::input::{Layout, segments_of};
use super::report::REPORT_LEN;
use super::weights::qkv_outputs;
use crate::model::Dims;
use crate::runner::Limits;
use half::bf16;

/// Tokens of a segment of attention (see `kernels/README.md`, *Fixed orders*).
pub(super) const SEGMENT: usize = 128;
/// Segments of single rows whose partial results are kept at once, unless one sequence has more;
/// a step with more takes several passes over its single rows.
const SEGMENTS: usize = 16 << 10;

/// Floats that the first sampling kernel leaves for each group of tokens, and tokens of a group.
const SAMPLE_LEN: usize = 8;
pub(super) const SAMPLE_GROUP: usize = 256;

/// The buffers. Rows are those of a step unless said otherwise.
#[derive(Clone, Copy, Debug)]
pub(super) struct Workspace {
    /// The residual stream, `[rows][hidden]`.
    pub x: Span<f32>,
    /// `[rows][hidden]`.
    pub normed: Span<bf16>,
    /// `[rows][qkv_outputs]`.
    pub qkv: Span<f32>,
    /// `[rows][heads][head_dim]`.
    pub q: Span<bf16>,
    /// `[rows][heads * head_dim]`.
    pub attended: Span<bf16>,
    /// `[rows][intermediate]`.
    pub activated: Span<bf16>,
    /// Partial results of attention, `[segments][heads][head_dim]`.
    pub part_o: Span<f32>,
    /// Their largest scores and sums, `[segments][heads][2]`.
    pub part_ml: Span<f32>,
    /// `[wanted rows][vocab]`.
    pub logits: Span<f32>,
    /// The last norm of wanted rows, `[wanted rows][hidden]`.
    pub last: Span<bf16>,
    /// What sampling leaves between its two kernels.
    pub sampling: Span<f32>,
    /// Sampled tokens, `[wanted rows]`.
    pub sampled: Span<i32>,
    /// What is told with them, `[wanted rows][REPORT_LEN]`.
    pub reports: Span<i32>,
    /// What the step is (see [`Layout`]).
    pub input: Span<i32>,
    /// Rows of logits at once.
    pub logit_rows: usize,
    /// Segments of partial results at once.
    pub segments: usize,
}

impl Workspace {
    /// Finds everything its place.
    pub fn cut(plan: &mut Plan, dims: &Dims, limits: &Limits) -> Self {
        let rows = limits.max_tokens;
        let logit_rows = rows.min(limits.max_seqs);
        let heads = dims.heads * dims.head_dim;
        let context = limits.max_blocks_per_seq * limits.block_size;
        let longest = segments_of(context);
        let segments = SEGMENTS.min(limits.max_seqs * longest).max(longest);
        Self {
            x: plan.take(rows * dims.hidden),
            normed: plan.take(rows * dims.hidden),
            qkv: plan.take(rows * qkv_outputs(dims)),
            q: plan.take(rows * heads),
            attended: plan.take(rows * heads),
            activated: plan.take(rows * dims.intermediate),
            part_o: plan.take(segments * heads),
            part_ml: plan.take(segments * dims.heads * 2),
            logits: plan.take(logit_rows * dims.vocab),
            last: plan.take(logit_rows * dims.hidden),
            sampling: plan.take(logit_rows * dims.vocab.div_ceil(SAMPLE_GROUP) * SAMPLE_LEN),
            sampled: plan.take(logit_rows),
            reports: plan.take(logit_rows * REPORT_LEN),
            input: plan.take(Layout::longest(limits)),
            logit_rows,
            segments,
        }
    }
}
