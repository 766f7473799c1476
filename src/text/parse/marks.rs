//! The tags between which a model writes its reasoning and its tool calls.

use super::super::Vocabulary;
use crate::types::Token;

/// A tag, by what it does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Mark {
    ThinkStart,
    ThinkEnd,
    ToolStart,
    ToolEnd,
    FunctionStart,
    FunctionEnd,
    ParameterStart,
    ParameterEnd,
    /// The end of a tag that names something.
    Close,
    /// A special token of the tokenizer: no part of any text.
    Special,
}

impl Mark {
    /// Whether what follows is no reasoning any more.
    pub fn ends_reasoning(self) -> bool {
        matches!(self, Self::ThinkEnd | Self::ToolStart)
    }
}

const TAGS: [(&str, Mark); 9] = [
    ("<think>", Mark::ThinkStart),
    ("</think>", Mark::ThinkEnd),
    ("<tool_call>", Mark::ToolStart),
    ("</tool_call>", Mark::ToolEnd),
    ("<function=", Mark::FunctionStart),
    ("</function>", Mark::FunctionEnd),
    ("<parameter=", Mark::ParameterStart),
    ("</parameter>", Mark::ParameterEnd),
    (">", Mark::Close),
];
/// Those of [`TAGS`] that may be one token each.
const TOKENS: usize = 4;
/// Tokens between the turns of a conversation.
const BOUNDARIES: [&str; 2] = ["<|im_start|>", "<|im_end|>"];

/// All marks of one tokenizer, as text and as tokens.
#[derive(Debug)]
pub(super) struct Marks {
    literals: Vec<(Box<str>, Mark)>,
    /// By byte: whether some literal starts with it.
    starts: [bool; 256],
    /// Ascending.
    tokens: Vec<(Token, Mark)>,
    boundaries: Vec<Token>,
}

impl Marks {
    pub fn new(vocabulary: &Vocabulary) -> Self {
        let mut tokens: Vec<(Token, Mark)> = TAGS[..TOKENS]
            .iter()
            .filter_map(|(text, mark)| Some((vocabulary.find(text)?, *mark)))
            .collect();
        let mut literals: Vec<(Box<str>, Mark)> =
            TAGS.iter().map(|(text, mark)| ((*text).into(), *mark)).collect();
        for token in vocabulary.specials() {
            let text = vocabulary.decode(&[token], false);
            if !text.is_empty() && TAGS.iter().all(|(tag, _)| *tag != text) {
                tokens.push((token, Mark::Special));
                literals.push((text.into(), Mark::Special));
            }
        }
        tokens.sort_unstable_by_key(|(token, _)| *token);
        let mut starts = [false; 256];
        for (text, _) in &literals {
            starts[text.as_bytes()[0] as usize] = true;
        }
        let boundaries = BOUNDARIES.iter().filter_map(|text| vocabulary.find(text)).collect();
        Self { literals, starts, tokens, boundaries }
    }

    /// The mark that a token is.
    pub fn of(&self, token: Token) -> Option<Mark> {
        if self.tokens.first().is_none_or(|(least, _)| token < *least) {
            return None;
        }
        let at = self.tokens.binary_search_by_key(&token, |(token, _)| *token).ok()?;
        Some(self.tokens[at].1)
    }

    /// The token that is this mark.
    pub fn token(&self, mark: Mark) -> Option<Token> {
        self.tokens.iter().find(|(_, other)| *other == mark).map(|(token, _)| *token)
    }

    /// Whether a token stands between turns.
    pub fn is_boundary(&self, token: Token) -> bool {
        self.boundaries.contains(&token)
    }

    /// Whether a mark could start somewhere in a text.
    pub fn may_start_in(&self, text: &str) -> bool {
        text.bytes().any(|byte| self.starts[byte as usize])
    }

    /// The longest mark that a text starts with, and its length.
    pub fn longest(&self, text: &str) -> Option<(Mark, usize)> {
        let found = self.literals.iter().filter(|(literal, _)| text.starts_with(&**literal));
        found.max_by_key(|(literal, _)| literal.len()).map(|(literal, mark)| (*mark, literal.len()))
    }

    /// Whether a text is a mark that has begun and not ended.
    pub fn is_begun(&self, text: &str) -> bool {
        self.literals.iter().any(|(literal, _)| {
            literal.len() > text.len() && literal.as_bytes().starts_with(text.as_bytes())
        })
    }

    /// The length of what stands before the next place where a mark starts, or could start with
    /// the end of the text; the first character is never such a place.
    pub fn plain_len(&self, text: &str) -> usize {
        let bytes = text.as_bytes();
        let starts_at = |at: &usize| {
            self.starts[bytes[*at] as usize] && text.is_char_boundary(*at) && {
                let rest = &bytes[*at..];
                self.literals.iter().any(|(literal, _)| {
                    let shared = literal.len().min(rest.len());
                    literal.as_bytes()[..shared] == rest[..shared]
                })
            }
        };
        (1..bytes.len()).find(starts_at).unwrap_or(bytes.len())
    }
}
