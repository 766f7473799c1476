//! Responses: JSON, errors, event streams.

use super::json::dumps_str;
use super::reply::to_json;
use crate::error::{ApiError, Shape};
use axum::body::Body;
use axum::http::{HeaderValue, Response, StatusCode, header};
use serde::Serialize;
use std::borrow::Cow;
use std::fmt::Write;

/// A body of JSON with status 200.
pub fn json(value: &impl Serialize) -> Response<Body> {
    with_json(StatusCode::OK, to_json(value))
}

/// JSON that is written already.
pub fn json_text(text: impl Into<Body>) -> Response<Body> {
    with_type(StatusCode::OK, "application/json", text)
}

fn with_json(status: StatusCode, body: Vec<u8>) -> Response<Body> {
    with_type(status, "application/json", body)
}

/// A status without a body.
pub fn empty(status: StatusCode) -> Response<Body> {
    let mut response = Response::new(Body::empty());
    *response.status_mut() = status;
    response
}

/// A stream of server-sent events.
pub fn events(body: Body) -> Response<Body> {
    with_type(StatusCode::OK, "text/event-stream; charset=utf-8", body)
}

#[derive(Serialize)]
struct ErrorBody<'a> {
    error: ErrorInfo<'a>,
}

#[derive(Serialize)]
struct ErrorInfo<'a> {
    message: Cow<'a, str>,
    #[serde(rename = "type")]
    kind: &'a str,
    param: Option<&'a str>,
    code: u16,
}

/// An error of Anthropic's API.
#[derive(Serialize)]
pub struct AnthropicBody<'a> {
    r#type: &'static str,
    error: AnthropicError<'a>,
}

#[derive(Serialize)]
struct AnthropicError<'a> {
    r#type: &'a str,
    message: Cow<'a, str>,
}

