//! Formats with all of their members, in the order in which xgrammar prints them.

use serde_json::{Map, Value};

/// The format with what it leaves out set to its default, and without what no format knows; `None`
/// when it is no format.
pub fn complete(format: &Value) -> Option<Value> {
    let given = format.as_object()?;
    let kind = given.get("type")?.as_str()?;
    let mut all = Map::new();
    all.insert("type".to_owned(), kind.into());
    for name in members(kind)? {
        let value = match given.get(*name) {
            Some(value) => inside(name, value)?,
            None => default(name)?,
        };
        all.insert((*name).to_owned(), value);
    }
    Some(Value::Object(all))
}

/// A member, of which formats inside are completed too.
fn inside(name: &str, value: &Value) -> Option<Value> {
    match (name, value) {
        ("content", _) | ("begin" | "end", Value::Object(_)) => complete(value),
        ("elements" | "tags", _) => value.as_array()?.iter().map(complete).collect(),
        ("rules", _) => {
            let rule = |rule: &Value| match rule.as_array().map(Vec::as_slice) {
                Some([pattern, content]) => {
                    Some(Value::from(vec![pattern.clone(), complete(content)?]))
                }
                _ => None,
            };
            value.as_array()?.iter().map(rule).collect()
        }
        _ => Some(value.clone()),
    }
}

fn members(kind: &str) -> Option<&'static [&'static str]> {
    Some(match kind {
        "const_string" => &["value"],
        "json_schema" => &["json_schema", "style", "any_order", "max_whitespace_cnt", "excludes"],
        "any_text" => &["excludes", "max_tokens", "max_chars"],
        "token" => &["token"],
        "exclude_token" => &["exclude_tokens"],
        "any_tokens" => &["exclude_tokens", "max_tokens"],
        "grammar" => &["grammar"],
        "regex" => &["pattern"],
        "sequence" | "or" => &["elements"],
        "tag" => &["begin", "content", "end"],
        "triggered_tags" => &["triggers", "tags", "at_least_one", "stop_after_first", "excludes"],
        "token_triggered_tags" => {
            &["trigger_tokens", "tags", "exclude_tokens", "at_least_one", "stop_after_first"]
        }
        "tags_with_separator" => &["tags", "separator", "at_least_one", "stop_after_first"],
        "optional" | "plus" | "star" => &["content"],
        "repeat" => &["min", "max", "content"],
        "dispatch" => &["rules", "loop", "excludes"],
        "token_dispatch" => &["rules", "loop", "exclude_tokens"],
        "qwen_xml_parameter" => &["json_schema"],
        _ => return None,
    })
}

/// What a member is when it is left out; `None` for those that must not be.
fn default(name: &str) -> Option<Value> {
    Some(match name {
        "any_order" | "at_least_one" | "stop_after_first" => false.into(),
        "loop" => true.into(),
        "excludes" | "exclude_tokens" => Value::Array(Vec::new()),
        "max_tokens" | "max_chars" | "max_whitespace_cnt" => Value::Null,
        "style" => "json".into(),
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn members_are_filled_in_at_all_depths() {
        let tag = json!({
            "end": "]",
            "type": "tag",
            "begin": {"token": 5, "type": "token", "x": 1},
            "content": {"type": "dispatch", "rules": [["a", {"type": "any_text"}]]},
        });
        let whole = json!({
            "type": "tag",
            "begin": {"type": "token", "token": 5},
            "content": {
                "type": "dispatch",
                "rules": [["a", {
                    "type": "any_text", "excludes": [], "max_tokens": null, "max_chars": null
                }]],
                "loop": true,
                "excludes": [],
            },
            "end": "]",
        });
        assert_eq!(complete(&tag).unwrap().to_string(), whole.to_string());
        for broken in [json!({"type": "tag", "end": "]"}), json!({"type": "other"}), json!(1)] {
            assert_eq!(complete(&broken), None);
        }
    }
}
