//! What the log says of single requests: vLLM's lines, with the ids of the request as key-values.
//!
//! Parameters and what became of a request are at INFO, prompts, bodies and token ids at DEBUG,
//! replies only when they are asked for. Texts are cut and quoted while a line is written, so a
//! line that no level lets through costs nothing, however long the prompt.

use super::fanout::Output;
use super::frontend::Options;
use super::json::{self, str_repr};
use crate::config::RequestLogSettings;
use crate::error::ApiError;
use crate::telemetry::logs::Visible;
use crate::types::{SpanRef, Token};
use axum::body::Body;
use axum::http::Response;
use log::Level;
use std::fmt::{self, Display};

/// The id of a trace as log lines show it; nothing for a call without one.
#[derive(Clone, Copy, Debug)]
pub struct TraceId(pub Option<SpanRef>);

impl Display for TraceId {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        match self.0 {
            Some(span) => write!(f, "{:032x}", span.trace_id),
            None => Ok(()),
        }
    }
}

/// The id of a reply, for the access line; travels with the response.
#[derive(Clone, Debug)]
struct ReplyId(String);

/// Notes the id of a reply for its access line.
pub fn with_reply_id(mut response: Response<Body>, id: String) -> Response<Body> {
    response.extensions_mut().insert(ReplyId(id));
    response
}

/// The id that [`with_reply_id`] noted, or nothing.
pub fn reply_id<B>(response: &Response<B>) -> &str {
    response.extensions().get().map_or("", |ReplyId(id)| id)
}

/// Says at start when the level of the log hides some of what was asked for.
pub fn announce(options: &Options) {
    if options.log_requests.is_none() {
        return;
    }
    if !log::log_enabled!(Level::Info) {
        log::warn!(
            "`--enable-log-requests` has no effect: the log level hides INFO, where requests are \
             logged. Set `--log-level INFO`."
        );
    } else if !log::log_enabled!(Level::Debug) {
        log::info!(
            "`--enable-log-requests` logs parameters only: prompts are logged at DEBUG. To see \
             them, set `--log-level DEBUG`."
        );
    }
}

/// The log of one request.
#[derive(Clone, Debug)]
pub struct RequestLog {
    settings: RequestLogSettings,
    /// The reply's id.
    id: String,
    trace: TraceId,
}

impl RequestLog {
    /// `None` when requests are not logged. `id` is the reply's.
    pub fn new(options: &Options, id: &str, span: Option<SpanRef>) -> Option<Self> {
        let settings = options.log_requests?;
        Some(Self { settings, id: id.to_owned(), trace: TraceId(span) })
    }

    /// What came from the client, which must be JSON.
    pub fn body(&self, body: &[u8]) {
        let Self { id, trace, .. } = self;
        log::debug!(
            request_id:% = id, trace_id:% = trace;
            "Request {} JSON body: {}", Visible(id), CutBody(body, self.settings.max_len)
        );
    }

    /// A prompt with its parameters, under the engine's id for it.
    pub fn received(
        &self,
        engine_id: &str,
        (text, tokens): (Option<&str>, &[Token]),
        params: impl Display,
    ) {
        let (Self { id, trace, .. }, max) = (self, self.settings.max_len);
        log::debug!(
            request_id:% = id, trace_id:% = trace;
            "Request {} details: prompt: {}, prompt_token_ids: {}, prompt_embeds shape: None.",
            Visible(engine_id), OrNone(text.map(|text| CutText(text, max))),
            CutTokens(tokens, max)
        );
        log::info!(
            request_id:% = id, trace_id:% = trace;
            "Received request {}: params: {params}, lora_request: None.", Visible(engine_id)
        );
    }

    /// A prompt that is only tokenised, or tokens that only become text.
    pub fn tokenised(&self, text: Option<&str>, tokens: &[Token]) {
        self.received(&self.id, (text, tokens), "None");
    }

    /// Whether prompts are shown, so that a text must be kept for it.
    pub fn shows_prompts(&self) -> bool {
        log::log_enabled!(Level::Debug)
    }

