//! Grammars made to do harm end in an error, soon, or are as cheap as any other.

use super::*;
use crate::grammar::compile::Bounds;
use serde_json::json;
use std::sync::{Mutex, mpsc};
use std::time::{Duration, Instant};

/// Far more than any takes, and less than what a stalled server would need.
const PATIENCE: Duration = Duration::from_secs(20);

fn compiles_in_time(name: &str, spec: GrammarSpec) -> Option<CompiledGrammar> {
    let start = Instant::now();
    let compiled = compile(&grammars(), spec);
    let spent = start.elapsed();
    eprintln!("{name}: {} in {spent:?}", if compiled.is_ok() { "compiled" } else { "refused" });
    assert!(spent < PATIENCE, "{name}: {spent:?}");
    compiled.ok()
}

/// Follows the grammar for some tokens; each mask must come soon.
fn walks_in_time(name: &str, grammar: &CompiledGrammar) {
    let mut matcher = grammar.start(vec![EOS], None);
    let mut worst = Duration::ZERO;
    for _ in 0..50 {
        let start = Instant::now();
        matcher.prepare();
        worst = worst.max(start.elapsed());
        let Some(mask) = matcher.mask() else { break };
        let Some(token) = (0..EOS).rev().find(|t| mask[*t as usize / 32] >> (t % 32) & 1 == 1)
        else {
            break;
        };
        if !matcher.accept(token) {
            break;
        }
    }
    eprintln!("{name}: a mask in {worst:?} at most");
    assert!(worst < Duration::from_secs(2), "{name}: {worst:?}");
}

fn harmless(name: &str, spec: GrammarSpec) {
    if let Some(grammar) = compiles_in_time(name, spec) {
        walks_in_time(name, &grammar);
    }
}

#[test]
fn regular_expressions() {
    for pattern in [
        "(a+)+b".to_owned(),
        "(a|a)*(a|a)*(a|a)*b".to_owned(),
        "(x+x+)+y{1000}".to_owned(),
        "((a{100}){100}){100}".to_owned(),
        "(.*a){25}".to_owned(),
        "[ab]*a[ab]{200}".to_owned(),
        "(".repeat(10_000),
        format!("{}a{}", "(".repeat(5_000), ")".repeat(5_000)),
        "a?".repeat(2_000) + &"a".repeat(2_000),
        "\\w{1,5000}".to_owned(),
    ] {
        let name = pattern.chars().take(30).collect::<String>();
        harmless(&name, GrammarSpec::Regex(pattern));
    }
}

#[test]
fn schemas() {
    let words: Vec<String> = (0..20_000).map(|i| format!("word number {i}")).collect();
    harmless("a huge enum", GrammarSpec::Json(json!({ "enum": words })));
    let properties: serde_json::Map<String, Value> =
        (0..2_000).map(|i| (format!("p{i}"), json!({"type": "string"}))).collect();
    harmless(
        "many optional properties",
        GrammarSpec::Json(json!({"type": "object", "properties": properties})),
    );
    let chain: serde_json::Map<String, Value> = (0..5_000)
        .map(|i| (format!("d{i}"), json!({"$ref": format!("#/$defs/d{}", i + 1)})))
        .chain([("d5000".to_owned(), json!({"type": "null"}))])
        .collect();
    harmless(
        "a chain of references",
        GrammarSpec::Json(json!({"$ref": "#/$defs/d0", "$defs": chain})),
    );
    for join in ["allOf", "anyOf", "oneOf"] {
        let doubling: serde_json::Map<String, Value> = (0..60)
            .map(|i| {
                let next = json!({"$ref": format!("#/$defs/d{}", i + 1)});
                (format!("d{i}"), json!({ join: [next, next] }))
            })
            .chain([("d60".to_owned(), json!({"type": "string"}))])
            .collect();
        let schema = json!({"$ref": "#/$defs/d0", "$defs": doubling});
        harmless(&format!("{join} that doubles"), GrammarSpec::Json(schema));
    }
    harmless("a reference to itself", GrammarSpec::Json(json!({"$ref": "#"})));
    harmless(
        "a long string of a pattern",
        GrammarSpec::Json(
            json!({"type": "string", "pattern": "^(a|b)*c{500}$", "maxLength": 5000}),
        ),
    );
    harmless("a long list", GrammarSpec::Json(json!({"type": "array", "minItems": 1_000_000})));
    let mut nested = json!({"type": "integer"});
    for _ in 0..60 {
        nested = json!({"anyOf": [nested, {"type": "string"}]});
    }
    harmless("nested unions", GrammarSpec::Json(nested));
}

#[test]
fn arguments_as_elements() {
    let call = |schema: Value| {
        let content = json!({"type": "json_schema", "json_schema": schema, "style": "qwen_xml"});
        let tag = json!({"type": "tag", "begin": "<f>", "content": content, "end": "</f>"});
        GrammarSpec::Tag(json!({"type": "structural_tag", "format": tag}))
    };
    let doubling: serde_json::Map<String, Value> = (0..60)
        .map(|i| {
            let next = json!({"$ref": format!("#/$defs/d{}", i + 1)});
            (format!("d{i}"), json!({"anyOf": [next, next]}))
        })
        .chain([("d60".to_owned(), json!({"type": "null"}))])
        .collect();
    let schema = json!({"$ref": "#/$defs/d0", "$defs": doubling});
    harmless("elements that double", call(schema.clone()));
    let inside = json!({"properties": {"a": schema["$defs"]["d0"]}, "$defs": schema["$defs"]});
    harmless("values that double", call(inside));
    harmless("elements that are themselves", call(json!({"$ref": "#"})));
    let properties: serde_json::Map<String, Value> = (0..2_000)
        .map(|i| (format!("p{i}"), json!({"items": {"$ref": "#"}, "type": "array"})))
        .collect();
    harmless("many elements with definitions", call(json!({"properties": properties})));
    let properties: serde_json::Map<String, Value> =
        (0..2_000).map(|i| (format!("p{i}"), json!({"type": "integer"}))).collect();
    harmless("many optional elements", call(json!({"properties": properties})));
}

