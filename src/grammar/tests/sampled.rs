//! Random output under a grammar keeps to it.

use super::*;
use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};
use serde_json::json;

/// Numbers from a seed.
struct Dice(u64);

impl Dice {
    fn below(&mut self, n: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 % n as u64) as usize
    }
}

/// Draws allowed tokens, those that end something more often, until the end token or too many.
/// `None` when that many did not end it.
fn sample(grammar: &CompiledGrammar, dice: &mut Dice) -> Option<String> {
    let tokens = vocabulary();
    let mut matcher = grammar.start(vec![EOS], None);
    let mut text = Vec::new();
    for _ in 0..600 {
        matcher.prepare();
        let all = 0..tokens.len() as Token;
        let allowed: Vec<Token> = all.filter(|&token| allows(&matcher, token)).collect();
        assert!(
            !allowed.is_empty(),
            "nothing is allowed behind {:?}",
            String::from_utf8_lossy(&text)
        );
        let ends = |token: &Token| {
            *token == EOS || matches!(&*tokens[*token as usize].0, b"\"" | b"}" | b"]")
        };
        let ending: Vec<Token> = allowed.iter().copied().filter(ends).collect();
        let token = match dice.below(3) {
            0 if !ending.is_empty() => ending[dice.below(ending.len())],
            _ => allowed[dice.below(allowed.len())],
        };
        assert!(matcher.accept(token));
        if token == EOS {
            return Some(String::from_utf8(text).expect("whole characters"));
        }
        text.extend(&tokens[token as usize].0);
    }
    None
}

/// Samples texts and counts those that came to an end, which must keep to the schema.
fn finished(schema: &Value, grammar: &CompiledGrammar, seeds: u64) -> usize {
    let validator = jsonschema::validator_for(schema).expect("a schema");
    let mut finished = 0;
    for seed in 1..=seeds {
        let Some(text) = sample(grammar, &mut Dice(seed * 0x9e37_79b9)) else { continue };
        let value: Value = match serde_json::from_str(&text) {
            Ok(value) => value,
            // JSON bounds no number; this reader does.
            Err(error) if error.to_string().starts_with("number out of range") => continue,
            Err(error) => panic!("{text:?} of {schema} is no JSON: {error}"),
        };
        assert!(validator.is_valid(&value), "{text} does not keep to {schema}");
        finished += 1;
    }
    finished
}

#[test]
fn schemas_from_the_world() {
    let schemas: Vec<Value> =
        serde_json::from_str(include_str!("../../../tests/data/grammar/schemas.json"))
            .expect("a list");
    let grammars = grammars();
    let mut all = 0;
    for schema in &schemas {
        let grammar = compile(&grammars, GrammarSpec::Json(schema.clone()));
        let grammar = grammar.unwrap_or_else(|error| panic!("{schema}: {error}"));
        all += finished(schema, &grammar, 8);
    }
    assert!(all > 4 * schemas.len(), "only {all} came to an end");
}

/// Schemas of all sorts that the engine takes.
fn schemas() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(json!({"type": "integer"})),
        Just(json!({"type": "number"})),
        Just(json!({"type": "boolean"})),
        Just(json!({"type": "null"})),
        (0_i64..50, 0_i64..50).prop_map(|(low, more)| {
            json!({"type": "integer", "minimum": low, "maximum": low + more})
        }),
        (0_u64..4, 0_u64..6).prop_map(|(low, more)| {
            json!({"type": "string", "minLength": low, "maxLength": low + more})
        }),
        Just(json!({"type": "string", "pattern": "^[a-c]{1,3}[0-9]$"})),
        Just(json!({"type": "string", "format": "date"})),
        Just(json!({"enum": ["one", 2, null, [3], {"four": 4}]})),
        Just(json!({"const": "é\n\"x\""})),
    ];
    leaf.prop_recursive(3, 24, 4, |inner| {
        let named = prop::collection::vec((any::<bool>(), inner.clone()), 0..4);
        let object = (named, any::<bool>()).prop_map(|(members, open)| {
            let required: Vec<String> =
                (0..members.len()).filter(|i| members[*i].0).map(|i| format!("m{i}")).collect();
            let properties: serde_json::Map<String, Value> = members
                .into_iter()
                .enumerate()
                .map(|(i, (_, schema))| (format!("m{i}"), schema))
                .collect();
            let mut schema =
                json!({"type": "object", "properties": properties, "required": required});
            if open {
                schema["additionalProperties"] = json!({"type": "integer"});
            }
            schema
        });
        prop_oneof![
            object,
            (inner.clone(), 0_u64..2, 0_u64..3).prop_map(|(items, low, more)| {
                json!({"type": "array", "items": items, "minItems": low, "maxItems": low + more})
            }),
            prop::collection::vec(inner.clone(), 1..3)
                .prop_map(|items| json!({"type": "array", "prefixItems": items})),
            prop::collection::vec(inner, 1..4).prop_map(|branches| json!({"anyOf": branches})),
        ]
    })
}

