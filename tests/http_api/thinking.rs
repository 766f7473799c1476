//! Reasoning that ends with a phrase of one's own (`--reasoning-config`), over sockets.

use super::support::{Reply, Server, Setup, start};
use glassbox::config::ReasoningSettings;
use glassbox::types::ReasoningFormat;
use serde_json::json;

const ENOUGH: &str = "\n\nThat is enough.</think>";

fn server(start_text: &str, end: &str, parser: Option<ReasoningFormat>) -> Server {
    let mut setup = Setup::default();
    setup.options.reasoning_format = parser;
    setup.options.reasoning_texts =
        ReasoningSettings { start: start_text.to_owned(), end: end.to_owned() };
    start(setup)
}

fn ask(server: &Server, prompt: &str, budget: i32, max_tokens: usize) -> Reply {
    let body = json!({"prompt": prompt, "max_tokens": max_tokens, "ignore_eos": true, "seed": 5,
        "thinking_token_budget": budget, "skip_special_tokens": false});
    server.post("/v1/completions", &body.to_string())
}

fn text(reply: &Reply) -> String {
    assert_eq!(reply.status, 200, "{}", reply.body);
    reply.json()["choices"][0]["text"].as_str().expect("text").to_owned()
}

/// Tokens of a text.
fn len(server: &Server, text: &str) -> usize {
    let body = json!({"prompt": text, "add_special_tokens": false});
    let count = server.post("/tokenize", &body.to_string()).json()["count"].as_u64();
    count.expect("a count") as usize
}

#[test]
fn a_phrase_ends_reasoning_over_its_budget() {
    for parser in [None, Some(ReasoningFormat::Qwen3)] {
        let start_text = if parser.is_some() { "" } else { "<think>" };
        let server = server(start_text, ENOUGH, parser);
        let phrase = len(&server, ENOUGH);
        assert!(phrase > 3, "it is more than one token");
        assert_eq!(text(&ask(&server, "a<think>", 0, phrase)), ENOUGH, "{parser:?}");
        // Three tokens of thought, then the phrase.
        let all = text(&ask(&server, "a<think>", 3, phrase + 3));
        assert!(all.ends_with(ENOUGH), "{all}");
        // What the prompt has begun to say is gone on with.
        let rest = ENOUGH.strip_prefix("\n\nThat").expect("it starts so");
        let begun = len(&server, "\n\nThat");
        let said = ask(&server, "a<think>\n\nThat", 0, phrase - begun);
        assert_eq!(text(&said), rest, "{parser:?}");
        // No budget, no reasoning: nothing is forced.
        for (prompt, budget) in [("a<think>", -1), ("a", 0), ("a<think>b</think>", 0)] {
            // Without a parser, only the whole phrase ends reasoning.
            if parser.is_none() && prompt.ends_with("</think>") {
                continue;
            }
            let free = text(&ask(&server, prompt, budget, phrase));
            assert_ne!(free, ENOUGH, "{prompt} {budget}");
        }
    }
}

#[test]
fn a_budget_needs_both_marks() {
    for (start_text, end) in [("", ""), ("<think>", ""), ("", "</think>")] {
        let reply = ask(&server(start_text, end, None), "a", 1, 1);
        let message = "thinking_token_budget is set but reasoning_config is not configured. \
                       Please set --reasoning-parser and/or --reasoning-config to use \
                       thinking_token_budget.";
        reply.assert_error(400, "BadRequestError", message);
    }
    assert_eq!(ask(&server("<think>", "</think>", None), "a", 1, 1).status, 200);
}
