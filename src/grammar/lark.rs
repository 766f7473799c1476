//! Grammars as trees of expressions, and how llguidance reads them: as Lark.
//!
//! llguidance splits a text into lexemes, each as long as it can be, and parses the lexemes. To
//! lose as few texts as possible to that, everything that needs no recursion becomes one lexeme: a
//! grammar without recursion is then a single regular expression, and exact.

use super::size;
use serde_json::Value;
use std::fmt::Write;

/// A part of a grammar.
#[derive(Clone, Debug, PartialEq)]
pub enum Expr {
    Text(String),
    /// A regular expression in Rust's syntax.
    Regex(String),
    /// A rule by its number.
    Rule(usize),
    Seq(Vec<Expr>),
    Or(Vec<Expr>),
    Repeat {
        inner: Box<Expr>,
        min: u32,
        max: Option<u32>,
    },
    /// A lexeme that does not become one with its neighbours: llguidance goes on with a lexeme as
    /// long as it can, and would not come back to where a part of it had ended.
    Apart(Box<Expr>),
    /// A JSON value that a schema describes.
    Json(Value),
    /// One token of a set, as llguidance writes it: `<[1,7-9]>`.
    Tokens(String),
    /// Text without any of `excludes`, as long as it can be.
    Free {
        excludes: Vec<String>,
        max_tokens: Option<u32>,
    },
    /// Text without any of `excludes` up to the first of `ends`, which belongs to it. `alone`:
    /// no other lexeme goes on where it ends; then masks come from tables, and much faster.
    Until {
        excludes: Vec<String>,
        ends: Vec<String>,
        alone: bool,
    },
}

impl Expr {
    /// Any number of times.
    pub fn star(inner: Self) -> Self {
        Self::Repeat { inner: Box::new(inner), min: 0, max: None }
    }

    /// Once or not at all.
    pub fn optional(inner: Self) -> Self {
        Self::Repeat { inner: Box::new(inner), min: 0, max: Some(1) }
    }

    fn children(&self) -> &[Self] {
        match self {
            Self::Seq(items) | Self::Or(items) => items,
            Self::Repeat { inner, .. } | Self::Apart(inner) => std::slice::from_ref(inner),
            _ => &[],
        }
    }

    /// The rules it names, into `found`.
    fn rules(&self, found: &mut Vec<usize>) {
        if let Self::Rule(rule) = self {
            found.push(*rule);
        }
        self.children().iter().for_each(|child| child.rules(found));
    }

    /// How many expressions it is made of.
    fn parts(&self) -> u64 {
        1 + self.children().iter().map(Self::parts).sum::<u64>()
    }

    /// Whether it can be a part of a lexeme, given which rules can.
    fn is_regular(&self, regular: &[bool]) -> bool {
        match self {
            Self::Text(_) | Self::Regex(_) => true,
            Self::Rule(rule) => regular[*rule],
            Self::Apart(_) | Self::Json(_) | Self::Tokens(_) => false,
            Self::Free { .. } | Self::Until { .. } => false,
            _ => self.children().iter().all(|child| child.is_regular(regular)),
        }
    }
}

/// Writes the grammar that starts with rule `start`; `None` when a lexeme gets too large.
pub fn write(rules: &[Expr], start: usize) -> Option<String> {
    let regular = regular_rules(rules);
    let definitions: Vec<(u64, Vec<usize>)> = rules
        .iter()
        .map(|rule| {
            let mut names = Vec::new();
            rule.rules(&mut names);
            names.retain(|&name| regular[name]);
            (rule.parts(), names)
        })
        .collect();
    if !size::is_bounded(&definitions) {
        return None;
    }
    let mut writer = Writer { regular: &regular, out: String::new(), defs: 0 };
    let name = writer.rule_name(start);
    writer.out = format!("start: {name}\n");
    for (number, rule) in rules.iter().enumerate() {
        let name = writer.rule_name(number);
        let body = match regular[number] {
            true => writer.terminal(rule),
            false => writer.expr(rule),
        };
        let _ = writeln!(writer.out, "{name}: {body}");
    }
    Some(writer.out)
}

/// Which rules need no recursion: those that name only such rules. Rules on a cycle are never
/// reached from below.
fn regular_rules(rules: &[Expr]) -> Vec<bool> {
    let mut regular = vec![false; rules.len()];
    let mut users: Vec<Vec<usize>> = vec![Vec::new(); rules.len()];
    let mut open: Vec<usize> = vec![0; rules.len()];
    let mut ready = Vec::new();
    for (number, rule) in rules.iter().enumerate() {
        let mut named = Vec::new();
        rule.rules(&mut named);
        named.sort_unstable();
        named.dedup();
        open[number] = named.len();
        named.into_iter().for_each(|other| users[other].push(number));
        if open[number] == 0 {
            ready.push(number);
        }
    }
    while let Some(number) = ready.pop() {
        regular[number] = rules[number].is_regular(&regular);
        for &user in users[number].iter().filter(|_| regular[number]) {
            open[user] -= 1;
            if open[user] == 0 {
                ready.push(user);
            }
        }
    }
    regular
}

struct Writer<'a> {
    regular: &'a [bool],
    /// What is written so far: whole lines.
    out: String,
    /// Definitions made for parts of rules.
    defs: usize,
}

