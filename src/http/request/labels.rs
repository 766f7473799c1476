//! What requests for the probabilities of labels have in common.

use super::super::json::{Dict, Json};
use super::super::schema::{Field, INT64, Schema, optional, validate};
use super::fields::Fields;
use super::generate::{NULLABLE_STR, check_cache_salt};
use crate::error::ApiError;

pub const MODEL: Field = optional("model", &NULLABLE_STR);
pub const CACHE_SALT: Field = optional("cache_salt", &NULLABLE_STR);
pub const PRIORITY: Field = optional("priority", &INT64);
pub const REQUEST_ID: Field = optional("request_id", &Schema::Str);

/// The fields that say how a request is treated.
#[derive(Clone, Debug)]
pub struct LabelFields {
    pub model: Option<String>,
    pub cache_salt: Option<String>,
    pub priority: i64,
    pub request_id: Option<String>,
}

impl LabelFields {
    /// Checks a body; gives all of its members as well.
    pub fn checked(schema: &Schema, body: Json) -> Result<(Dict, Self), ApiError> {
        if let Json::Dict(data) = &body {
            check_cache_salt(Fields(data))?;
        }
        validate(schema, &body)?;
        let Json::Dict(data) = body else { return Err(ApiError::internal("no object")) };
        let fields = Fields(&data);
        let common = Self {
            model: fields.string("model"),
            cache_salt: fields.string("cache_salt"),
            priority: fields.int("priority").map_or(0, |priority| priority.saturate()),
            request_id: fields.string("request_id"),
        };
        Ok((data, common))
    }
}
