//! Reading an output while it comes.

use super::deepseek::ThinkTokens;
use super::engine::{Engine, Event, Ignores, State};
use super::hermes::HermesStream;
use super::xml::XmlTools;
use super::{ParsedDelta, ParsedStep, Parsers, Reading, Reasoning, ToolUse};
use crate::types::{Token, ToolFormat};
use std::borrow::Cow;
use std::sync::Arc;

/// Reads one generation.
#[derive(Debug)]
pub struct OutputParser {
    parsers: Arc<Parsers>,
    reading: Reading,
    thought: Thought,
    tools: Option<Tools>,
}

/// The reading of calls.
#[derive(Debug)]
enum Tools {
    Hermes(HermesStream),
    Xml(Box<XmlTools>),
}

/// The reading of reasoning.
#[derive(Debug)]
enum Thought {
    /// There is no parser of it.
    None,
    Qwen3(Box<Engine>),
    DeepSeekR1 {
        think: ThinkTokens,
        has_started: bool,
        tokens: Vec<Token>,
    },
    /// It has ended. The prompt's end says so at once; then how many tokens would have been
    /// reasoning otherwise counts, as in vLLM.
    Ended(ReasoningCount),
}

#[derive(Debug)]
enum ReasoningCount {
    Known(usize),
    /// Tokens until the first that ends reasoning, and whether it has come.
    Counting {
        count: usize,
        ended: bool,
    },
    DeepSeekR1 {
        think: ThinkTokens,
        tokens: Vec<Token>,
    },
}

/// What reading a piece of reasoning came to.
struct Thinking<'a> {
    delta: Option<ParsedDelta<'a>>,
    /// What follows, when reasoning ended here.
    rest: Option<String>,
}

impl Parsers {
    /// A parser for one generation from `prompt`.
    pub fn stream(self: &Arc<Self>, reading: Reading, prompt: &[Token]) -> OutputParser {
        let ended = self.reasoning_ended(reading.thinking, prompt);
        let thought = match (self.reasoning, ended) {
            (None, _) => Thought::None,
            (Some(Reasoning::Qwen3), Some(true)) if reading.thinking => {
                Thought::Ended(ReasoningCount::Counting { count: 0, ended: false })
            }
            (Some(Reasoning::Qwen3), Some(true)) => Thought::Ended(ReasoningCount::Known(0)),
            (Some(Reasoning::Qwen3), _) => {
                let ignores = Ignores { calls: true, reasoning: false };
                Thought::Qwen3(Box::new(self.engine(State::Reasoning, ignores)))
            }
            (Some(Reasoning::DeepSeekR1(think)), Some(true)) => {
                Thought::Ended(ReasoningCount::DeepSeekR1 { think, tokens: Vec::new() })
            }
            (Some(Reasoning::DeepSeekR1(think)), _) => {
                Thought::DeepSeekR1 { think, has_started: false, tokens: Vec::new() }
            }
        };
        let tools = self.tools.map(|format| match format {
            ToolFormat::Hermes => Tools::Hermes(HermesStream::new()),
            ToolFormat::Qwen3Xml => Tools::Xml(Box::new(self.xml_tools(&reading))),
        });
        OutputParser { parsers: self.clone(), reading, thought, tools }
    }
}

