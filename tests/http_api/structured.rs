//! Output that keeps to what a request asks for, over sockets and a device of random logits.

use super::support::{Reply, Server, Setup, start};
use glassbox::grammar::JsonOptions;
use glassbox::http::Options;
use glassbox::types::{ReasoningFormat, ToolFormat};
use serde_json::{Value, json};

/// `</think>` of qwen3-tiny.
const THINK_END: &str = "2047";

fn server(change: impl FnOnce(&mut Options)) -> Server {
    let mut setup = Setup::default();
    setup.options.json = JsonOptions { disable_any_whitespace: true, ..JsonOptions::default() };
    change(&mut setup.options);
    start(setup)
}

/// A completion of at most 200 tokens with these members.
fn complete(server: &Server, members: Value) -> Reply {
    let mut body = json!({"model": "qwen3-tiny", "prompt": "Say", "max_tokens": 200});
    body.as_object_mut().unwrap().extend(members.as_object().unwrap().clone());
    server.post("/v1/completions", &body.to_string())
}

fn chat(server: &Server, members: Value) -> Reply {
    let messages = json!([{"role": "user", "content": "Say"}]);
    let mut body = json!({"model": "qwen3-tiny", "messages": messages, "max_tokens": 200});
    body.as_object_mut().unwrap().extend(members.as_object().unwrap().clone());
    server.post("/v1/chat/completions", &body.to_string())
}

fn texts(reply: &Reply) -> Vec<String> {
    assert_eq!(reply.status, 200, "{reply:?}");
    let body = reply.json();
    let choices = body["choices"].as_array().unwrap().iter();
    choices
        .map(|choice| {
            assert_eq!(choice["finish_reason"], "stop", "{choice}");
            let text = choice["text"].as_str().or(choice["message"]["content"].as_str());
            text.unwrap_or_else(|| panic!("{choice} has no text")).to_owned()
        })
        .collect()
}

#[test]
fn one_of_the_choices() {
    let server = server(|_| {});
    let colours = ["red", "green", "dark blue"];
    let choice = json!({"choice": colours});
    for temperature in [0, 1] {
        let members = json!({"structured_outputs": choice, "temperature": temperature, "seed": 3});
        for reply in [complete(&server, members.clone()), chat(&server, members)] {
            assert!(colours.contains(&texts(&reply)[0].as_str()), "{reply:?}");
        }
    }
    // Each of several replies finds its own way.
    let all = texts(&complete(&server, json!({"structured_outputs": choice, "n": 16, "seed": 1})));
    assert_eq!(all.len(), 16);
    assert!(all.iter().all(|text| colours.contains(&text.as_str())), "{all:?}");
    assert!(colours.iter().filter(|c| all.iter().any(|text| text == *c)).count() > 1, "{all:?}");
}

#[test]
fn a_stream_keeps_to_it_too() {
    let server = server(|_| {});
    let members = json!({"structured_outputs": {"regex": "[0-9]{4}-[0-9]{2}"}, "stream": true});
    let reply = complete(&server, members);
    let text: String = reply
        .events()
        .iter()
        .filter(|event| **event != "[DONE]")
        .map(|event| serde_json::from_str::<Value>(event).unwrap())
        .filter_map(|event| event["choices"][0]["text"].as_str().map(str::to_owned))
        .collect();
    assert!(regex::Regex::new("^[0-9]{4}-[0-9]{2}$").unwrap().is_match(&text), "{text:?}");
}

