//! `POST /v1/chat/completions`.

mod batch;
mod content_format;
mod conversation;
mod delta;
mod parsing;
mod progress;
mod reply;
mod stream;

pub use batch::create as create_batch;
pub use parsing::{Parsing, Said, ToolCall, tool_call_id};
pub use progress::Progress;
pub use reply::Replies;

use super::body::{blocking, read};
use super::call::Call;
use super::fanout::{Fanout, Job, Numbering, Origin};
use super::frontend::Frontend;
use super::headers::{request_id, with_load_metrics};
use super::json::{Dict, Int, Json, to_str};
use super::prompt::{LengthRules, TokenPrompt};
use super::reply::{random_id, unix_time};
use super::request::{BeamParams, ChatRequest, Conversation, Sampling, ToolChoice};
use super::request_log::{RequestLog, with_reply_id};
use super::{respond, sse};
use crate::error::ApiError;
use crate::model::{ChatTemplate, RenderInput, TemplateError};
use crate::types::ContentFormat;
use axum::body::Body;
use axum::http::{HeaderMap, Response};
use serde_json::{Map, Value};
use std::borrow::Cow;
use std::sync::Arc;

/// A chat under way.
pub struct Started {
    /// Its generations, or why there are none: by then vLLM has promised a stream.
    pub fanout: Result<Fanout, ApiError>,
    pub replies: Replies,
}

/// Answers one request.
pub async fn create(
    frontend: Arc<Frontend>,
    mut call: Call,
    headers: HeaderMap,
    body: &[u8],
) -> Result<Response<Body>, ApiError> {
    let (request, surrogates) = read(&headers, body, ChatRequest::new)?;
    call.asks_for(&request.common, &headers);
    call.arrived();
    let id = request_id("chatcmpl-", &headers, request.common.request_id.as_deref(), random_id);
    let log = RequestLog::new(&frontend.options, &id, call.span());
    log.iter().for_each(|log| log.body(body));
    let origin =
        Origin { id: &id, numbers: Numbering::None, headers: &headers, call: call.clone(), log };
    let Started { fanout, replies } =
        frontend.start_chat(&request, surrogates, origin, body.len()).await?;
    if request.common.stream {
        let (usage, continuous) = frontend.usage_options(&request.common);
        let chunks = stream::ChatChunks::new(frontend, replies, usage, continuous);
        return Ok(with_reply_id(respond::events(sse::body(fanout, chunks)), id));
    }
    let mut fanout = fanout?;
    let outputs = fanout.finish().await?;
    let response = replies.whole(&frontend, &outputs, &mut fanout);
    Ok(with_reply_id(with_load_metrics(&frontend, &headers, response), id))
}

/// Prompt tokens that another server has made of the same messages.
fn reused_prompt(request: &ChatRequest) -> Result<Option<Vec<Int>>, ApiError> {
    let Some(ids) = request.prompt_token_ids.as_ref().filter(|_| !request.common.echo) else {
        return Ok(None);
    };
    let token = |id: &Json| match id {
        Json::Int(id) if *id >= 0 => Some(id.clone()),
        _ => None,
    };
    let ids: Option<Vec<Int>> = ids.as_list().and_then(|ids| ids.iter().map(token).collect());
    ids.filter(|ids| !ids.is_empty()).map(Some).ok_or_else(|| {
        let message = "`kv_transfer_params['prompt_token_ids']` must be a non-empty list of \
                       non-negative integers.";
        ApiError::parameter(message, "kv_transfer_params.prompt_token_ids", None)
    })
}

impl Frontend {
    /// Checks a chat, renders and tokenises it and starts its generations. `surrogates` is what
    /// [`read`] says of a body of `len` bytes.
    pub async fn start_chat(
        &self,
        request: &ChatRequest,
        surrogates: Result<(), ApiError>,
        origin: Origin<'_>,
        len: usize,
    ) -> Result<Started, ApiError> {
        self.check_model(request.common.model.as_deref())?;
        surrogates?;
        let room = self.engine.reserve(request.common.sampling.reserve_n())?;
        self.check_tool_choice(&request.tool_choice)?;
        let (prompt, messages) = self.chat_prompt(request, len).await?;
        let call = origin.call.clone();
        call.tokenised();
        let id = origin.id.to_owned();
        let replies = Replies::new(self, request, id, unix_time(), &prompt, &messages);
        let common = &request.common;
        let fanout = match common.use_beam_search {
            true => {
                let params = self.chat_beams(request, &prompt)?;
                self.start_beams(common, origin, room, vec![(prompt, params)]).await
            }
            false => {
                let sampling = self.chat_sampling(request, &prompt)?;
                self.start(common, origin, room, vec![Job { prompt, sampling }]).await
            }
        };
        Ok(Started { fanout: fanout.inspect_err(|error| call.failed(error)), replies })
    }

