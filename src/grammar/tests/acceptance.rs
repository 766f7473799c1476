//! The same texts as xgrammar, the engine that vLLM prefers.

use super::*;

/// Where llguidance differs: a text, and what it says to it.
const DIFFERENCES: [(&str, &str, bool); 0] = [];

#[test]
fn the_texts_that_xgrammar_takes() {
    let rows: Vec<Value> =
        serde_json::from_str(include_str!("../../../tests/data/grammar/acceptance.json"))
            .expect("a recording");
    let grammars = grammars();
    let mut wrong = Vec::new();
    for row in &rows {
        let kind = row["kind"].as_str().expect("a kind");
        let grammar = match compile(&grammars, spec(kind, &row["spec"])) {
            Ok(grammar) => grammar,
            Err(error) => {
                wrong.push(format!("{kind} {}: {error}", row["spec"]));
                continue;
            }
        };
        for pair in row["texts"].as_array().expect("a list") {
            let (text, mut expected) = (pair[0].as_str().expect("a text"), pair[1] == true);
            let difference = DIFFERENCES.iter().find(|(k, t, _)| *k == kind && *t == text);
            expected = difference.map_or(expected, |(_, _, ours)| *ours);
            if takes(&grammar, text) != expected {
                wrong.push(format!("{kind} {}: {text:?} should be {expected}", row["spec"]));
            }
        }
    }
    assert!(wrong.is_empty(), "{} differ:\n{}", wrong.len(), wrong.join("\n"));
}

#[test]
fn one_of_the_choices_and_nothing_else() {
    let texts = ["yes", "no", "", "say \"é\"\n", "nope", "\u{7f}\u{0}"].map(str::to_owned);
    let grammar = compile(&grammars(), GrammarSpec::Choice(texts.to_vec())).expect("valid");
    for text in &texts {
        assert!(takes(&grammar, text), "{text:?}");
    }
    for text in ["y", "yesno", "nop", "maybe"] {
        assert!(!takes(&grammar, text), "{text:?}");
    }
}

#[test]
fn lark_is_read_as_lark() {
    let source = "start: word (\" \" word)*\nword: /[a-z]+/ // a comment\n";
    let grammar = compile(&grammars(), GrammarSpec::Grammar(source.to_owned())).expect("valid");
    assert!(takes(&grammar, "some words"));
    assert!(!takes(&grammar, "Some words"));
}
