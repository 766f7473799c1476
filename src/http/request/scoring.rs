//! The request of `/generative_scoring`.

use super::super::json::{Int, Json};
use super::super::schema::{INTS, ObjectKind, STRS, Schema, coerce, optional, required};
use super::fields::Fields;
use super::labels::{CACHE_SALT, LabelFields, MODEL, PRIORITY, REQUEST_ID};
use crate::error::ApiError;

pub const SCHEMA: Schema = Schema::Object {
    kind: ObjectKind::Model,
    fields: &[
        MODEL,
        required("query", &Schema::Union(&[("", &Schema::Str), ("", &INTS)])),
        required(
            "items",
            &Schema::Union(&[("", &STRS), ("", &Schema::List { item: &INTS, max: None })]),
        ),
        required("label_token_ids", &INTS),
        optional("apply_softmax", &Schema::Bool),
        optional("item_first", &Schema::Bool),
        optional("add_special_tokens", &Schema::Bool),
        CACHE_SALT,
        PRIORITY,
        REQUEST_ID,
    ],
};

/// A part of a prompt.
#[derive(Clone, Debug)]
pub enum Piece {
    Text(String),
    Tokens(Vec<Int>),
}

impl Piece {
    fn of(value: &Json) -> Self {
        match value {
            Json::Str(text) => Self::Text(text.clone()),
            Json::List(ids) => {
                Self::Tokens(ids.iter().filter_map(|id| coerce::int(id).ok()).collect())
            }
            _ => Self::Tokens(Vec::new()),
        }
    }
}

/// A checked request.
#[derive(Clone, Debug)]
pub struct ScoringRequest {
    pub common: LabelFields,
    pub query: Piece,
    pub items: Vec<Piece>,
    pub label_token_ids: Vec<Int>,
    /// Probabilities among the labels, not over the vocabulary.
    pub apply_softmax: bool,
    pub item_first: bool,
    pub add_special_tokens: bool,
}

impl ScoringRequest {
    /// Checks a body.
    pub fn new(body: Json) -> Result<Self, ApiError> {
        let (data, common) = LabelFields::checked(&SCHEMA, body)?;
        let fields = Fields(&data);
        let items = fields.get("items").and_then(Json::as_list).unwrap_or_default();
        Ok(Self {
            common,
            query: Piece::of(fields.get("query").unwrap_or(&Json::Null)),
            items: items.iter().map(Piece::of).collect(),
            label_token_ids: fields.ints("label_token_ids").unwrap_or_default(),
            apply_softmax: fields.bool("apply_softmax").unwrap_or(true),
            item_first: fields.flag("item_first"),
            add_special_tokens: fields.bool("add_special_tokens").unwrap_or(true),
        })
    }
}
