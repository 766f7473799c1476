//! The text of one generation.

use super::stop::{StopStrings, StopTexts};
use super::utf8::Utf8Stream;
use super::vocabulary::Vocabulary;
use crate::types::{Finish, FinishReason, StopReason, Token};
use std::sync::Arc;

/// What a request says about its text.
///
/// vLLM's `spaces_between_special_tokens` is not here: a byte-level tokenizer never puts spaces
/// between tokens, so it changes nothing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TextOptions {
    /// Leave special tokens out of the text.
    pub skip_special_tokens: bool,
    /// Strings that end the generation.
    pub stop: StopTexts,
    /// Keep the stop string, or the text of the end token, in the text.
    pub include_stop_str_in_output: bool,
    /// Stop strings completed by the first so many tokens do not count.
    pub min_tokens: u32,
}

/// What one token adds to a generation.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Delta {
    /// Text that may be shown now; often empty.
    pub text: String,
    /// The end of the generation. A stop string replaces what the engine said, and the engine
    /// does not know of it yet.
    pub finish: Option<Finish>,
}

/// Turns the tokens of one generation into text.
pub struct OutputText {
    stream: Utf8Stream,
    stops: StopStrings,
    include_stop: bool,
    min_tokens: u32,
    /// Tokens so far.
    generated: u32,
    held: HeldBack,
    ended: bool,
}

impl OutputText {
    /// The text that follows `prompt`.
    pub fn new(vocabulary: Arc<Vocabulary>, prompt: &[Token], options: TextOptions) -> Self {
        let stops = StopStrings::new(options.stop);
        // A stop string that may still be completed must not have been shown in part.
        let include_stop = options.include_stop_str_in_output;
        let hold = if include_stop { 0 } else { stops.longest().saturating_sub(1) };
        Self {
            stream: Utf8Stream::new(vocabulary, options.skip_special_tokens, prompt),
            stops,
            include_stop,
            min_tokens: options.min_tokens,
            generated: 0,
            held: HeldBack::new(hold),
            ended: false,
        }
    }

    /// Takes the next token and what the engine said with it. Gives the text that may be shown
    /// after it. Tokens after the end of the generation add nothing.
    pub fn push(&mut self, token: Token, finish: Option<Finish>) -> Delta {
        if self.ended {
            return Delta::default();
        }
        self.generated += 1;
        let is_end_token = finish.as_ref().is_some_and(|f| f.reason == FinishReason::Stop);
        let mut text = String::new();
        if self.include_stop || !is_end_token {
            self.stream.push(token, &mut text);
        }
        if let Some(found) = self.stops.push(&text, self.generated > self.min_tokens) {
            let stop = self.stops.text(found.index);
            text.truncate(found.end);
            self.held.push(&text);
            if !self.include_stop {
                self.held.drop_last(stop.len());
            }
            let finish = Finish {
                reason: FinishReason::Stop,
                stop: Some(StopReason::Text(stop.to_owned())),
            };
            self.ended = true;
            return Delta { text: self.held.take_all(), finish: Some(finish) };
        }
        self.ended = finish.is_some();
        let text = match (self.held.is_off(), self.ended) {
            (true, _) => text,
            (false, ended) => {
                self.held.push(&text);
                if ended { self.held.take_all() } else { self.held.take_ready() }
            }
        };
        Delta { text, finish }
    }

    /// The end without a token (aborted): gives what was held back for stop strings.
    pub fn finish_without_token(&mut self) -> String {
        self.ended = true;
        self.held.take_all()
    }
}

/// The last characters of the text, not shown yet.
struct HeldBack {
    /// How many characters are held back.
    hold: usize,
    text: String,
    /// Bytes at the start of `text` that were shown; removed when they are the larger part.
    shown: usize,
    /// Characters after that.
    chars: usize,
}

impl HeldBack {
    fn new(hold: usize) -> Self {
        Self { hold, text: String::new(), shown: 0, chars: 0 }
    }

    /// Whether nothing is ever held back.
    fn is_off(&self) -> bool {
        self.hold == 0
    }

    fn push(&mut self, text: &str) {
        self.text.push_str(text);
        self.chars += text.chars().count();
    }

    /// Forgets the last `bytes` bytes, which start at a character.
    fn drop_last(&mut self, bytes: usize) {
        self.text.truncate(self.text.len().saturating_sub(bytes).max(self.shown));
    }

    fn take_all(&mut self) -> String {
        let mut text = std::mem::take(&mut self.text);
        text.drain(..self.shown);
        (self.shown, self.chars) = (0, 0);
        text
    }

    fn take_ready(&mut self) -> String {
        let ready = self.chars.saturating_sub(self.hold);
        if ready == 0 {
            return String::new();
        }
        let rest = &self.text[self.shown..];
        let length = rest.char_indices().nth(ready).map_or(rest.len(), |(at, _)| at);
        let text = rest[..length].to_owned();
        self.shown += length;
        self.chars -= ready;
        if self.shown > self.text.len() / 2 {
            self.text.drain(..self.shown);
            self.shown = 0;
        }
        text
    }
}
