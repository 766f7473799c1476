//! What is seen of one generation from outside the engine: its tokens, and how it ended.

use super::call::Call;
use crate::telemetry::request::{GenerationRecord, Outcome, Resolved};
use crate::types::{Moment, SamplingParams, SharedTimeline};

/// The account of one generation. Dropped before it is closed, nobody wanted its end.
pub struct Account {
    call: Call,
    timeline: SharedTimeline,
    /// Its id and its parameters, when it is traced.
    about: Option<(String, Resolved)>,
    prompt_tokens: u32,
    tokens: u32,
    first_heard: Option<Moment>,
    last_token: Option<Moment>,
    is_closed: bool,
}

impl Account {
    /// Of a generation that is about to be handed over. `id` is vLLM's external request id.
    pub fn open(call: &Call, id: &str, params: &SamplingParams, prompt_tokens: usize) -> Self {
        let resolved = || Resolved {
            temperature: params.temperature,
            top_p: params.top_p,
            top_k: params.top_k,
            frequency_penalty: params.frequency_penalty,
            presence_penalty: params.presence_penalty,
            max_tokens: params.max_tokens,
            seed: params.seed,
        };
        Self {
            timeline: call.timeline(),
            about: call.span().map(|_| (id.to_owned(), resolved())),
            call: call.clone(),
            prompt_tokens: prompt_tokens as u32,
            tokens: 0,
            first_heard: None,
            last_token: None,
            is_closed: false,
        }
    }

    /// For the engine to write.
    pub fn timeline(&self) -> SharedTimeline {
        self.timeline.clone()
    }

    /// A token came from the step that ended `at`.
    pub fn token(&mut self, at: Moment) {
        if self.first_heard.is_none() {
            self.first_heard = Some(self.call.clock().now());
        }
        self.last_token = Some(at);
        self.tokens += 1;
    }

    /// It is over.
    pub fn close(&mut self, outcome: Outcome) {
        if std::mem::replace(&mut self.is_closed, true) {
            return;
        }
        let closed = self.call.clock().now();
        let timeline = self.timeline.take();
        let Some((id, params)) = self.about.take() else { return };
        let generation = GenerationRecord {
            id,
            params,
            prompt_tokens: self.prompt_tokens,
            completion_tokens: self.tokens,
            timeline,
            first_heard: self.first_heard,
            last_token: self.last_token,
            closed,
            outcome,
        };
        self.call.note(|record| record.generations.push(generation));
    }
}

impl Drop for Account {
    fn drop(&mut self) {
        self.close(Outcome::Dropped);
    }
}