impl Writer<'_> {
    /// Upper case is a lexeme's, lower case a rule's.
    fn rule_name(&self, number: usize) -> String {
        match self.regular[number] {
            true => format!("R{number}"),
            false => format!("r{number}"),
        }
    }

    /// Defines a name; `attributes` make it a rule.
    fn define(&mut self, attributes: Option<&str>, body: &str) -> String {
        self.defs += 1;
        let name = match attributes {
            Some(_) => format!("d{}", self.defs),
            None => format!("D{}", self.defs),
        };
        let _ = writeln!(self.out, "{name}{}: {body}", attributes.unwrap_or_default());
        name
    }

    /// An expression of lexemes, as a part of a rule.
    fn expr(&mut self, expr: &Expr) -> String {
        if expr.is_regular(self.regular) {
            return match expr {
                Expr::Rule(rule) => self.rule_name(*rule),
                Expr::Text(text) => quote(text),
                _ => {
                    let body = self.terminal(expr);
                    self.define(None, &body)
                }
            };
        }
        match expr {
            Expr::Seq(items) => self.sequence(items),
            Expr::Or(items) => {
                let items: Vec<String> = items.iter().map(|item| self.expr(item)).collect();
                format!("({})", items.join(" | "))
            }
            Expr::Repeat { inner, min, max } => {
                let inner = self.expr(inner);
                format!("({inner}){}", times(*min, *max))
            }
            Expr::Rule(rule) => self.rule_name(*rule),
            Expr::Apart(inner) => self.expr(inner),
            Expr::Json(schema) => format!("%json {schema}"),
            Expr::Tokens(tokens) => tokens.clone(),
            Expr::Free { excludes, max_tokens } => {
                let text = self.define(None, &free(excludes));
                match max_tokens {
                    Some(max) => self.define(Some(&format!("[max_tokens={max}]")), &text),
                    None => text,
                }
            }
            Expr::Until { excludes, ends, alone } => {
                let text = free(excludes);
                let ends: Vec<String> = ends.iter().map(|end| quote(end)).collect();
                let ends = ends.join(" | ");
                if *alone {
                    let behind = "/(?s:.+)/";
                    return self.define(
                        None,
                        &format!("(({text} ({ends})) & ~({ANY} ({ends}) {behind}))"),
                    );
                }
                let text = self.define(None, &text);
                self.define(Some("[lazy]"), &format!("{text} ({ends})"))
            }
            Expr::Text(_) | Expr::Regex(_) => self.terminal(expr),
        }
    }

    /// Neighbours that need no recursion become one lexeme.
    fn sequence(&mut self, items: &[Expr]) -> String {
        let mut parts = Vec::new();
        let mut run: Vec<Expr> = Vec::new();
        for item in items {
            if item.is_regular(self.regular) {
                run.push(item.clone());
                continue;
            }
            if !run.is_empty() {
                parts.push(self.expr(&Expr::Seq(std::mem::take(&mut run))));
            }
            parts.push(self.expr(item));
        }
        if !run.is_empty() {
            parts.push(self.expr(&Expr::Seq(run)));
        }
        match parts.is_empty() {
            true => quote(""),
            false => parts.join(" "),
        }
    }

    /// An expression of characters, as a part of a lexeme.
    fn terminal(&self, expr: &Expr) -> String {
        match expr {
            Expr::Text(text) => quote(text),
            Expr::Regex(regex) => literal_regex(regex),
            Expr::Rule(rule) => self.rule_name(*rule),
            Expr::Seq(items) if items.is_empty() => quote(""),
            Expr::Seq(items) => {
                let items: Vec<String> = items.iter().map(|item| self.terminal(item)).collect();
                format!("({})", items.join(" "))
            }
            Expr::Or(items) => {
                let items: Vec<String> = items.iter().map(|item| self.terminal(item)).collect();
                format!("({})", items.join(" | "))
            }
            Expr::Repeat { inner, min, max } => {
                format!("({}){}", self.terminal(inner), times(*min, *max))
            }
            Expr::Apart(_) | Expr::Json(_) | Expr::Tokens(_) => unreachable!("not regular"),
            Expr::Free { .. } | Expr::Until { .. } => unreachable!("not regular"),
        }
    }
}

fn times(min: u32, max: Option<u32>) -> String {
    match (min, max) {
        (0, None) => "*".to_owned(),
        (1, None) => "+".to_owned(),
        (0, Some(1)) => "?".to_owned(),
        (min, None) => format!("{{{min},}}"),
        (min, Some(max)) => format!("{{{min},{max}}}"),
    }
}

const ANY: &str = "/(?s:.*)/";

/// Any text that holds none of `excludes`.
fn free(excludes: &[String]) -> String {
    if excludes.is_empty() {
        return ANY.to_owned();
    }
    let words: Vec<String> = excludes.iter().map(|word| quote(word)).collect();
    format!("({ANY} & ~({ANY} ({}) {ANY}))", words.join(" | "))
}

/// A Lark string: JSON's, without control characters.
fn quote(text: &str) -> String {
    serde_json::to_string(text).unwrap_or_default().replace('\u{7f}', "\\u007f")
}

/// A regular expression between slashes.
fn literal_regex(regex: &str) -> String {
    match regex.is_empty() {
        true => quote(""),
        false => format!("/{}/", llguidance::regex_to_lark(regex, "dws")),
    }
}
