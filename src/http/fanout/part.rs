//! One generation of a request, as text.

use super::super::account::Account;
use super::super::prompt::TokenPrompt;
use super::super::request::Sampling;
use super::super::timing::RequestTiming;
use crate::engine::Generation;
use crate::error::ApiError;
use crate::telemetry::request::Outcome;
use crate::text::{OutputText, PositionTexts, TextOptions, TokenTexts, Vocabulary};
use crate::types::{
    Finish, FinishReason, Generated, LeasedBlocks, PromptLogprobs, RequestId, Token,
};
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
pub struct Part {
    /// `None` once it has ended.
    live: Option<Live>,
    /// It has ended, and nobody has seen its output yet.
    is_news: bool,
    pub output: Output,
    pub cached: Option<u32>,
    /// What stands for `cached`, whatever the engine says.
    told_cached: Option<u32>,
    pub timing: RequestTiming,
    pub prompt_logprobs: Option<PromptLogprobs>,
    /// The blocks that are kept for a peer.
    pub leased: Option<Box<LeasedBlocks>>,
}

/// What it takes to read a generation.
struct Live {
    generation: Generation,
    text: OutputText,
    texts: Option<TokenTexts>,
    account: Account,
}

impl Part {
    /// A generation that has just been handed over.
    pub fn new(
        generation: Generation,
        account: Account,
        vocabulary: &Arc<Vocabulary>,
        prompt: &TokenPrompt,
        sampling: &Sampling,
    ) -> Self {
        let options = TextOptions {
            skip_special_tokens: sampling.skip_special_tokens,
            stop: sampling.stop_texts.clone(),
            include_stop_str_in_output: sampling.include_stop_str_in_output,
            min_tokens: sampling.params.min_tokens,
        };
        let texts = sampling.params.logprobs.map(|_| TokenTexts::new(vocabulary.clone()));
        let text = OutputText::new(vocabulary.clone(), &prompt.tokens, options);
        let live = Some(Live { generation, text, texts, account });
        let output = Output::default();
        Self::with(live, false, output)
    }

    /// One that has ended.
    pub fn ended(output: Output) -> Self {
        Self::with(None, true, output)
    }

    fn with(live: Option<Live>, is_news: bool, output: Output) -> Self {
        let (cached, prompt_logprobs, leased) = (None, None, None);
        let timing = RequestTiming::default();
        let told_cached = None;
        Self { live, is_news, output, cached, told_cached, timing, prompt_logprobs, leased }
    }

    /// The same, but clients are told that so many prompt tokens were cached.
    pub fn cached_as(self, told_cached: Option<u32>) -> Self {
        Self { told_cached, ..self }
    }

    /// The engine's id for it, until it has ended.
    pub fn id(&self) -> Option<RequestId> {
        self.live.as_ref().map(|live| live.generation.id())
    }

    /// Whether its end is still to come.
    pub fn is_open(&self) -> bool {
        self.live.is_some()
    }

    /// Waits until there is output to hand on; `None` once it has ended.
    pub fn poll(
        &mut self,
        cx: &mut Context<'_>,
        emission: Emission,
    ) -> Poll<Option<Result<(), ApiError>>> {
        let Some(live) = &mut self.live else {
            let is_news = std::mem::take(&mut self.is_news);
            return Poll::Ready(is_news.then_some(Ok(())));
        };
        loop {
            let Some(event) = std::task::ready!(live.generation.poll_next(cx)) else {
                live.account.close(Outcome::Lost);
                return Poll::Ready(Some(Err(ApiError::engine_dead())));
            };
            match event {
                Generated::Prompt { cached, logprobs } => {
                    self.cached = self.told_cached.or(Some(cached));
                    self.prompt_logprobs = logprobs;
                    continue;
                }
                Generated::Leased(blocks) => {
                    self.leased = Some(blocks);
                    continue;
                }
                event => live.take(event, &mut self.output),
            }
            let Some(finish) = &self.output.finish else {
                if emission.is_due(&self.output) {
                    return Poll::Ready(Some(Ok(())));
                }
                continue;
            };
            self.timing = live.account.finished(finish.reason);
            if finish.reason == FinishReason::Error {
                return Poll::Ready(Some(Err(ApiError::generation_failed())));
            }
            // The engine may not know of the end yet; this tells it.
            if let Some(live) = self.live.take() {
                live.generation.finish(finish.reason);
            }
            return Poll::Ready(Some(Ok(())));
        }
    }
}

impl Live {
    /// Adds what the engine sent to the output.
    fn take(&mut self, event: Generated, output: &mut Output) {
        match event {
            Generated::Prompt { .. } | Generated::Leased(_) => {}
            Generated::Token { token, logprobs, at, finish } => {
                self.account.token(at);
                if let (Some(texts), Some(logprobs)) = (&mut self.texts, &logprobs) {
                    output.logprobs.push(texts.next(logprobs));
                }
                let delta = self.text.push(token, finish);
                output.tokens.push(token);
                output.total_tokens += 1;
                output.text.push_str(&delta.text);
                output.finish = delta.finish;
            }
            Generated::End(finish) => {
                output.text.push_str(&self.text.finish_without_token());
                output.finish = Some(finish);
            }
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
