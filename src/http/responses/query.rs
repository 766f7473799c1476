//! The query of a request for a stored response.

use super::super::json::{Json, str_repr};
use super::super::schema::coerce;
use crate::error::ApiError;
use std::fmt::Write;

/// How a client wants a stored response.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Follow {
    pub stream: bool,
    /// The number of the last event that the client has seen.
    pub starting_after: Option<i64>,
}

impl Follow {
    /// Reads the query; what comes last counts.
    pub fn from_query(query: Option<&str>) -> Result<Self, ApiError> {
        let last = |name: &str| {
            let pairs = query.unwrap_or_default().split('&').rev();
            pairs.filter_map(|pair| pair.split_once('=')).find(|(key, _)| *key == name)
        };
        let text = |(_, value): (&str, &str)| Json::Str(value.to_owned());
        let (after, stream) = (last("starting_after").map(text), last("stream").map(text));
        let mut wrong = Vec::new();
        let after_number = after.as_ref().map(coerce::int).transpose();
        if after_number.is_err() {
            let what = "integer, unable to parse string as an integer";
            wrong.push(("int_parsing", "starting_after", what, &after));
        }
        let is_stream = stream.as_ref().map(coerce::bool).transpose();
        if is_stream.is_err() {
            let what = "boolean, unable to interpret input";
            wrong.push(("bool_parsing", "stream", what, &stream));
        }
        match (after_number, is_stream) {
            (Ok(after), Ok(stream)) => Ok(Self {
                stream: stream.unwrap_or(false),
                starting_after: after.map(|number| number.saturate()),
            }),
            _ => Err(refused(&wrong)),
        }
    }
}

fn refused(wrong: &[(&str, &str, &str, &Option<Json>)]) -> ApiError {
    let plural = if wrong.len() == 1 { "error" } else { "errors" };
    let mut message = format!("{} validation {plural}:", wrong.len());
    for (kind, name, what, value) in wrong {
        let value = str_repr(value.as_ref().and_then(Json::as_str).unwrap_or_default());
        // Writing to a String cannot fail.
        let _ = write!(
            message,
            "\n  {{'type': '{kind}', 'loc': 'query.{name}', 'msg': 'Input should be a valid \
             {what}', 'input': {value}}}"
        );
    }
    let first = wrong.first().map(|(_, name, ..)| format!("query.{name}"));
    ApiError::schema(message, first)
}
