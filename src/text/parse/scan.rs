//! Tokens that are marks, put to the text in which they show.
//!
//! A token that is a mark counts even if its text looks like that of others, so it has to be found
//! by its id. Its text may come later than the token, when text is held back for stop strings:
//! then everything waits until it is there.

use super::super::Vocabulary;
use super::marks::{Mark, Marks};
use crate::types::Token;

/// A stretch of output.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Item {
    Text {
        text: String,
        /// The texts of its tokens, each on its own; empty when they are not known.
        tokens: Vec<String>,
        count: u32,
    },
    Mark(MarkToken),
}

/// A token that is a mark.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct MarkToken {
    pub mark: Mark,
    pub text: String,
}

/// A mark whose text has not come.
#[derive(Debug)]
struct Awaited {
    token: MarkToken,
    /// Other tokens before it that have not been counted.
    before: u32,
}

/// Splits a stream of text and tokens.
#[derive(Debug, Default)]
pub(super) struct Scanner {
    awaited: Vec<Awaited>,
    /// Tokens behind the last one of `awaited`.
    behind: u32,
    /// Text before the first one of `awaited`.
    text: String,
}

impl Scanner {
    /// Whether marks wait for their text.
    pub fn is_waiting(&self) -> bool {
        !self.awaited.is_empty()
    }

    /// Takes the next tokens and the text that came with them.
    pub fn scan(
        &mut self,
        (marks, vocabulary): (&Marks, &Vocabulary),
        text: &str,
        tokens: &[Token],
    ) -> Vec<Item> {
        let (mut items, text, late) = self.resolve(text, tokens.len() as u32);
        if !tokens.iter().any(|token| marks.of(*token).is_some()) {
            if !text.is_empty() {
                let tokens = texts(vocabulary, tokens);
                let count = late + tokens.len() as u32;
                items.push(Item::Text { text, tokens, count });
            }
            return items;
        }
        let mut found = split(marks, vocabulary, tokens);
        if late > 0 {
            found.insert(0, Item::Text { text: String::new(), tokens: Vec::new(), count: late });
        }
        if text.is_empty() {
            self.await_all(found);
        } else {
            items.extend(self.align(&text, found));
        }
        items
    }

    /// Gives up waiting.
    pub fn flush(&mut self) -> Vec<Item> {
        let mut items = Vec::new();
        if !self.text.is_empty() {
            let count = self.awaited.first().map_or(0, |first| first.before);
            let text = std::mem::take(&mut self.text);
            items.push(Item::Text { text, tokens: Vec::new(), count });
        }
        items.extend(self.awaited.drain(..).map(|awaited| Item::Mark(awaited.token)));
        if self.behind > 0 {
            items.push(Item::Text { text: String::new(), tokens: Vec::new(), count: self.behind });
        }
        self.behind = 0;
        items
    }

    /// Finds awaited marks in new text, which came with `count` tokens. Gives the items up to the
    /// last one found, the text after it, and the tokens that stood behind it already.
    fn resolve(&mut self, text: &str, count: u32) -> (Vec<Item>, String, u32) {
        if self.awaited.is_empty() {
            return (Vec::new(), text.to_owned(), 0);
        }
        let late = std::mem::take(&mut self.behind);
        let whole = std::mem::take(&mut self.text) + text;
        let mut rest = whole.as_str();
        let mut items = Vec::new();
        for mut awaited in std::mem::take(&mut self.awaited) {
            if let Some(at) = rest.find(&awaited.token.text) {
                if at > 0 {
                    let (text, count) = (rest[..at].to_owned(), awaited.before);
                    items.push(Item::Text { text, tokens: Vec::new(), count });
                }
                rest = &rest[at + awaited.token.text.len()..];
                items.push(Item::Mark(awaited.token));
                continue;
            }
            if !rest.is_empty() {
                self.text.push_str(rest);
                awaited.before += count;
                rest = "";
            }
            self.awaited.push(awaited);
        }
        if self.awaited.is_empty() {
            return (items, rest.to_owned(), late);
        }
        self.behind = late;
        (items, rest.to_owned(), 0)
    }

