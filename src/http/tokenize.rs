//! `POST /tokenize` and `POST /detokenize`.

use super::body::{blocking, read};
use super::frontend::Frontend;
use super::headers::request_id;
use super::json::Int;
use super::reply::random_id;
use super::request::{DetokenizeRequest, TokenizeInput, TokenizeRequest};
use super::request_log::RequestLog;
use super::respond;
use crate::error::ApiError;
use crate::types::Token;
use axum::body::Body;
use axum::http::{HeaderMap, Response};
use serde::Serialize;

#[derive(Serialize)]
struct Tokens<'a> {
    count: usize,
    max_model_len: u32,
    tokens: &'a [Token],
    token_strs: Option<Vec<String>>,
}

/// Text or a chat to tokens, of any length.
pub async fn tokenize(
    frontend: &Frontend,
    headers: &HeaderMap,
    body: &[u8],
) -> Result<Response<Body>, ApiError> {
    let (request, surrogates) = read(headers, body, TokenizeRequest::new)?;
    let log = request_log(frontend, headers, body);
    frontend.check_model(request.model.as_deref())?;
    surrogates?;
    let text = match request.input {
        TokenizeInput::Text(text) => text,
        TokenizeInput::Chat(conversation) => {
            frontend.check_conversation(&conversation)?;
            let render = || frontend.render(&conversation, conversation.tools.as_ref());
            blocking(body.len(), render)?.0
        }
    };
    let shown = log.as_ref().filter(|log| log.shows_prompts()).map(|_| text.clone());
    let encoded = frontend.encoder.encode(text, request.add_special_tokens, None).await?;
    log.iter().for_each(|log| log.tokenised(shown.as_deref(), &encoded.tokens));
    let piece = |token: &Token| frontend.encoder.token_piece(*token).unwrap_or_default();
    Ok(respond::json(&Tokens {
        count: encoded.tokens.len(),
        max_model_len: frontend.options.limits.max_model_len,
        tokens: &encoded.tokens,
        token_strs: request.return_token_strs.then(|| encoded.tokens.iter().map(piece).collect()),
    }))
}

/// The log of a request, if requests are logged; what it sent is there already.
fn request_log(frontend: &Frontend, headers: &HeaderMap, body: &[u8]) -> Option<RequestLog> {
    let id = request_id("tokenize-", headers, None, random_id);
    let log = RequestLog::new(&frontend.options, &id, None)?;
    log.body(body);
    Some(log)
}

#[derive(Serialize)]
struct Text {
    prompt: String,
}

/// Tokens to text; ids that no token has become nothing.
pub fn detokenize(
    frontend: &Frontend,
    headers: &HeaderMap,
    body: &[u8],
) -> Result<Response<Body>, ApiError> {
    let (request, _) = read(headers, body, DetokenizeRequest::new)?;
    let log = request_log(frontend, headers, body);
    frontend.check_model(request.model.as_deref())?;
    frontend.encoder.check()?;
    let token = |id: &Int| Token::try_from(id.saturate());
    let tokens: Result<Vec<Token>, _> = request.tokens.iter().map(token).collect();
    let tokens =
        tokens.map_err(|_| ApiError::bad_request("number too large to fit in target type"))?;
    log.iter().for_each(|log| log.tokenised(None, &tokens));
    Ok(respond::json(&Text { prompt: frontend.encoder.decode(&tokens, false) }))
}
