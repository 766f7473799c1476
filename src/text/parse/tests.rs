//! The parsers against vLLM's own (tests/data/text/parse.jsonl), and what holds for any output.

use super::*;
use proptest::prelude::*;
use serde_json::{Map, Value, json};
use std::sync::LazyLock;
use tokenizers::Tokenizer;

const TOKENIZER: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/models/qwen3-tiny/tokenizer.json");
const RECORDED: &str = include_str!("../../../tests/data/text/parse.jsonl");
/// `<|im_start|>assistant\n`.
const OPENING: [Token; 3] = [2023, 290, 198];

static LIBRARY: LazyLock<Tokenizer> = LazyLock::new(|| Tokenizer::from_file(TOKENIZER).unwrap());
static VOCABULARY: LazyLock<Arc<Vocabulary>> =
    LazyLock::new(|| Arc::new(Vocabulary::new(&LIBRARY).unwrap()));

fn parsers(reasoning: Option<ReasoningFormat>, tools: Option<ToolFormat>) -> Arc<Parsers> {
    Arc::new(Parsers::new(reasoning, tools, VOCABULARY.clone()).unwrap().unwrap())
}

fn both() -> Arc<Parsers> {
    parsers(Some(ReasoningFormat::Qwen3), Some(ToolFormat::Hermes))
}

fn plain() -> Reading {
    let schemas = Arc::new([]);
    Reading { thinking: true, tools: ToolUse::Free, include_reasoning: true, schemas }
}

/// The tools of the recording.
fn schemas() -> Arc<[ToolSchema]> {
    let properties = json!({
        "city": {"type": "string"},
        "n": {"type": "integer"},
        "x": {"type": "number"},
        "on": {"type": "boolean"},
        "any": {},
        "list": {"type": "array", "items": {"type": "integer"}},
        "o": {"type": ["object", "null"], "properties": {"k": {"type": "integer"}}},
    });
    let properties = properties.as_object().unwrap();
    let tool = |name: &str| ToolSchema { name: name.into(), properties: properties.clone() };
    Arc::new(["f", "get_weather"].map(tool))
}

fn ids(value: &Value) -> Vec<Token> {
    value.as_array().unwrap().iter().map(|id| id.as_u64().unwrap() as Token).collect()
}

/// A delta as vLLM's recording shows it.
fn shown(delta: &ParsedDelta) -> Value {
    let mut members = Map::new();
    for (name, member) in [("content", &delta.content), ("reasoning", &delta.reasoning)] {
        members.extend(member.iter().map(|text| (name.to_owned(), json!(text))));
    }
    let call = |call: &ToolDelta| {
        let mut function = Map::new();
        function.extend(call.name.iter().map(|name| ("name".into(), json!(name))));
        function.extend(call.arguments.iter().map(|text| ("arguments".into(), json!(text))));
        match call.name {
            Some(_) => json!({"type": "function", "index": call.index, "function": function}),
            None => json!({"index": call.index, "function": function}),
        }
    };
    if !delta.tool_calls.is_empty() {
        members.insert("tool_calls".into(), delta.tool_calls.iter().map(call).collect());
    }
    Value::Object(members)
}

fn reading(case: &Value) -> Reading {
    Reading {
        thinking: case["thinking"] == true,
        tools: match case["choice"].as_str() {
            Some("none") => ToolUse::Never,
            Some("required" | "named") => ToolUse::Forced,
            _ => ToolUse::Free,
        },
        include_reasoning: case["include"] == true,
        schemas: schemas(),
    }
}

