//! The marks of reasoning that a budget goes by.

use super::frontend::Options;
use crate::model::Tokenizer;
use crate::types::ReasoningMarks;

/// What the parsers of reasoning look for.
const START: &str = "<think>";
const END: &str = "</think>";

/// What starts and ends reasoning, as the flags and the parser say it together.
pub fn marks(options: &Options, tokenizer: &Tokenizer) -> Option<ReasoningMarks> {
    let of_parser = |text| options.reasoning_format.map(|_| text);
    let given = |text: &str| (!text.is_empty()).then(|| text.to_owned());
    let texts = &options.reasoning_texts;
    let parser_end = of_parser(END.to_owned());
    let start = given(&texts.start).or_else(|| of_parser(START.to_owned()))?;
    let forced = given(&texts.end).or_else(|| parser_end.clone())?;
    let end = parser_end.unwrap_or_else(|| forced.clone());
    let encode = |text: String| {
        let encoding = tokenizer.hf().encode_fast(text, false).ok()?;
        Some(encoding.get_ids().to_vec()).filter(|tokens| !tokens.is_empty())
    };
    Some(ReasoningMarks { start: encode(start)?, end: encode(end)?, forced: encode(forced)? })
}