#[test]
fn every_kind_is_served_by_both_fields() {
    let server = server(|_| {});
    let schema = json!({
        "type": "object",
        "properties": {
            "unit": {"enum": ["c", "f"]},
            "days": {"type": "integer", "minimum": 1, "maximum": 14},
        },
        "required": ["unit", "days"],
    });
    let validator = jsonschema::validator_for(&schema).unwrap();
    let named = json!({"name": "weather", "schema": schema});
    let tag = json!({
        "type": "tag",
        "begin": "<w>",
        "content": {"type": "json_schema", "json_schema": schema},
        "end": "</w>",
    });
    let in_tag = |text: &str| {
        let inner = text.strip_prefix("<w>").and_then(|rest| rest.strip_suffix("</w>"));
        inner.unwrap_or_else(|| panic!("{text:?} has no tags")).to_owned()
    };
    for seed in 1..4 {
        let json = json!({"structured_outputs": {"json": schema}, "seed": seed});
        let format = json!({"type": "json_schema", "json_schema": named});
        let format = json!({"response_format": format, "seed": seed});
        let tagged = json!({"type": "structural_tag", "format": tag});
        let tagged = json!({"response_format": tagged, "seed": seed});
        for (members, is_tagged) in [(json, false), (format, false), (tagged, true)] {
            for reply in [complete(&server, members.clone()), chat(&server, members.clone())] {
                let text = texts(&reply).remove(0);
                let text = if is_tagged { in_tag(&text) } else { text };
                let value: Value = serde_json::from_str(&text).unwrap();
                assert!(validator.is_valid(&value), "{text}");
            }
        }
    }
    let grammar = "root ::= \"(\" root \")\" | \"x\"";
    for reply in [
        complete(&server, json!({"structured_outputs": {"grammar": grammar}, "temperature": 0})),
        complete(
            &server,
            json!({"structured_outputs": {"grammar": "start: \"(\" start \")\" | \"x\""}}),
        ),
    ] {
        let text = reply.json()["choices"][0]["text"].as_str().unwrap().to_owned();
        let depth = text.bytes().take_while(|byte| *byte == b'(').count();
        let whole = format!("{}x{}", "(".repeat(depth), ")".repeat(depth));
        assert!(whole.starts_with(&text), "{text:?}");
    }
}

#[test]
fn company_changes_nothing() {
    let server = server(|_| {});
    let ask = |seed: u64| {
        let members = json!({
            "structured_outputs": {"regex": "[a-z]{3,12}(, [a-z]{3,12}){0,3}"},
            "seed": seed,
            "temperature": 1,
        });
        complete(&server, members).json()["choices"][0]["text"].clone()
    };
    let alone: Vec<Value> = (0..8).map(ask).collect();
    let together: Vec<Value> = std::thread::scope(|scope| {
        let asked: Vec<_> = (0..8).map(|seed| scope.spawn(move || ask(seed))).collect();
        asked.into_iter().map(|thread| thread.join().unwrap()).collect()
    });
    assert_eq!(alone, together);
}

#[test]
fn log_probabilities_are_those_of_what_is_allowed() {
    let server = server(|_| {});
    let members = json!({
        "structured_outputs": {"choice": ["a"]},
        "logprobs": 2,
        "temperature": 0,
    });
    let body = complete(&server, members).json();
    let logprobs = body["choices"][0]["logprobs"]["token_logprobs"].as_array().unwrap().clone();
    // After the only text there is, the model may choose between its end tokens.
    let [text, end] = &logprobs[..] else { panic!("{logprobs:?}") };
    assert_eq!(text.as_f64(), Some(0.0));
    assert!(end.as_f64().unwrap() > -1.0, "{end}");
}

#[test]
fn what_cannot_be_is_refused_with_the_words_of_vllm() {
    let server = server(|_| {});
    let unclosed = "Grammar error: at 1(8): invalid regex \\\"(a\\\" (in regex): regex parse error:\
                    \\n    (a\\n    ^\\nerror: unclosed group\\n   1 | start: /(a/\\n\
                    \u{20}             ^";
    for (constraint, message) in [
        (json!({"regex": "(a"}), unclosed),
        (json!({"json": {"type": "foo"}}), "Grammar error: Invalid type: foo"),
        (json!({"json": "{"}), "Invalid JSON grammar specification."),
    ] {
        let members = json!({"structured_outputs": constraint});
        complete(&server, members.clone()).assert_error(400, "BadRequestError", message);
        chat(&server, members).assert_error(400, "BadRequestError", message);
    }
    let members = json!({"structured_outputs": {"structural_tag": "x"}});
    for reply in [complete(&server, members.clone()), chat(&server, members)] {
        let error = &reply.json()["error"];
        assert_eq!((reply.status, &error["param"]), (400, &json!("structured_outputs")));
        let message = "Invalid structured_outputs structural_tag specification. \
                       (parameter=structured_outputs)";
        assert_eq!(error["message"], message);
    }
    // A stream's head is out before the engine's checks.
    let members = json!({"structured_outputs": {"json": {"type": "foo"}}, "stream": true});
    let reply = complete(&server, members);
    assert_eq!(reply.status, 200);
    assert!(reply.events()[0].contains("Invalid type: foo"), "{reply:?}");
}

