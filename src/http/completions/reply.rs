//! The reply to a completion request, whole.

use super::super::fanout::{Fanout, Output};
use super::super::frontend::Frontend;
use super::super::kv_transfer::KvTransferReply;
use super::super::reply::{Stop, TokenMap, Usage, finish_members};
use super::super::request::CompletionRequest;
use super::super::respond;
use super::super::timing::RequestTiming;
use crate::text::{PositionTexts, TokenTexts, Vocabulary};
use crate::types::{PromptLogprobs, Token};
use axum::body::Body;
use axum::http::Response;
use serde::Serialize;
use serde::ser::{SerializeMap, Serializer};
use std::sync::Arc;

/// What replies show of one prompt.
pub struct Source {
    /// The text that `echo` repeats; empty otherwise.
    pub text: String,
    pub tokens: Arc<[Token]>,
}

/// What all replies and chunks of one request have in common.
pub struct Replies {
    pub id: String,
    pub created: u64,
    pub model: String,
    pub sources: Vec<Source>,
    /// Replies to each prompt.
    pub n: usize,
    pub echo: bool,
    /// The prompt alone is wanted: `echo` with no tokens.
    pub only_prompt: bool,
    pub return_token_ids: bool,
    /// How many most likely tokens to show, if log-probabilities are shown at all.
    pub logprobs: Option<i32>,
    pub tokens_as_ids: bool,
    vocabulary: Arc<Vocabulary>,
}

impl Replies {
    pub fn new(
        frontend: &Frontend,
        request: &CompletionRequest,
        id: String,
        created: u64,
        sources: Vec<Source>,
    ) -> Self {
        let common = &request.common;
        Self {
            id,
            created,
            model: frontend.model_name().to_owned(),
            sources,
            n: common.sampling.reserve_n(),
            echo: common.echo,
            only_prompt: common.echo && request.max_tokens == 0,
            return_token_ids: common.return_token_ids,
            logprobs: request.logprobs.map(|count| count as i32),
            tokens_as_ids: frontend.tokens_as_ids(common),
            vocabulary: frontend.encoder.vocabulary().clone(),
        }
    }

    /// The prompt behind the choice `at`: choices go prompt by prompt.
    pub fn source(&self, at: usize) -> &Source {
        &self.sources[at / self.n]
    }

    /// The log-probabilities of some tokens, when they are shown. With `prompt`, those of the
    /// whole prompt come first. `offset` is where their text starts.
    pub fn logprobs(
        &self,
        at: usize,
        prompt: Option<&PromptLogprobs>,
        output: &[PositionTexts],
        offset: usize,
    ) -> Option<Logprobs> {
        let top = self.logprobs?;
        let mut logprobs = Logprobs::starting_at(offset);
        if let Some(prompt) = prompt {
            let first = self.source(at).tokens[0];
            logprobs.push_unknown(match self.tokens_as_ids {
                true => format!("token_id:{first}"),
                false => self.vocabulary.decode(&[first], false),
            });
            let mut texts = TokenTexts::new(self.vocabulary.clone());
            for position in prompt {
                logprobs.push(&texts.next(position), top, self.tokens_as_ids);
            }
        }
        for position in output {
            logprobs.push(position, top, self.tokens_as_ids);
        }
        Some(logprobs)
    }

    /// The response once all parts have ended.
    pub fn whole(
        &self,
        frontend: &Frontend,
        outputs: &[Output],
        fanout: &mut Fanout,
    ) -> Response<Body> {
        let choice =
            |(at, output)| self.choice(frontend, at, output, fanout.take_prompt_logprobs(at));
        let choices: Vec<Choice> = outputs.iter().enumerate().map(choice).collect();
        let prompt_tokens = self.sources.iter().map(|source| source.tokens.len()).sum();
        let completion_tokens = outputs.iter().map(|output| output.total_tokens).sum();
        // The count of cached tokens is that of the last prompt.
        let cached = frontend.shown_cached(fanout.cached(outputs.len().saturating_sub(self.n)));
        respond::json(&Reply {
            id: &self.id,
            object: "text_completion",
            created: self.created,
            model: &self.model,
            choices,
            service_tier: (),
            system_fingerprint: frontend.options.system_fingerprint.as_deref(),
            usage: Usage::counts(prompt_tokens, completion_tokens).in_reply(cached, None),
            kv_transfer_params: frontend.shown_transfer(fanout),
            ec_transfer_params: (),
            metrics: frontend.shown_timing(fanout),
        })
    }

