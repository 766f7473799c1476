//! Text in, text out, off the engine thread.
//!
//! - [`Encoder`] turns prompts into tokens on blocking threads, so that neither the sockets nor
//!   short prompts wait for a long one.
//! - [`OutputText`] turns the tokens of one generation into text that never ends inside a
//!   character and stops at stop strings.
//! - [`TokenTexts`] puts text to log-probabilities, as each API shows them.
//! - [`Vocabulary`] holds the bytes behind every token; all of the above share it.
//! - [`Parsers`] find reasoning and tool calls in that text.

mod encoder;
mod logprobs;
mod output;
pub mod parse;
mod stop;
mod utf8;
mod vocabulary;

pub use encoder::{BadWordsError, EncodeError, Encoded, Encoder};
pub use logprobs::{
    ChatLogprob, CompletionLogprob, PositionTexts, PromptLogprob, TokenText, TokenTexts, TopLogprob,
};
pub use output::{Delta, OutputText, TextOptions};
pub use parse::Parsers;
pub use stop::StopTexts;
pub use vocabulary::{UnsupportedTokenizer, Vocabulary, text_of_pieces};

#[cfg(test)]
mod tests;