#[test]
fn random_schemas() {
    let grammars = grammars();
    let mut runner = TestRunner::new(Config::with_cases(64));
    runner
        .run(&schemas(), |schema| {
            let grammar = compile(&grammars, GrammarSpec::Json(schema.clone()));
            let grammar =
                grammar.map_err(|error| TestCaseError::fail(format!("{schema}: {error}")))?;
            finished(&schema, &grammar, 3);
            Ok(())
        })
        .expect("every output validates");
}

#[test]
fn regular_expressions() {
    let grammars = grammars();
    for pattern in [
        "[a-z]{2,5}@[a-z]+\\.(com|org)",
        "(yes|no|maybe)( \\d{1,3}){0,2}",
        "^-?(0|[1-9][0-9]*)(\\.[0-9]+)?$",
        "[^\"\\\\]{3}é+",
        "\\w+\\s\\S",
    ] {
        let whole = regex::Regex::new(&format!("^(?s:{pattern})$")).expect("a pattern");
        let grammar = compile(&grammars, GrammarSpec::Regex(pattern.to_owned())).expect("valid");
        for seed in 1..20 {
            if let Some(text) = sample(&grammar, &mut Dice(seed * 7919)) {
                assert!(whole.is_match(&text), "{text:?} does not match {pattern}");
            }
        }
    }
}

#[test]
fn an_end_token_only_where_the_grammar_ends() {
    let grammar = compile(&grammars(), GrammarSpec::Regex("ab?".to_owned())).expect("valid");
    // The letter b ends this generation, beside the end token.
    let mut matcher = grammar.start(vec![EOS, Token::from(b'b')], None);
    matcher.prepare();
    assert!(!allows(&matcher, EOS) && !allows(&matcher, Token::from(b'b')));
    assert!(matcher.accept(Token::from(b'a')));
    matcher.prepare();
    assert!(allows(&matcher, EOS) && allows(&matcher, Token::from(b'b')));
    assert!(matcher.accept(Token::from(b'b')));
    matcher.prepare();
    assert_eq!(matcher.mask(), None, "what follows an end is free");
    assert!(matcher.accept(Token::from(b'z')));
}

#[test]
fn a_token_that_does_not_fit_fails() {
    let grammar = compile(&grammars(), GrammarSpec::Regex("a+".to_owned())).expect("valid");
    let mut matcher = grammar.start(vec![EOS], None);
    matcher.prepare();
    assert!(!matcher.accept(Token::from(b'b')));
}

#[test]
fn reasoning_comes_first_and_is_free() {
    let grammar = compile(&grammars(), GrammarSpec::Regex("<?ok".to_owned())).expect("valid");
    let reasoning = ReasoningEnd { token: Some(b'>'.into()), content: Some(b'<'.into()) };
    let reasons = |tokens: &[Token]| {
        let mut matcher = grammar.start(vec![EOS], Some(reasoning));
        for &token in tokens {
            matcher.prepare();
            assert_eq!(matcher.mask(), None);
            assert!(matcher.accept(token));
        }
        matcher.prepare();
        matcher
    };
    let behind = reasons(&[b'x'.into(), EOS, b'>'.into()]);
    assert!(allows(&behind, b'o'.into()) && allows(&behind, b'<'.into()));
    assert!(!allows(&behind, b'x'.into()));
    // What begins the content belongs to the grammar.
    let within = reasons(&[b'x'.into(), b'<'.into()]);
    assert!(allows(&within, b'o'.into()) && !allows(&within, b'<'.into()));
}
