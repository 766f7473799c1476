//! Requests: their schemas, vLLM's checks on top of them, and the fields as values.
//!
//! A body passes three gates, as in vLLM: hooks that look at the raw body (their errors win over
//! everything else), the schema, and, much later, the ranges of the sampling parameters.

mod batch;
mod chat;
mod chat_hooks;
mod completion;
mod decision;
mod derender;
mod fields;
mod generate;
mod kv_transfer;
mod labels;
mod messages;
mod ranges;
mod responses;
mod sampling;
mod scoring;
mod structured;
mod tokenize;
mod tokens_in;

pub use batch::{BatchRequest, SCHEMA as BATCH_SCHEMA};
pub use chat::{ChatRequest, Conversation, PROMPT_SCHEMA, SCHEMA as CHAT_SCHEMA, ToolChoice};
pub use completion::{CompletionRequest, Prompt, SCHEMA as COMPLETION_SCHEMA};
pub use decision::{DecisionRequest, Question, QuestionKind, SCHEMA as DECISION_SCHEMA};
pub use derender::{
    DerenderRequest, Generated, METRICS_MEMBERS, Response as GenerateResponse, Scored, State,
};
pub use fields::Fields;
pub use generate::{GenerateFields, Side, StreamOptions};
pub use kv_transfer::{KvTransfer, RemotePrompt};
pub use labels::LabelFields;
pub use messages::{
    COUNT_SCHEMA as COUNT_TOKENS_SCHEMA, MessagesRequest, SCHEMA as MESSAGES_SCHEMA, Thinking,
};
pub use ranges::python_int;
pub use responses::{
    Callee, Earlier, ResponsesRequest, Shown, Tools, custom_input, custom_input_so_far,
    responses_schema,
};
pub use sampling::{BeamParams, Described, Limits, Sampling, checked_label_ids, label_params};
pub use scoring::{Piece, SCHEMA as SCORING_SCHEMA, ScoringRequest};
pub use structured::Constraints;
pub use tokenize::{
    DETOKENIZE_SCHEMA, DetokenizeRequest, TEXT_SCHEMA as TOKENIZE_TEXT_SCHEMA, TokenizeInput,
    TokenizeRequest,
};
pub use tokens_in::{GenerateRequest, MaxTokens, SCHEMA as GENERATE_SCHEMA};