    /// Refuses calls of tools that nothing would find in the output.
    pub fn check_tool_choice(&self, choice: &ToolChoice) -> Result<(), ApiError> {
        if self.parsers.as_ref().is_some_and(|parsers| parsers.has_tools()) {
            return Ok(());
        }
        let choice = match choice {
            ToolChoice::None | ToolChoice::Null => return Ok(()),
            ToolChoice::Auto => {
                return Err(ApiError::bad_request(
                    "\"auto\" tool choice requires --enable-auto-tool-choice and \
                     --tool-call-parser to be set",
                ));
            }
            ToolChoice::Required => "\"required\"".to_owned(),
            ToolChoice::Named(name) => format!("function \"{name}\""),
        };
        let message = format!("tool_choice={choice} requires --tool-call-parser to be set");
        Err(ApiError::bad_request(message))
    }

    /// The tokens of a chat, and its messages as the template saw them; `len` bytes of body.
    pub async fn chat_prompt(
        &self,
        request: &ChatRequest,
        len: usize,
    ) -> Result<(TokenPrompt, Vec<Value>), ApiError> {
        let tools = match request.tool_choice {
            ToolChoice::None if self.options.exclude_tools_when_tool_choice_none => None,
            _ => request.conversation.tools.as_ref(),
        };
        self.check_conversation(&request.conversation)?;
        let (max_tokens, field) = (request.max_tokens.as_ref(), request.max_tokens_field);
        let max_model_len = self.options.limits.max_model_len;
        let rules = LengthRules::new(&request.common, max_tokens, field, max_model_len)?;
        if let Some(ids) = reused_prompt(request)? {
            return Ok((self.reused(ids)?, Vec::new()));
        }
        let (text, messages) = blocking(len, || self.render(&request.conversation, tools))?;
        let prompt = self.text_prompt(text, &rules).await?;
        self.check_named_tool(request)?;
        Ok((prompt, messages))
    }

    /// Refuses the choice of a tool that is not among the tools. The schema of chats sees to that
    /// already; that of messages does not.
    fn check_named_tool(&self, request: &ChatRequest) -> Result<(), ApiError> {
        let (ToolChoice::Named(wanted), Some(Value::Array(tools))) =
            (&request.tool_choice, &request.conversation.tools)
        else {
            return Ok(());
        };
        let parses = self.parsers.as_ref().is_some_and(|parsers| parsers.has_tools());
        let is_wanted = |tool: &Value| tool["function"]["name"] == wanted.as_str();
        if !parses || tools.is_empty() || tools.iter().any(is_wanted) {
            return Ok(());
        }
        let message = format!("The tool with name '{wanted}' is not found in the tools list.");
        Err(ApiError::bad_request(message))
    }

    /// Its sampling parameters.
    pub fn chat_sampling(
        &self,
        request: &ChatRequest,
        prompt: &TokenPrompt,
    ) -> Result<Sampling, ApiError> {
        let common = &request.common;
        let max_tokens =
            self.max_tokens(request.max_tokens.as_ref(), prompt.tokens.len(), common)?;
        let sampling = &common.sampling;
        let mut sampling = sampling.resolve(max_tokens, common.big_extra_arg, &self.defaults)?;
        let tools = request.conversation.tools.as_ref().and_then(Value::as_array);
        let has_tools = tools.is_some_and(|tools| !tools.is_empty());
        let tools = request.tool_choice.tool_use();
        // Parsers look for tags that may be special tokens.
        if self.parsers.as_ref().is_some_and(|p| p.needs_special_tokens(has_tools, tools)) {
            sampling.skip_special_tokens = false;
        }
        sampling.grammar = self.tool_grammar(request)?;
        sampling.thinking = self.thinking(&request.conversation);
        sampling.include_reasoning = request.include_reasoning;
        Ok(sampling)
    }

    /// The search for a request that wants beams.
    fn chat_beams(
        &self,
        request: &ChatRequest,
        prompt: &TokenPrompt,
    ) -> Result<BeamParams, ApiError> {
        let (common, wanted) = (&request.common, request.max_tokens.as_ref());
        let max_tokens = self.max_tokens(wanted, prompt.tokens.len(), common)?;
        common.sampling.beams(max_tokens, &self.defaults)
    }

    /// What a request may not bring unless the operator trusts its clients.
    pub fn check_conversation(&self, conversation: &Conversation) -> Result<(), ApiError> {
        let in_kwargs = conversation.chat_template_kwargs.get("chat_template");
        let own_template =
            conversation.chat_template.is_some() || in_kwargs.is_some_and(|t| !t.is_null());
        if own_template && !self.options.trust_request_chat_template {
            return Err(ApiError::bad_request(
                "Chat template is passed with request, but --trust-request-chat-template is not \
                 set. Refused request with untrusted chat template.",
            ));
        }
        if self.options.trust_request_mm_kwargs {
            return Ok(());
        }
        let refuse = |name: &str, what: &str| {
            let message = format!(
                "Per-request {name} are disabled by default because they can change multimodal \
                 {what} resource usage. Start the server with --trust-request-mm-kwargs only \
                 when clients are trusted."
            );
            Err(ApiError::parameter(message, name, None))
        };
        if conversation.mm_processor_kwargs {
            return refuse("mm_processor_kwargs", "preprocessing");
        }
        if conversation.media_io_kwargs {
            return refuse("media_io_kwargs", "media loading");
        }
        Ok(())
    }

