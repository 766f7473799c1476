//! The generations behind one request, merged: every prompt's `n` replies, as text.

mod part;

pub use part::{Emission, Output};

use super::account::{Account, Siblings};
use super::beam::Search;
use super::call::Call;
use super::frontend::Frontend;
use super::headers::{PRIORITY, session};
use super::in_flight::Noted;
use super::json::Int;
use super::prompt::TokenPrompt;
use super::request::{BeamParams, Described, GenerateFields, Sampling, python_int};
use super::request_log::{FanoutLog, RequestLog};
use super::timing::RequestTiming;
use crate::engine::{NewRequest, Refused, Reservation};
use crate::error::ApiError;
use crate::types::{LeasedBlocks, PromptLogprobs, SamplingParams, SpanRef};
use axum::http::HeaderMap;
use futures_util::future::try_join_all;
use part::Part;
use std::sync::Arc;
use std::task::{Context, Poll};

/// A prompt with what to do with it.
pub struct Job {
    pub prompt: TokenPrompt,
    pub sampling: Sampling,
}

/// By what vLLM's engine knows each prompt: the reply's id, with its number or without.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Numbering {
    Dash,
    Underscore,
    None,
}

/// Where a request came from.
pub struct Origin<'a> {
    /// The reply's id.
    pub id: &'a str,
    pub numbers: Numbering,
    pub headers: &'a HeaderMap,
    pub call: Call,
    /// `None` when requests are not logged.
    pub log: Option<RequestLog>,
}

impl Origin<'_> {
    /// The id of a prompt in vLLM's engine.
    fn engine_id(&self, prompt: usize) -> String {
        match self.numbers {
            Numbering::Dash => format!("{}-{prompt}", self.id),
            Numbering::Underscore => format!("{}_{prompt}", self.id),
            Numbering::None => self.id.to_owned(),
        }
    }
}

/// All generations of one request, prompt by prompt.
pub struct Fanout {
    log: Option<FanoutLog>,
    call: Call,
    parts: Vec<Part>,
    /// One for each prompt.
    in_flight: Vec<Noted>,
    /// One reply to one prompt was asked for.
    is_single: bool,
    emission: Emission,
    /// The part to ask first, so that none waits behind a faster one.
    turn: usize,
    /// The part whose output was handed on last; it is emptied before more is read.
    shown: Option<usize>,
}

impl Drop for Fanout {
    fn drop(&mut self) {
        if let Some(log) = &self.log {
            log.dropped(self.parts.iter().map(|part| part.is_open()));
        }
    }
}

impl From<Refused> for ApiError {
    fn from(refused: Refused) -> Self {
        match refused {
            Refused::Full => Self::overloaded(),
            Refused::Backlog => Self::backlog(),
            Refused::Dead => Self::engine_dead(),
        }
    }
}

impl Frontend {
    /// Makes vLLM's engine-side checks for every job and starts its generations. `first` holds
    /// the room that was taken for the first job before it was tokenised.
    pub async fn start(
        &self,
        request: &GenerateFields,
        origin: Origin<'_>,
        first: Reservation,
        jobs: Vec<Job>,
    ) -> Result<Fanout, ApiError> {
        let (interval, n) = jobs.first().map_or((1, 1), |job| {
            origin.call.resolved(origin.id, job.sampling.n, &job.sampling.stop);
            (job.sampling.stream_interval, job.sampling.n)
        });
        let emission = match request.stream {
            true => Emission::Every(interval.max(self.options.stream_interval).max(1)),
            false => Emission::AtEnd,
        };
        let log = origin.log.clone().map(|log| FanoutLog::new(log, n, request.stream));
        let call = origin.call.clone();
        let mut fanout = Fanout::new(log, call, emission, n == 1 && jobs.len() == 1);
        let mut first = Some(first);
        let mut finished = None;
        for (index, job) in jobs.into_iter().enumerate() {
            let id = origin.engine_id(index);
            if let Some(log) = &origin.log {
                let (fields, sampling) = (&request.sampling, &job.sampling);
                let prompt = (job.prompt.text.as_deref(), &*job.prompt.tokens);
                log.received(&id, prompt, Described { fields, sampling });
            }
            let job = self.start_job(request, &origin, &id, first.take(), (job, &mut finished));
            let started = job.await;
            if let (Some(log), Err(error)) = (&origin.log, &started) {
                log.failed(&id, error);
            }
            let mut parts = started?;
            let several = parts.len() > 1;
            let noted =
                parts.iter().filter_map(|part| self.in_flight.add(part.id()?, &id, several));
            fanout.in_flight.extend(noted);
            fanout.parts.append(&mut parts);
            if let Some(log) = &mut fanout.log {
                log.added(id);
            }
        }
        Ok(fanout)
    }

