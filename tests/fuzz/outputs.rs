//! What must hold for whatever a model says, and whatever it is told to keep to.

use glassbox::grammar::{GrammarSpec, Grammars, JsonOptions, TokenBytes};
use glassbox::text::Vocabulary;
use glassbox::text::parse::{Parsers, Reading, ToolUse};
use glassbox::types::{ReasoningFormat, Token, TokenConstraint, ToolFormat};
use std::sync::{Arc, LazyLock};
use tokenizers::Tokenizer;

const TOKENIZER: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/models/qwen3-tiny/tokenizer.json");
/// Of the grammars' vocabulary: ids below are bytes.
const EOS: Token = 256;

static TEXT: LazyLock<Tokenizer> = LazyLock::new(|| Tokenizer::from_file(TOKENIZER).unwrap());
static PARSERS: LazyLock<Vec<Arc<Parsers>>> = LazyLock::new(|| {
    let vocabulary = Arc::new(Vocabulary::new(&TEXT).unwrap());
    let formats = [
        (Some(ReasoningFormat::Qwen3), Some(ToolFormat::Hermes)),
        (Some(ReasoningFormat::Qwen3), Some(ToolFormat::Qwen3Xml)),
        (Some(ReasoningFormat::DeepSeekR1), Some(ToolFormat::Hermes)),
        (None, Some(ToolFormat::Hermes)),
    ];
    let make = |(reasoning, tools)| Parsers::new(reasoning, tools, vocabulary.clone());
    formats.into_iter().map(|format| Arc::new(make(format).unwrap().unwrap())).collect()
});
static GRAMMARS: LazyLock<Grammars> = LazyLock::new(|| {
    let bytes = || {
        let end: TokenBytes = (b"<|end|>".to_vec(), true);
        (0..=255_u8).map(|byte| (vec![byte], false)).chain([end]).collect()
    };
    Grammars::new(bytes, Some(EOS), JsonOptions::default())
});

/// An output is read whole and as a stream, token by token; each call is a piece of JSON or a part
/// of one, and nothing is said more than twice.
pub fn output(input: &[u8]) {
    let text = String::from_utf8_lossy(input);
    let tokens = TEXT.encode_fast(&*text, false).unwrap().get_ids().to_vec();
    let schemas = Arc::new([]);
    let reading =
        Reading { thinking: true, tools: ToolUse::Free, include_reasoning: true, schemas };
    for parsers in PARSERS.iter() {
        let whole = parsers.whole(&reading, &text);
        assert_eq!(whole.tool_calls.is_empty(), whole.tools_called == Some(false));
        let mut stream = parsers.stream(reading.clone(), &[]);
        let mut said = 0;
        for (at, token) in tokens.iter().enumerate() {
            // Text comes with the token that completes its characters.
            let piece = TEXT.decode(&[*token], false).unwrap();
            let piece = if piece.contains('\u{fffd}') { String::new() } else { piece };
            let step = stream.push(&piece, &[*token], at + 1 == tokens.len());
            let delta = step.delta.unwrap_or_default();
            said += delta.content_text().map_or(0, str::len);
            said += delta.reasoning_text().map_or(0, str::len);
        }
        assert!(said <= 2 * text.len().max(1), "{said} bytes of {}", text.len());
        assert!(stream.reasoning_tokens() <= tokens.len());
    }
}

/// A grammar of each kind is refused with a reason, or can be followed, in bounded time.
pub fn grammar(input: &[u8]) {
    let text = String::from_utf8_lossy(input).into_owned();
    let value = serde_json::from_str(&text).ok();
    let mut specs = vec![GrammarSpec::Regex(text.clone()), GrammarSpec::Grammar(text.clone())];
    specs.extend(value.clone().map(GrammarSpec::Json));
    specs.extend(value.map(GrammarSpec::Tag));
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
    for spec in specs {
        let grammar = match runtime.block_on(GRAMMARS.compile(spec)) {
            Ok(grammar) => grammar,
            Err(error) => {
                assert!(!error.to_string().is_empty());
                continue;
            }
        };
        let mut matcher = grammar.start(vec![EOS], None);
        for step in 0..24_usize {
            matcher.prepare();
            let Some(mask) = matcher.mask() else { break };
            let allowed: Vec<Token> = (0..=EOS)
                .filter(|token| mask[*token as usize / 32] >> (token % 32) & 1 == 1)
                .collect();
            let Some(token) = allowed.get(step * 7 % allowed.len().max(1)) else { break };
            assert!(matcher.accept(*token), "{token} was allowed");
            if *token == EOS {
                break;
            }
        }
    }
}
