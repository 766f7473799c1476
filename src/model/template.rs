//! Chat templates: Jinja as Hugging Face runs it, from a conversation to the text of a prompt.
//!
//! A template is code that came with the model, or with a request where the operator allows it. It
//! sees the conversation and nothing else, and runs on a budget that bounds its time and memory.

mod clock;
mod environment;
mod messages;
mod python;
#[cfg(test)]
mod tests;

use std::borrow::Cow;
use std::path::Path;

use minijinja::Environment;
use serde_json::{Map, Value};

use super::ModelError;
use super::error::{one_line, read_text};
use environment::{Raised, environment, from_json, without_generation_tags};

/// What marks the place where a continued message ends; spaces behind it show whether the template
/// trimmed the message.
const TAG: &str = "CONTINUE_FINAL_MESSAGE_TAG ";

/// One compiled template, or several by name (`default`, `tool_use`).
#[derive(Debug)]
pub struct ChatTemplate {
    environment: Environment<'static>,
    /// Name and source, in the file's order.
    sources: Vec<(String, String)>,
}

/// One conversation to render.
#[derive(Clone, Copy, Debug)]
pub struct RenderInput<'a> {
    /// A list of messages in OpenAI's form. Arguments of tool calls may be JSON in a string, as
    /// OpenAI has them, or objects.
    pub messages: &'a Value,
    pub tools: Option<&'a Value>,
    /// Ends the prompt with the opening of the assistant's turn.
    pub add_generation_prompt: bool,
    /// Ends the prompt inside the last message, so that the model goes on with it.
    pub continue_final_message: bool,
    /// Further variables (`chat_template_kwargs`, documents); those above win.
    pub kwargs: &'a Map<String, Value>,
}

/// Why a conversation could not be rendered; the message is meant for the client.
#[derive(Debug, PartialEq, thiserror::Error)]
pub enum TemplateError {
    /// The template refused the conversation by `raise_exception`; its own words.
    #[error("{0}")]
    Raised(String),
    /// The conversation does not have the form that templates rely on.
    #[error("{0}")]
    Messages(String),
    /// The template itself failed: it does not parse, or hits an error while it runs.
    #[error("{0}")]
    Failed(String),
}

impl ChatTemplate {
    /// Compiles one template.
    pub fn new(source: &str) -> Result<Self, TemplateError> {
        Self::named(vec![("default".to_owned(), source.to_owned())])
    }

    /// Compiles several templates, of which `tool_use` serves conversations with tools and
    /// `default` the rest.
    pub fn named(sources: Vec<(String, String)>) -> Result<Self, TemplateError> {
        let mut environment = environment();
        for (name, source) in &sources {
            environment
                .add_template_owned(name.clone(), without_generation_tags(source).into_owned())
                .map_err(|error| TemplateError::Failed(describe(&error)))?;
        }
        Ok(ChatTemplate { environment, sources })
    }

    /// Reads the template of a model folder: `chat_template.jinja` where it is there, otherwise
    /// `chat_template` of `tokenizer_config.json`. `None` where neither has one.
    pub fn load(jinja: Option<&Path>, config: Option<&Path>) -> Result<Option<Self>, ModelError> {
        let (place, sources) = if let Some(path) = jinja {
            (path, vec![("default".to_owned(), read_text(path)?)])
        } else if let Some(path) = config {
            let values = super::error::read_object(path)?;
            let Some(value) = values.get("chat_template").filter(|value| !value.is_null()) else {
                return Ok(None);
            };
            let sources = sources(value).ok_or_else(|| {
                ModelError::file(path, "chat_template is neither text nor a list of named texts")
            })?;
            (path, sources)
        } else {
            return Ok(None);
        };
        let template = Self::named(sources);
        template
            .map(Some)
            .map_err(|error| ModelError::file(place, format!("bad chat template: {error}")))
    }

    /// The value of `--chat-template`: a file, or the template itself.
    pub fn from_flag(flag: &str) -> Result<Self, ModelError> {
        let source = match std::fs::read_to_string(flag) {
            Ok(text) => text,
            Err(_) if flag.contains(['{', '}', '\n']) => flag.to_owned(),
            Err(error) => {
                let reason =
                    format!("--chat-template is no readable file ({error}) and no template");
                return Err(ModelError::file(flag, reason));
            }
        };
        Self::new(&source).map_err(|error| {
            ModelError::file("--chat-template", format!("bad chat template: {error}"))
        })
    }

    /// The source that serves conversations with or without tools.
    pub fn source(&self, tools: bool) -> Result<&str, TemplateError> {
        self.select(tools).map(|(_, source)| source.as_str())
    }

