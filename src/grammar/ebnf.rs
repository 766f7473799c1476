//! EBNF as xgrammar reads it: `name ::= expression`, starting with `root`.

use super::lark::Expr;
use crate::types::json::str_repr;
use std::collections::HashMap;

/// What is wrong with a grammar, in the words that vLLM has for it.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("Failed to convert the grammar from GBNF to Lark: {0}")]
pub struct EbnfError(String);

/// Expressions in parentheses may nest so deep. llguidance takes no more.
const MAX_NESTING: usize = 24;
/// The most that one expression may be repeated.
const MAX_REPEAT: u32 = 10_000;

/// Parses a grammar into `rules`, behind those that are there already, and gives the number of its
/// `root`.
pub fn parse(source: &str, rules: &mut Vec<Expr>) -> Result<usize, EbnfError> {
    let mut parser = Parser {
        chars: source.chars().collect(),
        at: 0,
        names: HashMap::new(),
        rules,
        uses: Vec::new(),
    };
    parser.grammar()
}

struct Parser<'a> {
    chars: Vec<char>,
    at: usize,
    /// Rules that were named, defined yet or not.
    names: HashMap<String, (usize, bool)>,
    rules: &'a mut Vec<Expr>,
    /// The names that were used.
    uses: Vec<String>,
}

