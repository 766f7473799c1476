//! What the engine keeps for one generation beside its tokens and blocks.

use super::handle::{NewRequest, Transfer};
use crate::sampler::{Draw, Sampled, SamplerState};
use crate::types::{
    Finish, FinishReason, Generated, LogprobsMode, Moment, Phase, PullStats, RequestId,
    SamplingParams, SharedTimeline, StepEvent, StopReason, Token, TokenConstraint, TokenLogprobs,
    Waits,
};
use std::sync::Arc;
use tokio::sync::mpsc::UnboundedSender;

/// vLLM's stop reason of an output that repeats itself.
const REPETITION_DETECTED: &str = "repetition_detected";

/// The last token of a request whose blocks are kept for a peer, and who is told of them.
pub struct Last {
    pub request_id: Arc<str>,
    pub events: UnboundedSender<Generated>,
    pub event: Generated,
}

/// One generation in the engine.
pub struct Request {
    params: Arc<SamplingParams>,
    drawn_seed: u64,
    number: u32,
    /// `None` until it is admitted: those that wait, which may be many, hold nothing of their own.
    state: Option<SamplerState>,
    constraint: Option<Box<dyn TokenConstraint>>,
    transfer: Transfer,
    /// The last token, when it waits for a lease.
    last: Option<Generated>,
    events: UnboundedSender<Generated>,
    /// Log-probabilities of prompt tokens, collected over the chunks; taken when they are sent.
    prompt_logprobs: Option<Vec<TokenLogprobs>>,
    /// Prompt positions whose logits are still to come start here; `usize::MAX` when none are.
    unscored: usize,
    announced: bool,
    timeline: SharedTimeline,
    /// What had held up the queue when it was queued.
    waits: Waits,
    /// What of that counted before its KV was on its way.
    waits_so_far: Waits,
    /// Every step gives a token now.
    decodes: bool,
    /// Whether the timeline wants the steps of prefill and of decode.
    notes_prefill: bool,
    notes_decode: bool,
}

impl Request {
    /// `engine_seed` seeds the draws of a request without a seed.
    pub fn new(
        id: RequestId,
        request: &mut NewRequest,
        engine_seed: u64,
        events: UnboundedSender<Generated>,
    ) -> Self {
        let params = request.params.clone();
        let wants_prompt = params.prompt_logprobs.is_some();
        let (notes_prefill, notes_decode) =
            request.timeline.write(|t| (t.prefill_steps.has_room(), t.decode_steps.has_room()));
        Self {
            // Each request draws from its own stream, whatever else is in the engine.
            drawn_seed: splitmix64(engine_seed ^ splitmix64(id.0)),
            number: request.number,
            state: None,
            constraint: request.constraint.take(),
            transfer: std::mem::take(&mut request.transfer),
            last: None,
            events,
            prompt_logprobs: wants_prompt.then(Vec::new),
            unscored: if wants_prompt && request.prompt.len() > 1 { 0 } else { usize::MAX },
            announced: false,
            timeline: request.timeline.clone(),
            waits: Waits::default(),
            waits_so_far: Waits::default(),
            decodes: false,
            notes_prefill,
            notes_decode,
            params,
        }
    }

    /// How many trailing rows of a step need logits, when the step computes positions
    /// `start..end` of a sequence with `known` tokens.
    pub fn rows_wanted(&self, start: usize, end: usize, known: usize) -> usize {
        let samples = usize::from(end == known);
        samples.max(end.saturating_sub(start.max(self.unscored)))
    }

    /// How the token after `generated` ones is drawn from a row as it is; `None` when the host must
    /// see the logits: to change them, for log-probabilities that only it can tell, or to keep to a
    /// grammar.
    pub fn draw(&self, generated: usize, mode: LogprobsMode) -> Option<Draw> {
        let (params, state) = self.sampling();
        if self.needs_logits() {
            return None;
        }
        Draw::of(params, state, generated)?.reporting(params, mode)
    }