#[test]
fn grammars_of_all_kinds() {
    let deep = format!("root ::= {}\"a\"{}", "(".repeat(5_000), ")".repeat(5_000));
    harmless("deep EBNF", GrammarSpec::Grammar(deep));
    let chain: String =
        (0..10_000).map(|i| format!("r{i} ::= \"a\" r{}\n", i + 1)).collect::<String>()
            + "r10000 ::= \"b\"\nroot ::= r0\n";
    harmless("a chain of rules", GrammarSpec::Grammar(chain));
    let cycle = "root ::= root root | \"a\" | \"\"";
    harmless("an ambiguous rule", GrammarSpec::Grammar(cycle.to_owned()));
    let doubling: String =
        (0..60).map(|i| format!("r{i} ::= r{0} r{0}\n", i + 1)).collect::<String>()
            + "r60 ::= \"a\"\nroot ::= r0\n";
    harmless("a rule that doubles", GrammarSpec::Grammar(doubling));
    let lark: String = (0..60).map(|i| format!("A{i}: A{0} A{0}\n", i + 1)).collect::<String>()
        + "A60: \"a\"\nstart: A0\n";
    harmless("a lexeme that doubles", GrammarSpec::Grammar(lark));
    let lark: String = (0..60).map(|i| format!("a{i}: a{0} a{0}\n", i + 1)).collect::<String>()
        + "a60: \"a\"\nstart: a0\n";
    harmless("a Lark rule that doubles", GrammarSpec::Grammar(lark));
    let lark = format!("start: {}\"a\"{}", "(".repeat(5_000), ")".repeat(5_000));
    harmless("deep Lark", GrammarSpec::Grammar(lark));
    let lark: String = (0..10_000).map(|i| format!("r{i}: \"a\" r{}\n", i + 1)).collect::<String>()
        + "r10000: \"b\"\nstart: r0\n";
    harmless("a chain of Lark rules", GrammarSpec::Grammar(lark));
    harmless("left recursion", GrammarSpec::Grammar("start: start\n".to_owned()));
    let choices: Vec<String> = (0..50_000).map(|i| format!("choice {i}")).collect();
    harmless("many choices", GrammarSpec::Choice(choices));
    let repeated = "root ::= (((\"a\"{1000}){1000}){1000}){1000}".to_owned();
    harmless("repetitions of repetitions", GrammarSpec::Grammar(repeated));
}

#[test]
fn compilers_that_do_not_end_are_bounded() {
    let (release, gate) = mpsc::channel::<()>();
    let gate = Mutex::new(gate);
    // The first compiler asks for the vocabulary, the others wait for that one.
    let tokens = move || {
        let _ = gate.lock().expect("one at a time").recv();
        vocabulary()
    };
    let bounds = Bounds { time: Duration::from_millis(20), places: 2, late: 3 };
    let grammars = Grammars::bounded(tokens, Some(EOS), JsonOptions::default(), bounds);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build();
    let compile = |number: usize| {
        let spec = GrammarSpec::Choice(vec![format!("choice {number}")]);
        grammars.compile(spec)
    };
    runtime.expect("a runtime").block_on(async {
        let start = Instant::now();
        for number in 0..5 {
            let error = compile(number).await.err().expect("too late").to_string();
            assert_eq!(error, "Grammar error: compiling took more than 0.02 s");
        }
        for number in 5..8 {
            assert_eq!(compile(number).await.err(), Some(GrammarError::Busy));
        }
        release.send(()).expect("a compiler waits");
        let grammar = loop {
            match compile(8).await {
                Ok(grammar) => break grammar,
                Err(_) => assert!(start.elapsed() < PATIENCE, "the compilers never came back"),
            }
        };
        assert!(takes(&grammar, "choice 8"));
        // What came too late for those who asked is there for the next ones.
        while grammars.at_hand(&GrammarSpec::Choice(vec!["choice 0".to_owned()])).is_none() {
            assert!(start.elapsed() < PATIENCE, "a late grammar is lost");
            tokio::task::yield_now().await;
        }
    });
}

#[test]
fn patterns_have_a_limit_of_their_own() {
    let hurried = || grammars().with_regex_limit(Some(Duration::ZERO));
    let error = compile(&hurried(), GrammarSpec::Regex("é".repeat(300))).err().expect("too slow");
    let message = "Failed to transform regex into a grammar: Regex compilation timed out after 0s. \
                   The pattern may be too complex or contain constructs that cause exponential \
                   state-space explosion (e.g. nested quantifiers). Pattern: ";
    assert_eq!(error.to_string(), message.to_owned() + &"é".repeat(200));
    assert!(compile(&hurried(), GrammarSpec::Choice(vec!["a".to_owned()])).is_ok());
    let patient = grammars().with_regex_limit(None);
    assert!(compile(&patient, GrammarSpec::Regex("a+".to_owned())).is_ok());
}
