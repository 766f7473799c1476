//! What a model's output says: reasoning, content and tool calls.
//!
//! [`Parsers`] are those of the server (`--reasoning-parser`, `--tool-call-parser`); one serves all
//! requests. [`Parsers::whole`] reads an output that is there in full, [`Parsers::stream`] gives an
//! [`OutputParser`] for one generation, which is told each piece of text with its tokens. The two
//! readings are vLLM's, and differ as they do there: a stream passes arguments on as they were
//! written and drops text behind a call, a whole output is content from end to end when one of its
//! calls is broken.
//!
//! Nothing here knows of an API: chats, responses, messages and plain generations all start from
//! [`Parsed`] and [`ParsedDelta`].

mod deepseek;
mod engine;
mod hermes;
mod lex;
mod marks;
mod scan;
mod stream;
#[cfg(test)]
mod tests;
mod whole;
mod xml;

pub use stream::OutputParser;
pub use xml::ToolSchema;

use super::Vocabulary;
use crate::types::{ReasoningFormat, Token, ToolFormat};
use deepseek::ThinkTokens;
use engine::{Engine, Ignores, State};
use marks::{Mark, Marks};
use std::borrow::Cow;
use std::sync::Arc;
use xml::XmlTools;

/// The parsers of a server.
#[derive(Debug)]
pub struct Parsers {
    reasoning: Option<Reasoning>,
    tools: Option<ToolFormat>,
    marks: Arc<Marks>,
    vocabulary: Arc<Vocabulary>,
}

#[derive(Clone, Copy, Debug)]
enum Reasoning {
    Qwen3,
    DeepSeekR1(ThinkTokens),
}

/// A tokenizer without the tokens that a parser looks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "DeepSeekR1ReasoningParser reasoning parser could not locate think start/end tokens in the \
     tokenizer!"
)]
pub struct NoThinkTokens;

/// How an output is to be read.
#[derive(Clone, Debug, PartialEq)]
pub struct Reading {
    /// The template's `enable_thinking`: the output starts with reasoning.
    pub thinking: bool,
    pub tools: ToolUse,
    /// Whether reasoning is shown. Streams leave it out here; whole outputs always have it.
    pub include_reasoning: bool,
    /// The tools of the request, for formats that leave types to their schemas.
    pub schemas: Arc<[ToolSchema]>,
}

/// What `tool_choice` means for reading an output.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ToolUse {
    /// Tags of calls are text.
    Never,
    /// The model may call tools, or not (`auto`, and an explicit null).
    Free,
    /// It has to (`required`, or a named one).
    Forced,
}

/// A call of a tool.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FunctionCall {
    pub name: String,
    /// JSON.
    pub arguments: String,
}

/// A whole output, read.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Parsed {
    pub reasoning: Option<String>,
    pub content: Option<String>,
    pub tool_calls: Vec<FunctionCall>,
    /// Whether calls were looked for, and found; vLLM counts these invocations.
    pub tools_called: Option<bool>,
}

/// A piece of a streamed output. Members may be left out (`None`) or null (`Some(None)`): vLLM's
/// chunks show which were set.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ParsedDelta<'a> {
    pub content: Option<Option<Cow<'a, str>>>,
    pub reasoning: Option<Option<Cow<'a, str>>>,
    pub tool_calls: Vec<ToolDelta>,
}

/// A piece of a call: its name once, then its arguments.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ToolDelta {
    /// Which call of this output.
    pub index: usize,
    /// Set in the first piece of a call, which needs an id.
    pub name: Option<String>,
    pub arguments: Option<String>,
}

/// What one step of a stream gave.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct ParsedStep<'a> {
    /// `None` when there is nothing to tell.
    pub delta: Option<ParsedDelta<'a>>,
    /// As in [`Parsed`].
    pub tools_called: Option<bool>,
}

impl<'a> ParsedDelta<'a> {
    fn content(text: Cow<'a, str>) -> Self {
        Self { content: Some(Some(text)), ..Self::default() }
    }

    fn reasoning(text: Cow<'a, str>) -> Self {
        Self { reasoning: Some(Some(text)), ..Self::default() }
    }

    fn into_owned<'b>(self) -> ParsedDelta<'b> {
        let owned = |member: Option<Cow<str>>| member.map(|text| Cow::Owned(text.into_owned()));
        ParsedDelta {
            content: self.content.map(owned),
            reasoning: self.reasoning.map(owned),
            tool_calls: self.tool_calls,
        }
    }

    /// Its content, if it has any.
    pub fn content_text(&self) -> Option<&str> {
        self.content.as_ref()?.as_deref()
    }

    /// Its reasoning, if it has any.
    pub fn reasoning_text(&self) -> Option<&str> {
        self.reasoning.as_ref()?.as_deref()
    }
}

impl Parsers {
    /// The parsers of these formats; without any, output is content.
    ///
    /// # Errors
    /// A tokenizer that the reasoning format cannot be read with.
    pub fn new(
        reasoning: Option<ReasoningFormat>,
        tools: Option<ToolFormat>,
        vocabulary: Arc<Vocabulary>,
    ) -> Result<Option<Self>, NoThinkTokens> {
        if reasoning.is_none() && tools.is_none() {
            return Ok(None);
        }
        let marks = Arc::new(Marks::new(&vocabulary));
        let reasoning = match reasoning {
            None => None,
            Some(ReasoningFormat::Qwen3) => Some(Reasoning::Qwen3),
            Some(ReasoningFormat::DeepSeekR1) => {
                let tokens = marks.token(Mark::ThinkStart).zip(marks.token(Mark::ThinkEnd));
                let (start, end) = tokens.ok_or(NoThinkTokens)?;
                Some(Reasoning::DeepSeekR1(ThinkTokens { start, end }))
            }
        };
        Ok(Some(Self { reasoning, tools, marks, vocabulary }))
    }