    /// None of the text of these has come.
    fn await_all(&mut self, items: Vec<Item>) {
        let mut before = 0;
        for item in items {
            match item {
                Item::Text { count, .. } => before += count,
                Item::Mark(token) => {
                    self.awaited.push(Awaited { token, before });
                    before = 0;
                }
            }
        }
        self.behind += before;
    }

    /// Puts items, made of tokens one by one, to the text that came with them: it may start with
    /// text that was held back, and characters may be made of several tokens.
    fn align(&mut self, text: &str, items: Vec<Item>) -> Vec<Item> {
        let joined: String = items.iter().map(Item::text).collect();
        match text.find(&joined) {
            Some(at) => {
                let held = Item::Text { text: text[..at].to_owned(), tokens: vec![], count: 0 };
                (at > 0).then_some(held).into_iter().chain(items).collect()
            }
            None => self.align_marks(text, items),
        }
    }

    /// The same by the marks alone, each found as far to the right as it can be.
    fn align_marks(&mut self, text: &str, items: Vec<Item>) -> Vec<Item> {
        let mut groups: Vec<(Vec<String>, u32)> = vec![(Vec::new(), 0)];
        let mut marks = Vec::new();
        for item in items {
            match item {
                Item::Mark(token) => {
                    marks.push(token);
                    groups.push((Vec::new(), 0));
                }
                Item::Text { tokens, count, .. } => {
                    if let Some(group) = groups.last_mut() {
                        group.0.extend(tokens);
                        group.1 += count;
                    }
                }
            }
        }
        let mut end = text.len();
        let mut places: Vec<Option<usize>> = marks
            .iter()
            .rev()
            .map(|token| {
                let place = text[..end].rfind(&token.text);
                end = place.unwrap_or(end);
                place
            })
            .collect();
        places.reverse();
        let mut aligned = Vec::new();
        let mut done = 0;
        let mut groups = groups.into_iter();
        for (nth, token) in marks.into_iter().enumerate() {
            let (tokens, count) = groups.next().unwrap_or_default();
            match places[nth].filter(|place| *place >= done) {
                Some(place) => {
                    if place > done {
                        let text = text[done..place].to_owned();
                        aligned.push(Item::Text { text, tokens, count });
                    }
                    done = place + token.text.len();
                    aligned.push(Item::Mark(token));
                }
                None => {
                    // The text of an end token never comes, so nothing waits for it.
                    let is_last = places[nth + 1..].iter().all(Option::is_none);
                    if is_last && done < text.len() && token.mark != Mark::Special {
                        self.text.push_str(&text[done..]);
                        done = text.len();
                    }
                    self.awaited.push(Awaited { token, before: count });
                }
            }
        }
        if done < text.len() {
            let (tokens, count) = groups.next().unwrap_or_default();
            aligned.push(Item::Text { text: text[done..].to_owned(), tokens, count });
        }
        aligned
    }
}

impl Item {
    fn text(&self) -> &str {
        match self {
            Self::Text { text, .. } | Self::Mark(MarkToken { text, .. }) => text,
        }
    }
}

fn texts(vocabulary: &Vocabulary, tokens: &[Token]) -> Vec<String> {
    tokens.iter().map(|token| vocabulary.decode(&[*token], false)).collect()
}

/// Marks and the text between them, as the tokens say it one by one.
fn split(marks: &Marks, vocabulary: &Vocabulary, tokens: &[Token]) -> Vec<Item> {
    let mut items = Vec::new();
    let mut plain: Vec<String> = Vec::new();
    for token in tokens {
        let text = vocabulary.decode(&[*token], false);
        match marks.of(*token) {
            None => plain.push(text),
            Some(mark) => {
                close(&mut plain, &mut items);
                items.push(Item::Mark(MarkToken { mark, text }));
            }
        }
    }
    close(&mut plain, &mut items);
    items
}

fn close(plain: &mut Vec<String>, items: &mut Vec<Item>) {
    let tokens = std::mem::take(plain);
    let text = tokens.concat();
    if !text.is_empty() {
        let count = tokens.len() as u32;
        items.push(Item::Text { text, tokens, count });
    }
}
