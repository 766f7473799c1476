//! Arguments that are no body of a model's own: query parameters, and bodies whose members are
//! each a parameter.

use super::body::{is_json, syntax_error};
use super::json::{self, Dict, Json, ParseError};
use super::schema::{Errors, Field, Path, check};
use crate::error::ApiError;
use axum::http::HeaderMap;

/// The parameters in a query that `fields` names, checked; of several with one name the last.
pub fn query(query: Option<&str>, fields: &[Field]) -> Result<Dict, ApiError> {
    let mut given = Dict::new();
    for (name, value) in form_urlencoded::parse(query.unwrap_or_default().as_bytes()) {
        if fields.iter().any(|field| field.name == name) {
            given.insert(name.into_owned(), Json::Str(value.into_owned()));
        }
    }
    check_each(&given, fields, "query")?;
    Ok(given)
}

/// The members of a body, checked. No body at all has no members; one that is no JSON object lacks
/// even those that may be absent.
pub fn embedded(headers: &HeaderMap, body: &[u8], fields: &[Field]) -> Result<Dict, ApiError> {
    let value = match is_json(headers) {
        _ if body.is_empty() => Some(Dict::new()),
        false => None,
        true => match json::parse(body) {
            Ok(document) => match document.root {
                Json::Dict(members) => Some(members),
                Json::Null => Some(Dict::new()),
                _ => None,
            },
            Err(error) => return Err(syntax_error(error)),
        },
    };
    if let Some(members) = value {
        check_each(&members, fields, "body")?;
        return Ok(members);
    }
    let (root, mut errors) = (Path::root("body"), Errors::default());
    for field in fields {
        errors.push(&root.key(field.name), &Json::Null, "missing", "Field required");
    }
    Err(errors.into_api_error())
}

fn check_each(given: &Dict, fields: &[Field], place: &str) -> Result<(), ApiError> {
    let (root, mut errors) = (Path::root(place), Errors::default());
    let mut fits = true;
    for field in fields {
        let path = root.key(field.name);
        match given.get(field.name) {
            Some(value) => fits &= check(field.schema, value, &path, &mut errors)?.is_some(),
            None if field.required => {
                errors.push(&path, &Json::Null, "missing", "Field required");
                fits = false;
            }
            None => {}
        }
    }
    if fits { Ok(()) } else { Err(errors.into_api_error()) }
}

/// What Python says of a body that is no JSON, with the line and column.
pub fn python_error(body: &[u8], error: &ParseError) -> String {
    let ParseError::Syntax { message, position } = error else {
        return "'utf-8' codec can't decode the body".to_owned();
    };
    let text = String::from_utf8_lossy(body);
    let before: Vec<char> = text.chars().take(*position).collect();
    let line = before.iter().filter(|c| **c == '\n').count() + 1;
    let column = before.iter().rev().take_while(|c| **c != '\n').count() + 1;
    format!("{message}: line {line} column {column} (char {position})")
}