#[test]
fn reads_what_vllm_reads() {
    let mut count = 0;
    for line in RECORDED.lines() {
        let case: Value = serde_json::from_str(line).unwrap();
        let reasoning = case["reasoning"].as_str().map(|name| match name {
            "deepseek_r1" => ReasoningFormat::DeepSeekR1,
            _ => ReasoningFormat::Qwen3,
        });
        let tools = case["tools"].as_str().map(|name| match name {
            "qwen3_coder" => ToolFormat::Qwen3Xml,
            _ => ToolFormat::Hermes,
        });
        let (parsers, reading) = (parsers(reasoning, tools), reading(&case));
        let mut stream = parsers.stream(reading.clone(), &ids(&case["prompt"]));
        let given = case["given"].as_array().unwrap();
        let (mut output, mut tokens, mut steps) = (String::new(), Vec::new(), Vec::new());
        for (at, piece) in given.iter().enumerate() {
            let (text, new) = (piece[0].as_str().unwrap(), ids(&piece[1]));
            let step = stream.push(text, &new, at + 1 == given.len());
            steps.push(step.delta.as_ref().map_or(Value::Null, shown));
            output.push_str(text);
            tokens.extend(new);
        }
        assert_eq!(json!(steps), case["steps"], "{line}");
        assert_eq!(json!(stream.reasoning_tokens()), case["reasoning_tokens"], "{line}");
        let whole = parsers.whole(&reading, &output);
        let calls = whole.tool_calls.iter().map(|call| json!([call.name, call.arguments]));
        let calls: Vec<Value> = calls.collect();
        let ours = json!({
            "reasoning": whole.reasoning,
            "content": whole.content,
            // vLLM has both null and an empty list for none.
            "calls": if calls.is_empty() { case["whole"]["calls"].clone() } else { json!(calls) },
            "reasoning_tokens": parsers.reasoning_tokens(reading.thinking, &tokens),
        });
        assert_eq!(ours, case["whole"], "{line}");
        let found = case["whole"]["calls"].as_array().is_some_and(|calls| !calls.is_empty());
        assert_eq!(!calls.is_empty(), found, "{line}");
        count += 1;
    }
    assert!(count >= 280);
}

/// What a client puts together from a stream.
#[derive(Debug, Default, PartialEq)]
struct Said {
    reasoning: String,
    content: String,
    calls: Vec<(String, String)>,
    reasoning_tokens: usize,
}

fn streamed(parsers: &Arc<Parsers>, pieces: &[(&str, &[Token])]) -> Said {
    let mut stream = parsers.stream(plain(), &OPENING);
    let mut said = Said::default();
    for (at, (text, tokens)) in pieces.iter().enumerate() {
        let step = stream.push(text, tokens, at + 1 == pieces.len());
        let Some(delta) = step.delta else { continue };
        said.reasoning.push_str(delta.reasoning_text().unwrap_or_default());
        said.content.push_str(delta.content_text().unwrap_or_default());
        for call in delta.tool_calls {
            // A call that never gets a name has a number all the same.
            let count = said.calls.len().max(call.index + 1);
            said.calls.resize(count, Default::default());
            said.calls[call.index].0.push_str(&call.name.unwrap_or_default());
            said.calls[call.index].1.push_str(&call.arguments.unwrap_or_default());
        }
    }
    said.reasoning_tokens = stream.reasoning_tokens();
    said
}

/// Cuts tokens into pieces at these places, each with its text; text that is generated never ends
/// inside a character, so those places do not count.
fn cut(tokens: &[Token], places: &[prop::sample::Index]) -> Vec<(String, Vec<Token>)> {
    let mut places: Vec<usize> = places.iter().map(|at| at.index(tokens.len() + 1)).collect();
    places.retain(|&at| !VOCABULARY.decode(&tokens[..at], false).ends_with('\u{fffd}'));
    places.extend([0, tokens.len()]);
    places.sort_unstable();
    let piece = |range: &[usize]| {
        let tokens = tokens[range[0]..range[1]].to_vec();
        (VOCABULARY.decode(&tokens, false), tokens)
    };
    places.windows(2).map(piece).collect()
}

fn borrowed(pieces: &[(String, Vec<Token>)]) -> Vec<(&str, &[Token])> {
    pieces.iter().map(|(text, tokens)| (text.as_str(), tokens.as_slice())).collect()
}

