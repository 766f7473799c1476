//! How Python prints values: `str`, `repr` and `json.dumps`.

use std::borrow::Cow;
use std::fmt::Write;

use minijinja::value::{Value, ValueKind};
use minijinja::{Error, ErrorKind};

/// `str(value)`, with jinja2's empty text for the undefined.
pub(super) fn str(value: &Value) -> Cow<'_, str> {
    match (value.kind(), value.as_str()) {
        (_, Some(text)) => Cow::Borrowed(text),
        (ValueKind::Number | ValueKind::Seq | ValueKind::Map, _) => {
            let mut output = String::new();
            repr(value, &mut output);
            Cow::Owned(output)
        }
        _ => Cow::Owned(value.to_string()),
    }
}

/// Appends `repr(value)`.
fn repr(value: &Value, output: &mut String) {
    match value.kind() {
        ValueKind::Number => number(value, output),
        ValueKind::Seq => {
            let tuple = value.is_tuple();
            output.push(if tuple { '(' } else { '[' });
            let mut count = 0;
            for item in value.try_iter().into_iter().flatten() {
                output.push_str(if count > 0 { ", " } else { "" });
                repr(&item, output);
                count += 1;
            }
            output.push_str(if tuple && count == 1 { "," } else { "" });
            output.push(if tuple { ')' } else { ']' });
        }
        ValueKind::Map => {
            output.push('{');
            for (index, key) in value.try_iter().into_iter().flatten().enumerate() {
                output.push_str(if index > 0 { ", " } else { "" });
                repr(&key, output);
                output.push_str(": ");
                repr(&value.get_item(&key).unwrap_or_default(), output);
            }
            output.push('}');
        }
        _ => match value.as_str() {
            Some(text) => quoted(text, output),
            // Writing to a string cannot fail.
            None => drop(write!(output, "{value:?}")),
        },
    }
}

/// Appends `repr(text)`: in single quotes unless that takes escapes, what cannot be printed as
/// `\xNN`, `\uNNNN` or `\UNNNNNNNN`.
fn quoted(text: &str, output: &mut String) {
    let quote = if text.contains('\'') && !text.contains('"') { '"' } else { '\'' };
    output.push(quote);
    for character in text.chars() {
        let code = character as u32;
        match character {
            '\n' => output.push_str("\\n"),
            '\r' => output.push_str("\\r"),
            '\t' => output.push_str("\\t"),
            '\\' => output.push_str("\\\\"),
            _ if character == quote => output.extend(['\\', quote]),
            _ if is_printable(character) => output.push(character),
            // Writing to a string cannot fail.
            _ if code < 0x100 => drop(write!(output, "\\x{code:02x}")),
            _ if code < 0x1_0000 => drop(write!(output, "\\u{code:04x}")),
            _ => drop(write!(output, "\\U{code:08x}")),
        }
    }
    output.push(quote);
}

/// Python's `isprintable`. Rust keeps the same table behind `escape_debug`, which also escapes
/// marks that would join what stands before the text; hence the letter in front.
fn is_printable(character: char) -> bool {
    character.is_ascii_graphic()
        || character == ' '
        || !format!("a{character}").escape_debug().any(|c| c == '\\')
}

fn number(value: &Value, output: &mut String) {
    match f64::try_from(value.clone()) {
        Ok(float) if !value.is_integer() => output.push_str(&self::float(float)),
        _ => output.push_str(&value.to_string()),
    }
}

/// `repr` of a float: the shortest digits that read back as the same number, with an exponent
/// below 1e-4 and from 1e16 on.
fn float(value: f64) -> String {
    if value.is_nan() {
        return "nan".to_owned();
    }
    if value.is_infinite() {
        return if value > 0.0 { "inf" } else { "-inf" }.to_owned();
    }
    let scientific = format!("{value:e}");
    let (digits, exponent) = scientific.split_once('e').unwrap_or((&scientific, "0"));
    match exponent.parse::<i32>() {
        Ok(exponent) if !(-4..16).contains(&exponent) => {
            let sign = if exponent < 0 { '-' } else { '+' };
            format!("{digits}e{sign}{:02}", exponent.abs())
        }
        _ => format!("{value:?}"),
    }
}

/// The arguments of `json.dumps`.
#[derive(Clone, Debug, Default)]
pub(super) struct JsonStyle {
    pub ensure_ascii: bool,
    /// What one level is indented by; `None` keeps everything on one line.
    pub indent: Option<String>,
    /// Between items, between key and value.
    pub separators: Option<(String, String)>,
    pub sort_keys: bool,
}