    fn choice<'a>(
        &'a self,
        frontend: &Frontend,
        index: usize,
        output: &'a Output,
        prompt_logprobs: Option<PromptLogprobs>,
    ) -> Choice<'a> {
        let source = self.source(index);
        let (finish_reason, stop_reason) = finish_members(output.finish.as_ref());
        let with_prompt = prompt_logprobs.as_ref().filter(|_| self.echo);
        let positions = if self.only_prompt { &[] } else { output.logprobs.as_slice() };
        let text = if self.only_prompt { "" } else { &output.text };
        Choice {
            index,
            text: format!("{}{text}", source.text),
            logprobs: self.logprobs(index, with_prompt, positions, 0),
            finish_reason,
            stop_reason,
            token_ids: self.return_token_ids.then_some(&output.tokens),
            prompt_logprobs: prompt_logprobs.map(|logprobs| frontend.prompt_logprobs(&logprobs)),
            prompt_token_ids: self.return_token_ids.then_some(&*source.tokens),
            routed_experts: (),
        }
    }
}

/// `logprobs` of a choice: four lists of equal length.
#[derive(Debug, Default, Serialize)]
pub struct Logprobs {
    text_offset: Vec<usize>,
    token_logprobs: Vec<Option<f64>>,
    tokens: Vec<String>,
    top_logprobs: Vec<Option<TextMap>>,
    #[serde(skip)]
    offset: usize,
}

impl Logprobs {
    fn starting_at(offset: usize) -> Self {
        Self { offset, ..Self::default() }
    }

    fn push(&mut self, position: &PositionTexts, top: i32, as_token_ids: bool) {
        let entry = position.completion(top, as_token_ids);
        self.push_token(entry.token, Some(entry.logprob), Some(TextMap(entry.top)));
    }

    /// A token without log-probabilities: the first one of a prompt.
    fn push_unknown(&mut self, token: String) {
        self.push_token(token, None, None);
    }

    fn push_token(&mut self, token: String, logprob: Option<f64>, top: Option<TextMap>) {
        self.text_offset.push(self.offset);
        self.offset += token.chars().count();
        self.tokens.push(token);
        self.token_logprobs.push(logprob);
        self.top_logprobs.push(top);
    }

    /// Where the text of the next token starts.
    pub fn end(&self) -> usize {
        self.offset
    }
}

/// Log-probabilities by text, in order, as an object.
#[derive(Debug)]
struct TextMap(Vec<(String, f64)>);

impl Serialize for TextMap {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(Some(self.0.len()))?;
        for (text, logprob) in &self.0 {
            map.serialize_entry(text, logprob)?;
        }
        map.end()
    }
}

#[derive(Serialize)]
struct Reply<'a> {
    id: &'a str,
    object: &'static str,
    created: u64,
    model: &'a str,
    choices: Vec<Choice<'a>>,
    service_tier: (),
    system_fingerprint: Option<&'a str>,
    usage: Usage,
    kv_transfer_params: Option<KvTransferReply<'a>>,
    ec_transfer_params: (),
    metrics: Option<&'a RequestTiming>,
}

#[derive(Serialize)]
struct Choice<'a> {
    index: usize,
    text: String,
    logprobs: Option<Logprobs>,
    finish_reason: Option<&'static str>,
    stop_reason: Option<Stop<'a>>,
    token_ids: Option<&'a Vec<Token>>,
    prompt_logprobs: Option<Vec<Option<TokenMap>>>,
    prompt_token_ids: Option<&'a [Token]>,
    routed_experts: (),
}
