//! The requests of `/derender`: what `/inference/v1/generate` gave, whole or by the chunk.

mod schema;

pub use schema::METRICS_MEMBERS;

use super::super::json::{Dict, Int, Json};
use super::super::schema::{Errors, Path, Schema, check, coerce};
use super::chat::ChatRequest;
use super::chat_hooks::run_hooks;
use super::fields::Fields;
use crate::error::ApiError;
use crate::types::Token;
use schema::{CHATS, COMPLETIONS};

/// One entry of log-probabilities: a token and what stands beside it.
#[derive(Clone, Debug)]
pub struct Scored {
    pub token: Token,
    pub logprob: f64,
    pub top: Vec<(Token, f64)>,
}

/// What was generated for one reply.
#[derive(Clone, Debug)]
pub struct Generated {
    pub index: Int,
    pub finish_reason: Option<String>,
    pub stop_reason: Option<Json>,
    /// `None` when there are none; ids of no vocabulary are the largest one.
    pub token_ids: Option<Vec<Token>>,
    /// `Some(None)`: asked for, but empty.
    pub logprobs: Option<Option<Vec<Scored>>>,
}

/// One response, or one chunk, of `/inference/v1/generate`.
#[derive(Clone, Debug)]
pub struct Response {
    pub request_id: Option<String>,
    pub choices: Vec<Generated>,
    pub prompt_token_ids: Option<Vec<Token>>,
    pub prompt_logprobs: Option<Json>,
    pub kv_transfer_params: Option<Json>,
    pub metrics: Option<[Option<f64>; 5]>,
    /// Tokens of the prompt and of the output.
    pub usage: Option<(i64, i64)>,
}

/// The state that a client carries from chunk to chunk.
#[derive(Clone, Debug, Default, serde::Serialize)]
pub struct State {
    pub prev_tokens: Vec<String>,
    pub prefix_offset: usize,
    pub read_offset: usize,
    pub role_sent: bool,
    pub logprob_context_token_ids: Vec<Token>,
    pub logprob_text_offset: usize,
    pub output_token_ids: Vec<Token>,
    pub output_chunk_lens: Vec<usize>,
    pub tools_streamed: bool,
    pub last_tool_call_ids: Vec<String>,
}

/// A checked request of either kind.
#[derive(Clone, Debug)]
pub struct DerenderRequest {
    pub model: Option<String>,
    /// One, but for completions that are not streamed.
    pub responses: Vec<Response>,
    /// A chunk comes with the state before it, but for the first one.
    pub stream: Option<Option<State>>,
    /// One for each response.
    pub prompt_tokens: Vec<Option<i64>>,
    pub prompt_token_ids: Vec<Option<Vec<Token>>>,
    pub skip_special_tokens: bool,
    pub return_token_ids: bool,
    /// What the client had asked for, when that was a chat.
    pub chat: Option<ChatRequest>,
}

impl DerenderRequest {
    /// Checks a chat's body.
    pub fn chat(body: Json) -> Result<Self, ApiError> {
        let mut request = Self::checked(&CHATS, &body, "chat_request")?;
        if let Some(Json::Dict(chat)) = body.get("chat_request") {
            let mut chat = chat.clone();
            run_hooks(&mut chat)?;
            request.chat = Some(ChatRequest::from_checked(chat)?);
        }
        Ok(request)
    }

    /// Checks a body of completions.
    pub fn completions(body: Json) -> Result<Self, ApiError> {
        Self::checked(&COMPLETIONS, &body, "completion_request")
    }

    fn checked(schema: &Schema, body: &Json, original: &str) -> Result<Self, ApiError> {
        let mut errors = Errors::default();
        if check(schema, body, &Path::root("body"), &mut errors)?.is_none() {
            return Err(errors.into_api_error());
        }
        let fields = Fields(body.as_dict().ok_or_else(|| ApiError::internal("no object"))?);
        let stream = fields.flag("stream").then(|| fields.dict("stream_state").map(state));
        let member = if stream.is_some() { "generate_chunk" } else { "generate_response" };
        let (responses, prompt_tokens, prompt_token_ids) = match fields.dict(member) {
            Some(response) => {
                let ids = fields.get("prompt_token_ids").map(tokens);
                let count = fields.int("prompt_tokens").map(|count| count.saturate());
                (vec![response_of(Fields(response), stream.is_some())], vec![count], vec![ids])
            }
            None => several(fields),
        };
        let empty = Dict::new();
        let original = Fields(fields.dict(original).unwrap_or(&empty));
        Ok(Self {
            model: fields.string("model"),
            responses,
            stream,
            prompt_tokens,
            prompt_token_ids,
            skip_special_tokens: original.bool("skip_special_tokens").unwrap_or(true),
            return_token_ids: original.flag("return_token_ids"),
            chat: None,
        })
    }
}

