//! How much a client may ask to be turned into text.

use super::super::frontend::Frontend;
use super::super::request::{DerenderRequest, GenerateResponse, Generated, State};
use crate::config::RequestBounds;
use crate::error::ApiError;

/// The bounds on whole responses and their prompts.
pub fn check(frontend: &Frontend, request: &DerenderRequest) -> Result<(), ApiError> {
    let max = RequestBounds::get().n;
    let count = request.responses.len();
    if count > max {
        return Err(ApiError::bad_request(format!(
            "generate_responses count ({count}) exceeds server maximum ({max}). Set \
             VLLM_MAX_N_SEQUENCES to increase this limit."
        )));
    }
    for response in &request.responses {
        check_response(frontend, response, max)?;
    }
    check_prompts(frontend, request)
}

fn check_response(
    frontend: &Frontend,
    response: &GenerateResponse,
    max: usize,
) -> Result<(), ApiError> {
    let (id, count) = (response.request_id.as_deref().unwrap_or(""), response.choices.len());
    if count > max {
        return Err(ApiError::bad_request(format!(
            "choices count ({count}) in response '{id}' exceeds server maximum ({max})."
        )));
    }
    response.choices.iter().try_for_each(|choice| check_choice(frontend, choice))?;
    let logprobs = response.prompt_logprobs.as_ref();
    let len = logprobs.and_then(|all| all.as_list()).map_or(0, <[_]>::len);
    let what = format!("prompt_logprobs length ({len}) in response '{id}'");
    within_context(frontend, len, &what)
}

fn check_choice(frontend: &Frontend, choice: &Generated) -> Result<(), ApiError> {
    let index = &choice.index;
    let len = choice.token_ids.as_ref().map_or(0, Vec::len);
    within_context(frontend, len, &format!("token_ids length ({len}) in choice {index}"))?;
    let Some(Some(content)) = &choice.logprobs else { return Ok(()) };
    let len = content.len();
    let what = format!("logprobs.content length ({len}) in choice {index}");
    within_context(frontend, len, &what)?;
    let max = frontend.options.limits.max_logprobs;
    let most = content.iter().map(|entry| entry.top.len()).find(|len| *len as i64 > max);
    match most.filter(|_| max >= 0) {
        Some(len) => Err(ApiError::bad_request(format!(
            "top_logprobs count ({len}) in choice {index} exceeds max_logprobs ({max})."
        ))),
        None => Ok(()),
    }
}

fn within_context(frontend: &Frontend, len: usize, what: &str) -> Result<(), ApiError> {
    let max = frontend.options.limits.max_model_len;
    if len <= max as usize {
        return Ok(());
    }
    Err(ApiError::bad_request(format!("{what} exceeds max_model_len ({max}).")))
}

/// The bound on the prompts that a request brings beside its responses.
pub fn check_prompts(frontend: &Frontend, request: &DerenderRequest) -> Result<(), ApiError> {
    for ids in request.prompt_token_ids.iter().flatten() {
        let what = format!("prompt_token_ids length ({})", ids.len());
        within_context(frontend, ids.len(), &what)?;
    }
    Ok(())
}

/// The bounds on one chunk of a chat.
pub fn check_chat_chunk(
    frontend: &Frontend,
    request: &DerenderRequest,
    state: Option<&State>,
) -> Result<(), ApiError> {
    let choices = request.responses.first().map_or(&[][..], |chunk| &chunk.choices);
    if choices.len() > 1 {
        return Err(ApiError::bad_request(format!(
            "derender_chat_stream expects at most one choice per chunk (got {}).",
            choices.len()
        )));
    }
    let prompt = request.prompt_token_ids.iter().flatten().map(Vec::len).sum::<usize>();
    let output = state.map_or(0, |state| state.output_token_ids.len());
    let delta = super::count(choices);
    let what = format!(
        "prompt_token_ids length ({prompt}) plus output_token_ids length ({output}) plus delta \
         ({delta})"
    );
    within_context(frontend, prompt + output + delta, &what)
}
