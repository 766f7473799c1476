//! The paths of stored responses, which have an id in them.

use super::super::frontend::Frontend;
use super::super::respond;
use super::{cancel, retrieve};
use crate::error::ApiError;
use axum::body::Body;
use axum::http::{Method, Response};

/// What can be done with a stored response.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stored {
    Retrieve,
    Cancel,
}

/// A path, the methods it takes, and what they do.
type Route = (&'static str, &'static [Method], Stored);

/// All of them.
pub const ROUTES: [Route; 2] = [
    ("/v1/responses/{response_id}/cancel", &[Method::POST], Stored::Cancel),
    ("/v1/responses/{response_id}", &[Method::GET], Stored::Retrieve),
];

/// The id in a path, and the route that the path leads to.
pub fn route(path: &str) -> Option<(&str, Route)> {
    let rest = path.strip_prefix("/v1/responses/")?;
    ROUTES.into_iter().find_map(|route| {
        let id = rest.strip_suffix(route.0.rsplit('}').next()?)?;
        let has_slash = id.contains('/') || id.to_ascii_lowercase().contains("%2f");
        (!id.is_empty() && !has_slash).then_some((id, route))
    })
}

/// Answers at one of the paths.
pub fn stored(frontend: &Frontend, path: &str, query: Option<&str>) -> Response<Body> {
    let answer = match route(path) {
        Some((id, (.., Stored::Retrieve))) => retrieve(frontend, id, query),
        Some((id, (.., Stored::Cancel))) => cancel(frontend, id),
        None => Err(ApiError::detail(404, "Not Found")),
    };
    answer.unwrap_or_else(|error| respond::error(&error))
}