type Several = (Vec<Response>, Vec<Option<i64>>, Vec<Option<Vec<Token>>>);

fn several(fields: Fields<'_>) -> Several {
    let responses = fields.get("generate_responses").and_then(Json::as_list).unwrap_or_default();
    let counts = fields.ints("prompt_tokens").unwrap_or_default();
    let ids = fields.get("prompt_token_ids").and_then(Json::as_list).unwrap_or_default();
    let of = |at: usize| ids.get(at).filter(|ids| !ids.is_null()).map(tokens);
    let responses: Vec<Response> =
        responses.iter().filter_map(Json::as_dict).map(|r| response_of(Fields(r), false)).collect();
    let counts = (0..responses.len()).map(|at| counts.get(at).map(Int::saturate)).collect();
    let ids = (0..responses.len()).map(of).collect();
    (responses, counts, ids)
}

fn token(id: &Int) -> Token {
    Token::try_from(id.saturate()).unwrap_or(Token::MAX)
}

fn tokens(ids: &Json) -> Vec<Token> {
    let ids = ids.as_list().unwrap_or_default();
    ids.iter().filter_map(|id| coerce::int(id).ok()).map(|id| token(&id)).collect()
}

fn response_of(fields: Fields<'_>, is_chunk: bool) -> Response {
    let choices = fields.get("choices").and_then(Json::as_list).unwrap_or_default();
    let finish = (!is_chunk).then_some("stop");
    let usage = fields.dict("usage").map(Fields);
    let count = |name| usage.and_then(|u| u.int(name)).map_or(0, |count| count.saturate());
    Response {
        request_id: fields.string("request_id"),
        choices: choices
            .iter()
            .filter_map(Json::as_dict)
            .map(|choice| generated(Fields(choice), finish))
            .collect(),
        prompt_token_ids: fields.get("prompt_token_ids").map(tokens),
        prompt_logprobs: fields.get("prompt_logprobs").cloned(),
        kv_transfer_params: fields.get("kv_transfer_params").cloned(),
        metrics: fields
            .dict("metrics")
            .map(|metrics| METRICS_MEMBERS.map(|name| Fields(metrics).float(name))),
        usage: usage.map(|_| (count("prompt_tokens"), count("completion_tokens"))),
    }
}

/// `finish_default` is how a reply has ended that does not say.
fn generated(fields: Fields<'_>, finish_default: Option<&str>) -> Generated {
    let content = |logprobs: &Dict| {
        let entries = Fields(logprobs).get("content").and_then(Json::as_list)?;
        Some(entries.iter().filter_map(Json::as_dict).map(|entry| scored(Fields(entry))).collect())
    };
    Generated {
        index: fields.int("index").unwrap_or(Int::Small(0)),
        finish_reason: match fields.has("finish_reason") {
            true => fields.string("finish_reason"),
            false => finish_default.map(str::to_owned),
        },
        stop_reason: fields.get("stop_reason").cloned(),
        token_ids: fields.get("token_ids").map(tokens),
        logprobs: fields.dict("logprobs").map(content),
    }
}

fn scored(fields: Fields<'_>) -> Scored {
    let pair = |fields: Fields<'_>| {
        (fields.int("token_id").map_or(0, |id| token(&id)), fields.float("logprob").unwrap_or(0.0))
    };
    let top = fields.get("top_logprobs").and_then(Json::as_list).unwrap_or_default();
    let (token, logprob) = pair(fields);
    let top = top.iter().filter_map(Json::as_dict).map(|entry| pair(Fields(entry))).collect();
    Scored { token, logprob, top }
}

fn state(state: &Dict) -> State {
    let fields = Fields(state);
    let size = |name: &str| {
        fields.int(name).map_or(0, |size| usize::try_from(size.saturate()).unwrap_or(0))
    };
    let ids = |name: &str| fields.get(name).map(tokens).unwrap_or_default();
    let lens = fields.ints("output_chunk_lens").unwrap_or_default();
    State {
        prev_tokens: fields.strings("prev_tokens").unwrap_or_default(),
        prefix_offset: size("prefix_offset"),
        read_offset: size("read_offset"),
        role_sent: fields.flag("role_sent"),
        logprob_context_token_ids: ids("logprob_context_token_ids"),
        logprob_text_offset: size("logprob_text_offset"),
        output_token_ids: ids("output_token_ids"),
        output_chunk_lens: lens.iter().map(|len| len.saturate().max(0) as usize).collect(),
        tools_streamed: fields.flag("tools_streamed"),
        last_tool_call_ids: fields.strings("last_tool_call_ids").unwrap_or_default(),
    }
}