    /// Starts the generations of one prompt, which the engine knows as `id`. `finished` holds the
    /// parameters of the request's first prompt, once they are checked and complete.
    async fn start_job(
        &self,
        request: &GenerateFields,
        origin: &Origin<'_>,
        id: &str,
        room: Option<Reservation>,
        (Job { prompt, mut sampling }, finished): (Job, &mut Option<SamplingParams>),
    ) -> Result<Vec<Part>, ApiError> {
        let headers = origin.headers;
        let (limits, len) = (&self.options.limits, prompt.tokens.len());
        if let Some(finished) = &*finished {
            let max_tokens = sampling.params.max_tokens;
            sampling.params = SamplingParams { max_tokens, ..finished.clone() };
            sampling.grammar = request.sampling.grammar(sampling.grammar.take(), limits)?;
        } else {
            request.sampling.finish(&mut sampling, limits, &self.defaults, self.eos)?;
        }
        request.sampling.check_prompt(len)?;
        check_rank(headers)?;
        prompt.check(limits.max_model_len)?;
        if finished.is_none() {
            self.tokenise_bad_words(&mut sampling).await?;
            *finished = Some(sampling.params.clone());
        }
        let params = Arc::new(sampling.params.clone());
        let grammar = self.compile(&origin.call, &mut sampling).await?;
        let mut room = match room {
            Some(room) => room,
            None => self.engine.reserve(sampling.n)?,
        };
        let mut parts = Vec::with_capacity(sampling.n);
        let siblings = Siblings::new(sampling.n);
        let session = session(headers, request).map(Arc::from);
        for k in 0..sampling.n {
            let number = k as u32;
            let account = Account::open(&origin.call, &siblings, id, (&params, number), len);
            let new = NewRequest {
                prompt: prompt.tokens.clone(),
                params: params.clone(),
                number,
                priority: priority(headers).unwrap_or(request.priority),
                cache_salt: request.cache_salt.as_deref().map(Arc::from),
                session: session.clone(),
                reports_prefix: request.reports_prefix,
                transfer: request.transfer.take(id, origin.call.arrival()),
                constraint: grammar
                    .as_ref()
                    .map(|grammar| self.constraint(grammar, &sampling, &prompt.tokens)),
                timeline: account.timeline(),
            };
            let vocabulary = self.encoder.vocabulary();
            let generation = room.start(new)?;
            let part = Part::new(generation, account, vocabulary, &prompt, &sampling);
            parts.push(part.cached_as(request.transfer.cached()));
        }
        Ok(parts)
    }

    /// Searches for the best texts after each prompt, then gives them as generations that have
    /// ended.
    pub async fn start_beams(
        &self,
        request: &GenerateFields,
        origin: Origin<'_>,
        room: Reservation,
        searches: Vec<(TokenPrompt, BeamParams)>,
    ) -> Result<Fanout, ApiError> {
        // Each step of a search takes room of its own.
        drop(room);
        let width = searches.first().map_or(1, |(_, params)| params.width);
        origin.call.resolved(origin.id, width, &[]);
        let log = origin.log.clone().map(|log| FanoutLog::new(log, width, request.stream));
        let call = origin.call.clone();
        let mut fanout = Fanout::new(log, call, Emission::AtEnd, width == 1 && searches.len() == 1);
        let mut runs = Vec::with_capacity(searches.len());
        for (index, (prompt, params)) in searches.iter().enumerate() {
            let id = origin.engine_id(index);
            if let Some(log) = &origin.log {
                log.received(&id, (prompt.text.as_deref(), &*prompt.tokens), params);
            }
            fanout.log.iter_mut().for_each(|log| log.added(id.clone()));
            let about = SamplingParams {
                temperature: params.temperature as f32,
                ..SamplingParams::greedy(params.max_tokens.max(0) as u32)
            };
            let siblings = Siblings::new(1);
            let len = prompt.tokens.len();
            let account = Account::open(&origin.call, &siblings, &id, (&about, 0), len);
            let search = Search {
                frontend: self,
                prompt,
                params,
                cache_salt: request.cache_salt.as_deref().map(Arc::from),
                session: session(origin.headers, request).map(Arc::from),
            };
            runs.push(async move { search.run(account).await });
        }
        for found in try_join_all(runs).await? {
            fanout.parts.extend(found.into_iter().map(Part::ended));
        }
        Ok(fanout)
    }

