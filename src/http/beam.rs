//! Beam search as vLLM's frontend does it: each step asks the engine for one token of every beam,
//! and the prefix cache spares computing what the beams have in common.
//!
//! Sums of log-probabilities, scores and the order of candidates are vLLM's to the bit: doubles
//! over the engine's floats, and the beam that came first where two are equal.

use super::account::Account;
use super::fanout::Output;
use super::frontend::Frontend;
use super::prompt::TokenPrompt;
use super::request::BeamParams;
use crate::engine::{Generation, NewRequest, Transfer};
use crate::error::ApiError;
use crate::text::PositionTexts;
use crate::types::{
    Finish, FinishReason, Generated, Moment, SamplingParams, SharedTimeline, StopReason,
    TimelineRoom, Token, TokenLogprobs,
};
use std::sync::Arc;

/// What all steps of one search have in common.
pub struct Search<'a> {
    pub frontend: &'a Frontend,
    pub prompt: &'a TokenPrompt,
    pub params: &'a BeamParams,
    pub cache_salt: Option<Arc<str>>,
    pub session: Option<Arc<str>>,
}

/// A text under way, or at its end.
#[derive(Clone)]
struct Beam {
    /// The prompt, then what was chosen.
    tokens: Vec<Token>,
    /// The candidates of each step.
    steps: Vec<Arc<TokenLogprobs>>,
    /// The sum of the chosen tokens' log-probabilities.
    sum: f64,
    finish: Option<Finish>,
}

/// What one step gave for one beam.
struct Step {
    logprobs: Arc<TokenLogprobs>,
    at: Moment,
}

