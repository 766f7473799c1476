//! What did not fit, in the two forms in which clients see it.

use super::super::json::{Json, repr, str_repr};
use crate::error::ApiError;
use std::fmt::Write;

/// Errors that a message lists; the others are counted.
const MAX_REPORTED: usize = 10;
/// Characters of an offending value that are shown.
const MAX_INPUT_CHARS: usize = 200;
/// Characters of one listed error.
const MAX_ERROR_CHARS: usize = 1000;

/// Where in a body a value lies: a list on the stack, from the value up to the root.
#[derive(Clone, Copy, Debug)]
pub struct Path<'a> {
    parent: Option<&'a Path<'a>>,
    step: Step<'a>,
}

#[derive(Clone, Copy, Debug)]
enum Step<'a> {
    Root(&'a str),
    Key(&'a str),
    Index(usize),
}

impl<'a> Path<'a> {
    /// The root, under a name that may be empty.
    pub fn root(name: &'a str) -> Self {
        Self { parent: None, step: Step::Root(name) }
    }

    pub fn key<'b>(&'b self, key: &'b str) -> Path<'b> {
        Path { parent: Some(self), step: Step::Key(key) }
    }

    pub fn index(&self, index: usize) -> Path<'_> {
        Path { parent: Some(self), step: Step::Index(index) }
    }

    /// Whether vLLM takes a step for one inside pydantic and leaves it out.
    fn is_internal(&self) -> bool {
        const WORDS: [&str; 12] = [
            "arguments",
            "bool",
            "bytes",
            "call",
            "default",
            "dict",
            "float",
            "int",
            "list",
            "none",
            "str",
            "union",
        ];
        let Step::Key(key) = self.step else { return false };
        key.contains(['[', ']', '{', '}', '(', ')'])
            || WORDS.iter().any(|word| key.eq_ignore_ascii_case(word))
    }

    fn write(&self, out: &mut String) {
        if let Some(parent) = self.parent {
            parent.write(out);
        }
        if self.is_internal() {
            return;
        }
        if !out.is_empty() {
            out.push('.');
        }
        // Writing to a String cannot fail.
        let _ = match self.step {
            Step::Root(name) | Step::Key(name) => write!(out, "{name}"),
            Step::Index(index) => write!(out, "{index}"),
        };
    }

    fn dotted(&self) -> String {
        let mut out = String::new();
        self.write(&mut out);
        out
    }
}

#[derive(Clone, Debug)]
struct LineError {
    kind: &'static str,
    path: String,
    message: String,
    /// The offending value, bounded; for the other form its `repr` and type.
    input: String,
    input_repr: String,
    input_type: &'static str,
    /// The `repr` of the error's context.
    context: Option<String>,
}

/// The misfits of a value: the first ones in full, the rest as a number.
#[derive(Clone, Debug, Default)]
pub struct Errors {
    listed: Vec<LineError>,
    count: usize,
}

impl Errors {
    /// Adds one misfit of `input` at `path`.
    pub fn push(&mut self, path: &Path<'_>, input: &Json, kind: &'static str, message: &str) {
        self.push_with(path, input, kind, message, None);
    }

    /// The same with a context, given as the inside of a Python dict.
    pub fn push_with(
        &mut self,
        path: &Path<'_>,
        input: &Json,
        kind: &'static str,
        message: &str,
        context: Option<String>,
    ) {
        self.count += 1;
        if self.listed.len() < MAX_REPORTED {
            self.listed.push(LineError {
                kind,
                path: path.dotted(),
                message: message.to_owned(),
                input: summary(input),
                input_repr: shortened_repr(input),
                input_type: input.type_name(),
                context,
            });
        }
    }

    /// Adds what a validator says about a value that fits otherwise.
    pub fn push_value_error(&mut self, path: &Path<'_>, input: &Json, message: &str) {
        let context = Some(format!("'error': ValueError({})", str_repr(message)));
        let message = format!("Value error, {message}");
        self.push_with(path, input, "value_error", &message, context);
    }

    /// Adds those of another check.
    pub fn extend(&mut self, other: Self) {
        self.count += other.count;
        let room = MAX_REPORTED.saturating_sub(self.listed.len());
        self.listed.extend(other.listed.into_iter().take(room));
    }

    /// The error body's content for a request that does not fit its schema.
    pub fn into_api_error(self) -> ApiError {
        let plural = if self.count == 1 { "error" } else { "errors" };
        let mut message = format!("{} validation {plural}:\n", self.count);
        for error in &self.listed {
            let _ = writeln!(message, "  {}", error.as_dict());
        }
        if self.count > self.listed.len() {
            let more = self.count - self.listed.len();
            let _ = writeln!(message, "  ...and {more} more {plural}");
        }
        let param = self.listed.first().map(|error| error.path.clone());
        ApiError::schema(message.trim_end(), param)
    }

    /// The form of `str(ValidationError)`, for values that are checked when they are used.
    pub fn into_late_error(self, title: &str) -> ApiError {
        let plural = if self.count == 1 { "error" } else { "errors" };
        let mut message = format!("{} validation {plural} for {title}", self.count);
        for error in &self.listed {
            let LineError { kind, path, message: text, input_repr, input_type, .. } = error;
            let _ = write!(
                message,
                "\n{path}\n  {text} [type={kind}, input_value={input_repr}, \
                 input_type={input_type}]\n    For further information visit \
                 https://errors.pydantic.dev/2.14/v/{kind}"
            );
        }
        ApiError::bad_request(message)
    }
}

impl LineError {
    fn as_dict(&self) -> String {
        let mut out = format!(
            "{{'type': '{}', 'loc': {}, 'msg': {}, 'input': {}",
            self.kind,
            str_repr(&self.path),
            str_repr(&self.message),
            str_repr(&self.input),
        );
        if let Some(context) = &self.context {
            let _ = write!(out, ", 'ctx': {{{context}}}");
        }
        out.push('}');
        cut(&out, MAX_ERROR_CHARS)
    }
}

/// A bounded stand-in for a value: containers by their size, the rest as text.
fn summary(value: &Json) -> String {
    match value {
        Json::Str(text) => cut(text, MAX_INPUT_CHARS),
        Json::List(items) => format!("<list of {} items>", items.len()),
        Json::Dict(entries) => format!("<dict of {} items>", entries.len()),
        other => cut(&repr(other), MAX_INPUT_CHARS),
    }
}

fn cut(text: &str, max_chars: usize) -> String {
    match text.char_indices().nth(max_chars) {
        Some((end, _)) => format!("{}...[truncated]", &text[..end]),
        None => text.to_owned(),
    }
}

/// A `repr` of at most 50 bytes, its middle left out.
fn shortened_repr(value: &Json) -> String {
    let text = repr(value);
    if text.len() <= 50 {
        return text;
    }
    let head = text.floor_char_boundary(25);
    let tail = text.ceil_char_boundary(text.len() - 24);
    format!("{}...{}", &text[..head], &text[tail..])
}