    /// The same, when the last of the `generated` tokens is not known yet. `None` as well when a
    /// peer may read the blocks as soon as that one turns out to be the last.
    pub fn draw_ahead(&self, generated: usize, mode: LogprobsMode) -> Option<Draw> {
        let (params, state) = self.sampling();
        if self.needs_logits() || matches!(self.transfer, Transfer::Lease(_)) {
            return None;
        }
        Draw::ahead(params, state, generated)?.reporting(params, mode)
    }

    fn needs_logits(&self) -> bool {
        self.unscored != usize::MAX || self.constraint.is_some()
    }

    /// Whether its `generated`th token, which makes its sequence `len` tokens long, is its last
    /// one whatever it is.
    pub fn is_full_after(&self, generated: usize, len: usize, max_model_len: usize) -> bool {
        generated >= self.params.max_tokens as usize || len >= max_model_len
    }

    /// Works out which tokens may come next.
    pub fn prepare_mask(&mut self) {
        if let Some(constraint) = &mut self.constraint {
            constraint.prepare();
        }
    }

    /// The tokens that may come next; `None` when all may.
    pub fn mask(&self) -> Option<&[u32]> {
        self.constraint.as_ref()?.mask()
    }

    /// Whether a sampled token keeps to the grammar.
    pub fn fits(&mut self, token: Token) -> bool {
        self.constraint.as_mut().is_none_or(|constraint| constraint.accept(token))
    }

    /// What the row at position `position` is for: the log-probability of the next prompt token,
    /// or (`None`) a sample.
    pub fn scored_token(&self, position: usize, prompt: &[Token]) -> Option<(Token, i32)> {
        let top = self.params.prompt_logprobs.filter(|_| position >= self.unscored)?;
        prompt.get(position + 1).map(|&token| (token, top))
    }

    /// Takes the log-probability of the next prompt token, in order.
    pub fn add_prompt_logprobs(&mut self, logprobs: TokenLogprobs, prompt_len: usize) {
        let list = self.prompt_logprobs.as_mut().expect("asked for");
        list.push(logprobs);
        self.unscored = if list.len() + 1 == prompt_len { usize::MAX } else { list.len() };
    }

    /// The parts the sampler needs.
    pub fn sampling(&self) -> (&SamplingParams, &SamplerState) {
        (&self.params, self.state.as_ref().expect("it was admitted"))
    }

    /// The engine has it now.
    pub fn queued(&mut self, at: Moment, waits: &Waits) {
        self.waits = *waits;
        self.timeline.write(|timeline| timeline.queued = Some(at));
    }

    /// It has a place in the step that begins at `at`; `cached` of its tokens need no computing.
    pub fn admitted(
        &mut self,
        at: Moment,
        prompt: &[Token],
        (vocab, cached): (usize, usize),
        waits: &Waits,
    ) {
        if self.state.is_none() {
            let state = SamplerState::new(&self.params, prompt, vocab, self.drawn_seed);
            self.state = Some(state.numbered(self.number));
        }
        let waits = waits.since(&self.waits);
        self.timeline.write(|timeline| {
            if timeline.scheduled.is_none() {
                timeline.scheduled = Some(at);
                timeline.waits = waits;
                timeline.cached = cached as u32;
            }
            timeline.enter(Phase::Prefill, at);
        });
    }

    /// What it has to do with other servers.
    pub fn transfer(&self) -> &Transfer {
        &self.transfer
    }

    /// It begins or ends to wait for KV from elsewhere; `waits` is what has held up the queue.
    pub fn enter(&mut self, phase: Phase, at: Moment, waits: &Waits) {
        if phase == Phase::Queue {
            // What held up others meanwhile did not hold up this one.
            self.waits = waits.since(&self.waits_so_far);
        } else {
            self.waits_so_far = waits.since(&self.waits);
        }
        self.timeline.write(|timeline| timeline.enter(phase, at));
    }

