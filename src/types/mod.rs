//! Plain data that every room may speak of. No behaviour beyond what the data needs to be valid.

mod choices;
mod clock;
mod constraint;
mod histogram;
pub mod json;
mod kv_event;
mod kv_memory;
mod output;
mod sampling;
mod timeline;
mod transfer;
mod uuid;

pub use choices::{
    ContentFormat, HashAlgo, Policy, ReasoningEffort, ReasoningFormat, ToolFormat, ToolStrictLevel,
};
pub use clock::{Clock, Moment};
pub use constraint::TokenConstraint;
pub use histogram::{Bucket, Exemplar, Histogram, SpanRef};
pub use kv_event::{BlockHash, KvEvent, KvEventBatch, KvEventSink, LoraTag, StoredBlocks};
pub use kv_memory::{KvCopies, KvLane, KvMemory, KvPiece, KvPlace, KvRegion};
pub use output::{Finish, FinishReason, Generated, PromptLogprobs, StopReason, TokenLogprobs};
pub use sampling::{LogprobsMode, ReasoningMarks, Repetition, SamplingParams, ThinkingBudget};
pub use timeline::{
    Interval, PHASES, Phase, PhaseTimes, SharedTimeline, StepEvent, StepLog, Timeline,
    TimelineRoom, WaitReason, Waits,
};
pub use transfer::{
    Granted, KvConnector, Lease, LeasedBlocks, OnGranted, Pull, PullStats, RemoteBlocks,
    TransferEvent,
};
pub use uuid::uuid4;

/// An id in the model's vocabulary.
pub type Token = u32;

/// The index of a block in the KV block pool. Block 0 is a real block like any other.
pub type BlockId = u32;

/// One generation inside the engine: unique for the life of the process, given out in order of
/// arrival, so that it also breaks ties between requests of equal priority and arrival.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct RequestId(pub u64);