    fn select(&self, tools: bool) -> Result<&(String, String), TemplateError> {
        let find = |wanted: &str| self.sources.iter().find(|(name, _)| name == wanted);
        let found =
            if tools { find("tool_use").or_else(|| find("default")) } else { find("default") };
        found.ok_or_else(|| {
            let mut names: Vec<_> = self.sources.iter().map(|(name, _)| name.as_str()).collect();
            names.sort_unstable();
            TemplateError::Failed(format!(
                "This model has several chat templates and none is called default: {names:?}"
            ))
        })
    }

    /// Whether messages of the system may stand between others, in conversations with or without
    /// tools. Found out as vLLM does: in plain Jinja, to which transformers adds functions and
    /// tags, so that a template which needs those counts as one that refuses.
    pub fn takes_systems_anywhere(&self, tools: bool) -> bool {
        let Ok((_, source)) = self.select(tools) else { return false };
        let mut plain = environment();
        for function in ["raise_exception", "strftime_now"] {
            plain.remove_global(function);
        }
        let has_tags = matches!(without_generation_tags(source), Cow::Owned(_));
        let turn = |role: &str| serde_json::json!({"role": role, "content": "t"});
        let messages = Value::Array(["system", "user", "system", "user"].map(turn).to_vec());
        let context = [
            ("messages".to_owned(), from_json(&messages)),
            ("add_generation_prompt".to_owned(), false.into()),
        ];
        let context = minijinja::Value::from_pairs(context);
        !has_tags && plain.render_str(source, context).is_ok()
    }

    /// Renders a conversation to the text of a prompt.
    ///
    /// `special` holds the tokenizer's special tokens by role, which templates may print.
    ///
    /// # Errors
    /// See [`TemplateError`]; all are the request's fault or the template's, never fatal.
    pub fn render(
        &self,
        input: &RenderInput,
        special: &Map<String, Value>,
    ) -> Result<String, TemplateError> {
        let (name, source) = self.select(input.tools.is_some())?;
        let mut messages = messages::normalise(input.messages)?;
        let last = match input.continue_final_message {
            true => Some(messages::mark_last(&mut messages, source, TAG)?),
            false => None,
        };
        let mut context = vec![("documents".to_owned(), minijinja::Value::from(()))];
        context.extend(special.iter().chain(input.kwargs).map(|(k, v)| (k.clone(), from_json(v))));
        let tools = input.tools.map_or(minijinja::Value::from(()), from_json);
        context.extend([
            ("messages".to_owned(), from_json(&messages)),
            ("tools".to_owned(), tools),
            ("add_generation_prompt".to_owned(), input.add_generation_prompt.into()),
        ]);
        let text = self
            .environment
            .get_template(name)
            .and_then(|template| template.render(minijinja::Value::from_pairs(context)))
            .map_err(render_error)?;
        match last {
            Some(last) => cut_at_tag(text, &last),
            None => Ok(text),
        }
    }
}

/// The templates that `chat_template` holds: one, or a list of `{"name", "template"}`.
fn sources(value: &Value) -> Option<Vec<(String, String)>> {
    match value {
        Value::String(source) => Some(vec![("default".to_owned(), source.clone())]),
        Value::Array(entries) => entries
            .iter()
            .map(|entry| {
                let text = |key: &str| Some(entry.get(key)?.as_str()?.to_owned());
                Some((text("name")?, text("template")?))
            })
            .collect(),
        _ => None,
    }
}

/// Ends the prompt where the last message ends.
fn cut_at_tag(mut text: String, last: &str) -> Result<String, TemplateError> {
    let place = text.rfind(TAG.trim_end());
    let (Some(place), true) = (place, text.contains(last.trim())) else {
        return Err(TemplateError::Messages(
            "continue_final_message is set but the final message does not appear in the chat \
             after applying the chat template! This can happen if the chat template deletes \
             portions of the final message. Please verify the chat template and final message in \
             your chat to ensure they are compatible."
                .to_owned(),
        ));
    };
    let kept = text[place..].starts_with(TAG);
    text.truncate(place);
    if !kept {
        text.truncate(text.trim_end().len());
    }
    Ok(text)
}

fn render_error(error: minijinja::Error) -> TemplateError {
    let mut cause: Option<&(dyn std::error::Error + 'static)> = Some(&error);
    while let Some(current) = cause {
        if let Some(Raised(message)) = current.downcast_ref() {
            return TemplateError::Raised(message.clone());
        }
        cause = current.source();
    }
    TemplateError::Failed(describe(&error))
}

/// What failed and in which line, on one line.
fn describe(error: &minijinja::Error) -> String {
    let detail = error.detail().map_or(Cow::from(error.kind().to_string()), Cow::from);
    let line = error.line().map(|line| format!(" (line {line})")).unwrap_or_default();
    one_line(&format!("{detail}{line}"))
}