    /// Its KV came.
    pub fn note_pull(&mut self, stats: PullStats) {
        self.timeline.write(|timeline| timeline.pull = Some(stats));
    }

    /// It lost its blocks.
    pub fn preempted(&mut self, at: Moment) {
        self.decodes = false;
        self.timeline.write(|timeline| {
            timeline.preemptions += 1;
            timeline.enter(Phase::Preempted, at);
        });
    }

    /// It took part in a step, and has a token from it if it `samples`.
    pub fn stepped(&mut self, event: StepEvent, samples: bool) {
        if self.decodes {
            if self.notes_decode {
                self.timeline.write(|timeline| timeline.decode_steps.push(event));
            }
            return;
        }
        if !self.notes_prefill && !samples {
            return;
        }
        self.decodes = samples;
        self.timeline.write(|timeline| {
            timeline.prefill_steps.push(event);
            if samples {
                timeline.first_token.get_or_insert(event.at);
                timeline.enter(Phase::Decode, event.at);
            }
        });
    }

    /// Sends the sampled token, with what ends the generation if it does. `cached` is told with
    /// the first one. False when nobody listens any more.
    pub fn send_token(
        &mut self,
        sampled: Sampled,
        at: Moment,
        finish: Option<Finish>,
        cached: usize,
    ) -> bool {
        if let Some(state) = &mut self.state {
            state.accept(sampled.token);
        }
        if !std::mem::replace(&mut self.announced, true) {
            let logprobs = self.prompt_logprobs.take();
            let _ = self.events.send(Generated::Prompt { cached: cached as u32, logprobs });
        }
        let (token, logprobs) = (sampled.token, sampled.logprobs);
        let is_kept = finish.as_ref().is_some_and(|finish| {
            matches!(finish.reason, FinishReason::Stop | FinishReason::Length)
                && matches!(self.transfer, Transfer::Lease(_))
        });
        let event = Generated::Token { token, logprobs, at, finish };
        if is_kept && !self.events.is_closed() {
            self.last = Some(event);
            return true;
        }
        self.events.send(event).is_ok()
    }

    /// The last token, if it waits for a lease.
    pub fn into_last(self) -> Option<Last> {
        let Transfer::Lease(request_id) = self.transfer else { return None };
        Some(Last { request_id, events: self.events, event: self.last? })
    }

    /// Ends the generation without a token.
    pub fn send_end(&self, reason: FinishReason) {
        let _ = self.events.send(Generated::End(Finish { reason, stop: None }));
    }

    /// Whether the last token of `output`, that of a sequence that is now `len` tokens long, ends
    /// the generation. vLLM's order: end token, stop tokens, length, repetition.
    pub fn finish_after(
        &self,
        output: &[Token],
        len: usize,
        max_model_len: usize,
    ) -> Option<Finish> {
        let (&token, count) = (output.last()?, output.len());
        if count < self.params.min_tokens as usize && len < max_model_len {
            return None;
        }
        let stop = |stop| Some(Finish { reason: FinishReason::Stop, stop });
        if self.params.eos == Some(token) {
            return stop(None);
        }
        if self.params.stop_token_ids.contains(&token) {
            return stop(Some(StopReason::Token(token)));
        }
        if self.is_full_after(count, len, max_model_len) {
            return Some(Finish { reason: FinishReason::Length, stop: None });
        }
        let repeats = self.params.repetition.is_some_and(|rule| rule.is_at_end_of(output));
        let stop = || Some(StopReason::Text(REPETITION_DETECTED.to_owned()));
        repeats.then(|| Finish { reason: FinishReason::Repetition, stop: stop() })
    }
}

/// A bijection that scatters neighbouring numbers.
fn splitmix64(mut x: u64) -> u64 {
    x = x.wrapping_add(0x9e37_79b9_7f4a_7c15);
    x = (x ^ (x >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    x = (x ^ (x >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    x ^ (x >> 31)
}