#[test]
fn a_generation_without_a_way_on_fails() {
    let server = server(|_| {});
    let impossible = json!({"structured_outputs": {"choice": ["a"]}, "allowed_token_ids": [1000]});
    let reply = complete(&server, impossible);
    assert_eq!(reply.status, 500, "{reply:?}");
    server.wait_until_idle();
    let possible = json!({"structured_outputs": {"choice": ["a"]}});
    assert_eq!(texts(&complete(&server, possible)), ["a"]);
}

#[test]
fn reasoning_comes_before_the_grammar() {
    let server = server(|options| options.reasoning_format = Some(ReasoningFormat::Qwen3));
    let choice = json!({"choice": ["yes", "no"]});
    let content = |members: Value| {
        let reply = chat(&server, members);
        assert_eq!(reply.status, 200, "{reply:?}");
        reply.json()["choices"][0]["message"]["content"].clone()
    };
    let is_answer = |content: &Value| *content == "yes" || *content == "no";
    // The end of reasoning is the likeliest token, wherever the grammar does not rule yet.
    let thinks = json!({"structured_outputs": choice, "logit_bias": {THINK_END: 100}});
    assert!(is_answer(&content(thinks)));
    let closed = json!({
        "structured_outputs": choice,
        "chat_template_kwargs": {"enable_thinking": false},
    });
    assert!(is_answer(&content(closed)));
    // It never ends, so the grammar never begins.
    let endless = json!({
        "structured_outputs": choice,
        "bad_words": ["</think>", "<tool_call>"],
        "max_tokens": 20,
        "ignore_eos": true,
    });
    assert_eq!(content(endless), Value::Null);
}

#[test]
fn forced_calls_have_their_form() {
    for format in [ToolFormat::Hermes, ToolFormat::Qwen3Xml] {
        forced_calls(&server(|options| options.tool_format = Some(format)));
    }
}

fn forced_calls(server: &Server) {
    let tool = |name: &str| {
        let parameters = json!({
            "type": "object",
            "properties": {"unit": {"enum": ["c", "f"]}, "hot": {"type": "boolean"}},
            "required": ["unit", "hot"],
        });
        let function = json!({"name": name, "strict": true, "parameters": parameters});
        json!({"type": "function", "function": function})
    };
    let tools = json!([tool("one"), tool("two")]);
    for (choice, names) in [
        (json!("required"), vec!["one", "two"]),
        (json!({"type": "function", "function": {"name": "two"}}), vec!["two"]),
    ] {
        for seed in 1..4 {
            let members = json!({
                "tools": tools,
                "tool_choice": choice,
                "parallel_tool_calls": false,
                "seed": seed,
            });
            let body = chat(server, members).json();
            let calls = body["choices"][0]["message"]["tool_calls"].as_array().cloned();
            let calls = calls.unwrap_or_else(|| panic!("no calls: {body}"));
            assert_eq!(calls.len(), 1, "{body}");
            let function = &calls[0]["function"];
            assert!(names.contains(&function["name"].as_str().unwrap()), "{body}");
            let arguments: Value =
                serde_json::from_str(function["arguments"].as_str().unwrap()).unwrap();
            // Between tags, white space belongs to a text.
            let unit = arguments["unit"].as_str().unwrap().trim();
            assert!(["c", "f"].contains(&unit), "{body}");
            assert!(arguments["hot"].is_boolean(), "{body}");
        }
    }
}

#[test]
fn free_calls_may_be_left_free() {
    for constrains in [true, false] {
        let server = server(|options| {
            options.tool_format = Some(ToolFormat::Hermes);
            options.constrains_free_calls = constrains;
        });
        let id = json!({"prompt": "<tool_call>", "add_special_tokens": false});
        let id = server.post("/tokenize", &id.to_string()).json()["tokens"][0].to_string();
        let function = json!({"name": "one", "strict": true, "parameters": {"type": "object",
            "properties": {"unit": {"enum": ["c", "f"]}}, "required": ["unit"]}});
        // The device would open calls for ever.
        let members = json!({"tools": [{"type": "function", "function": function}],
            "logit_bias": {id: 100}, "temperature": 0, "max_tokens": 60});
        let body = chat(&server, members).json();
        let text = body["choices"][0]["message"].to_string();
        assert_eq!(text.contains("unit"), constrains, "{body}");
    }
}
