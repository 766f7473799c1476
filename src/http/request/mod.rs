//! Requests: their schemas, vLLM's checks on top of them, and the fields as values.
//!
//! A body passes three gates, as in vLLM: hooks that look at the raw body (their errors win over
//! everything else), the schema, and, much later, the ranges of the sampling parameters.

mod chat;
mod chat_hooks;
mod completion;
mod fields;
mod generate;
mod ranges;
mod sampling;
mod structured;
mod tokenize;

pub use chat::{ChatRequest, Conversation, PROMPT_SCHEMA, SCHEMA as CHAT_SCHEMA, ToolChoice};
pub use completion::{CompletionRequest, Prompt, SCHEMA as COMPLETION_SCHEMA};
pub use generate::{GenerateFields, Side};
pub use sampling::{Described, Limits, Sampling};
pub use tokenize::{
    DETOKENIZE_SCHEMA, DetokenizeRequest, TEXT_SCHEMA as TOKENIZE_TEXT_SCHEMA, TokenizeInput,
    TokenizeRequest,
};
