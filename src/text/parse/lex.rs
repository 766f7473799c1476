//! Text to marks and the text between them, holding back what may become a mark.

use super::marks::{Mark, Marks};

/// A mark, or text without marks (`None`).
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Lexed {
    pub mark: Option<Mark>,
    pub text: String,
    /// Tokens that start in it.
    pub tokens: u32,
}

/// Splits a stream of text.
#[derive(Debug, Default)]
pub(super) struct Lexer {
    /// The start of a mark, so far.
    held: String,
    /// Where tokens start in `held`, ascending, and how many.
    starts: Vec<(usize, u32)>,
}

impl Lexer {
    pub fn is_empty(&self) -> bool {
        self.held.is_empty()
    }

    /// Takes more text, in which tokens start at `starts`.
    pub fn feed(&mut self, marks: &Marks, text: &str, starts: &[(usize, u32)]) -> Vec<Lexed> {
        let offset = self.held.len();
        self.held.push_str(text);
        self.starts.extend(starts.iter().map(|(at, count)| (at + offset, *count)));
        self.drain(marks, false)
    }

    /// Gives what was held back.
    pub fn flush(&mut self, marks: &Marks) -> Vec<Lexed> {
        self.drain(marks, true)
    }

    fn drain(&mut self, marks: &Marks, is_last: bool) -> Vec<Lexed> {
        let text = std::mem::take(&mut self.held);
        let starts = std::mem::take(&mut self.starts);
        let mut starts = starts.into_iter().peekable();
        let mut lexed = Vec::new();
        let mut at = 0;
        while at < text.len() {
            let rest = &text[at..];
            let (mark, len) = if !marks.may_start_in(rest) {
                (None, rest.len())
            } else if !is_last && marks.is_begun(rest) {
                break;
            } else if let Some((mark, len)) = marks.longest(rest) {
                (Some(mark), len)
            } else {
                (None, marks.plain_len(rest))
            };
            let mut tokens = 0;
            while let Some((_, count)) = starts.next_if(|(start, _)| *start < at + len) {
                tokens += count;
            }
            lexed.push(Lexed { mark, text: rest[..len].to_owned(), tokens });
            at += len;
        }
        self.held.push_str(&text[at..]);
        self.starts.extend(starts.map(|(start, count)| (start - at, count)));
        lexed
    }
}

/// Where in `text` the tokens start whose texts are given; those that are not found in it count at
/// its start. `count` is that of the tokens, with or without texts.
pub(super) fn token_starts(text: &str, tokens: &[String], count: u32) -> Vec<(usize, u32)> {
    if text.is_empty() {
        return Vec::new();
    }
    let mut starts = Vec::with_capacity(tokens.len() + 1);
    let mut from = 0;
    for token in tokens.iter().filter(|token| !token.is_empty()) {
        if let Some(found) = text[from..].find(token.as_str()) {
            starts.push((from + found, 1));
            from += found + token.len();
        }
    }
    let missing = count.saturating_sub(starts.len() as u32);
    if missing > 0 {
        starts.insert(0, (0, missing));
    }
    starts
}