    /// The engine has taken a generation: the `k`th of the `n` of a prompt.
    fn added(&self, engine_id: &str, k: usize, n: usize) {
        let Self { id, trace, .. } = self;
        let child = if n > 1 { format!("{k}_") } else { String::new() };
        log::info!(
            request_id:% = id, trace_id:% = trace;
            "Added request {child}{}.", Visible(engine_id)
        );
    }

    /// Nobody waits for a prompt's generations any more.
    fn aborted(&self, engine_id: &str) {
        let Self { id, trace, .. } = self;
        log::info!(
            request_id:% = id, trace_id:% = trace; "Request {} aborted.", Visible(engine_id)
        );
    }

    /// The engine did not take a prompt, or lost it.
    pub fn failed(&self, engine_id: &str, error: &ApiError) {
        let Self { id, trace, .. } = self;
        let message = Visible(&error.message);
        let why = match error.status {
            500 if *error == ApiError::engine_dead() => " (engine dead)".to_owned(),
            500 => format!(" due to GenerationError: {message}"),
            _ => format!(" (bad request): {message}"),
        };
        log::info!(
            request_id:% = id, trace_id:% = trace; "Request {} failed{why}.", Visible(engine_id)
        );
    }

    fn response(
        &self,
        engine_id: &str,
        kind: &str,
        (text, tokens): (&str, Option<&[Token]>),
        finish: Option<&str>,
    ) {
        let (Self { id, trace, .. }, max) = (self, self.settings.max_len);
        let engine_id = Visible(engine_id);
        log::debug!(
            request_id:% = id, trace_id:% = trace;
            "Generated response {engine_id}{kind} details: output_token_ids: {}",
            OrNone(tokens.map(|tokens| CutTokens(tokens, max)))
        );
        log::info!(
            request_id:% = id, trace_id:% = trace;
            "Generated response {engine_id}{kind}: output: {}, finish_reason: {}",
            CutText(text, max), OrNone(finish)
        );
    }
}

/// The log of all generations of one request.
#[derive(Debug)]
pub struct FanoutLog {
    request: RequestLog,
    /// The engine's ids of the prompts that it has taken.
    ids: Vec<String>,
    /// Generations of each prompt.
    n: usize,
    /// Whether replies are logged.
    outputs: bool,
    /// What each generation has given, when replies are logged and streamed.
    texts: Option<Vec<String>>,
}

impl FanoutLog {
    /// Of a request for `n` generations of each prompt.
    pub fn new(request: RequestLog, n: usize, is_stream: bool) -> Self {
        let outputs = request.settings.outputs && log::log_enabled!(Level::Info);
        let texts = (outputs && is_stream).then(Vec::new);
        Self { request, ids: Vec::new(), n: n.max(1), outputs, texts }
    }

    /// The engine's id of the prompt behind a generation.
    fn id(&self, at: usize) -> &str {
        self.ids.get(at / self.n).map_or("", String::as_str)
    }

    /// The engine has taken the generations of a prompt.
    pub fn added(&mut self, engine_id: String) {
        (0..self.n).for_each(|k| self.request.added(&engine_id, k, self.n));
        self.ids.push(engine_id);
    }

    /// A generation has failed.
    pub fn failed(&self, at: usize, error: &ApiError) {
        self.request.failed(self.id(at), error);
    }

    /// Nobody waits any more; `open` tells which generations had not ended.
    pub fn dropped(&self, open: impl Iterator<Item = bool>) {
        let open: Vec<bool> = open.collect();
        for (id, prompt) in self.ids.iter().zip(open.chunks(self.n)) {
            if prompt.contains(&true) {
                self.request.aborted(id);
            }
        }
    }

    /// A generation has given something; a piece of a stream is logged.
    pub fn output(&mut self, at: usize, output: &Output) {
        let Some(texts) = &mut self.texts else { return };
        if texts.len() <= at {
            texts.resize(at + 1, String::new());
        }
        texts[at].push_str(&output.text);
        if self.request.settings.deltas && !output.text.is_empty() {
            let said = (output.text.as_str(), Some(&*output.tokens));
            self.request.response(self.id(at), " (streaming delta)", said, finish(output));
        }
    }

    /// All generations have ended; the whole text of streams is logged, once.
    pub fn ended(&mut self) {
        for (at, text) in self.texts.take().into_iter().flatten().enumerate() {
            let (kind, finish) = (" (streaming complete)", Some("streaming_complete"));
            self.request.response(self.id(at), kind, (&text, None), finish);
        }
    }

