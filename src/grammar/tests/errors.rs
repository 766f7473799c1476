//! What is refused, and with which words: vLLM's.

use super::*;

/// What vLLM takes and then does not enforce, or fails at later, is refused.
const DIFFERENCES: [(&str, &str); 7] = [
    (
        r#"{"$ref":"http://x/y"}"#,
        "Resource 'http://x/y' is not present in a registry and retrieving it failed: Default \
         retriever does not fetch resources",
    ),
    (r#"{"type":"object","not":{"required":["a"]}}"#, r#"Unimplemented keys: ["not"]"#),
    (
        r#"{"type":"string","pattern":"a(?=b)"}"#,
        "regex parse error:\n    a(?=b)\n     ^^^\nerror: look-around, including look-ahead and \
         look-behind, is not supported",
    ),
    (
        r#"{"type":"object","patternProperties":{"(":{}}}"#,
        "regex parse error:\n    (\n    ^\nerror: unclosed group",
    ),
    (r#"{"if":{"type":"string"},"then":{"minLength":2}}"#, r#"Unimplemented keys: ["if", "then"]"#),
    (
        r#"{"type":"object","dependentRequired":{"a":["b"]}}"#,
        r#"Unimplemented keys: ["dependentRequired"]"#,
    ),
    (
        concat!(
            r#""{\"structures\": [{\"begin\": \"<a>\", \"schema\": {\"type\": \"foo\"}, "#,
            r#"\"end\": \"</a>\"}], \"triggers\": [\"<a\"]}""#
        ),
        "failed to compile JSON schema: Invalid type: foo",
    ),
];

#[test]
fn the_words_of_vllm() {
    let rows: Vec<Value> =
        serde_json::from_str(include_str!("../../../tests/data/grammar/errors.json"))
            .expect("a recording");
    let grammars = grammars();
    let mut wrong = Vec::new();
    for row in &rows {
        let spec = match (row["kind"].as_str().expect("a kind"), &row["spec"]) {
            ("structural_tag", text) => {
                let text = text.as_str().expect("a text");
                let Ok(tag) = serde_json::from_str(text) else { continue };
                GrammarSpec::Tag(tag)
            }
            ("choice", choices) => {
                let choices = choices.as_array().expect("a list").iter();
                GrammarSpec::Choice(choices.filter_map(|c| c.as_str().map(str::to_owned)).collect())
            }
            (kind, spec) => self::spec(kind, spec),
        };
        let error = compile(&grammars, spec).err().map(|error| error.to_string());
        let text = row["spec"].to_string();
        let difference = DIFFERENCES.iter().find(|(spec, _)| *spec == text);
        let expected = match difference {
            Some((_, ours)) => Some(format!("Grammar error: {ours}")),
            None => row["error"].as_str().map(str::to_owned),
        };
        if error != expected {
            wrong.push(format!("{text}\n  vLLM: {expected:?}\n  here: {error:?}"));
        }
    }
    assert!(wrong.is_empty(), "{} differ:\n{}", wrong.len(), wrong.join("\n"));
}