impl Search<'_> {
    /// Runs the search, and gives the best texts, best first. `account` is that of the whole of
    /// it.
    pub async fn run(&self, mut account: Account) -> Result<Vec<Output>, ApiError> {
        let mut beams = vec![Beam::start(&self.prompt.tokens)];
        let mut ended = Vec::new();
        let mut timeline = Some(account.timeline());
        let params = Arc::new(self.check()?);
        for _ in 0..self.params.max_tokens.max(0) {
            let Some(steps) = self.step(&beams, &params, timeline.take()).await? else {
                let abort = || Finish { reason: FinishReason::Abort, stop: None };
                beams.iter_mut().for_each(|beam| beam.finish = Some(abort()));
                break;
            };
            steps.iter().take(1).for_each(|first| account.token(first.at));
            beams = self.advance(&beams, &steps, &mut ended);
            if beams.is_empty() {
                break;
            }
        }
        ended.append(&mut beams);
        let best = self.best(ended)?;
        let outputs: Vec<Output> = best.into_iter().map(|beam| self.output(beam)).collect();
        let finish = outputs.first().and_then(|output| output.finish.as_ref());
        account.finished(finish.map_or(FinishReason::Length, |finish| finish.reason));
        Ok(outputs)
    }

    /// What every step asks for each beam, after the checks that vLLM makes in the first one.
    fn check(&self) -> Result<SamplingParams, ApiError> {
        let limits = &self.frontend.options.limits;
        if self.params.max_tokens < 1 {
            return Ok(SamplingParams::greedy(1));
        }
        let params = self.params.step(limits)?;
        self.prompt.check(limits.max_model_len)?;
        Ok(params)
    }

    /// One token for every beam; `None` when the engine ends what it has.
    async fn step(
        &self,
        beams: &[Beam],
        params: &Arc<SamplingParams>,
        mut timeline: Option<SharedTimeline>,
    ) -> Result<Option<Vec<Step>>, ApiError> {
        let engine = &self.frontend.engine;
        let mut room = engine.reserve(beams.len())?;
        let mut generations = Vec::with_capacity(beams.len());
        for beam in beams {
            let now = engine.clock().now();
            let untold = || SharedTimeline::new(now, TimelineRoom::default());
            generations.push(room.start(NewRequest {
                prompt: beam.tokens.as_slice().into(),
                params: params.clone(),
                number: 0,
                priority: 0,
                cache_salt: self.cache_salt.clone(),
                session: self.session.clone(),
                reports_prefix: false,
                transfer: Transfer::None,
                constraint: None,
                timeline: timeline.take().unwrap_or_else(untold),
            })?);
        }
        let mut steps = Vec::with_capacity(beams.len());
        for generation in generations {
            match listen(generation).await? {
                Some(step) => steps.push(step),
                None => return Ok(None),
            }
        }
        Ok(Some(steps))
    }

    /// The beams after a step, best first. Those whose text ends with it go to `ended`.
    fn advance(&self, beams: &[Beam], steps: &[Step], ended: &mut Vec<Beam>) -> Vec<Beam> {
        let eos = self.frontend.eos.filter(|_| !self.params.ignore_eos);
        let mut candidates = Vec::new();
        for (beam, step) in beams.iter().zip(steps) {
            for (token, logprob) in distinct(&step.logprobs) {
                let sum = beam.sum + f64::from(logprob);
                if Some(token) == eos {
                    ended.push(self.ended(beam, token, sum, step));
                } else {
                    candidates.push((sum, token, beam, step));
                }
            }
        }
        candidates.sort_by(|a, b| b.0.total_cmp(&a.0));
        candidates.truncate(self.params.width);
        let grown = |(sum, token, beam, step): (f64, Token, &Beam, &Step)| {
            let mut beam = Beam { sum, ..beam.clone() };
            beam.tokens.push(token);
            beam.steps.push(step.logprobs.clone());
            beam
        };
        candidates.into_iter().map(grown).collect()
    }

    /// A beam whose text ends with the end token, which is its own only when it is shown.
    fn ended(&self, beam: &Beam, eos: Token, sum: f64, step: &Step) -> Beam {
        let stop = Some(StopReason::Token(eos));
        let finish = Some(Finish { reason: FinishReason::Stop, stop });
        let mut beam = Beam { sum, finish, ..beam.clone() };
        beam.tokens.extend(self.params.include_stop_str_in_output.then_some(eos));
        beam.steps.push(step.logprobs.clone());
        beam
    }

    /// The best of all texts, best first.
    fn best(&self, beams: Vec<Beam>) -> Result<Vec<Beam>, ApiError> {
        let scores: Result<Vec<f64>, ApiError> =
            beams.iter().map(|beam| self.score(beam)).collect();
        let mut scored: Vec<(f64, Beam)> = scores?.into_iter().zip(beams).collect();
        scored.sort_by(|a, b| b.0.total_cmp(&a.0));
        scored.truncate(self.params.width);
        Ok(scored.into_iter().map(|(_, beam)| beam).collect())
    }

    /// The sum over a power of the length: that of prompt and text together, as in vLLM.
    fn score(&self, beam: &Beam) -> Result<f64, ApiError> {
        let ends = beam.tokens.last().copied() == self.frontend.eos && self.frontend.eos.is_some();
        let len = (beam.tokens.len() - usize::from(ends)).max(1) as f64;
        let power = len.powf(self.params.length_penalty);
        if power.is_infinite() {
            return Err(ApiError::bad_request("(34, 'Numerical result out of range')"));
        }
        if power == 0.0 {
            return Err(ApiError::internal("float division by zero"));
        }
        Ok(beam.sum / power)
    }

    fn output(&self, beam: Beam) -> Output {
        let vocabulary = self.frontend.encoder.vocabulary();
        let tokens = &beam.tokens[self.prompt.tokens.len()..];
        // An end token of the prompt's counts, too, when nothing follows it.
        let ends = beam.tokens.last().copied() == self.frontend.eos && !self.params.ignore_eos;
        let shown = &tokens[..tokens.len() - usize::from(ends && !tokens.is_empty())];
        let text = vocabulary.decode(shown, self.params.skip_special_tokens);
        let steps = tokens.iter().zip(&beam.steps);
        let positions =
            steps.map(|(&token, logprobs)| PositionTexts::of_beam(vocabulary, logprobs, token));
        let length = || Finish { reason: FinishReason::Length, stop: None };
        Output {
            logprobs: positions.collect(),
            finish: Some(beam.finish.unwrap_or_else(length)),
            total_tokens: tokens.len(),
            tokens: tokens.to_vec(),
            text,
        }
    }
}

impl Beam {
    fn start(prompt: &[Token]) -> Self {
        Self { tokens: prompt.to_vec(), steps: Vec::new(), sum: 0.0, finish: None }
    }
}

/// The candidates of a step: the sampled token, then the most likely ones.
fn distinct(logprobs: &TokenLogprobs) -> impl Iterator<Item = (Token, f32)> {
    let others = logprobs.top.iter().copied().filter(|(token, _)| *token != logprobs.token);
    std::iter::once((logprobs.token, logprobs.logprob)).chain(others)
}

/// Waits for the one token of a generation; `None` when the engine ended it.
async fn listen(mut generation: Generation) -> Result<Option<Step>, ApiError> {
    loop {
        match generation.next().await {
            Some(Generated::Prompt { .. } | Generated::Leased(_)) => {}
            Some(Generated::Token { logprobs, at, .. }) => {
                let logprobs = logprobs.ok_or_else(ApiError::generation_failed)?;
                generation.finish(FinishReason::Length);
                return Ok(Some(Step { logprobs: Arc::from(logprobs), at }));
            }
            Some(Generated::End(finish)) if finish.reason == FinishReason::Error => {
                return Err(ApiError::generation_failed());
            }
            Some(Generated::End(_)) => return Ok(None),
            None => return Err(ApiError::engine_dead()),
        }
    }
}