proptest! {
    /// Where a stream is cut does not matter to what a well-formed output says.
    #[test]
    fn pieces_do_not_matter(
        reasoning in "[a-z <>{}\"\n]{0,12}",
        content in "[a-z >{}\"\n]{0,12}",
        values in prop::collection::vec("[a-z <>{}/,:\\[\\]]{0,12}", 0..4),
        places in prop::collection::vec(any::<prop::sample::Index>(), 0..12),
    ) {
        let calls: Vec<(String, String)> = values.iter().enumerate().map(|(at, value)| {
            (format!("f{at}"), json!({"x": value, "y": {"z": [1, at]}}).to_string())
        }).collect();
        let mut output = format!("<think>{reasoning}</think>{content}");
        for (name, arguments) in &calls {
            output += "<tool_call>\n{\"name\": ";
            output += &format!("\"{name}\", \"arguments\": {arguments}}}\n</tool_call>\n");
        }
        let tokens = LIBRARY.encode(output.as_str(), false).unwrap().get_ids().to_vec();
        let pieces = cut(&tokens, &places);
        let said = streamed(&both(), &borrowed(&pieces));
        prop_assert_eq!(&said.reasoning, &reasoning);
        prop_assert_eq!(&said.content, &content);
        prop_assert_eq!(&said.calls, &calls);
        let whole = both().whole(&plain(), &output);
        prop_assert_eq!(whole.reasoning.unwrap_or_default(), reasoning);
        prop_assert_eq!(whole.tool_calls.len(), calls.len());
        let count = both().reasoning_tokens(true, &tokens);
        prop_assert_eq!(said.reasoning_tokens, count);
    }

    /// Nothing that a model can write is too much, and text does not grow without end.
    #[test]
    fn any_output_is_read(
        parts in prop::collection::vec(
            prop_oneof![
                Just("<think>".to_owned()),
                Just("</think>".to_owned()),
                Just("<tool_call>".to_owned()),
                Just("</tool_call>".to_owned()),
                Just("\"name\": \"f\"".to_owned()),
                Just("\"arguments\": ".to_owned()),
                Just("<function=f>".to_owned()),
                Just("<parameter=x>".to_owned()),
                Just("</parameter>".to_owned()),
                Just("</function>".to_owned()),
                Just("<|im_start|>".to_owned()),
                "[{}\",:é< \n\\\\]{0,4}",
                "\\PC{0,6}",
            ],
            0..12,
        ),
        places in prop::collection::vec(any::<prop::sample::Index>(), 0..12),
    ) {
        let output = parts.concat();
        let tokens = LIBRARY.encode(output.as_str(), false).unwrap().get_ids().to_vec();
        let pieces = cut(&tokens, &places);
        for parsers in [
            both(),
            parsers(Some(ReasoningFormat::DeepSeekR1), Some(ToolFormat::Hermes)),
            parsers(None, Some(ToolFormat::Hermes)),
            parsers(None, Some(ToolFormat::Qwen3Xml)),
            parsers(Some(ReasoningFormat::Qwen3), Some(ToolFormat::Qwen3Xml)),
        ] {
            let said = streamed(&parsers, &borrowed(&pieces));
            let length = said.reasoning.len() + said.content.len();
            // As in vLLM, tags behind a character of several tokens may show twice.
            let longest = 2 * pieces.iter().map(|(text, _)| text.len()).sum::<usize>();
            prop_assert!(length <= longest, "{:?} of {:?}", said, pieces);
            let whole = parsers.whole(&plain(), &output);
            prop_assert_eq!(whole.tool_calls.is_empty(), whole.tools_called == Some(false));
        }
    }
}

#[test]
fn reasoning_may_have_ended_in_the_prompt() {
    let parsers = both();
    let [start, end, call] =
        ["<think>", "</think>", "<tool_call>"].map(|tag| VOCABULARY.find(tag).expect("a token"));
    for (thinking, prompt, ended) in [
        (true, vec![], false),
        (false, vec![], true),
        (true, vec![end, 2023, 290], false),
        (true, vec![2023, start, 5, end, 6], true),
        (true, vec![2023, call, 5], true),
        (true, vec![end, start, 5], false),
        (false, vec![2023, start, 5], true),
    ] {
        assert_eq!(parsers.reasoning_ended(thinking, &prompt), Some(ended), "{prompt:?}");
    }
    assert_eq!(self::parsers(None, Some(ToolFormat::Hermes)).reasoning_ended(true, &[end]), None);
}

#[test]
fn invocations_of_the_tool_parser_are_told() {
    let call = "<tool_call>{\"name\": \"f\", \"arguments\": {}}</tool_call>";
    let parsers = parsers(None, Some(ToolFormat::Hermes));
    let never = Reading { tools: ToolUse::Never, ..plain() };
    assert_eq!(parsers.whole(&plain(), call).tools_called, Some(true));
    assert_eq!(parsers.whole(&plain(), "{}").tools_called, Some(false));
    assert_eq!(parsers.whole(&never, call).tools_called, None);
    assert_eq!(parsers.stream(plain(), &[]).push(call, &[], true).tools_called, Some(true));
    assert_eq!(parsers.stream(plain(), &[]).push("a", &[], true).tools_called, Some(false));
    assert_eq!(parsers.stream(never.clone(), &[]).push("a", &[], true).tools_called, None);
}
