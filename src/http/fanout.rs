//! The generations behind one request, merged: every prompt's `n` replies, as text.

use super::account::{Account, Siblings};
use super::call::Call;
use super::frontend::Frontend;
use super::headers::session;
use super::in_flight::Noted;
use super::prompt::TokenPrompt;
use super::request::{Described, GenerateFields, Sampling};
use super::request_log::{FanoutLog, RequestLog};
use crate::engine::{Generation, NewRequest, Refused, Reservation};
use crate::error::ApiError;
use crate::telemetry::request::Outcome;
use crate::text::{OutputText, PositionTexts, TextOptions, TokenTexts};
use crate::types::{Finish, FinishReason, Generated, PromptLogprobs, Token};
use axum::http::HeaderMap;
use std::sync::Arc;
use std::task::{Context, Poll};

/// When the output of a generation is handed on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Emission {
    /// With the first token, then with every so many, then at the end.
    Every(usize),
    AtEnd,
}

/// What a generation gave since its output was last handed on.
#[derive(Debug, Default)]
pub struct Output {
    pub tokens: Vec<Token>,
    pub text: String,
    /// One for each token, when they were asked for.
    pub logprobs: Vec<PositionTexts>,
    pub finish: Option<Finish>,
    /// Tokens since the start.
    pub total_tokens: usize,
}

/// One generation.
struct Part {
    /// `None` once it has ended.
    generation: Option<Generation>,
    text: OutputText,
    texts: Option<TokenTexts>,
    output: Output,
    account: Account,
    cached: u32,
    prompt_logprobs: Option<PromptLogprobs>,
    /// For those who abort it by its id.
    _noted: Option<Noted>,
}

/// A prompt with what to do with it.
pub struct Job {
    pub prompt: TokenPrompt,
    pub sampling: Sampling,
}

/// Where a request came from.
pub struct Origin<'a> {
    /// The reply's id.
    pub id: &'a str,
    /// Whether vLLM's engine knows each prompt by the reply's id and its own number.
    pub numbers_prompts: bool,
    pub headers: &'a HeaderMap,
    pub call: Call,
    /// `None` when requests are not logged.
    pub log: Option<RequestLog>,
}

impl Origin<'_> {
    /// The id of a prompt in vLLM's engine.
    fn engine_id(&self, prompt: usize) -> String {
        match self.numbers_prompts {
            true => format!("{}-{prompt}", self.id),
            false => self.id.to_owned(),
        }
    }
}

/// All generations of one request, prompt by prompt.
pub struct Fanout {
    log: Option<FanoutLog>,
    call: Call,
    parts: Vec<Part>,
    emission: Emission,
    /// The part to ask first, so that none waits behind a faster one.
    turn: usize,
    /// The part whose output was handed on last; it is emptied before more is read.
    shown: Option<usize>,
}

impl Drop for Fanout {
    fn drop(&mut self) {
        if let Some(log) = &self.log {
            log.dropped(self.parts.iter().map(|part| part.generation.is_some()));
        }
    }
}

