//! Grammars of requests: compiled before the engine hears of them, followed token by token there.

use super::call::Call;
use super::frontend::Frontend;
use super::request::{ChatRequest, Constraints, Sampling, ToolChoice};
use crate::error::ApiError;
use crate::grammar::{
    CompiledGrammar, GrammarError, GrammarSpec, ReasoningEnd, ToolCalls, ToolsAsked,
};
use crate::types::{Token, TokenConstraint};
use serde_json::Value;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

impl From<GrammarError> for ApiError {
    fn from(error: GrammarError) -> Self {
        match error {
            GrammarError::Busy => Self::overloaded(),
            GrammarError::Refused(message) => Self::bad_request(message),
        }
    }
}

impl Frontend {
    /// Compiles what the output has to keep to, if anything.
    pub(super) async fn compile(
        &self,
        call: &Call,
        sampling: &mut Sampling,
    ) -> Result<Option<CompiledGrammar>, ApiError> {
        let Some(spec) = sampling.grammar.take() else { return Ok(None) };
        if let Some(grammar) = self.grammars.at_hand(&spec) {
            return Ok(Some(grammar));
        }
        let _deferred = Deferred::new(&self.engine.status().gauges.deferred, sampling.n);
        let started = call.clock().now();
        let grammar = self.grammars.compile(spec).await;
        call.note(|record| record.compiled = Some((started, record.clock.now())));
        Ok(Some(grammar?))
    }

    /// One generation's way through a grammar, behind the reasoning that `prompt` opens.
    pub(super) fn constraint(
        &self,
        grammar: &CompiledGrammar,
        sampling: &Sampling,
        prompt: &[Token],
    ) -> Box<dyn TokenConstraint> {
        let params = &sampling.params;
        let stops = params.stop_token_ids.iter();
        let ends = params.eos.iter().chain(stops).chain(params.ignored_eos.iter());
        let reasons = sampling.include_reasoning && !self.options.grammars_in_reasoning;
        let parsers = self.parsers.as_ref().filter(|_| reasons);
        let reasoning = parsers
            .filter(|parsers| parsers.reasoning_ended(sampling.thinking, prompt) == Some(false));
        let reasoning = reasoning.map(|parsers| {
            let (token, content) = parsers.reasoning_ends();
            ReasoningEnd { token, content }
        });
        Box::new(grammar.start(ends.copied().collect(), reasoning))
    }

    /// What the tools of a chat ask of its output; `None` when that is left to other fields.
    pub(super) fn tool_grammar(
        &self,
        request: &ChatRequest,
    ) -> Result<Option<GrammarSpec>, ApiError> {
        let tools = request.conversation.tools.as_ref().and_then(Value::as_array);
        let (Some(format), Some(tools)) = (self.options.tool_format, tools) else {
            return Ok(None);
        };
        let calls = match &request.tool_choice {
            ToolChoice::Auto if !self.options.constrains_free_calls => return Ok(None),
            ToolChoice::Auto => ToolCalls::Auto,
            ToolChoice::Required => ToolCalls::Required,
            ToolChoice::Named(name) => ToolCalls::Named(name),
            ToolChoice::None | ToolChoice::Null => return Ok(None),
        };
        let asked = ToolsAsked {
            format,
            tools,
            calls,
            single: request.single_tool_call,
            level: self.options.tool_strict_level,
        };
        // An error is found again where the fields are checked.
        let output = match request.common.sampling.constraints.as_ref().map(Constraints::check) {
            Ok(Ok(output)) => output,
            _ if calls == ToolCalls::Auto => return Ok(None),
            _ => None,
        };
        Ok(asked.grammar(output.as_ref())?)
    }
}

/// Requests that wait for a grammar, counted while this lives.
struct Deferred<'a> {
    gauge: &'a AtomicU64,
    count: u64,
}

impl<'a> Deferred<'a> {
    fn new(gauge: &'a AtomicU64, count: usize) -> Self {
        let count = count as u64;
        gauge.fetch_add(count, Relaxed);
        Self { gauge, count }
    }
}

impl Drop for Deferred<'_> {
    fn drop(&mut self) {
        self.gauge.fetch_sub(self.count, Relaxed);
    }
}
