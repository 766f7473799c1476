//! `/derender` beside parsers, and the grammars that `/render` shows: what the real vLLM 0.32
//! answered, byte for byte. `tests/data/http/record.py` made the recordings, one for each form in
//! which a model writes calls.

use super::golden::{known, replay_each};
use super::support::{Reply, Setup, start};
use glassbox::types::{ReasoningFormat, ToolFormat};
use serde_json::Value;

const HERMES: &str = include_str!("../data/http/parsed_hermes.jsonl");
const XML: &str = include_str!("../data/http/parsed_xml.jsonl");

/// Deliberate differences, with the status that Glassbox answers.
const DIFFERENT: &[(&str, u16, &str)] = &[
    ("tools and outputs grammar lark", 200, "xgrammar writes Lark again as EBNF of its own"),
    ("tools and outputs choice empty", 200, "what is refused alone is refused beside tools too"),
    ("tools and outputs grammar blank", 200, "as above"),
    ("tools and outputs object not", 200, "as above"),
];

/// The text without ids and times.
fn masked(text: &str) -> String {
    let mut out = String::new();
    let mut rest = text;
    while !rest.is_empty() {
        let word = rest.find(|c: char| !c.is_ascii_alphanumeric()).unwrap_or(rest.len());
        let (run, behind) = rest.split_at(word);
        let is_hex = run.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'));
        let is_time = out.ends_with("\"created\":") && !run.is_empty();
        out.push_str(if is_time || is_hex && run.len() == 16 { "#" } else { run });
        let next = behind.find(|c: char| c.is_ascii_alphanumeric()).unwrap_or(behind.len());
        out.push_str(&behind[..next]);
        rest = &behind[next..];
    }
    out
}

fn compare(name: &str, case: &Value, ours: &Reply) -> Result<(), String> {
    let theirs = (case["status"].to_string(), masked(case["reply"].as_str().unwrap()));
    let ours = (ours.status.to_string(), masked(&ours.body));
    match theirs == ours {
        true => Ok(()),
        false => {
            Err(format!("{name}\n  vLLM: {} {}\n  ours: {} {}", theirs.0, theirs.1, ours.0, ours.1))
        }
    }
}

fn replay_all(recorded: &str, format: ToolFormat) {
    let mut setup = Setup::default();
    setup.options.enable_scale_out = true;
    setup.options.reasoning_format = Some(ReasoningFormat::Qwen3);
    setup.options.tool_format = Some(format);
    let server = start(setup);
    let count = replay_each(&server, recorded, |name| known(DIFFERENT, name), compare);
    assert!(count > 500);
}

#[test]
fn hermes_is_read_and_constrained_as_in_vllm() {
    replay_all(HERMES, ToolFormat::Hermes);
}

#[test]
fn xml_is_read_and_constrained_as_in_vllm() {
    replay_all(XML, ToolFormat::Qwen3Xml);
}
