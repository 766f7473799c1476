//! The requests of `/tokenize` and `/detokenize`.

use super::super::json::{Int, Json};
use super::super::schema::{
    Errors, Fit, ObjectKind, Path, Schema, check, optional, required, validate,
};
use super::chat::{Conversation, PROMPT_SCHEMA};
use super::chat_hooks::check_prompt_flags;
use super::fields::Fields;
use super::generate::{NULLABLE_BOOL, NULLABLE_STR};
use crate::error::ApiError;

/// The text form of a `/tokenize` body.
pub const TEXT_SCHEMA: Schema = Schema::Object {
    kind: ObjectKind::Model,
    fields: &[
        optional("model", &NULLABLE_STR),
        required("prompt", &Schema::Str),
        optional("add_special_tokens", &Schema::Bool),
        optional("return_token_strs", &NULLABLE_BOOL),
    ],
};

/// The body of `/detokenize`.
pub const DETOKENIZE_SCHEMA: Schema = Schema::Object {
    kind: ObjectKind::Model,
    fields: &[
        optional("model", &NULLABLE_STR),
        required(
            "tokens",
            &Schema::List { item: &Schema::Int { ge: Some(0), le: Some(i64::MAX) }, max: None },
        ),
    ],
};

/// What to tokenise.
#[derive(Clone, Debug)]
pub enum TokenizeInput {
    Text(String),
    Chat(Box<Conversation>),
}

/// A checked request of `/tokenize`.
#[derive(Clone, Debug)]
pub struct TokenizeRequest {
    pub model: Option<String>,
    pub input: TokenizeInput,
    pub add_special_tokens: bool,
    pub return_token_strs: bool,
}

impl TokenizeRequest {
    /// Checks a body. One that fits both forms is a chat unless more of its members belong to the
    /// text form.
    pub fn new(body: Json) -> Result<Self, ApiError> {
        let (root, mut errors) = (Path::root("body"), Errors::default());
        let text = check(&TEXT_SCHEMA, &body, &root, &mut errors)?;
        if let Json::Dict(data) = &body {
            check_prompt_flags(Fields(data))?;
        }
        let chat = check(&PROMPT_SCHEMA, &body, &root, &mut errors)?;
        let is_text = match (text, chat) {
            (Some(text), Some(chat)) => !Fit::is_better_than(chat, text),
            (Some(_), None) => true,
            (None, Some(_)) => false,
            (None, None) => return Err(errors.into_api_error()),
        };
        let Json::Dict(data) = body else { return Err(ApiError::internal("no object")) };
        let fields = Fields(&data);
        let model = fields.string("model");
        let add_special_tokens = fields.bool("add_special_tokens").unwrap_or(is_text);
        let return_token_strs = fields.flag("return_token_strs");
        let input = match is_text {
            true => TokenizeInput::Text(fields.string("prompt").unwrap_or_default()),
            false => TokenizeInput::Chat(Box::new(Conversation::from_data(data)?)),
        };
        Ok(Self { model, input, add_special_tokens, return_token_strs })
    }
}

/// A checked request of `/detokenize`.
#[derive(Clone, Debug)]
pub struct DetokenizeRequest {
    pub model: Option<String>,
    pub tokens: Vec<Int>,
}

impl DetokenizeRequest {
    /// Checks a body.
    pub fn new(body: Json) -> Result<Self, ApiError> {
        validate(&DETOKENIZE_SCHEMA, &body)?;
        let Json::Dict(data) = body else { return Err(ApiError::internal("no object")) };
        let fields = Fields(&data);
        Ok(Self {
            model: fields.string("model"),
            tokens: fields.ints("tokens").unwrap_or_default(),
        })
    }
}
