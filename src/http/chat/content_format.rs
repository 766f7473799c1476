//! Whether a chat template takes message content as text or as a list of parts.
//!
//! vLLM gives parts to templates that loop over content, and text to the others. It looks at the
//! template's syntax tree; here its statements are read one by one, which sees the same loops:
//! `for x in message.content`, over a variable called `content`, and over the parameter of a macro
//! that is called with a message's content.

use crate::types::ContentFormat;
use std::collections::HashSet;

impl ContentFormat {
    /// Reads the format off a template.
    pub fn detect(template: &str) -> Self {
        let statements = statements(template);
        let messages = message_variables(&statements);
        let mut macros: Vec<(&str, HashSet<&str>)> = Vec::new();
        for statement in &statements {
            let (word, rest) = split_word(statement);
            match word {
                "macro" => {
                    let (name, parameters) = signature(rest);
                    let bound = bound_to_content(template, name, &parameters, &messages);
                    macros.push((name, bound));
                }
                "endmacro" => drop(macros.pop()),
                "for" => {
                    let Some((_, over)) = loop_parts(rest) else { continue };
                    let over_content = messages.iter().any(|m| is_member(over, m, "content"));
                    let over_name = match macros.last() {
                        Some((_, bound)) => bound.contains(over),
                        None => over == "content",
                    };
                    if over_content || over_name {
                        return Self::OpenAi;
                    }
                }
                _ => {}
            }
        }
        Self::String
    }
}

/// The insides of all `{% %}`, without the dashes.
fn statements(template: &str) -> Vec<&str> {
    let mut found = Vec::new();
    let mut rest = template;
    while let Some(start) = rest.find("{%") {
        rest = &rest[start + 2..];
        let Some(end) = rest.find("%}") else { break };
        found.push(rest[..end].trim_matches(['-', '+']).trim());
        rest = &rest[end + 2..];
    }
    found
}

fn split_word(text: &str) -> (&str, &str) {
    let end = text.find(|c: char| !c.is_alphanumeric() && c != '_').unwrap_or(text.len());
    (&text[..end], text[end..].trim())
}

/// Target and iterated expression of `x in y if z recursive`.
fn loop_parts(rest: &str) -> Option<(&str, &str)> {
    let (target, over) = rest.split_once(" in ")?;
    let over = over.split_once(" if ").map_or(over, |(over, _)| over);
    let over = over.trim().strip_suffix(" recursive").unwrap_or(over).trim();
    Some((target.trim(), over))
}

/// An expression without filters, tests, slices and parentheses.
fn base(expression: &str) -> &str {
    let expression = expression.split('|').next().unwrap_or_default();
    let expression = expression.split(" is ").next().unwrap_or_default();
    let expression = expression.trim().trim_matches(['(', ')']).trim();
    match expression.rfind('[') {
        Some(slice) if expression[slice..].contains(':') => &expression[..slice],
        _ => expression,
    }
}

fn is_member(expression: &str, variable: &str, member: &str) -> bool {
    let Some(access) = base(expression).strip_prefix(variable) else { return false };
    access.strip_prefix('.') == Some(member)
        || access == format!("['{member}']")
        || access == format!("[\"{member}\"]")
}

/// The variables that loops give the messages in turn.
fn message_variables<'a>(statements: &[&'a str]) -> Vec<&'a str> {
    let mut lists = vec!["messages"];
    let mut at = 0;
    while at < lists.len() {
        for statement in statements {
            let ("set", rest) = split_word(statement) else { continue };
            let Some((name, value)) = rest.split_once('=') else { continue };
            if base(value) == lists[at] && !lists.contains(&name.trim()) {
                lists.push(name.trim());
            }
        }
        at += 1;
    }
    let loops = statements.iter().filter_map(|statement| match split_word(statement) {
        ("for", rest) => loop_parts(rest),
        _ => None,
    });
    loops.filter(|(_, over)| lists.contains(&base(over))).map(|(target, _)| target).collect()
}

fn signature(rest: &str) -> (&str, Vec<&str>) {
    let (name, parameters) = rest.split_once('(').unwrap_or((rest, ""));
    let parameters = parameters.trim_end_matches(')').split(',');
    let names = parameters.map(|p| p.split('=').next().unwrap_or_default().trim());
    (name.trim(), names.collect())
}

/// The parameters of a macro that some call gives a message's content to.
fn bound_to_content<'a>(
    template: &str,
    name: &str,
    parameters: &[&'a str],
    messages: &[&str],
) -> HashSet<&'a str> {
    let mut bound = HashSet::new();
    let call = format!("{name}(");
    for (at, _) in template.match_indices(&call) {
        let before = template[..at].chars().next_back();
        if before.is_some_and(|c| c.is_alphanumeric() || c == '_') {
            continue;
        }
        for (place, argument) in arguments(&template[at + call.len()..]).into_iter().enumerate() {
            let (keyword, value) = match argument.split_once('=') {
                Some((keyword, value)) => (Some(keyword.trim()), value),
                None => (None, argument),
            };
            if messages.iter().any(|message| is_member(value, message, "content")) {
                let by_place = parameters.get(place).copied();
                let by_name = parameters.iter().copied().find(|p| keyword == Some(*p));
                bound.extend(if keyword.is_some() { by_name } else { by_place });
            }
        }
    }
    bound
}

/// The arguments of a call, from behind its parenthesis.
fn arguments(text: &str) -> Vec<&str> {
    let (mut depth, mut start) = (0usize, 0);
    let mut found = Vec::new();
    for (at, c) in text.char_indices() {
        match c {
            '(' | '[' | '{' => depth += 1,
            ')' if depth == 0 => {
                found.push(text[start..at].trim());
                break;
            }
            ')' | ']' | '}' => depth = depth.saturating_sub(1),
            ',' if depth == 0 => {
                found.push(text[start..at].trim());
                start = at + 1;
            }
            _ => {}
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::ContentFormat::{self, OpenAi, String};

    #[test]
    fn sees_the_loops_that_vllm_sees() {
        let cases = [
            ("{% for m in messages %}{{ m.content }}{% endfor %}", String),
            (
                "{%- for m in messages -%}{%- for c in m['content'] -%}{% endfor %}{% endfor %}",
                OpenAi,
            ),
            ("{% for m in messages[1:] %}{% for c in m.content | list %}{% endfor %}", OpenAi),
            ("{% set msgs = messages %}{% for m in msgs %}{% for c in m.content %}", OpenAi),
            ("{% for content in content %}{% endfor %}", OpenAi),
            ("{% macro f(content) %}{% for c in content %}{% endfor %}{% endmacro %}", String),
            (
                "{% macro f(x) %}{% for c in x if c.text %}{% endfor %}{% endmacro %}\
                 {% for m in messages %}{{ f(m.content) }}{% endfor %}",
                OpenAi,
            ),
            ("{% for t in tools %}{% for c in t.content %}{% endfor %}{% endfor %}", String),
        ];
        for (template, format) in cases {
            assert_eq!(ContentFormat::detect(template), format, "{template}");
        }
        let shipped = include_str!("../../../models/training/chat_template.jinja");
        assert_eq!(ContentFormat::detect(shipped), OpenAi);
    }
}
