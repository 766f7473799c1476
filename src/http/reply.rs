//! Pieces that replies are made of, and how they are written.

use super::fanout::Fanout;
use super::frontend::Frontend;
use super::timing::RequestTiming;
use crate::text::{PromptLogprob, TokenTexts};
use crate::types::{Finish, PromptLogprobs, StopReason, Token};
use serde::ser::{Serialize, SerializeMap, Serializer};
use std::collections::hash_map::RandomState;
use std::hash::BuildHasher;
use std::sync::LazyLock;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::{SystemTime, UNIX_EPOCH};

/// A member that is left out (`None`), null (`Some(None)`) or there.
pub type Member<T> = Option<Option<T>>;

/// Seconds since 1970.
pub fn unix_time() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |time| time.as_secs())
}

/// Sixteen hexadecimal digits that no other call gives.
pub fn random_id() -> String {
    static KEYS: LazyLock<RandomState> = LazyLock::new(RandomState::new);
    static COUNT: AtomicU64 = AtomicU64::new(0);
    format!("{:016x}", KEYS.hash_one(COUNT.fetch_add(1, Relaxed)))
}

/// Token counts. Which members there are differs from place to place.
#[derive(Debug, serde::Serialize)]
pub struct Usage {
    prompt_tokens: usize,
    total_tokens: usize,
    completion_tokens: usize,
    #[serde(skip_serializing_if = "Option::is_none")]
    prompt_tokens_details: Member<PromptDetails>,
    #[serde(skip_serializing_if = "Option::is_none")]
    completion_tokens_details: Member<CompletionDetails>,
}

/// What the tokens of an output are; only with a reasoning parser.
#[derive(Clone, Copy, Debug, serde::Serialize)]
pub struct CompletionDetails {
    pub reasoning_tokens: usize,
}

/// Where the tokens of a prompt came from.
#[derive(Debug, serde::Serialize)]
pub struct PromptDetails {
    cached_tokens: u32,
    #[serde(skip_serializing_if = "Option::is_none")]
    created_cache_tokens: Member<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    multimodal_tokens: Member<()>,
}

impl Usage {
    /// The counts alone.
    pub fn counts(prompt_tokens: usize, completion_tokens: usize) -> Self {
        Self {
            prompt_tokens,
            total_tokens: prompt_tokens + completion_tokens,
            completion_tokens,
            prompt_tokens_details: None,
            completion_tokens_details: None,
        }
    }

    /// The form of a chat's chunk.
    pub fn in_chat_chunk(mut self, details: Option<CompletionDetails>) -> Self {
        self.completion_tokens_details = Some(details);
        self
    }

    /// The same counts with those of reasoning, where they are known.
    pub fn with_details(mut self, details: Option<CompletionDetails>) -> Self {
        if let Some(details) = details {
            self.completion_tokens_details = Some(Some(details));
        }
        self
    }

    /// The form of a whole reply: all members. `created` is `created_cache_tokens`.
    pub fn in_reply(mut self, cached: Option<u32>, created: Option<u32>) -> Self {
        self.prompt_tokens_details = Some(cached.map(|cached_tokens| PromptDetails {
            cached_tokens,
            created_cache_tokens: Some(created),
            multimodal_tokens: Some(None),
        }));
        self.completion_tokens_details = Some(None);
        self
    }

    /// The form of a stream's last chunk: no nulls.
    pub fn in_last_chunk(mut self, cached: Option<u32>, created: Option<u32>) -> Self {
        self.prompt_tokens_details = cached.map(|cached_tokens| {
            let created_cache_tokens = created.map(Some);
            Some(PromptDetails { cached_tokens, created_cache_tokens, multimodal_tokens: None })
        });
        self
    }
}

impl Frontend {
    /// The count of cached tokens as far as replies show it.
    pub fn shown_cached(&self, cached: Option<u32>) -> Option<u32> {
        cached.filter(|_| self.options.enable_prompt_tokens_details)
    }

    /// The times of a request's one generation, as far as replies show them.
    pub fn shown_timing<'f>(&self, fanout: &'f Fanout) -> Option<&'f RequestTiming> {
        fanout.timing().filter(|_| self.options.enable_per_request_metrics)
    }

    /// How many tokens of a prompt the cache has got from it: those of whole blocks that were not
    /// there yet.
    pub fn created_cache(&self, prompt_tokens: usize, cached: Option<u32>) -> u32 {
        let whole = |block: u32| prompt_tokens as u32 / block * block;
        self.options.cache_block_size.map_or(0, whole).saturating_sub(cached.unwrap_or(0))
    }

    /// `prompt_logprobs` of a reply: null for the first token, then a map for each other.
    pub fn prompt_logprobs(&self, logprobs: &PromptLogprobs) -> Vec<Option<TokenMap>> {
        let mut texts = TokenTexts::new(self.encoder.vocabulary().clone());
        let has_texts = self.encoder.has_tokenizer();
        let map = |position| Some(TokenMap(texts.next(position).prompt(has_texts)));
        std::iter::once(None).chain(logprobs.iter().map(map)).collect()
    }
}

/// Tokens by id, in order, as an object.
#[derive(Debug)]
pub struct TokenMap(Vec<(Token, PromptLogprob)>);

impl Serialize for TokenMap {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(Some(self.0.len()))?;
        for (token, value) in &self.0 {
            map.serialize_entry(token, value)?;
        }
        map.end()
    }
}

/// `stop_reason`: the stop string, or the id of a stop token.
#[derive(Debug, serde::Serialize)]
#[serde(untagged)]
pub enum Stop<'a> {
    Token(Token),
    Text(&'a str),
}

/// The two members that tell how a generation ended.
pub fn finish_members(finish: Option<&Finish>) -> (Option<&'static str>, Option<Stop<'_>>) {
    let stop = finish.and_then(|finish| finish.stop.as_ref()).map(|stop| match stop {
        StopReason::Token(token) => Stop::Token(*token),
        StopReason::Text(text) => Stop::Text(text),
    });
    (finish.map(|finish| finish.reason.as_str()), stop)
}

/// Compact JSON with floats as Python writes them, for everything but streams.
pub fn to_json(value: &impl Serialize) -> Vec<u8> {
    let mut out = Vec::with_capacity(1024);
    let mut serializer = serde_json::Serializer::with_formatter(&mut out, PythonFloats);
    // Writing to memory cannot fail, and no type here has keys that are not strings.
    let written = value.serialize(&mut serializer);
    debug_assert!(written.is_ok());
    out
}

struct PythonFloats;

impl serde_json::ser::Formatter for PythonFloats {
    fn write_f64<W: ?Sized + std::io::Write>(
        &mut self,
        writer: &mut W,
        value: f64,
    ) -> std::io::Result<()> {
        writer.write_all(super::json::float_repr(value).as_bytes())
    }
}