impl<'a> AnthropicBody<'a> {
    pub fn new(kind: &'a str, message: &'a str) -> Self {
        let error = AnthropicError { r#type: kind, message: without_paths(message) };
        Self { r#type: "error", error }
    }
}

/// The response to a failed request.
pub fn error(error: &ApiError) -> Response<Body> {
    let status = StatusCode::from_u16(error.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    let body = match error.shape {
        Shape::Detail => to_json(&serde_json::json!({"detail": error.message})),
        Shape::Anthropic => to_json(&AnthropicBody::new(error.kind, &error.message)),
        Shape::Error => to_json(&ErrorBody {
            error: ErrorInfo {
                message: without_paths(&error.message),
                kind: error.kind,
                param: error.param.as_deref(),
                code: error.status,
            },
        }),
    };
    with_json(status, body)
}

/// An error as an event of a stream: Python's `json.dumps`, with spaces and ASCII only.
pub fn error_event(out: &mut String, error: &ApiError) {
    out.push_str("data: {\"error\": {\"message\": ");
    dumps_str(out, &without_paths(&error.message));
    out.push_str(", \"type\": ");
    dumps_str(out, error.kind);
    out.push_str(", \"param\": ");
    match &error.param {
        Some(param) => dumps_str(out, param),
        None => out.push_str("null"),
    }
    // Writing to a String cannot fail.
    let _ = write!(out, ", \"code\": {}}}}}\n\n", error.status);
}

/// A message without the paths of files, which vLLM hides from clients: `/root/…` below one of
/// the usual top folders, and `/a/b.ext` anywhere. Addresses and tracebacks, which it hides as
/// well, never get into messages here.
pub fn without_paths(message: &str) -> Cow<'_, str> {
    let trimmed = message.trim();
    if !trimmed.contains('/') {
        return Cow::Borrowed(trimmed);
    }
    let mut out = String::with_capacity(trimmed.len());
    let mut rest = trimmed;
    // A run of names without an extension is looked at once, not again from each of its slashes.
    let mut barren = 0;
    while let Some(slash) = rest.find('/') {
        let (before, path) = rest.split_at(slash);
        out.push_str(before);
        let at = trimmed.len() - path.len();
        let mut len = path_below_top(path);
        if len == 0 && at >= barren {
            match path_with_extension(path) {
                Ok(found) => len = found,
                Err(end) => barren = at + end,
            }
        }
        out.push_str(if len > 0 { "<path>" } else { "/" });
        rest = &path[len.max(1)..];
    }
    out.push_str(rest);
    Cow::Owned(out)
}

fn is_word(c: char) -> bool {
    c.is_alphanumeric() || c == '_' || c == '-'
}

/// How many bytes at the start of `text` fit.
fn run(text: &str, fits: impl Fn(char) -> bool) -> usize {
    text.find(|c| !fits(c)).unwrap_or(text.len())
}

/// The length of `/top/name/name…` at the start of `text`, which starts with a slash; 0 for none.
fn path_below_top(text: &str) -> usize {
    const TOPS: [&str; 9] = ["home", "usr", "opt", "var", "tmp", "root", "lib", "mnt", "srv"];
    let top_len = 1 + run(&text[1..], |c| c.is_ascii_lowercase());
    if TOPS.contains(&&text[1..top_len]) {
        let mut end = top_len;
        while let Some(name) = text[end..].strip_prefix('/') {
            let len = run(name, |c| is_word(c) || c == '.');
            if len == 0 {
                break;
            }
            end += 1 + len;
        }
        if end > top_len {
            return end;
        }
    }
    0
}

/// The length of `/name…/name.ext` at the start of `text`. Otherwise where the run of names ends
/// that is none: no such path starts at a slash before that either, but for the last name's.
fn path_with_extension(text: &str) -> Result<usize, usize> {
    let (mut end, mut names) = (0, 0);
    while let Some(name) = text[end..].strip_prefix('/') {
        let len = run(name, is_word);
        if len == 0 {
            return Err(end);
        }
        end += 1 + len;
        names += 1;
    }
    let extension = text[end..]
        .strip_prefix('.')
        .map_or(0, |ext| run(ext, |c| c.is_alphanumeric() || c == '_'));
    if names >= 2 && extension > 0 { Ok(end + 1 + extension) } else { Err(end) }
}

/// A text.
pub fn text(status: StatusCode, text: impl Into<Body>) -> Response<Body> {
    with_type(status, "text/plain; charset=utf-8", text)
}

/// A page.
pub fn html(page: impl Into<Body>) -> Response<Body> {
    with_type(StatusCode::OK, "text/html; charset=utf-8", page)
}

fn with_type(status: StatusCode, kind: &'static str, body: impl Into<Body>) -> Response<Body> {
    let mut response = Response::new(body.into());
    *response.status_mut() = status;
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static(kind));
    response
}

/// The 400 of the server below vLLM's application, for requests that it cannot read.
pub fn invalid_request() -> Response<Body> {
    text(StatusCode::BAD_REQUEST, "Invalid HTTP request received.")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hides_paths() {
        let cases = [
            ("no path", "no path"),
            ("in /tmp/x.txt: bad", "in <path>: bad"),
            ("/usr is a/b and 1/2", "/usr is a/b and 1/2"),
            ("see /a/b.c or /a/b", "see <path> or /a/b"),
            ("https://errors.pydantic.dev/2.14/v/x", "https://errors.pydantic.dev/2.14/v/x"),
            ("'a/b/c.json'", "'a<path>'"),
        ];
        for (message, shown) in cases {
            assert_eq!(without_paths(message), shown);
        }
    }

    #[test]
    fn writes_errors_as_events() {
        let mut out = String::new();
        error_event(&mut out, &ApiError::parameter("é", "p", None));
        let shown = "data: {\"error\": {\"message\": \"\\u00e9 (parameter=p)\", \"type\": \
                     \"BadRequestError\", \"param\": \"p\", \"code\": 400}}\n\n";
        assert_eq!(out, shown);
    }
}