impl Parser<'_> {
    fn grammar(&mut self) -> Result<usize, EbnfError> {
        self.space();
        while self.at < self.chars.len() {
            let start = self.at;
            let name = self.name().ok_or_else(|| self.error("Expected name"))?;
            self.space();
            if !self.takes("::=") {
                return Err(self.error("Expected ::="));
            }
            let number = self.number_of(&name);
            let entry = self.names.get_mut(&name).expect("just named");
            if std::mem::replace(&mut entry.1, true) {
                return Err(self.error_at(start, &format!("Rule '{name}' is defined twice")));
            }
            self.space();
            self.rules[number] = self.choices(0)?;
            self.space();
        }
        if let Some(name) = self.uses.iter().find(|name| !self.names[*name].1) {
            return Err(EbnfError(format!("Rule '{name}' not found")));
        }
        match self.names.get("root") {
            Some((number, true)) => Ok(*number),
            _ => Err(EbnfError("No 'root' rule found".to_owned())),
        }
    }

    fn number_of(&mut self, name: &str) -> usize {
        if let Some((number, _)) = self.names.get(name) {
            return *number;
        }
        let number = self.rules.len();
        self.rules.push(Expr::Seq(Vec::new()));
        self.names.insert(name.to_owned(), (number, false));
        number
    }

    fn choices(&mut self, depth: usize) -> Result<Expr, EbnfError> {
        if depth > MAX_NESTING {
            return Err(self.error("Expressions are nested too deeply"));
        }
        let mut all = vec![self.sequence(depth)?];
        while self.takes("|") {
            self.space();
            all.push(self.sequence(depth)?);
        }
        Ok(if all.len() == 1 { all.remove(0) } else { Expr::Or(all) })
    }

    fn sequence(&mut self, depth: usize) -> Result<Expr, EbnfError> {
        let mut items = Vec::new();
        while let Some(element) = self.element(depth)? {
            let element = self.repeated(element)?;
            items.push(element);
            self.space();
        }
        Ok(if items.len() == 1 { items.remove(0) } else { Expr::Seq(items) })
    }

    /// The next element; `None` at the end of a sequence or where the next rule begins.
    fn element(&mut self, depth: usize) -> Result<Option<Expr>, EbnfError> {
        let start = self.at;
        match self.peek() {
            Some('"') => self.string().map(Some),
            Some('[') => self.class().map(Some),
            Some('(') if self.chars.get(self.at + 1) == Some(&'=') => {
                Err(self.error("Lookahead assertions are not supported"))
            }
            Some('(') => {
                self.at += 1;
                self.space();
                if self.takes(")") {
                    return Ok(Some(Expr::Text(String::new())));
                }
                let inner = self.choices(depth + 1)?;
                self.space();
                if !self.takes(")") {
                    return Err(self.error("Expected ')'"));
                }
                Ok(Some(inner))
            }
            Some('.') => {
                self.at += 1;
                Ok(Some(Expr::Regex("(?s:.)".to_owned())))
            }
            Some('|' | ')') | None => Ok(None),
            Some(_) => {
                let Some(name) = self.name() else { return Ok(None) };
                let end = self.at;
                self.space();
                if self.takes("::=") {
                    self.at = start;
                    return Ok(None);
                }
                self.at = end;
                self.uses.push(name.clone());
                Ok(Some(Expr::Rule(self.number_of(&name))))
            }
        }
    }

    fn repeated(&mut self, inner: Expr) -> Result<Expr, EbnfError> {
        let before = self.at;
        self.space();
        let (min, max) = match self.peek() {
            Some('*') => (0, None),
            Some('+') => (1, None),
            Some('?') => (0, Some(1)),
            Some('{') => {
                self.at += 1;
                let range = self.range()?;
                return Ok(Expr::Repeat { inner: Box::new(inner), min: range.0, max: range.1 });
            }
            _ => {
                self.at = before;
                return Ok(inner);
            }
        };
        self.at += 1;
        Ok(Expr::Repeat { inner: Box::new(inner), min, max })
    }

    /// `m}`, `m,}` or `m,n}`.
    fn range(&mut self) -> Result<(u32, Option<u32>), EbnfError> {
        self.space();
        let min = self.count()?;
        self.space();
        let max = if self.takes(",") {
            self.space();
            match self.peek() {
                Some('}') => None,
                _ => Some(self.count()?),
            }
        } else {
            Some(min)
        };
        self.space();
        if !self.takes("}") {
            return Err(self.error("Expected '}'"));
        }
        if max.is_some_and(|max| max < min) {
            return Err(self.error("Lower bound cannot be larger than upper bound"));
        }
        Ok((min, max))
    }

    fn count(&mut self) -> Result<u32, EbnfError> {
        let start = self.at;
        while self.peek().is_some_and(|c| c.is_ascii_digit()) {
            self.at += 1;
        }
        let digits: String = self.chars[start..self.at].iter().collect();
        match digits.parse() {
            Ok(count) if count <= MAX_REPEAT => Ok(count),
            _ => Err(self.error_at(start, "Expected integer")),
        }
    }

    fn string(&mut self) -> Result<Expr, EbnfError> {
        self.at += 1;
        let mut text = String::new();
        loop {
            match self.peek() {
                None | Some('\n' | '\r') => return Err(self.error("Unexpected end of input")),
                Some('"') => {
                    self.at += 1;
                    return Ok(Expr::Text(text));
                }
                Some('\\') => text.push(self.escape()?),
                Some(c) => {
                    self.at += 1;
                    text.push(c);
                }
            }
        }
    }

    fn class(&mut self) -> Result<Expr, EbnfError> {
        self.at += 1;
        let mut regex = "[".to_owned();
        if self.takes("^") {
            regex.push('^');
        }
        let open = regex.len();
        loop {
            match self.peek() {
                None | Some('\n' | '\r') => return Err(self.error("Unexpected end of input")),
                Some(']') => break,
                Some(_) => {}
            }
            let first = self.class_char()?;
            push_char(&mut regex, first);
            let is_range = self.peek() == Some('-')
                && self.chars.get(self.at + 1).is_some_and(|next| *next != ']');
            if is_range {
                self.at += 1;
                let last = self.class_char()?;
                if last < first {
                    let message = "Invalid character class: lower bound is larger than upper bound";
                    return Err(self.error(message));
                }
                regex.push('-');
                push_char(&mut regex, last);
            }
        }
        self.at += 1;
        // Without members it is nothing, or with ^ anything.
        let members = regex.len() > open;
        regex.push(']');
        Ok(match (members, open) {
            (true, _) => Expr::Regex(regex),
            (false, 1) => Expr::Regex("[^\\x{0}-\\x{10FFFF}]".to_owned()),
            (false, _) => Expr::Regex("(?s:.)".to_owned()),
        })
    }

    fn class_char(&mut self) -> Result<char, EbnfError> {
        match self.peek() {
            Some('\\') => self.escape(),
            Some(c) => {
                self.at += 1;
                Ok(c)
            }
            None => Err(self.error("Unexpected end of input")),
        }
    }

    fn escape(&mut self) -> Result<char, EbnfError> {
        let start = self.at;
        let kind = self.chars.get(start + 1).copied();
        self.at += 2;
        let invalid = |parser: &Self| parser.error_at(start, "Invalid escape sequence");
        let (digits, exact) = match kind {
            Some('n') => return Ok('\n'),
            Some('r') => return Ok('\r'),
            Some('t') => return Ok('\t'),
            Some('0') => return Ok('\0'),
            Some('a') => return Ok('\x07'),
            Some('b') => return Ok('\x08'),
            Some('f') => return Ok('\x0c'),
            Some('v') => return Ok('\x0b'),
            Some('e') => return Ok('\x1b'),
            Some(c @ ('\\' | '"' | '\'' | '?' | '[' | ']' | '-' | '^' | '/' | '.' | '$')) => {
                return Ok(c);
            }
            Some('x') => (2, false),
            Some('u') => (4, true),
            Some('U') => (8, true),
            _ => return Err(invalid(self)),
        };
        let code: String = self.chars[self.at.min(self.chars.len())..]
            .iter()
            .take(digits)
            .take_while(|c| c.is_ascii_hexdigit())
            .collect();
        self.at += code.len();
        let is_whole = if exact { code.len() == digits } else { !code.is_empty() };
        let value = u32::from_str_radix(&code, 16).ok().and_then(char::from_u32);
        value.filter(|_| is_whole).ok_or_else(|| invalid(self))
    }

    fn name(&mut self) -> Option<String> {
        let start = self.at;
        let is_first = |c: char| c.is_ascii_alphabetic() || c == '_';
        if !self.peek().is_some_and(is_first) {
            return None;
        }
        while self.peek().is_some_and(|c| c.is_ascii_alphanumeric() || matches!(c, '_' | '-' | '.'))
        {
            self.at += 1;
        }
        Some(self.chars[start..self.at].iter().collect())
    }

    fn space(&mut self) {
        while let Some(c) = self.peek() {
            if c == '#' {
                while self.peek().is_some_and(|c| c != '\n' && c != '\r') {
                    self.at += 1;
                }
            } else if c.is_whitespace() {
                self.at += 1;
            } else {
                return;
            }
        }
    }

    fn peek(&self) -> Option<char> {
        self.chars.get(self.at).copied()
    }

    fn takes(&mut self, word: &str) -> bool {
        let len = word.chars().count();
        let found = self.chars[self.at..].iter().take(len).copied().eq(word.chars());
        self.at += if found { len } else { 0 };
        found
    }

    fn error(&self, what: &str) -> EbnfError {
        self.error_at(self.at, what)
    }

    fn error_at(&self, at: usize, what: &str) -> EbnfError {
        /// Characters shown on either side.
        const SHOWN: usize = 20;
        let (before, behind) = self.chars.split_at(at.min(self.chars.len()));
        let line = before.iter().filter(|c| **c == '\n').count() + 1;
        let shown = |chars: &[char]| str_repr(&chars.iter().collect::<String>());
        let before = shown(&before[before.len().saturating_sub(SHOWN)..]);
        let behind = shown(&behind[..behind.len().min(SHOWN)]);
        EbnfError(format!("{what} at line {line}, {before} ^ {behind}"))
    }
}

/// A member of a class, as Rust's regular expressions write it.
fn push_char(regex: &mut String, c: char) {
    if c.is_alphanumeric() {
        regex.push(c);
    } else {
        regex.push_str(&format!("\\x{{{:X}}}", c as u32));
    }
}
