//! `POST /v1/systemone`: questions about a state. Each is a prompt of its own; the probabilities of
//! the labels of its options as the first token of the reply are the answer.

mod answer;
mod labels;

pub use labels::ReplyLabels;

use super::body::{blocking, read};
use super::call::Call;
use super::frontend::Frontend;
use super::headers::request_id;
use super::json::{Dict, Json, dumps};
use super::label_reads::{LabelRead, Reads};
use super::prompt::{LengthRules, TokenPrompt};
use super::reply::{random_id, unix_time};
use super::request::{Conversation, DecisionRequest, Question, label_params};
use super::respond;
use crate::error::ApiError;
use crate::types::SamplingParams;
use axum::body::Body;
use axum::http::{HeaderMap, Response};
use std::sync::Arc;

/// Answers one request.
pub async fn create(
    frontend: &Frontend,
    mut call: Call,
    headers: &HeaderMap,
    body: &[u8],
) -> Result<Response<Body>, ApiError> {
    let (request, surrogates) = read(headers, body, DecisionRequest::new)?;
    call.arrived();
    let labels = frontend.reply_labels().await.ok_or_else(unsupported)?;
    frontend.check_model(request.common.model.as_deref())?;
    surrogates?;
    let id = request_id("decision-", headers, request.common.request_id.as_deref(), random_id);
    let questions = request.questions()?;
    drop(frontend.engine.reserve(questions.len())?);
    let mut asked = Vec::with_capacity(questions.len());
    for question in &questions {
        asked.push(frontend.asked(&request, question, &labels, body.len()).await?);
    }
    let input_tokens = asked.iter().map(|(prompt, _)| prompt.tokens.len()).sum();
    let reads = Reads { frontend, call: &call, id: &id, fields: &request.common };
    let done: Vec<LabelRead> = reads.run(asked).await?;
    let is_label =
        |question: &Question, read: &LabelRead| labels.of(question).contains(&read.token);
    let reply = answer::Reply {
        id: &id,
        created: unix_time(),
        model: frontend.model_name(),
        input_tokens,
        reads: questions
            .iter()
            .zip(&done)
            .map(|(question, read)| (question, read, is_label(question, read)))
            .collect(),
    };
    Ok(respond::json(&reply))
}

/// What vLLM says where a label is not one token of its own.
fn unsupported() -> ApiError {
    ApiError::not_supported("The model does not support the structured decision API")
}

impl Frontend {
    /// The prompt of a question, and the parameters that read its labels.
    async fn asked(
        &self,
        request: &DecisionRequest,
        question: &Question,
        labels: &ReplyLabels,
        len: usize,
    ) -> Result<(TokenPrompt, Arc<SamplingParams>), ApiError> {
        let state = match &request.state {
            Json::Str(text) => text.clone(),
            other => dumps(other),
        };
        let content = format!("{state}\n\n{}", question.prompt());
        let conversation =
            conversation(request.instructions.as_deref(), content, &request.chat_template_kwargs)?;
        let (text, _) = blocking(len, || self.render(&conversation, None))?;
        let rules = LengthRules::plain(self.options.limits.max_model_len);
        let prompt = self.text_prompt(text, &rules).await?;
        if !prompt.tokens.ends_with(labels.tail()) {
            return Err(ApiError::bad_request(
                "these chat options end the prompt differently, so the labels' tokens are unknown",
            ));
        }
        let params = label_params(labels.of(question), 0.0, self.eos);
        Ok((prompt, Arc::new(params)))
    }
}

/// A chat of one question, after instructions if there are any. Thinking is off unless the request
/// says otherwise, or the label would not be the first token of the reply.
fn conversation(
    instructions: Option<&str>,
    content: String,
    kwargs: &Dict,
) -> Result<Conversation, ApiError> {
    let message = |role: &str, content: &str| {
        let members = [("role", role), ("content", content)];
        let members = members.map(|(name, text)| (name.to_owned(), Json::Str(text.to_owned())));
        Json::Dict(members.into_iter().collect())
    };
    let system = instructions.map(|text| message("system", text));
    let messages = system.into_iter().chain([message("user", &content)]).collect();
    let mut all = Dict::new();
    all.insert("enable_thinking".to_owned(), Json::Bool(false));
    let given = kwargs.iter().filter(|(_, value)| !value.is_null());
    all.extend(given.map(|(name, value)| (name.clone(), value.clone())));
    let mut data = Dict::new();
    data.insert("messages".to_owned(), Json::List(messages));
    data.insert("chat_template_kwargs".to_owned(), Json::Dict(all));
    Conversation::from_data(data)
}
