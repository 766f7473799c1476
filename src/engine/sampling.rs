//! From the rows of a step to tokens.

use super::request::Request;
use super::status::Status;
use crate::runner::{RowSink, StepBatch};
use crate::sampler::{Sampled, Sampler};
use crate::scheduler::{Scheduler, Work};
use crate::types::{Token, TokenLogprobs};

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
        let prompt = &sequence.tokens[..sequence.prompt_len];
        let result = match request.scored_token(position, prompt) {
            Some((token, top)) => RowResult::Scored(self.sampler.score(token, top, logits)),
            None => {
                let (params, state) = request.sampling();
                let output = sequence.output();
                RowResult::Sampled(self.sampler.sample(params, state, output, logits))
            }
        };
        self.results.push(result);
    }

    fn sampled(&mut self, _row: usize, token: Token) {
        self.results.push(RowResult::Sampled(Sampled { token, logprobs: None }));
    }

    fn progress(&mut self) {
        self.status.progress(true);
    }
}
