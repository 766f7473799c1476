//! The decoder: what it accepts, and where and how it complains, is CPython's `json` module.

use super::value::{Dict, Int, Json};
use std::borrow::Cow;

/// Arrays and objects inside each other; CPython gives up at its recursion limit, a little higher.
const MAX_DEPTH: usize = 900;
/// CPython refuses to convert longer integers.
const MAX_INT_DIGITS: usize = 4300;

/// A decoded body.
#[derive(Debug)]
pub struct Document {
    pub root: Json,
    /// Some string held half a surrogate pair. It became U+FFFD: no text on the way to the
    /// tokenizer can hold one, so the request has to be refused.
    pub lone_surrogate: bool,
}

/// Why a body is no JSON.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ParseError {
    /// A syntax error, at a position in characters.
    Syntax { message: &'static str, position: usize },
    /// Not text in any Unicode encoding, nested too deeply, or an integer of too many digits.
    Unreadable,
}

/// Decodes a body in UTF-8, UTF-16 or UTF-32, with or without a byte order mark.
pub fn parse(body: &[u8]) -> Result<Document, ParseError> {
    let (text, lone_surrogate) = decode(body).ok_or(ParseError::Unreadable)?;
    document(&text, lone_surrogate)
}

/// Decodes text.
pub fn parse_text(text: &str) -> Result<Document, ParseError> {
    document(text, false)
}

fn document(text: &str, lone_surrogate: bool) -> Result<Document, ParseError> {
    let mut parser = Parser { text: text.as_bytes(), depth: 0, lone_surrogate };
    let result = parser.document();
    let lone_surrogate = parser.lone_surrogate;
    match result {
        Ok(root) => Ok(Document { root, lone_surrogate }),
        Err(Stop::Unreadable) => Err(ParseError::Unreadable),
        Err(Stop::At(message, byte)) => {
            // A position can lie inside of a character only behind an ASCII backslash.
            let before = &text.as_bytes()[..byte.min(text.len())];
            let position = before.iter().filter(|b| (**b as i8) >= -0x40).count();
            Err(ParseError::Syntax { message, position })
        }
    }
}

/// The text of a body, and whether surrogates in it were replaced.
fn decode(body: &[u8]) -> Option<(Cow<'_, str>, bool)> {
    let quad = |at: usize| body.get(at).copied();
    if let Some(rest) = body.strip_prefix(b"\xef\xbb\xbf") {
        return decode_utf8(rest);
    }
    let units32 = |body: &[u8], big: bool| decode_utf32(body, big).map(|t| (Cow::Owned(t), false));
    match (quad(0), quad(1), quad(2), quad(3)) {
        (Some(0), Some(0), Some(0xfe), Some(0xff)) => units32(&body[4..], true),
        (Some(0xff), Some(0xfe), Some(0), Some(0)) => units32(&body[4..], false),
        (Some(0xfe), Some(0xff), ..) => decode_utf16(&body[2..], true),
        (Some(0xff), Some(0xfe), ..) => decode_utf16(&body[2..], false),
        (Some(0), Some(0), Some(_), Some(_)) => units32(body, true),
        (Some(0), Some(_), third, _) if third.is_none() || quad(3).is_some() => {
            decode_utf16(body, true)
        }
        (Some(_), Some(0), Some(0), Some(0)) => units32(body, false),
        (Some(_), Some(0), third, _) if third.is_none() || quad(3).is_some() => {
            decode_utf16(body, false)
        }
        _ => decode_utf8(body),
    }
}

fn decode_utf8(body: &[u8]) -> Option<(Cow<'_, str>, bool)> {
    if let Ok(text) = std::str::from_utf8(body) {
        return Some((Cow::Borrowed(text), false));
    }
    // CPython lets surrogates pass that were encoded on their own: ED A0..BF xx.
    let mut fixed = body.to_vec();
    let mut at = 0;
    while at + 2 < fixed.len() {
        if fixed[at] == 0xed && fixed[at + 1] >= 0xa0 && fixed[at + 2] & 0xc0 == 0x80 {
            fixed[at..at + 3].copy_from_slice("\u{fffd}".as_bytes());
        }
        at += 1;
    }
    String::from_utf8(fixed).ok().map(|text| (Cow::Owned(text), true))
}