impl From<Refused> for ApiError {
    fn from(refused: Refused) -> Self {
        match refused {
            Refused::Full => Self::overloaded(),
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
            origin.call.resolved(origin.id, &job.sampling);
            (job.sampling.stream_interval, job.sampling.n)
        });
        let emission = match request.stream {
            true => Emission::Every(interval.max(self.options.stream_interval).max(1)),
            false => Emission::AtEnd,
        };
        let log = origin.log.clone().map(|log| FanoutLog::new(log, n, request.stream));
        let call = origin.call.clone();
        let mut fanout = Fanout { log, call, parts: Vec::new(), emission, turn: 0, shown: None };
        let mut first = Some(first);
        for (index, job) in jobs.into_iter().enumerate() {
            let id = origin.engine_id(index);
            if let Some(log) = &origin.log {
                let (fields, sampling) = (&request.sampling, &job.sampling);
                let prompt = (job.prompt.text.as_deref(), &*job.prompt.tokens);
                log.received(&id, prompt, Described { fields, sampling });
            }
            let started = self.start_job(request, &origin, &id, first.take(), job).await;
            if let (Some(log), Err(error)) = (&origin.log, &started) {
                log.failed(&id, error);
            }
            fanout.parts.append(&mut started?);
            if let Some(log) = &mut fanout.log {
                log.added(id);
            }
        }
        Ok(fanout)
    }

    /// Starts the generations of one prompt, which the engine knows as `id`.
    async fn start_job(
        &self,
        request: &GenerateFields,
        origin: &Origin<'_>,
        id: &str,
        room: Option<Reservation>,
        Job { prompt, mut sampling }: Job,
    ) -> Result<Vec<Part>, ApiError> {
        let headers = origin.headers;
        let (limits, len) = (&self.options.limits, prompt.tokens.len());
        request.sampling.finish(&mut sampling, limits, &self.defaults, self.eos, len)?;
        check_rank(headers)?;
        prompt.check(limits.max_model_len)?;
        self.tokenise_bad_words(&mut sampling).await?;
        let mut room = match room {
            Some(room) => room,
            None => self.engine.reserve(sampling.n)?,
        };
        let mut parts = Vec::with_capacity(sampling.n);
        let siblings = Siblings::new(sampling.n);
        let session = session(headers, request).map(Arc::from);
        for k in 0..sampling.n {
            let mut params = sampling.params.clone();
            params.seed = params.seed.map(|seed| seed.wrapping_add(k as i64));
            let account = Account::open(&origin.call, &siblings, id, &params, len);
            let new = NewRequest {
                prompt: prompt.tokens.clone(),
                params,
                priority: priority(headers).unwrap_or(request.priority),
                cache_salt: request.cache_salt.as_deref().map(Arc::from),
                session: session.clone(),
                reports_prefix: request.reports_prefix,
                timeline: account.timeline(),
            };
            let generation = room.start(new)?;
            let _noted = self.in_flight.add(generation.id(), id, sampling.n > 1);
            parts.push(Part { _noted, ..self.part(generation, account, &prompt, &sampling) });
        }
        Ok(parts)
    }

    fn part(
        &self,
        generation: Generation,
        account: Account,
        prompt: &TokenPrompt,
        sampling: &Sampling,
    ) -> Part {
        let vocabulary = self.encoder.vocabulary();
        let options = TextOptions {
            skip_special_tokens: sampling.skip_special_tokens,
            stop: sampling.stop.clone(),
            include_stop_str_in_output: sampling.include_stop_str_in_output,
            min_tokens: sampling.params.min_tokens,
        };
        let texts = sampling.params.logprobs.map(|_| TokenTexts::new(vocabulary.clone()));
        Part {
            generation: Some(generation),
            text: OutputText::new(vocabulary.clone(), &prompt.tokens, options),
            texts,
            output: Output::default(),
            account,
            cached: 0,
            prompt_logprobs: None,
            _noted: None,
        }
    }

    async fn tokenise_bad_words(&self, sampling: &mut Sampling) -> Result<(), ApiError> {
        if sampling.bad_words.is_empty() {
            return Ok(());
        }
        let words = self.encoder.encode_bad_words(sampling.bad_words.clone()).await;
        sampling.params.bad_words = words.map_err(|error| {
            ApiError::parameter(error, "bad_words", Some(&sampling.bad_words_repr()))
        })?;
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
    int_header(headers, "x-vllm-priority")
}

/// An integer header; anything else counts as absent.
fn int_header(headers: &HeaderMap, name: &str) -> Option<i64> {
    headers.get(name)?.to_str().ok()?.trim().parse().ok()
}

impl Fanout {
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

    /// Prompt tokens of a part that came from the cache.
    pub fn cached(&self, at: usize) -> u32 {
        self.parts.get(at).map_or(0, |part| part.cached)
    }

    /// The log-probabilities of a part's prompt tokens, when they were asked for; only once.
    pub fn take_prompt_logprobs(&mut self, at: usize) -> Option<PromptLogprobs> {
        self.parts.get_mut(at)?.prompt_logprobs.take()
    }
}

impl Part {
    fn poll(
        &mut self,
        cx: &mut Context<'_>,
        emission: Emission,
    ) -> Poll<Option<Result<(), ApiError>>> {
        loop {
            let Some(generation) = &mut self.generation else { return Poll::Ready(None) };
            let Some(event) = std::task::ready!(generation.poll_next(cx)) else {
                self.account.close(Outcome::Lost);
                return Poll::Ready(Some(Err(ApiError::engine_dead())));
            };
            match event {
                Generated::Prompt { cached, logprobs } => {
                    self.cached = cached;
                    self.prompt_logprobs = logprobs;
                    continue;
                }
                Generated::Token { token, logprobs, at, finish } => {
                    self.account.token(at);
                    if let (Some(texts), Some(logprobs)) = (&mut self.texts, &logprobs) {
                        self.output.logprobs.push(texts.next(logprobs));
                    }
                    let delta = self.text.push(token, finish);
                    self.output.tokens.push(token);
                    self.output.total_tokens += 1;
                    self.output.text.push_str(&delta.text);
                    self.output.finish = delta.finish;
                }
                Generated::End(finish) => {
                    self.output.text.push_str(&self.text.finish_without_token());
                    self.output.finish = Some(finish);
                }
            }
            if let Some(finish) = &self.output.finish {
                self.account.close(Outcome::Finished(finish.reason));
            }
            match &self.output.finish {
                Some(finish) if finish.reason == FinishReason::Error => {
                    return Poll::Ready(Some(Err(ApiError::generation_failed())));
                }
                // The engine may not know of the end yet; this tells it.
                Some(finish) => {
                    if let Some(generation) = self.generation.take() {
                        generation.finish(finish.reason);
                    }
                }
                None if !emission.is_due(&self.output) => continue,
                None => {}
            }
            return Poll::Ready(Some(Ok(())));
        }
    }
}

impl Emission {
    fn is_due(self, output: &Output) -> bool {
        match self {
            Self::Every(count) => {
                output.tokens.len() >= count || output.tokens.len() == output.total_tokens
            }
            Self::AtEnd => false,
        }
    }
}
