//! JSON as Python reads and prints it.
//!
//! Request bodies and what models write are read with the rules of Python's decoder, and values are
//! shown as Python prints them, so that clients see what they see from vLLM.

mod parse;
mod repr;
#[cfg(test)]
mod tests;
mod value;

pub use parse::{Document, ParseError, parse, parse_text};
pub use repr::{dumps, dumps_ascii, dumps_str, float_repr, repr, str_repr, to_str};
pub use value::{Dict, Int, Json};