    async fn tokenise_bad_words(&self, sampling: &mut Sampling) -> Result<(), ApiError> {
        // Without a tokenizer they forbid nothing, as in vLLM.
        if sampling.bad_words.is_empty() || !self.encoder.has_tokenizer() {
            return Ok(());
        }
        let words = self.encoder.encode_bad_words(sampling.bad_words.to_vec()).await;
        let words = words.map_err(|error| {
            ApiError::parameter(error, "bad_words", Some(&sampling.bad_words_repr()))
        })?;
        sampling.params.bad_words = words.into();
        Ok(())
    }
}

/// This server is one engine: the only data-parallel rank is 0.
fn check_rank(headers: &HeaderMap) -> Result<(), ApiError> {
    match int_header(headers, "x-data-parallel-rank") {
        Some(rank) if rank != 0 => {
            Err(ApiError::bad_request(format!("data_parallel_rank {rank} is out of range [0, 1).")))
        }
        _ => Ok(()),
    }
}

fn priority(headers: &HeaderMap) -> Option<i64> {
    int_header(headers, PRIORITY)?.as_i64()
}

/// A header that Python's `int` can read; anything else counts as absent.
fn int_header(headers: &HeaderMap, name: &str) -> Option<Int> {
    python_int(headers.get(name)?.to_str().ok()?)
}

impl Fanout {
    fn new(log: Option<FanoutLog>, call: Call, emission: Emission, is_single: bool) -> Self {
        let (parts, in_flight) = (Vec::new(), Vec::new());
        Self { log, call, parts, in_flight, is_single, emission, turn: 0, shown: None }
    }

    /// Waits for a part with output to hand on, and gives its place. `None` when all have ended.
    pub fn poll_output(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<usize, ApiError>>> {
        if let Some(shown) = self.shown.take() {
            let output = &mut self.parts[shown].output;
            output.tokens.clear();
            output.text.clear();
            output.logprobs.clear();
        }
        let count = self.parts.len();
        let mut open = false;
        for step in 0..count {
            let at = (self.turn + step) % count;
            match self.parts[at].poll(cx, self.emission) {
                Poll::Ready(Some(Ok(()))) => {
                    self.turn = at + 1;
                    self.shown = Some(at);
                    if let Some(log) = &mut self.log {
                        log.output(at, &self.parts[at].output);
                    }
                    return Poll::Ready(Some(Ok(at)));
                }
                Poll::Ready(Some(Err(error))) => {
                    self.call.failed(&error);
                    if let Some(log) = &self.log {
                        log.failed(at, &error);
                    }
                    self.parts.clear();
                    return Poll::Ready(Some(Err(error)));
                }
                Poll::Ready(None) => {}
                Poll::Pending => open = true,
            }
        }
        if open {
            return Poll::Pending;
        }
        self.log.iter_mut().for_each(FanoutLog::ended);
        Poll::Ready(None)
    }

    /// Waits until every part has ended.
    pub async fn finish(&mut self) -> Result<Vec<Output>, ApiError> {
        let mut outputs: Vec<Output> = self.parts.iter().map(|_| Output::default()).collect();
        loop {
            match std::future::poll_fn(|cx| self.poll_output(cx)).await {
                None => {
                    self.log.iter().for_each(|log| log.replies(&outputs));
                    return Ok(outputs);
                }
                Some(at) => {
                    let at = at?;
                    outputs[at] = std::mem::take(&mut self.parts[at].output);
                }
            }
        }
    }

    /// The output of the part that [`Self::poll_output`] named.
    pub fn output(&self, at: usize) -> &Output {
        &self.parts[at].output
    }

    /// Prompt tokens of a part that came from the cache; `None` for a search, which does not say.
    pub fn cached(&self, at: usize) -> Option<u32> {
        self.parts.get(at)?.cached
    }

    /// The call's span.
    pub fn span(&self) -> Option<SpanRef> {
        self.call.span()
    }

    /// The blocks that are kept of the first prompt, and how many of its tokens were cached.
    pub fn leased(&self) -> Option<(&LeasedBlocks, u32)> {
        let part = self.parts.first()?;
        Some((part.leased.as_deref()?, part.cached.unwrap_or(0)))
    }

    /// The times of the one generation that has ended; of several nothing can be said.
    pub fn timing(&self) -> Option<&RequestTiming> {
        match self.parts.as_slice() {
            [part] if self.is_single => Some(&part.timing),
            _ => None,
        }
    }

    /// The log-probabilities of a part's prompt tokens, when they were asked for; only once.
    pub fn take_prompt_logprobs(&mut self, at: usize) -> Option<PromptLogprobs> {
        self.parts.get_mut(at)?.prompt_logprobs.take()
    }
}
