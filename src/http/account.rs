//! What is seen of one generation from outside the engine: its tokens, and how it ended.

use super::call::Call;
use super::timing::RequestTiming;
use crate::telemetry::metrics::FinishedRequest;
use crate::telemetry::request::{GenerationRecord, Outcome, Resolved};
use crate::types::{FinishReason, Moment, SamplingParams, SharedTimeline, Timeline};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering::Relaxed};

/// The generations of one prompt, which vLLM counts as one request where they end.
pub struct Siblings {
    n: u32,
    left: AtomicU32,
    longest: AtomicU32,
}

impl Siblings {
    /// `n` that are about to begin.
    pub fn new(n: usize) -> Arc<Self> {
        let n = n as u32;
        Arc::new(Self { n, left: AtomicU32::new(n), longest: AtomicU32::new(0) })
    }

    /// One has ended with so many tokens; gives the longest when it was the last.
    fn finished(&self, tokens: u32) -> Option<u32> {
        let longest = self.longest.fetch_max(tokens, Relaxed).max(tokens);
        (self.left.fetch_sub(1, Relaxed) == 1).then_some(longest)
    }
}

/// The account of one generation. Dropped before it is closed, nobody wanted its end.
pub struct Account {
    call: Call,
    siblings: Arc<Siblings>,
    timeline: SharedTimeline,
    max_tokens: u32,
    /// Its id and its parameters, when it is traced.
    about: Option<(String, Resolved)>,
    prompt_tokens: u32,
    tokens: u32,
    first_heard: Option<Moment>,
    last_token: Option<Moment>,
    is_closed: bool,
}

impl Account {
    /// Of the `number`th generation of a prompt, which is about to be handed over. `id` is vLLM's
    /// external request id.
    pub fn open(
        call: &Call,
        siblings: &Arc<Siblings>,
        id: &str,
        (params, number): (&SamplingParams, u32),
        prompt_tokens: usize,
    ) -> Self {
        let resolved = || Resolved {
            temperature: params.temperature,
            top_p: params.top_p,
            top_k: params.top_k,
            frequency_penalty: params.frequency_penalty,
            presence_penalty: params.presence_penalty,
            max_tokens: params.max_tokens,
            seed: params.seed.map(|seed| seed.wrapping_add(i64::from(number))),
        };
        Self {
            siblings: siblings.clone(),
            timeline: call.timeline(),
            max_tokens: params.max_tokens,
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
        let (metrics, span) = (self.call.metrics(), self.call.span());
        match self.last_token {
            Some(last) => metrics.inter_token(at.since(last), span),
            None => {
                let now = self.call.clock().now();
                metrics.first_token(now.since(self.call.arrival()), span);
                self.first_heard = Some(now);
            }
        }
        self.last_token = Some(at);
        self.tokens += 1;
    }

    /// It has come to its end; gives its times.
    pub fn finished(&mut self, reason: FinishReason) -> RequestTiming {
        self.close(Outcome::Finished(reason))
    }

    /// It is over.
    pub fn close(&mut self, outcome: Outcome) -> RequestTiming {
        if std::mem::replace(&mut self.is_closed, true) {
            return RequestTiming::default();
        }
        let closed = self.call.clock().now();
        let timeline = self.timeline.take();
        let timing = RequestTiming::new(&timeline, self.last_token, self.tokens);
        if matches!(outcome, Outcome::Finished(reason) if reason.is_own_end()) {
            self.measure(&timeline, closed);
        }
        let Some((id, params)) = self.about.take() else { return timing };
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
        timing
    }

    /// Adds what vLLM measures of a request that ended by itself.
    fn measure(&self, timeline: &Timeline, closed: Moment) {
        let marks = (timeline.queued, timeline.scheduled, timeline.first_token, self.last_token);
        let (Some(queued), Some(scheduled), Some(first), Some(last)) = marks else { return };
        let metrics = self.call.metrics();
        let request = FinishedRequest {
            e2e: closed.since(self.call.arrival()),
            queue: scheduled.since(queued),
            prefill: first.since(scheduled),
            decode: last.since(first),
            inference: last.since(scheduled),
            prompt_tokens: self.prompt_tokens,
            cached_tokens: timeline.cached,
            generation_tokens: self.tokens,
            params_max_tokens: Some(self.max_tokens),
            preemptions: timeline.preemptions,
        };
        metrics.finished(&request, self.call.span());
        if let Some(longest) = self.siblings.finished(self.tokens) {
            metrics.all_finished(longest, self.siblings.n);
        }
    }
}

impl Drop for Account {
    fn drop(&mut self) {
        self.close(Outcome::Dropped);
    }
}
