//! Reading an output that is there in full.

use super::engine::{Event, Ignores, State};
use super::{Parsed, Parsers, Reading, Reasoning, ToolUse, deepseek, hermes, is_space};
use crate::types::ToolFormat;

impl Parsers {
    /// Reads a whole output.
    pub fn whole(&self, reading: &Reading, output: &str) -> Parsed {
        let (reasoning, content) = self.split_reasoning(reading.thinking, output);
        let parsed = Parsed { reasoning, content, ..Parsed::default() };
        match self.tools {
            Some(ToolFormat::Hermes) if reading.tools != ToolUse::Never => {
                with_hermes_calls(parsed, reading.tools)
            }
            Some(ToolFormat::Qwen3Xml)
                if reading.tools != ToolUse::Never || self.is_of_one_kind() =>
            {
                self.with_xml_calls(parsed, reading)
            }
            _ => parsed,
        }
    }

    /// Takes the calls out of the content.
    fn with_xml_calls(&self, mut parsed: Parsed, reading: &Reading) -> Parsed {
        let content = parsed.content.as_deref().unwrap_or_default();
        let (text, calls) = self.xml_tools(reading).whole(content);
        parsed.tools_called = Some(!calls.is_empty());
        if !calls.is_empty() {
            parsed.content = text.filter(|text| !is_blank(text));
            if reading.tools != ToolUse::Never {
                parsed.tool_calls = calls;
            }
        } else if reading.tools == ToolUse::Forced && is_blank(content) {
            parsed.content = None;
        } else if self.is_of_one_kind() {
            parsed.content = text;
        }
        parsed
    }

    fn split_reasoning(&self, thinking: bool, output: &str) -> (Option<String>, Option<String>) {
        match self.reasoning {
            Some(Reasoning::DeepSeekR1(_)) => deepseek::split(output),
            Some(Reasoning::Qwen3) if thinking => {
                let ignores = Ignores { calls: true, reasoning: false };
                let mut engine = self.engine(State::Reasoning, ignores);
                let mut events = engine.feed(output, &[]);
                events.extend(engine.finish());
                let (mut reasoning, mut content) = (String::new(), String::new());
                for event in events {
                    match event {
                        Event::Reasoning(text) => reasoning.push_str(&text),
                        Event::Content(text) => content.push_str(&text),
                        _ => {}
                    }
                }
                let some = |text: String| Some(text).filter(|text| !text.is_empty());
                (some(reasoning), some(content))
            }
            Some(Reasoning::Qwen3) | None => (None, Some(output.to_owned())),
        }
    }
}

fn is_blank(text: &str) -> bool {
    text.chars().all(is_space)
}

/// Takes the calls out of the content.
fn with_hermes_calls(mut parsed: Parsed, tools: ToolUse) -> Parsed {
    let content = parsed.content.as_deref().unwrap_or_default();
    let found = hermes::parse(content);
    parsed.tools_called = Some(found.is_some());
    match found {
        Some((before, calls)) => {
            parsed.content = Some(before.to_owned()).filter(|before| !is_blank(before));
            parsed.tool_calls = calls;
        }
        None if tools == ToolUse::Forced && is_blank(content) => parsed.content = None,
        None => {}
    }
    parsed
}