fn decode_utf16(body: &[u8], big: bool) -> Option<(Cow<'_, str>, bool)> {
    let read = |b: [u8; 2]| if big { u16::from_be_bytes(b) } else { u16::from_le_bytes(b) };
    let (pairs, rest) = body.as_chunks::<2>();
    let mut lone = false;
    let text = char::decode_utf16(pairs.iter().map(|pair| read(*pair)))
        .map(|c| {
            c.unwrap_or_else(|_| {
                lone = true;
                char::REPLACEMENT_CHARACTER
            })
        })
        .collect();
    rest.is_empty().then_some((Cow::Owned(text), lone))
}

fn decode_utf32(body: &[u8], big: bool) -> Option<String> {
    let read = |b: [u8; 4]| if big { u32::from_be_bytes(b) } else { u32::from_le_bytes(b) };
    let (quads, rest) = body.as_chunks::<4>();
    let text = quads.iter().map(|quad| char::from_u32(read(*quad))).collect::<Option<String>>()?;
    rest.is_empty().then_some(text)
}

enum Stop {
    At(&'static str, usize),
    Unreadable,
}

const VALUE: &str = "Expecting value";
const NAME: &str = "Expecting property name enclosed in double quotes";
const COMMA: &str = "Expecting ',' delimiter";
const BAD_UNICODE: &str = "Invalid \\uXXXX escape";

/// A value and where the text goes on.
type Read<T> = Result<(T, usize), Stop>;

struct Parser<'a> {
    text: &'a [u8],
    depth: usize,
    lone_surrogate: bool,
}

