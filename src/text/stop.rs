//! Stop strings, found as text arrives.

use std::sync::Arc;

/// The stop strings of a request, which all its generations share.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct StopTexts(Arc<[Pattern]>);

/// Looks for several strings at once in text that comes in pieces. Each byte costs the same
/// however long the strings are (Knuth–Morris–Pratt).
pub(super) struct StopStrings {
    texts: StopTexts,
    /// How many bytes of each string the text so far ends with.
    matched: Box<[usize]>,
}

#[derive(Debug, PartialEq, Eq)]
struct Pattern {
    text: String,
    /// `borders[n]`: the longest proper prefix of the first `n + 1` bytes that also ends them.
    borders: Vec<usize>,
}

/// A stop string that is complete.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Found {
    /// Its index in the list.
    pub(super) index: usize,
    /// Where it ends in the piece it was completed in, in bytes.
    pub(super) end: usize,
}

impl StopTexts {
    /// None of them empty.
    pub fn new(texts: &[String]) -> Self {
        let pattern =
            |text: &String| Pattern { text: text.clone(), borders: borders(text.as_bytes()) };
        Self(texts.iter().map(pattern).collect())
    }
}

impl StopStrings {
    pub(super) fn new(texts: StopTexts) -> Self {
        Self { matched: vec![0; texts.0.len()].into(), texts }
    }

    pub(super) fn text(&self, index: usize) -> &str {
        &self.texts.0[index].text
    }

    /// The length of the longest string, in characters.
    pub(super) fn longest(&self) -> usize {
        self.texts.0.iter().map(|stop| stop.text.chars().count()).max().unwrap_or(0)
    }

    /// Reads the next piece of text. With `check`, gives the string that is completed first, the
    /// earlier in the list if two are completed together; the rest is then not read.
    pub(super) fn push(&mut self, piece: &str, check: bool) -> Option<Found> {
        if self.matched.is_empty() {
            return None;
        }
        for (i, &byte) in piece.as_bytes().iter().enumerate() {
            let mut found = None;
            let stops = self.texts.0.iter().zip(&mut self.matched).enumerate();
            for (index, (stop, matched)) in stops {
                if stop.push(matched, byte) && found.is_none() {
                    found = Some(Found { index, end: i + 1 });
                }
            }
            if check && found.is_some() {
                return found;
            }
        }
        None
    }
}

impl Pattern {
    /// Whether this byte completes the string, of which the text so far ends in `matched` bytes.
    fn push(&self, matched: &mut usize, byte: u8) -> bool {
        let text = self.text.as_bytes();
        if *matched == text.len() {
            *matched = self.borders.last().copied().unwrap_or(0);
        }
        while *matched > 0 && text[*matched] != byte {
            *matched = self.borders[*matched - 1];
        }
        if text.get(*matched) == Some(&byte) {
            *matched += 1;
        }
        *matched == text.len() && !text.is_empty()
    }
}

fn borders(text: &[u8]) -> Vec<usize> {
    let mut borders = vec![0; text.len()];
    let mut length = 0;
    for i in 1..text.len() {
        while length > 0 && text[i] != text[length] {
            length = borders[length - 1];
        }
        if text[i] == text[length] {
            length += 1;
        }
        borders[i] = length;
    }
    borders
}