    /// The replies of a request that is not streamed.
    pub fn replies(&self, outputs: &[Output]) {
        let replies = outputs.iter().enumerate().filter(|(_, output)| !output.text.is_empty());
        for (at, output) in replies.filter(|_| self.outputs) {
            let said = (output.text.as_str(), Some(&*output.tokens));
            self.request.response(self.id(at), "", said, finish(output));
        }
    }
}

fn finish(output: &Output) -> Option<&'static str> {
    output.finish.as_ref().map(|finish| finish.reason.as_str())
}

/// How much of `len` items Python's `items[:max]` keeps.
fn kept(len: usize, max: i64) -> usize {
    let size = usize::try_from(max.unsigned_abs()).unwrap_or(usize::MAX);
    if max < 0 { len.saturating_sub(size) } else { size.min(len) }
}

fn cut(text: &str, max: Option<i64>) -> &str {
    let Some(max) = max else { return text };
    // Bytes are at least as many as characters, so most limits need no count.
    let chars = if max < 0 { kept(text.chars().count(), max) } else { kept(text.len(), max) };
    text.char_indices().nth(chars).map_or(text, |(end, _)| &text[..end])
}

/// A text, cut, as Python prints it.
struct CutText<'a>(&'a str, Option<i64>);

impl Display for CutText<'_> {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        f.write_str(&str_repr(cut(self.0, self.1)))
    }
}

/// Token ids, cut, as a Python list.
struct CutTokens<'a>(&'a [Token], Option<i64>);

impl Display for CutTokens<'_> {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        let Self(tokens, max) = *self;
        let keep = max.map_or(tokens.len(), |max| kept(tokens.len(), max));
        write!(f, "{:?}", &tokens[..keep])
    }
}

/// A body without the space between its values, cut.
struct CutBody<'a>(&'a [u8], Option<i64>);

impl Display for CutBody<'_> {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        match json::parse(self.0) {
            Ok(document) => f.write_str(cut(&document.root.to_value().to_string(), self.1)),
            Err(_) => f.write_str("(not JSON)"),
        }
    }
}

/// A value, or Python's `None`.
struct OrNone<T>(Option<T>);

impl<T: Display> Display for OrNone<T> {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        match &self.0 {
            Some(value) => value.fmt(f),
            None => f.write_str("None"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_are_cut_where_python_cuts_them() {
        let shown = |max| CutText("aé\n'", max).to_string();
        assert_eq!(shown(None), r#""aé\n'""#);
        assert_eq!(shown(Some(0)), "''");
        assert_eq!(shown(Some(2)), "'aé'");
        assert_eq!(shown(Some(3)), r"'aé\n'");
        assert_eq!(shown(Some(9)), r#""aé\n'""#);
        assert_eq!(shown(Some(-1)), r"'aé\n'");
        assert_eq!(shown(Some(-9)), "''");
        assert_eq!(shown(Some(i64::MIN)), "''");
    }

    #[test]
    fn tokens_are_cut_likewise() {
        let shown = |max| CutTokens(&[5, 6, 7], max).to_string();
        assert_eq!(shown(None), "[5, 6, 7]");
        assert_eq!(shown(Some(2)), "[5, 6]");
        assert_eq!(shown(Some(9)), "[5, 6, 7]");
        assert_eq!(shown(Some(-2)), "[5]");
    }

    #[test]
    fn bodies_are_compact_and_cut() {
        let body = b"{ \"prompt\" : \"a\\nb\", \"n\": 1 }";
        assert_eq!(CutBody(body, None).to_string(), r#"{"prompt":"a\nb","n":1}"#);
        assert_eq!(CutBody(body, Some(5)).to_string(), r#"{"pro"#);
    }

    #[test]
    fn a_trace_has_32_digits_and_none_has_nothing() {
        let span = SpanRef { trace_id: 0xabc, span_id: 1 };
        assert_eq!(TraceId(Some(span)).to_string(), format!("{:0>32}", "abc"));
        assert_eq!(TraceId(None).to_string(), "");
    }
}
