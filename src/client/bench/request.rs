//! One request of a benchmark, and when each piece of its reply came.

use crate::client::api::Api;
use crate::client::prompts::Sample;
use crate::config::{BenchServeSettings, ChatApi};
use serde::Deserialize;
use serde_json::{Map, Value, json};
use std::borrow::Cow;
use std::time::Instant;

/// How a request went; times are in seconds.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Outcome {
    /// `None`: it went well.
    pub error: Option<String>,
    /// When it was sent, since the benchmark began.
    pub start: f64,
    /// How long it waited for its turn before that.
    pub queued: f64,
    pub prompt_len: usize,
    pub output_tokens: usize,
    /// To the first piece.
    pub ttft: f64,
    /// Between pieces.
    pub itl: Vec<f64>,
    /// To the last piece.
    pub latency: f64,
    pub text: String,
}

/// Where requests go and what they share.
#[derive(Clone)]
pub(super) struct Target {
    api: Api,
    url: String,
    kind: ChatApi,
    /// Every member of a request but the prompt and its length.
    common: Map<String, Value>,
    epoch: Instant,
    pub id_prefix: String,
}

impl Target {
    pub fn new(api: Api, settings: &BenchServeSettings, model: String) -> Self {
        let mut common = Map::from_iter([
            ("model".to_owned(), Value::from(model)),
            ("stream".to_owned(), Value::Bool(true)),
            ("stream_options".to_owned(), json!({"include_usage": true})),
        ]);
        if settings.api == ChatApi::Completions {
            common.insert("repetition_penalty".to_owned(), json!(1.0));
            common.insert("logprobs".to_owned(), settings.logprobs.into());
        }
        if settings.ignore_eos {
            common.insert("ignore_eos".to_owned(), Value::Bool(true));
        }
        common.extend(settings.extra_body.clone());
        let random = || format!("bench-{:08x}-", rand::random::<u32>());
        Self {
            api,
            url: format!("{}{}", settings.base_url, settings.endpoint),
            kind: settings.api,
            common,
            epoch: Instant::now(),
            id_prefix: settings.request_id_prefix.clone().unwrap_or_else(random),
        }
    }

    /// Seconds since the benchmark began.
    pub fn now(&self) -> f64 {
        self.epoch.elapsed().as_secs_f64()
    }

    fn body(&self, sample: &Sample) -> Map<String, Value> {
        let mut body = Map::new();
        let (prompt, length) = match self.kind {
            ChatApi::Completions => {
                (("prompt".to_owned(), Value::from(sample.prompt.as_str())), "max_tokens")
            }
            ChatApi::Chat => {
                let content = json!([{"type": "text", "text": sample.prompt}]);
                let messages = json!([{"role": "user", "content": content}]);
                (("messages".to_owned(), messages), "max_completion_tokens")
            }
        };
        body.extend([prompt, (length.to_owned(), sample.output_len.into())]);
        body.extend(self.common.clone());
        body
    }

    /// Sends one request and reads its reply to the end.
    pub async fn send(&self, sample: &Sample, id: Option<&str>) -> Outcome {
        let body = Value::Object(self.body(sample)).to_string().into();
        let start = self.now();
        let mut outcome = Outcome { start, prompt_len: sample.prompt_len, ..Outcome::default() };
        let mut last = None;
        if let Err(error) = self.read(id, body, &mut outcome, &mut last).await {
            outcome.error = Some(error);
        } else if last.is_none() {
            outcome.error = Some(
                "Never received a valid chunk to calculate TTFT.This response will be marked as \
                 failed!"
                    .to_owned(),
            );
        }
        outcome.latency = last.unwrap_or(start) - start;
        outcome
    }

    async fn read(
        &self,
        id: Option<&str>,
        body: bytes::Bytes,
        outcome: &mut Outcome,
        last: &mut Option<f64>,
    ) -> Result<(), String> {
        let mut events = self.api.stream(&self.url, id, body).await.map_err(|e| e.to_string())?;
        while let Some(data) = events.next().await.map_err(|error| error.to_string())? {
            let now = self.now();
            let chunk: Chunk<'_> =
                serde_json::from_slice(data).map_err(|error| format!("a chunk: {error}"))?;
            if let Some(error) = chunk.error {
                return Err(error.to_string());
            }
            match (chunk.choices.into_iter().flatten().next(), chunk.usage) {
                (Some(choice), _) => {
                    match last.replace(now) {
                        None => outcome.ttft = now - outcome.start,
                        Some(before) => outcome.itl.push(now - before),
                    }
                    let delta = choice.delta.unwrap_or_default().content;
                    outcome.text.push_str(&choice.text.or(delta).unwrap_or_default());
                }
                (None, Some(usage)) => {
                    outcome.output_tokens = usage.completion_tokens.unwrap_or_default();
                    outcome.prompt_len = usage.prompt_tokens.unwrap_or(outcome.prompt_len);
                }
                (None, None) => {}
            }
        }
        Ok(())
    }
}

/// What a chunk of a stream says that matters here.
#[derive(Deserialize)]
struct Chunk<'a> {
    #[serde(borrow)]
    choices: Option<Vec<Choice<'a>>>,
    usage: Option<Usage>,
    error: Option<Value>,
}

#[derive(Deserialize)]
struct Choice<'a> {
    #[serde(borrow)]
    text: Option<Cow<'a, str>>,
    delta: Option<Delta<'a>>,
}

#[derive(Default, Deserialize)]
struct Delta<'a> {
    #[serde(borrow)]
    content: Option<Cow<'a, str>>,
}

#[derive(Deserialize)]
struct Usage {
    prompt_tokens: Option<usize>,
    completion_tokens: Option<usize>,
}