impl Parser<'_> {
    fn document(&mut self) -> Result<Json, Stop> {
        let start = self.skip_space(0);
        let (root, end) = self.value(start)?;
        let end = self.skip_space(end);
        if end < self.text.len() { Err(Stop::At("Extra data", end)) } else { Ok(root) }
    }

    fn peek(&self, at: usize) -> Option<u8> {
        self.text.get(at).copied()
    }

    fn skip_space(&self, mut at: usize) -> usize {
        while matches!(self.peek(at), Some(b' ' | b'\t' | b'\n' | b'\r')) {
            at += 1;
        }
        at
    }

    fn value(&mut self, at: usize) -> Read<Json> {
        let rest = self.text.get(at..).unwrap_or_default();
        let word = |word: &str, value: Json| {
            let found = rest.starts_with(word.as_bytes());
            if found { Ok((value, at + word.len())) } else { Err(Stop::At(VALUE, at)) }
        };
        match rest.first() {
            Some(b'"') => self.string(at + 1).map(|(text, end)| (Json::Str(text), end)),
            Some(b'{') => self.nested(at, Self::object),
            Some(b'[') => self.nested(at, Self::array),
            Some(b'n') => word("null", Json::Null),
            Some(b't') => word("true", Json::Bool(true)),
            Some(b'f') => word("false", Json::Bool(false)),
            Some(b'N') => word("NaN", Json::Float(f64::NAN)),
            Some(b'I') => word("Infinity", Json::Float(f64::INFINITY)),
            Some(b'-') if rest.starts_with(b"-Infinity") => {
                word("-Infinity", Json::Float(f64::NEG_INFINITY))
            }
            _ => self.number(at),
        }
    }

    fn nested(&mut self, at: usize, read: fn(&mut Self, usize) -> Read<Json>) -> Read<Json> {
        self.depth += 1;
        if self.depth > MAX_DEPTH {
            return Err(Stop::Unreadable);
        }
        let result = read(self, at + 1);
        self.depth -= 1;
        result
    }

    fn object(&mut self, at: usize) -> Read<Json> {
        let mut entries = Dict::new();
        let mut at = self.skip_space(at);
        if self.peek(at) == Some(b'}') {
            return Ok((Json::Dict(entries), at + 1));
        }
        loop {
            if self.peek(at) != Some(b'"') {
                return Err(Stop::At(NAME, at));
            }
            let (key, end) = self.string(at + 1)?;
            at = self.skip_space(end);
            if self.peek(at) != Some(b':') {
                return Err(Stop::At("Expecting ':' delimiter", at));
            }
            at = self.skip_space(at + 1);
            let (value, end) = self.value(at)?;
            entries.insert(key, value);
            at = self.skip_space(end);
            match self.peek(at) {
                Some(b'}') => return Ok((Json::Dict(entries), at + 1)),
                Some(b',') => at = self.skip_space(at + 1),
                _ => return Err(Stop::At(COMMA, at)),
            }
        }
    }

    fn array(&mut self, at: usize) -> Read<Json> {
        let mut items = Vec::new();
        let mut at = self.skip_space(at);
        if self.peek(at) == Some(b']') {
            return Ok((Json::List(items), at + 1));
        }
        loop {
            let (item, end) = self.value(at)?;
            items.push(item);
            at = self.skip_space(end);
            match self.peek(at) {
                Some(b']') => return Ok((Json::List(items), at + 1)),
                Some(b',') => at = self.skip_space(at + 1),
                _ => return Err(Stop::At(COMMA, at)),
            }
        }
    }

    fn digits(&self, mut at: usize) -> usize {
        while self.peek(at).is_some_and(|b| b.is_ascii_digit()) {
            at += 1;
        }
        at
    }

    fn number(&self, start: usize) -> Read<Json> {
        let mut at = start + usize::from(self.peek(start) == Some(b'-'));
        let first = at;
        at = match self.peek(at) {
            Some(b'0') => at + 1,
            Some(b'1'..=b'9') => self.digits(at),
            _ => return Err(Stop::At(VALUE, start)),
        };
        let int_digits = at - first;
        let mut is_float = false;
        if self.peek(at) == Some(b'.') && self.digits(at + 1) > at + 1 {
            at = self.digits(at + 1);
            is_float = true;
        }
        if matches!(self.peek(at), Some(b'e' | b'E')) {
            let sign = usize::from(matches!(self.peek(at + 1), Some(b'+' | b'-')));
            let end = self.digits(at + 1 + sign);
            if end > at + 1 + sign {
                at = end;
                is_float = true;
            }
        }
        let text = std::str::from_utf8(&self.text[start..at]).unwrap_or_default();
        if is_float {
            return Ok((Json::Float(text.parse().unwrap_or(f64::NAN)), at));
        }
        if int_digits > MAX_INT_DIGITS {
            return Err(Stop::Unreadable);
        }
        Ok((Json::Int(Int::from_digits(text)), at))
    }

    /// Reads a string whose opening quote lies before `start`.
    fn string(&mut self, start: usize) -> Read<String> {
        let mut out = String::new();
        let mut at = start;
        loop {
            let rest = &self.text[at..];
            let stop = rest.iter().position(|b| matches!(b, b'"' | b'\\' | 0..=0x1f));
            let Some(len) = stop else {
                return Err(Stop::At("Unterminated string starting at", start - 1));
            };
            // The text is valid UTF-8 and the stop is ASCII, so this never fails.
            out.push_str(std::str::from_utf8(&rest[..len]).unwrap_or_default());
            at += len;
            match self.text[at] {
                b'"' => return Ok((out, at + 1)),
                b'\\' => at = self.escape(at, start, &mut out)?,
                _ => return Err(Stop::At("Invalid control character at", at)),
            }
        }
    }

    /// Reads the escape at the backslash `at`; returns where the string goes on.
    fn escape(&mut self, at: usize, start: usize, out: &mut String) -> Result<usize, Stop> {
        let Some(kind) = self.peek(at + 1) else {
            return Err(Stop::At("Unterminated string starting at", start - 1));
        };
        let plain = match kind {
            b'u' => return self.unicode_escape(at, out),
            b'"' | b'\\' | b'/' => char::from(kind),
            b'b' => '\u{8}',
            b'f' => '\u{c}',
            b'n' => '\n',
            b'r' => '\r',
            b't' => '\t',
            _ => return Err(Stop::At("Invalid \\escape", at)),
        };
        out.push(plain);
        Ok(at + 2)
    }

    fn unicode_escape(&mut self, at: usize, out: &mut String) -> Result<usize, Stop> {
        let first = self.hex4(at + 2).ok_or(Stop::At(BAD_UNICODE, at + 1))?;
        let mut end = at + 6;
        let mut code = first;
        if (0xd800..0xdc00).contains(&first)
            && self.text.get(end..end + 2) == Some(b"\\u")
            && end + 6 < self.text.len()
        {
            let second = self.hex4(end + 2).ok_or(Stop::At(BAD_UNICODE, end + 1))?;
            if (0xdc00..0xe000).contains(&second) {
                code = 0x10000 + ((first - 0xd800) << 10) + (second - 0xdc00);
                end += 6;
            }
        }
        out.push(char::from_u32(code).unwrap_or_else(|| {
            self.lone_surrogate = true;
            char::REPLACEMENT_CHARACTER
        }));
        Ok(end)
    }

    /// Four hex digits with at least one byte behind them.
    fn hex4(&self, at: usize) -> Option<u32> {
        let digits = self.text.get(at..at + 4).filter(|_| at + 4 < self.text.len())?;
        let mut code = 0;
        for digit in digits {
            code = code * 16 + char::from(*digit).to_digit(16)?;
        }
        Some(code)
    }
}
