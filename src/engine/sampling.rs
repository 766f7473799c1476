//! From the rows of a step to tokens.

use super::request::Request;
use super::status::{Counters, Status};
use crate::runner::{RowSink, StepBatch};
use crate::sampler::{Sampled, Sampler, keep_masked};
use crate::scheduler::{Scheduler, Sequence, Work};
use crate::types::{FinishReason, Moment, Token, TokenLogprobs};
use std::sync::atomic::Ordering::Relaxed;

/// What a row of logits became.
pub enum RowResult {
    Sampled(Sampled),
    Scored(TokenLogprobs),
}

/// Turns rows of logits into tokens while the backend still holds them.
pub struct Sampling<'a> {
    pub batch: &'a StepBatch,
    pub work: &'a [Work],
    pub scheduler: &'a Scheduler,
    pub requests: &'a [Option<Request>],
    pub sampler: &'a mut Sampler,
    /// In the order of the rows.
    pub results: &'a mut Vec<RowResult>,
    pub status: &'a Status,
}

impl RowSink for Sampling<'_> {
    fn logits(&mut self, row: usize, logits: &mut [f32]) {
        let row = self.batch.rows[row];
        let slot = self.work[row.seq as usize].slot;
        let sequence = self.scheduler.sequence(slot);
        let request = self.requests[slot].as_ref().expect("planned slots are in use");
        let position = self.batch.positions[row.row as usize] as usize;
        let result = match request.scored_token(position, sequence.prompt()) {
            Some((token, top)) => RowResult::Scored(self.sampler.score(token, top, logits)),
            None => {
                let (params, state) = request.sampling();
                let output = sequence.output();
                if let Some(mask) = request.mask() {
                    keep_masked(mask, logits);
                }
                RowResult::Sampled(self.sampler.sample(params, state, output, logits))
            }
        };
        self.results.push(result);
    }

    fn sampled(&mut self, _row: usize, token: Token) {
        self.results.push(RowResult::Sampled(Sampled { token, logprobs: None }));
    }

    fn reported(&mut self, _row: usize, sampled: TokenLogprobs) {
        let (token, logprobs) = (sampled.token, Some(Box::new(sampled)));
        self.results.push(RowResult::Sampled(Sampled { token, logprobs }));
    }

    fn progress(&mut self) {
        self.status.progress(true);
    }
}

/// Works out, while the device computes, what the grammars allow next.
pub fn prepare_masks(work: &[Work], scheduler: &Scheduler, requests: &mut [Option<Request>]) {
    for &Work { slot, start, len } in work {
        if start + len == scheduler.sequence(slot).tokens.len() {
            requests[slot].as_mut().expect("planned slots are in use").prepare_mask();
        }
    }
}

/// Counts the token that `sequence` is about to get, and with the first one its prompt. Returns
/// how many tokens that was.
pub fn count_sample(counters: &Counters, sequence: &Sequence) -> u64 {
    let mut tokens = 1;
    if sequence.output().is_empty() {
        let spared = (sequence.cached + sequence.pulled).min(sequence.prompt_len);
        tokens += (sequence.prompt_len - spared) as u64;
        counters.prompt_tokens.fetch_add(sequence.prompt_len as u64, Relaxed);
        counters.prompt_tokens_cached.fetch_add(spared as u64, Relaxed);
        counters.prompt_tokens_pulled.fetch_add(sequence.pulled as u64, Relaxed);
    }
    tokens
}

/// Appends a token that was sampled in the step that ended `at` to its sequence and sends it. True
/// when the generation is over, which it is as well when the token breaks the grammar.
pub fn take_sample(
    counters: &Counters,
    sequence: &mut Sequence,
    request: &mut Request,
    sampled: Sampled,
    at: Moment,
    max_model_len: usize,
) -> bool {
    let token = sampled.token;
    sequence.tokens.push(token);
    let len = sequence.tokens.len();
    let finish = request.finish_after(sequence.output(), len, max_model_len);
    if !request.fits(token) {
        request.send_end(FinishReason::Error);
        counters.count_finish(FinishReason::Error);
        return true;
    }
    let is_over = finish.is_some();
    let heard = request.send_token(sampled, at, finish, sequence.cached + sequence.pulled);
    is_over || !heard
}
