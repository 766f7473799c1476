//! `delta` of a chunk.

use super::super::reply::Member;
use super::parsing::tool_call_id;
use crate::text::parse::{ParsedDelta, ToolDelta};
use serde::Serialize;
use std::borrow::Cow;

/// What a chunk adds to a message.
#[derive(Debug, Default, Serialize)]
pub struct Delta<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    role: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    content: Member<Cow<'a, str>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    reasoning: Member<Cow<'a, str>>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    tool_calls: Vec<CallDelta>,
}

#[derive(Debug, Serialize)]
struct CallDelta {
    #[serde(skip_serializing_if = "Option::is_none")]
    id: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    r#type: Option<&'static str>,
    index: usize,
    function: FunctionDelta,
}

#[derive(Debug, Serialize)]
struct FunctionDelta {
    #[serde(skip_serializing_if = "Option::is_none")]
    name: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    arguments: Option<String>,
}

impl<'a> Delta<'a> {
    /// The first one: who speaks.
    pub fn opening(role: &'a str) -> Self {
        Self { role: Some(role), ..Self::content("") }
    }

    /// Content and nothing else.
    pub fn content(text: &'a str) -> Self {
        Self { content: Some(Some(Cow::Borrowed(text))), ..Self::default() }
    }
}

impl<'a> From<ParsedDelta<'a>> for Delta<'a> {
    fn from(delta: ParsedDelta<'a>) -> Self {
        let tool_calls = delta.tool_calls.into_iter().map(CallDelta::from).collect();
        Self { role: None, content: delta.content, reasoning: delta.reasoning, tool_calls }
    }
}

impl From<ToolDelta> for CallDelta {
    fn from(call: ToolDelta) -> Self {
        let opens = call.name.is_some();
        Self {
            id: opens.then(tool_call_id),
            r#type: opens.then_some("function"),
            index: call.index,
            function: FunctionDelta { name: call.name, arguments: call.arguments },
        }
    }
}