/// `json.dumps(value)`.
pub(super) fn json(value: &Value, style: &JsonStyle) -> Result<String, Error> {
    let separators = match &style.separators {
        Some((item, key)) => (item.as_str(), key.as_str()),
        None if style.indent.is_some() => (",", ": "),
        None => (", ", ": "),
    };
    let mut writer = JsonWriter { style, separators, output: String::new() };
    writer.value(value, 0)?;
    Ok(writer.output)
}

struct JsonWriter<'a> {
    style: &'a JsonStyle,
    separators: (&'a str, &'a str),
    output: String,
}

/// Deeper values are refused, so that a template cannot exhaust the stack.
const DEEPEST: usize = 256;

impl JsonWriter<'_> {
    fn value(&mut self, value: &Value, depth: usize) -> Result<(), Error> {
        if depth > DEEPEST {
            return Err(Error::new(ErrorKind::BadSerialization, "the value is nested too deeply"));
        }
        match value.kind() {
            ValueKind::None => self.output.push_str("null"),
            ValueKind::Bool => self.output.push_str(if value.is_true() { "true" } else { "false" }),
            ValueKind::Number => {
                let start = self.output.len();
                number(value, &mut self.output);
                let constant = match &self.output[start..] {
                    "nan" => "NaN",
                    "inf" => "Infinity",
                    "-inf" => "-Infinity",
                    _ => return Ok(()),
                };
                self.output.replace_range(start.., constant);
            }
            ValueKind::String => self.text(value.as_str().unwrap_or_default()),
            ValueKind::Seq => self.list(value, depth)?,
            ValueKind::Map => self.map(value, depth)?,
            kind => {
                let reason = format!("Object of type {kind} is not JSON serializable");
                return Err(Error::new(ErrorKind::BadSerialization, reason));
            }
        }
        Ok(())
    }

    fn list(&mut self, value: &Value, depth: usize) -> Result<(), Error> {
        self.output.push('[');
        let mut count = 0;
        for item in value.try_iter()? {
            self.before_item(count, depth + 1);
            self.value(&item, depth + 1)?;
            count += 1;
        }
        self.close(']', count, depth);
        Ok(())
    }

    fn map(&mut self, value: &Value, depth: usize) -> Result<(), Error> {
        let mut keys: Vec<Value> = value.try_iter()?.collect();
        if self.style.sort_keys {
            keys.sort();
        }
        self.output.push('{');
        for (index, key) in keys.iter().enumerate() {
            self.before_item(index, depth + 1);
            match (key.as_str(), key.kind()) {
                (Some(text), _) => self.text(text),
                (None, ValueKind::Number | ValueKind::Bool | ValueKind::None) => {
                    self.output.push('"');
                    self.value(key, depth + 1)?;
                    self.output.push('"');
                }
                (None, kind) => {
                    let reason = format!("keys must be str, int, float, bool or None, not {kind}");
                    return Err(Error::new(ErrorKind::BadSerialization, reason));
                }
            }
            self.output.push_str(self.separators.1);
            self.value(&value.get_item(key)?, depth + 1)?;
        }
        self.close('}', keys.len(), depth);
        Ok(())
    }

    fn before_item(&mut self, index: usize, depth: usize) {
        if index > 0 {
            self.output.push_str(self.separators.0);
        }
        self.new_line(depth);
    }

    fn close(&mut self, bracket: char, count: usize, depth: usize) {
        if count > 0 {
            self.new_line(depth);
        }
        self.output.push(bracket);
    }

    fn new_line(&mut self, depth: usize) {
        if let Some(indent) = &self.style.indent {
            self.output.push('\n');
            (0..depth).for_each(|_| self.output.push_str(indent));
        }
    }

    fn text(&mut self, text: &str) {
        self.output.push('"');
        for character in text.chars() {
            match character {
                '"' => self.output.push_str("\\\""),
                '\\' => self.output.push_str("\\\\"),
                '\n' => self.output.push_str("\\n"),
                '\r' => self.output.push_str("\\r"),
                '\t' => self.output.push_str("\\t"),
                '\u{8}' => self.output.push_str("\\b"),
                '\u{c}' => self.output.push_str("\\f"),
                '\0'..'\u{20}' => self.escape(character),
                '\u{7f}'.. if self.style.ensure_ascii => {
                    self.escape(character);
                }
                _ => self.output.push(character),
            }
        }
        self.output.push('"');
    }

    /// `\uXXXX` for each UTF-16 unit.
    fn escape(&mut self, character: char) {
        for unit in character.encode_utf16(&mut [0; 2]) {
            // Writing to a string cannot fail.
            let _ = write!(self.output, "\\u{unit:04x}");
        }
    }
}
