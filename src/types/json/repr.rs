//! Values as Python prints them: `repr`, `str` and `json.dumps`.

use super::value::Json;
use std::fmt::Write;

/// How values are written.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Style {
    Repr,
    /// `json.dumps(value)`, with characters beyond ASCII as escapes or as they are.
    Dumps {
        ascii: bool,
    },
}

/// Python's `repr(value)`.
pub fn repr(value: &Json) -> String {
    written(value, Style::Repr)
}

/// Python's `str(value)`: a string as it is, everything else as its `repr`.
pub fn to_str(value: &Json) -> String {
    match value {
        Json::Str(text) => text.clone(),
        other => repr(other),
    }
}

/// Python's `json.dumps(value, ensure_ascii=False)`: its separators, its numbers, characters as
/// they are.
pub fn dumps(value: &Json) -> String {
    written(value, Style::Dumps { ascii: false })
}

/// Python's `json.dumps(value)`: ASCII only.
pub fn dumps_ascii(value: &Json) -> String {
    written(value, Style::Dumps { ascii: true })
}

fn written(value: &Json, style: Style) -> String {
    let mut out = String::new();
    write_value(&mut out, value, style);
    out
}

fn write_value(out: &mut String, value: &Json, style: Style) {
    let word = |repr, dumps| if style == Style::Repr { repr } else { dumps };
    match value {
        Json::Null => out.push_str(word("None", "null")),
        Json::Bool(true) => out.push_str(word("True", "true")),
        Json::Bool(false) => out.push_str(word("False", "false")),
        Json::Int(value) => out.push_str(&value.to_string()),
        Json::Float(value) if value.is_finite() => out.push_str(&float_repr(*value)),
        Json::Float(value) if value.is_nan() => out.push_str(word("nan", "NaN")),
        Json::Float(value) if *value > 0.0 => out.push_str(word("inf", "Infinity")),
        Json::Float(_) => out.push_str(word("-inf", "-Infinity")),
        Json::Str(text) => write_text(out, text, style),
        Json::List(items) => {
            out.push('[');
            for (at, item) in items.iter().enumerate() {
                out.push_str(if at > 0 { ", " } else { "" });
                write_value(out, item, style);
            }
            out.push(']');
        }
        Json::Dict(entries) => {
            out.push('{');
            for (at, (key, value)) in entries.iter().enumerate() {
                out.push_str(if at > 0 { ", " } else { "" });
                write_text(out, key, style);
                out.push_str(": ");
                write_value(out, value, style);
            }
            out.push('}');
        }
    }
}

fn write_text(out: &mut String, text: &str, style: Style) {
    match style {
        Style::Repr => out.push_str(&str_repr(text)),
        Style::Dumps { ascii } => write_dump(out, text, ascii),
    }
}

/// Python's `repr(float)`: the shortest digits that read back the same, in scientific notation
/// below 1e-4 and from 1e16 on.
pub fn float_repr(value: f64) -> String {
    if value.is_nan() {
        return "nan".into();
    }
    if value.is_infinite() {
        return if value > 0.0 { "inf".into() } else { "-inf".into() };
    }
    let scientific = format!("{value:e}");
    let Some((digits, exponent)) = scientific.split_once('e') else { return scientific };
    let exponent: i32 = exponent.parse().unwrap_or(0);
    if (-4..16).contains(&exponent) {
        let plain = value.to_string();
        return if plain.contains('.') { plain } else { plain + ".0" };
    }
    let sign = if exponent < 0 { '-' } else { '+' };
    format!("{digits}e{sign}{:02}", exponent.abs())
}

/// Python's `repr(str)`.
pub fn str_repr(text: &str) -> String {
    let quote = if text.contains('\'') && !text.contains('"') { '"' } else { '\'' };
    let mut out = String::with_capacity(text.len() + 2);
    out.push(quote);
    for c in text.chars() {
        match c {
            '\\' => out.push_str("\\\\"),
            '\n' => out.push_str("\\n"),
            '\r' => out.push_str("\\r"),
            '\t' => out.push_str("\\t"),
            c if c == quote => {
                out.push('\\');
                out.push(c);
            }
            ' '..='~' => out.push(c),
            c if c > '\u{a0}' && is_printable(c) => out.push(c),
            c => push_hex_escape(&mut out, c),
        }
    }
    out.push(quote);
    out
}

fn push_hex_escape(out: &mut String, c: char) {
    // Writing to a String cannot fail.
    let _ = match u32::from(c) {
        code @ 0..0x100 => write!(out, "\\x{code:02x}"),
        code @ 0x100..0x1_0000 => write!(out, "\\u{code:04x}"),
        code => write!(out, "\\U{code:08x}"),
    };
}

/// Whether Python prints a character as it is. The standard library knows the same classes
/// (unassigned, private, control, format, separators) through its debug form; behind another
/// character it leaves combining marks alone, as Python does.
fn is_printable(c: char) -> bool {
    let mut buffer = [0; 5];
    buffer[0] = b'a';
    let len = c.encode_utf8(&mut buffer[1..]).len();
    std::str::from_utf8(&buffer[..=len])
        .is_ok_and(|pair| pair.escape_debug().skip(1).eq(std::iter::once(c)))
}

/// A string as `json.dumps` writes it: ASCII only, in quotes.
pub fn dumps_str(out: &mut String, text: &str) {
    write_dump(out, text, true);
}

fn write_dump(out: &mut String, text: &str, ascii: bool) {
    out.push('"');
    for c in text.chars() {
        match c {
            '"' => out.push_str("\\\""),
            '\\' => out.push_str("\\\\"),
            '\n' => out.push_str("\\n"),
            '\r' => out.push_str("\\r"),
            '\t' => out.push_str("\\t"),
            '\u{8}' => out.push_str("\\b"),
            '\u{c}' => out.push_str("\\f"),
            c if c < ' ' || ascii && c > '~' => {
                for unit in c.encode_utf16(&mut [0; 2]) {
                    let _ = write!(out, "\\u{unit:04x}");
                }
            }
            c => out.push(c),
        }
    }
    out.push('"');
}