    /// Whether there is a parser of tool calls.
    pub fn has_tools(&self) -> bool {
        self.tools.is_some()
    }

    /// Whether there is a parser of reasoning.
    pub fn has_reasoning(&self) -> bool {
        self.reasoning.is_some()
    }

    /// Whether tags that are special tokens must stay in the text of an output.
    pub fn needs_special_tokens(&self, has_tools: bool, tools: ToolUse) -> bool {
        let reads_tools = match self.tools {
            None => false,
            Some(ToolFormat::Hermes) => has_tools && tools != ToolUse::Never,
            Some(ToolFormat::Qwen3Xml) => tools != ToolUse::Never || self.reasoning.is_some(),
        };
        matches!(self.reasoning, Some(Reasoning::Qwen3)) || reads_tools
    }

    /// Whether the output of a prompt starts behind the reasoning; `None` without a parser of it.
    pub fn reasoning_ended(&self, thinking: bool, prompt: &[Token]) -> Option<bool> {
        match self.reasoning? {
            Reasoning::DeepSeekR1(tokens) => Some(tokens.end_in(prompt)),
            Reasoning::Qwen3 => {
                let knows_ends = self.marks.token(Mark::ThinkEnd).is_some();
                let ended = prompt.iter().rev().find_map(|token| match self.marks.of(*token) {
                    Some(mark) if mark.ends_reasoning() && knows_ends => Some(true),
                    Some(Mark::ThinkStart) => Some(!thinking),
                    _ => self.marks.is_boundary(*token).then_some(!thinking),
                });
                Some(ended.unwrap_or(!thinking))
            }
        }
    }

    /// The token that ends reasoning, and the one that starts a content of its own instead.
    pub fn reasoning_ends(&self) -> (Option<Token>, Option<Token>) {
        let end = self.marks.token(Mark::ThinkEnd);
        match self.reasoning {
            None => (None, None),
            Some(Reasoning::DeepSeekR1(_)) => (end, None),
            Some(Reasoning::Qwen3) => (end, end.and(self.marks.token(Mark::ToolStart))),
        }
    }

    /// How many of these tokens are reasoning; 0 without a parser of it.
    pub fn reasoning_tokens(&self, thinking: bool, tokens: &[Token]) -> usize {
        match self.reasoning {
            None => 0,
            Some(Reasoning::DeepSeekR1(think)) => think.count(tokens),
            Some(Reasoning::Qwen3) if !thinking => 0,
            Some(Reasoning::Qwen3) => {
                let mut engine = self.engine(State::Reasoning, Ignores::default());
                engine.feed(&self.vocabulary.decode(tokens, false), tokens);
                engine.finish();
                engine.reasoning_tokens()
            }
        }
    }

    /// Whether reasoning and calls are read by one kind of engine, as far as there are parsers: in
    /// vLLM these take tags away even where calls are not wanted.
    fn is_of_one_kind(&self) -> bool {
        let reasoning = matches!(self.reasoning, None | Some(Reasoning::Qwen3));
        reasoning && matches!(self.tools, None | Some(ToolFormat::Qwen3Xml))
    }

    /// A reader of calls written in tags.
    fn xml_tools(&self, reading: &Reading) -> XmlTools {
        let ignores = Ignores { calls: false, reasoning: self.reasoning.is_none() };
        let engine = self.engine(State::Content, ignores);
        // Without tools there are no calls that were not wanted: they are found, and left out.
        let drops_calls = reading.tools == ToolUse::Never && !reading.schemas.is_empty();
        XmlTools::new(engine, reading.schemas.clone(), drops_calls)
    }

    /// What of some tokens stands behind the reasoning that ends among them.
    fn content_tokens<'a>(&self, thinking: bool, tokens: &'a [Token]) -> &'a [Token] {
        match self.reasoning {
            Some(Reasoning::DeepSeekR1(think)) => think.content_of(tokens),
            Some(Reasoning::Qwen3) if thinking => {
                let mark = |token: &Token| self.marks.of(*token);
                if let Some(end) = tokens.iter().rposition(|t| mark(t) == Some(Mark::ThinkEnd)) {
                    return &tokens[end + 1..];
                }
                let turn = tokens.iter().rposition(|token| self.marks.is_boundary(*token));
                let turn = turn.map_or(0, |at| at + 1);
                let call = tokens[turn..].iter().position(|t| mark(t) == Some(Mark::ToolStart));
                call.map_or(tokens, |call| &tokens[turn + call..])
            }
            Some(Reasoning::Qwen3) | None => tokens,
        }
    }

    fn engine(&self, state: State, ignores: Ignores) -> Engine {
        Engine::new((&self.marks, &self.vocabulary), state, ignores)
    }
}

/// What Python's `str.strip` takes away: white space, and four control characters.
fn is_space(c: char) -> bool {
    c.is_whitespace() || ('\u{1c}'..='\u{1f}').contains(&c)
}