    /// The text of a chat's prompt, and the conversation as the template saw it.
    pub fn render(
        &self,
        conversation: &Conversation,
        tools: Option<&Value>,
    ) -> Result<(String, Vec<Value>), ApiError> {
        self.encoder.check()?;
        let own = conversation.chat_template.as_deref().map(ChatTemplate::new).transpose()?;
        let template = own.as_ref().or(self.template.as_deref()).ok_or_else(|| {
            ApiError::bad_request(
                "As of transformers v4.44, default chat template is no longer allowed, so you \
                 must provide a chat template if the tokenizer does not define one.",
            )
        })?;
        let source = template.source(tools.is_some())?;
        let format = self.options.chat_template_content_format;
        let format = format.unwrap_or_else(|| ContentFormat::detect(source));
        let knows_developer = source.contains("\"developer\"") || source.contains("'developer'");
        let model = self.model_name();
        let messages = conversation::to_template(conversation, format, knows_developer, model)?;
        if messages.is_empty() {
            return Err(ApiError::bad_request(
                "Cannot apply chat template to an empty conversation. Provide at least one \
                 message.",
            ));
        }
        let kwargs = self.template_kwargs(conversation);
        let flag = |name: &str, given: bool| {
            kwargs.get(name).map_or(given, |value| value.as_bool().unwrap_or(given))
        };
        let continue_final_message =
            flag("continue_final_message", conversation.continue_final_message);
        let add_generation_prompt =
            flag("add_generation_prompt", conversation.add_generation_prompt);
        if continue_final_message && add_generation_prompt {
            return Err(ApiError::bad_request(
                "continue_final_message and add_generation_prompt are not compatible. Use \
                 continue_final_message when you want the model to continue the final message, \
                 and add_generation_prompt when you want to add a header that will prompt it to \
                 start a new assistant message instead.",
            ));
        }
        let list = Value::Array(messages);
        let input = RenderInput {
            messages: &list,
            tools,
            add_generation_prompt,
            continue_final_message,
            kwargs: &kwargs,
        };
        let text = template.render(&input, &self.special_tokens)?;
        let Value::Array(messages) = list else { return Ok((text, Vec::new())) };
        Ok((text, messages))
    }

    /// Variables for the template: the server's, then the request's, then what vLLM derives.
    fn template_kwargs(&self, conversation: &Conversation) -> Map<String, Value> {
        let mut kwargs = self.options.default_chat_template_kwargs.clone();
        let given: &Dict = &conversation.chat_template_kwargs;
        let is_set = |value: &Json| !value.is_null() && value.as_str() != Some("auto");
        for (name, value) in given.iter().filter(|(_, value)| is_set(value)) {
            kwargs.insert(name.clone(), value.to_value());
        }
        if let Some(documents) = &conversation.documents {
            kwargs.insert("documents".to_owned(), documents.to_value());
        }
        if let Some(effort) = &conversation.reasoning_effort {
            kwargs.insert("reasoning_effort".to_owned(), effort.as_str().into());
            if !given.contains_key("enable_thinking") {
                kwargs.insert("enable_thinking".to_owned(), (effort != "none").into());
            }
        }
        // These two belong to the request alone.
        for name in ["add_generation_prompt", "continue_final_message", "chat_template", "tokenize"]
        {
            kwargs.shift_remove(name);
        }
        kwargs
    }

    fn reused(&self, ids: Vec<Int>) -> Result<TokenPrompt, ApiError> {
        let name = "kv_transfer_params.prompt_token_ids";
        let prompt = self.unchecked_prompt(&ids);
        match &prompt.outside {
            Some(id) => {
                let message = format!("Token id {id} is out of vocabulary");
                Err(ApiError::parameter(message, name, None))
            }
            None => Ok(prompt),
        }
    }
}

impl From<TemplateError> for ApiError {
    fn from(error: TemplateError) -> Self {
        Self::bad_request(error.to_string())
    }
}

/// The text of a message's content, for `echo`.
fn content_text(message: &Value) -> Cow<'_, str> {
    match &message["content"] {
        Value::String(text) => Cow::Borrowed(text),
        Value::Array(parts) => {
            let texts: Vec<&str> = parts.iter().filter_map(|p| p["text"].as_str()).collect();
            Cow::Owned(texts.join("\n"))
        }
        _ => Cow::Borrowed(""),
    }
}

/// The role of a reply: the server's, or that of the last message when none is opened for it.
fn reply_role(frontend: &Frontend, conversation: &Conversation) -> String {
    if conversation.add_generation_prompt {
        return frontend.options.response_role.clone();
    }
    let last = conversation.messages.last().and_then(|(_, message)| message.get("role"));
    last.map(to_str).unwrap_or_default()
}
