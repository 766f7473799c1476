//! What keeping to a grammar costs: compiling it, and a mask of the vocabulary for each token of a
//! text, byte by byte.
//!
//! The vocabulary is that of qwen3-tiny, and one of Qwen3's size: a tokenizer.json named by
//! GLASSBOX_TOKENIZER, or else pairs of the small one's tokens.

use glassbox::grammar::{GrammarSpec, Grammars, JsonOptions, TokenBytes, ToolCalls, ToolsAsked};
use glassbox::text::Vocabulary;
use glassbox::types::{Token, TokenConstraint, ToolFormat, ToolStrictLevel};
use serde_json::json;
use std::time::{Duration, Instant};
use tokenizers::Tokenizer;

const TINY: &str = "models/qwen3-tiny/tokenizer.json";
/// Tokens of Qwen3's vocabulary.
const LARGE: usize = 151_669;

fn load(path: &str) -> Vec<TokenBytes> {
    let tokenizer = Tokenizer::from_file(path).expect("a tokenizer.json");
    let vocabulary = Vocabulary::new(&tokenizer).expect("a byte-level tokenizer");
    let token = |id| (vocabulary.bytes(id).to_vec(), vocabulary.is_special(id));
    (0..vocabulary.size() as Token).map(token).collect()
}

/// The tokens, and pairs of those that are not special.
fn paired(tokens: &[TokenBytes]) -> Vec<TokenBytes> {
    let mut all = tokens.to_vec();
    let plain: Vec<&[u8]> = tokens.iter().filter(|t| !t.1).map(|t| t.0.as_slice()).collect();
    let pairs = plain.iter().flat_map(|a| plain.iter().step_by(3).map(|b| [*a, *b].concat()));
    all.extend(pairs.take(LARGE - tokens.len()).map(|bytes| (bytes, false)));
    all
}

fn specs() -> Vec<(&'static str, GrammarSpec, &'static str)> {
    let schema = json!({
        "type": "object",
        "properties": {
            "name": {"type": "string"},
            "age": {"type": "integer"},
            "tags": {"type": "array", "items": {"type": "string"}},
        },
        "required": ["name", "age"],
    });
    let sums = "root ::= expr\nexpr ::= term ((\"+\" | \"-\") term)*\n\
                term ::= [0-9]+ | \"(\" expr \")\"\n";
    vec![
        (
            "JSON schema",
            GrammarSpec::Json(schema),
            "{\"name\": \"Ada Lovelace, countess\", \"age\": 36, \"tags\": [\"first\", \"poet\"]}",
        ),
        ("JSON object", GrammarSpec::JsonObject, "{\"a\": [1, 2.5, {\"b\": \"some text\"}]}"),
        ("regex", GrammarSpec::Regex("[a-z]+@[a-z]+\\.(com|org)".to_owned()), "ada@lovelace.org"),
        ("choice", GrammarSpec::Choice(vec!["yes".into(), "no".into()]), "yes"),
        ("EBNF", GrammarSpec::Grammar(sums.to_owned()), "(12+345)-(6-(7+8))"),
        (
            "hermes calls",
            calls(ToolFormat::Hermes, ToolCalls::Required),
            "<tool_call>\n{\"name\": \"get_time\", \"arguments\": {\"city\": \"Paris, France\", \
             \"days\": 12}}\n</tool_call>",
        ),
        (
            "XML calls",
            calls(ToolFormat::Qwen3Xml, ToolCalls::Required),
            "<tool_call>\n<function=get_time>\n<parameter=city>\nParis, France\n</parameter>\n\
             <parameter=days>\n12\n</parameter>\n</function>\n</tool_call>",
        ),
        (
            "text, calls",
            calls(ToolFormat::Qwen3Xml, ToolCalls::Auto),
            "There is nothing to call a tool for: 1 < 2, as \"everybody\" knows.",
        ),
    ]
}

/// Calls of three strict tools, in the form of a parser.
fn calls(format: ToolFormat, calls: ToolCalls<'_>) -> GrammarSpec {
    let tool = |name: &str| {
        let properties = json!({"city": {"type": "string"}, "days": {"type": "integer"}});
        let parameters =
            json!({"type": "object", "properties": properties, "required": ["city", "days"]});
        let function = json!({"name": name, "strict": true, "parameters": parameters});
        json!({"type": "function", "function": function})
    };
    let tools = ["get_weather", "get_time", "get_news"].map(tool);
    let level = ToolStrictLevel::Auto;
    let asked = ToolsAsked { format, tools: &tools, calls, single: true, level };
    asked.grammar(None).expect("one name each").expect("strict tools")
}

fn main() {
    let tiny = load(TINY);
    let (name, large) = match std::env::var("GLASSBOX_TOKENIZER") {
        Ok(path) => (path.clone(), load(&path)),
        Err(_) => ("pairs of tokens".to_owned(), paired(&tiny)),
    };
    for (name, tokens) in [("qwen3-tiny", tiny), (&name, large)] {
        measure(name, tokens);
    }
}

fn measure(name: &str, tokens: Vec<TokenBytes>) {
    println!("{name}: {} tokens", tokens.len());
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build();
    let runtime = runtime.expect("a runtime");
    let eos = tokens.len() as Token;
    let mut single = [0; 256];
    for (id, (bytes, special)) in tokens.iter().enumerate() {
        if let ([byte], false) = (&bytes[..], special) {
            single[*byte as usize] = id as Token;
        }
    }
    let with_eos = [tokens, vec![(b"<|end|>".to_vec(), true)]].concat();
    let grammars = Grammars::new(move || with_eos.clone(), Some(eos), JsonOptions::default());
    let start = Instant::now();
    let first = GrammarSpec::Choice(vec!["warm".into()]);
    runtime.block_on(grammars.compile(first)).expect("valid");
    println!("  the vocabulary, once: {:.1?}", start.elapsed());
    for (kind, spec, text) in specs() {
        let start = Instant::now();
        let grammar = runtime.block_on(grammars.compile(spec)).expect("valid");
        let compiled = start.elapsed();
        // The best of some runs at each place of the text: what else runs on the machine stays out.
        let mut times = vec![Duration::MAX; text.len() + 1];
        for _ in 0..20 {
            let mut matcher = grammar.start(vec![eos], None);
            let tokens = text.bytes().map(|byte| single[byte as usize]).chain([eos]);
            for (token, best) in tokens.zip(&mut times) {
                let start = Instant::now();
                matcher.prepare();
                *best = start.elapsed().min(*best);
                assert!(matcher.accept(token), "{kind}: {text}");
            }
        }
        times.sort_unstable();
        let micros = |at: usize| times[at].as_secs_f64() * 1e6;
        let mean = times.iter().sum::<Duration>().as_secs_f64() * 1e6 / times.len() as f64;
        println!(
            "  {kind:12} compiled in {compiled:8.1?}; a mask: mean {mean:7.1} µs, median {:6.1}, \
             worst {:8.1}",
            micros(times.len() / 2),
            micros(times.len() - 1),
        );
    }
}
