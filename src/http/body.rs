//! From the bytes of a request body to JSON.

use super::frontend::Frontend;
use super::json::{self, Document, Json, ParseError, str_repr};
use crate::config::TransportLimits;
use crate::error::ApiError;
use crate::telemetry::metrics::Limit;
use axum::body::Bytes;
use axum::http::{HeaderMap, header};
use http_body_util::{BodyExt, LengthLimitError, Limited};
use tokio::runtime::{Handle, RuntimeFlavor};
use tokio::task::block_in_place;
use tokio::time::timeout;

/// Work on larger bodies makes way for other requests first.
const LARGE_BODY: usize = 64 << 10;

/// Reads all of a body, within the limits of size and time.
pub async fn collect<B>(frontend: &Frontend, body: B) -> Result<Bytes, ApiError>
where
    B: hyper::body::Body<Data = Bytes> + Send + 'static,
    B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
{
    let TransportLimits { body_bytes, body_time, .. } = frontend.options.transport;
    let too_large = || {
        frontend.metrics.transport.met(Limit::BodySize);
        ApiError::body_too_large(body_bytes)
    };
    if body.size_hint().lower() > body_bytes as u64 {
        return Err(too_large());
    }
    match timeout(body_time, Limited::new(body, body_bytes).collect()).await {
        Ok(Ok(body)) => Ok(body.to_bytes()),
        Ok(Err(error)) if error.is::<LengthLimitError>() => Err(too_large()),
        Ok(Err(_)) => Err(ApiError::detail(400, "There was an error parsing the body")),
        Err(_) => {
            frontend.metrics.transport.met(Limit::BodyTime);
            Err(ApiError::body_too_slow(body_time))
        }
    }
}

/// Runs work that takes time in proportion to a body of `len` bytes. Where that is long, the
/// thread's other tasks move elsewhere before.
pub fn blocking<T>(len: usize, work: impl FnOnce() -> T) -> T {
    match Handle::try_current().map(|handle| handle.runtime_flavor()) {
        Ok(RuntimeFlavor::MultiThread) if len > LARGE_BODY => block_in_place(work),
        _ => work(),
    }
}

/// Reads a body and checks it. The second result is for later: vLLM looks for half surrogate pairs
/// only after it has looked up the model.
pub fn read<T>(
    headers: &HeaderMap,
    body: &[u8],
    check: fn(Json) -> Result<T, ApiError>,
) -> Result<(T, Result<(), ApiError>), ApiError> {
    blocking(body.len(), || {
        let document = decode(headers, body)?;
        let surrogates = refuse_lone_surrogates(&document);
        Ok((check(document.root)?, surrogates))
    })
}

/// Checks the content type and decodes the body of a POST request.
pub fn decode(headers: &HeaderMap, body: &[u8]) -> Result<Document, ApiError> {
    check_type(headers)?;
    if body.is_empty() {
        return Err(missing());
    }
    match json::parse(body) {
        Ok(Document { root: Json::Null, .. }) => Err(missing()),
        Ok(document) => Ok(document),
        Err(error) => Err(syntax_error(error)),
    }
}

/// The error of a body that is no JSON.
pub fn syntax_error(error: ParseError) -> ApiError {
    match error {
        ParseError::Unreadable => ApiError::detail(400, "There was an error parsing the body"),
        ParseError::Syntax { message, position } => {
            let message = format!(
                "1 validation error:\n  {{'type': 'json_invalid', 'loc': 'body.{position}', \
                 'msg': 'JSON decode error', 'input': '<dict of 0 items>', \
                 'ctx': {{'error': {}}}}}",
                str_repr(message)
            );
            ApiError::schema(message, Some(format!("body.{position}")))
        }
    }
}

/// Refuses a body that is not said to be JSON.
pub fn check_type(headers: &HeaderMap) -> Result<(), ApiError> {
    let message =
        "1 validation error:\n  Unsupported Media Type: Only 'application/json' is allowed";
    if is_json(headers) { Ok(()) } else { Err(ApiError::schema(message, None)) }
}

/// Decodes the body of an endpoint that vLLM leaves to Python's decoder, whatever its type.
pub fn python_json(body: &[u8]) -> Result<Json, ApiError> {
    match json::parse(body) {
        Ok(document) => Ok(document.root),
        Err(ParseError::Unreadable) => {
            Err(ApiError::detail(400, "There was an error parsing the body"))
        }
        Err(ParseError::Syntax { message, position }) => {
            let text = String::from_utf8_lossy(body);
            let before = text.chars().take(position);
            let line = before.clone().filter(|c| *c == '\n').count() + 1;
            let column = before.fold(1, |column, c| if c == '\n' { 1 } else { column + 1 });
            let message = format!(
                "JSON decode error: {message}: line {line} column {column} (char {position})"
            );
            Err(ApiError::schema(message, None))
        }
    }
}

fn missing() -> ApiError {
    let message = "1 validation error:\n  {'type': 'missing', 'loc': 'body', \
                   'msg': 'Field required', 'input': 'None'}";
    ApiError::schema(message, Some("body".to_owned()))
}

/// vLLM compares all before the first `;`, so not even a space may stand there.
pub fn is_json(headers: &HeaderMap) -> bool {
    let value = headers.get(header::CONTENT_TYPE).map_or(&b""[..], |value| value.as_bytes());
    let kind = value.split(|b| *b == b';').next().unwrap_or_default();
    kind.eq_ignore_ascii_case(b"application/json")
}

/// What vLLM's tokenizer says about text with half a surrogate pair in it. Such text gets no
/// further here, wherever in the body it stands.
fn refuse_lone_surrogates(document: &Document) -> Result<(), ApiError> {
    if !document.lone_surrogate {
        return Ok(());
    }
    Err(ApiError::bad_request(
        "TextEncodeInput must be Union[TextInputSequence, Tuple[InputSequence, InputSequence]]",
    ))
}
