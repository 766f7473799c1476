//! Stop strings, found as text arrives.

/// Looks for several strings at once in text that comes in pieces. Each byte costs the same
/// however long the strings are (Knuth–Morris–Pratt).
pub(super) struct StopStrings {
    stops: Vec<Stop>,
}

struct Stop {
    text: String,
    /// `borders[n]`: the longest proper prefix of the first `n + 1` bytes that also ends them.
    borders: Vec<usize>,
    /// How many bytes of `text` the text so far ends with.
    matched: usize,
}

/// A stop string that is complete.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Found {
    /// Its index in the list.
    pub(super) index: usize,
    /// Where it ends in the piece it was completed in, in bytes.
    pub(super) end: usize,
}

impl StopStrings {
    pub(super) fn new(texts: Vec<String>) -> Self {
        let stops = texts.into_iter().map(|text| {
            let borders = borders(text.as_bytes());
            Stop { text, borders, matched: 0 }
        });
        Self { stops: stops.collect() }
    }

    pub(super) fn text(&self, index: usize) -> &str {
        &self.stops[index].text
    }

    /// The length of the longest string, in characters.
    pub(super) fn longest(&self) -> usize {
        self.stops.iter().map(|stop| stop.text.chars().count()).max().unwrap_or(0)
    }

    /// Reads the next piece of text. With `check`, gives the string that is completed first, the
    /// earlier in the list if two are completed together; the rest is then not read.
    pub(super) fn push(&mut self, piece: &str, check: bool) -> Option<Found> {
        if self.stops.is_empty() {
            return None;
        }
        for (i, &byte) in piece.as_bytes().iter().enumerate() {
            let mut found = None;
            for (index, stop) in self.stops.iter_mut().enumerate() {
                if stop.push(byte) && found.is_none() {
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

impl Stop {
    /// Whether this byte completes the string.
    fn push(&mut self, byte: u8) -> bool {
        let text = self.text.as_bytes();
        if self.matched == text.len() {
            self.matched = self.borders.last().copied().unwrap_or(0);
        }
        while self.matched > 0 && text[self.matched] != byte {
            self.matched = self.borders[self.matched - 1];
        }
        if text.get(self.matched) == Some(&byte) {
            self.matched += 1;
        }
        self.matched == text.len() && !text.is_empty()
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