impl OutputParser {
    /// Takes the next text with the tokens that it came with, either of which may be empty.
    /// `is_last` with the last of the output.
    pub fn push<'a>(&mut self, text: &'a str, tokens: &[Token], is_last: bool) -> ParsedStep<'a> {
        self.count(tokens);
        let mut step = ParsedStep::default();
        let was_thinking = self.is_thinking();
        let (mut rest, mut rest_tokens) = (Cow::Borrowed(text), tokens);
        if let Some(thinking) = self.think(text, tokens) {
            step.delta = thinking.delta;
            rest = Cow::Owned(thinking.rest.unwrap_or_default());
            rest_tokens = self.parsers.content_tokens(self.reading.thinking, tokens);
        }
        if !self.is_thinking() {
            if self.tools.is_some() {
                let reasoning = step.delta.take().and_then(|delta| delta.reasoning);
                self.read_tools(rest, rest_tokens, &mut step);
                if let Some(Some(reasoning)) = reasoning.filter(is_text) {
                    let delta = step.delta.get_or_insert_default();
                    delta.reasoning = Some(Some(reasoning));
                }
            } else if !was_thinking {
                step.delta = Some(ParsedDelta::content(rest));
            }
        }
        if is_last {
            self.finish(&mut step);
        }
        if !self.reading.include_reasoning {
            step.delta = step.delta.and_then(without_reasoning);
        }
        step
    }

    /// Tokens of reasoning so far.
    pub fn reasoning_tokens(&self) -> usize {
        match &self.thought {
            Thought::None => 0,
            Thought::Qwen3(engine) => engine.reasoning_tokens(),
            Thought::Ended(ReasoningCount::Known(count))
            | Thought::Ended(ReasoningCount::Counting { count, .. }) => *count,
            Thought::DeepSeekR1 { think, tokens, .. }
            | Thought::Ended(ReasoningCount::DeepSeekR1 { think, tokens }) => think.count(tokens),
        }
    }

    fn is_thinking(&self) -> bool {
        matches!(self.thought, Thought::Qwen3(_) | Thought::DeepSeekR1 { .. })
    }

    fn count(&mut self, new: &[Token]) {
        match &mut self.thought {
            Thought::Ended(ReasoningCount::Counting { count, ended }) => {
                for token in new {
                    let mark = self.parsers.marks.of(*token);
                    *ended |= mark.is_some_and(|mark| mark.ends_reasoning());
                    *count += usize::from(!*ended && mark.is_none());
                }
            }
            Thought::DeepSeekR1 { tokens, .. }
            | Thought::Ended(ReasoningCount::DeepSeekR1 { tokens, .. }) => tokens.extend(new),
            Thought::None | Thought::Qwen3(_) | Thought::Ended(ReasoningCount::Known(_)) => {}
        }
    }

    /// Reads reasoning, if there is still any.
    fn think<'a>(&mut self, text: &'a str, tokens: &[Token]) -> Option<Thinking<'a>> {
        match &mut self.thought {
            Thought::None | Thought::Ended(_) => None,
            Thought::Qwen3(engine) => {
                if engine.pass(text, tokens).is_some() {
                    let delta = Some(ParsedDelta::reasoning(Cow::Borrowed(text)));
                    return Some(Thinking { delta, rest: None });
                }
                let (thinking, ended) = think_qwen3(engine, text, tokens);
                if ended {
                    let count = ReasoningCount::Known(engine.reasoning_tokens());
                    self.thought = Thought::Ended(count);
                }
                Some(self.without_tools(thinking))
            }
            Thought::DeepSeekR1 { think, has_started, tokens: all } => {
                let (delta, ends) = think.read(text, tokens, *has_started);
                *has_started |= tokens.contains(&think.start);
                let mut rest = None;
                if ends {
                    let content = delta.as_ref().and_then(ParsedDelta::content_text);
                    rest = Some(content.unwrap_or_default().to_owned());
                    let (think, tokens) = (*think, std::mem::take(all));
                    self.thought = Thought::Ended(ReasoningCount::DeepSeekR1 { think, tokens });
                }
                Some(Thinking { delta, rest })
            }
        }
    }

    /// When no parser of tools follows, the content behind the reasoning goes out with it.
    fn without_tools<'a>(&self, mut thinking: Thinking<'a>) -> Thinking<'a> {
        if self.tools.is_none()
            && let Some(rest) = thinking.rest.as_ref().filter(|rest| !rest.is_empty())
        {
            let delta = thinking.delta.get_or_insert_default();
            delta.content = Some(Some(Cow::Owned(rest.clone())));
        }
        thinking
    }

    fn read_tools<'a>(&mut self, text: Cow<'a, str>, tokens: &[Token], step: &mut ParsedStep<'a>) {
        if self.reading.tools == ToolUse::Never && !self.parsers.is_of_one_kind() {
            step.delta = Some(text).filter(|text| !text.is_empty()).map(ParsedDelta::content);
            return;
        }
        let tools = match &mut self.tools {
            None => return,
            Some(Tools::Hermes(tools)) => tools,
            Some(Tools::Xml(tools)) => {
                step.delta = match text {
                    Cow::Borrowed(text) => tools.push(text, tokens),
                    Cow::Owned(text) => tools.push(&text, tokens).map(ParsedDelta::into_owned),
                };
                let called = step.delta.as_ref().is_some_and(|d| !d.tool_calls.is_empty());
                step.tools_called = Some(called);
                if self.reading.tools == ToolUse::Never
                    && let Some(delta) = &mut step.delta
                {
                    delta.tool_calls.clear();
                }
                return;
            }
        };
        let mut tool_calls = Vec::new();
        let content = match text {
            Cow::Borrowed(text) => tools.push(text, &mut tool_calls),
            Cow::Owned(text) => Cow::Owned(tools.push(&text, &mut tool_calls).into_owned()),
        };
        step.tools_called = Some(!tool_calls.is_empty());
        if !content.is_empty() || !tool_calls.is_empty() {
            let content = Some(content).filter(|content| !content.is_empty());
            step.delta = Some(ParsedDelta { content: Some(content), reasoning: None, tool_calls });
        }
    }

    /// Gives what is owed at the end of the output.
    fn finish(&mut self, step: &mut ParsedStep<'_>) {
        if let (Some(tools), Some(delta)) = (&self.tools, &mut step.delta)
            && let Some(last) = delta.tool_calls.last_mut()
        {
            let arguments = last.arguments.get_or_insert_default();
            if let Tools::Hermes(tools) = tools {
                arguments.push_str(tools.missing_arguments());
            }
        }
        if let Some(Tools::Xml(tools)) = &mut self.tools
            && let Some(last) = tools.finish()
        {
            let delta = step.delta.get_or_insert_default();
            append(&mut delta.content, last.content.flatten());
            if self.reading.tools != ToolUse::Never {
                delta.tool_calls.extend(last.tool_calls);
            }
        }
        let Thought::Qwen3(engine) = &mut self.thought else { return };
        let (mut reasoning, mut content) = (String::new(), String::new());
        sort(engine.finish(), &mut reasoning, &mut content);
        if !reasoning.is_empty() || !content.is_empty() {
            let delta = step.delta.get_or_insert_default();
            append(&mut delta.content, Some(Cow::Owned(content)));
            append(&mut delta.reasoning, Some(Cow::Owned(reasoning)));
        }
    }
}

