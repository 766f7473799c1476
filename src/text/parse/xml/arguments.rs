//! Arguments between `<parameter=name>` and `</parameter>`, as JSON.

use super::super::is_space;
use crate::types::json::{Dict, Json, dumps};
use std::collections::HashSet;

/// The values of all parameters; with `partial`, also of one that is not closed yet.
pub(super) fn values(raw: &str, partial: bool) -> Dict {
    let mut values = Dict::new();
    let mut rest = String::new();
    let mut from = 0;
    let mut at = 0;
    while let Some((start, name, begin)) = opening(raw, at) {
        match closing(raw, begin) {
            Some((end, next)) => {
                values.insert(name.to_owned(), Json::Str(trim(&raw[begin..end]).to_owned()));
                rest.push_str(&raw[from..start]);
                from = next;
                at = next;
            }
            None => at = start + 1,
        }
    }
    rest.push_str(&raw[from..]);
    if !partial {
        return values;
    }
    let mut at = 0;
    while let Some((start, name, begin)) = opening(&rest, at) {
        if !name.is_empty() {
            values.insert(name.to_owned(), Json::Str(trim(&rest[begin..]).to_owned()));
            break;
        }
        at = start + 1;
    }
    values
}

/// The next `<parameter=name>` from `at`: where it starts, its name, and where its value starts.
fn opening(raw: &str, at: usize) -> Option<(usize, &str, usize)> {
    raw[at..].match_indices('<').find_map(|(offset, _)| {
        let start = at + offset;
        let name = raw[start + 1..].trim_start().strip_prefix("parameter")?;
        let name = name.trim_start().strip_prefix('=')?.trim_start();
        let end = name.find('>')?;
        Some((start, &name[..end], raw.len() - name.len() + end + 1))
    })
}

/// Where a value that starts at `begin` ends, and where what follows it starts: behind its closing
/// tag, or at the next opening one.
fn closing(raw: &str, begin: usize) -> Option<(usize, usize)> {
    raw[begin..].match_indices('<').find_map(|(offset, _)| {
        let at = begin + offset;
        let behind = raw[at + 1..].trim_start();
        if let Some(tag) = behind.strip_prefix('/').map(str::trim_start)
            && let Some(end) = tag.strip_prefix("parameter").map(str::trim_start)
            && let Some(end) = end.strip_prefix('>')
        {
            return Some((at, raw.len() - end.len()));
        }
        let opens = behind.strip_prefix("parameter")?.trim_start().starts_with('=');
        opens.then_some((at, at))
    })
}

/// The template puts a newline on either side of a value.
fn trim(value: &str) -> &str {
    let value = value.strip_prefix('\n').unwrap_or(value);
    value.strip_suffix('\n').unwrap_or(value)
}

/// How much of the JSON of arguments cannot change any more while the last value grows. Values
/// whose type depends on the whole of them are left out; texts of the parameters in `texts` (of
/// all, without a schema) are not.
pub(super) fn settled<'a>(json: &'a str, texts: Option<&HashSet<String>>) -> &'a str {
    let Some((colon, key)) = last_member(json) else { return "" };
    let value = json[colon + 1..].trim_start_matches([' ', '\t', '\n', '\r']);
    let start = json.len() - value.len();
    let is_text = texts.is_none_or(|texts| key.is_some_and(|key| texts.contains(key)));
    if !value.starts_with('"') || !is_text {
        return &json[..start];
    }
    let mut escaped = false;
    for (at, byte) in value.bytes().enumerate().skip(1) {
        match byte {
            _ if escaped => escaped = false,
            b'\\' => escaped = true,
            b'"' => return &json[..start + at],
            _ => {}
        }
    }
    json
}

/// The last colon between a key and a value of the outermost object, and that key as written.
fn last_member(json: &str) -> Option<(usize, Option<&str>)> {
    let (mut last, mut key) = (None, None);
    let (mut depth, mut in_string, mut escaped, mut string) = (0, false, false, None);
    for (at, byte) in json.bytes().enumerate() {
        if escaped {
            escaped = false;
        } else if in_string {
            match byte {
                b'\\' => escaped = true,
                b'"' => {
                    in_string = false;
                    key = string.filter(|_| depth == 1).map(|start| &json[start..at]).or(key);
                }
                _ => {}
            }
        } else {
            match byte {
                b'"' => {
                    in_string = true;
                    string = Some(at + 1);
                }
                b'{' | b'[' => depth += 1,
                b'}' | b']' => depth -= 1,
                b':' if depth == 1 => {
                    last = Some((at, key.take()));
                }
                _ => {}
            }
        }
    }
    last
}

/// A name and arguments that were written as one JSON object.
pub(super) fn from_json(raw: &str) -> Option<(String, String)> {
    let parsed = crate::types::json::parse_text(raw.trim_matches(is_space)).ok()?.root;
    let members = parsed.as_dict()?;
    let name = members.get("name").and_then(Json::as_str).unwrap_or_default().to_owned();
    let arguments = ["arguments", "parameters"].iter().find_map(|key| members.get(*key));
    let arguments = match arguments {
        Some(Json::Str(text)) => text.clone(),
        Some(value) => dumps(value),
        None => {
            let others = members.iter().filter(|(key, _)| *key != "name");
            dumps(&Json::Dict(others.map(|(key, value)| (key.clone(), value.clone())).collect()))
        }
    };
    Some((name, arguments))
}