/// Appends text, if there is any, to a member of a delta.
fn append<'a>(member: &mut Option<Option<Cow<'a, str>>>, text: Option<Cow<'a, str>>) {
    let Some(text) = text.filter(|text| !text.is_empty()) else { return };
    let before = member.take().flatten().unwrap_or_default();
    *member = Some(Some(before + text));
}

/// Reads a piece of reasoning that may hold its end.
fn think_qwen3<'a>(engine: &mut Engine, text: &str, tokens: &[Token]) -> (Thinking<'a>, bool) {
    let (mut reasoning, mut content) = (String::new(), String::new());
    let ended = sort(engine.feed(text, tokens), &mut reasoning, &mut content);
    if ended {
        // What the engine still holds back is content too.
        sort(engine.finish(), &mut reasoning, &mut content);
    }
    let delta = Some(reasoning)
        .filter(|reasoning| !reasoning.is_empty())
        .map(|reasoning| ParsedDelta::reasoning(Cow::Owned(reasoning)));
    (Thinking { delta, rest: ended.then_some(content) }, ended)
}

/// Puts the text of events where it belongs; true when reasoning ended among them.
fn sort(events: Vec<Event>, reasoning: &mut String, content: &mut String) -> bool {
    let mut ended = false;
    for event in events {
        match event {
            Event::Reasoning(text) => reasoning.push_str(&text),
            Event::Content(text) => content.push_str(&text),
            Event::ReasoningEnd => ended = true,
            _ => {}
        }
    }
    ended
}

fn is_text(text: &Option<Cow<'_, str>>) -> bool {
    text.as_ref().is_some_and(|text| !text.is_empty())
}

fn without_reasoning(mut delta: ParsedDelta<'_>) -> Option<ParsedDelta<'_>> {
    delta.reasoning = Some(None);
    let says = is_text(&delta.content.clone().flatten()) || !delta.tool_calls.is_empty();
    says.then_some(delta)
}
