//! Chat templates render what Hugging Face renders: stored renderings of transformers 5.19, made by
//! `tests/data/model/make_goldens.py`.

use std::path::Path;

use glassbox::model::{ChatTemplate, RenderInput, TemplateError};
use serde_json::{Map, Value, json};

fn golden(name: &str) -> Value {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/model").join(name);
    serde_json::from_slice(&std::fs::read(path).unwrap()).unwrap()
}

fn render(template: &ChatTemplate, case: &Value) -> Result<String, TemplateError> {
    let input = RenderInput {
        messages: &case["messages"],
        tools: Some(&case["tools"]).filter(|tools| !tools.is_null()),
        add_generation_prompt: case["add_generation_prompt"] == true,
        continue_final_message: case["continue_final_message"] == true,
        kwargs: case["kwargs"].as_object().unwrap(),
    };
    template.render(&input, &Map::new())
}

/// The shipped model's template.
fn shipped() -> ChatTemplate {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("models/qwen3-tiny");
    let config = folder.join("tokenizer_config.json");
    ChatTemplate::load(None, Some(&config)).unwrap().unwrap()
}

#[test]
fn conversations_render_as_in_transformers() {
    let template = shipped();
    let cases = golden("chats.json");
    let cases = cases.as_array().unwrap();
    assert!(cases.len() >= 40);
    for case in cases {
        assert_eq!(render(&template, case).unwrap(), case["text"], "{}", case["name"]);
    }
    // The shipped template is Qwen3's own format: the original renders the same.
    let same = cases.iter().filter(|case| case["same_as_qwen3"] == true).count();
    assert!(same + 1 >= cases.len());
}

#[test]
fn every_construct_renders_as_in_jinja() {
    let golden = golden("jinja.json");
    let context = golden["context"].as_object().unwrap();
    let mut failures = Vec::new();
    for case in golden["cases"].as_array().unwrap() {
        let source = case["template"].as_str().unwrap();
        let input = RenderInput {
            messages: &context["messages"],
            tools: None,
            add_generation_prompt: true,
            continue_final_message: false,
            kwargs: context,
        };
        let rendered =
            ChatTemplate::new(source).and_then(|template| template.render(&input, &Map::new()));
        let fine = match (&rendered, case["output"].as_str()) {
            (Ok(text), Some(wanted)) => text == wanted,
            (Err(TemplateError::Raised(message)), None) => case["message"] == **message,
            (Err(_), None) => case["error"] != "TemplateError",
            _ => false,
        };
        if !fine {
            failures.push(format!("{source}\n  got    {rendered:?}\n  wanted {}", case["output"]));
        }
    }
    assert!(failures.is_empty(), "{}\n{} differ", failures.join("\n"), failures.len());
}

#[test]
fn a_message_that_cannot_be_continued_is_refused() {
    let template = ChatTemplate::new("{% for m in messages %}{{ m.content }}{% endfor %}").unwrap();
    let refused = |template: &ChatTemplate, messages: Value| {
        let case = json!({"messages": messages, "tools": null, "kwargs": {},
            "add_generation_prompt": false, "continue_final_message": true});
        render(template, &case).unwrap_err().to_string()
    };
    let user = |content: Value| json!([{"role": "user", "content": content}]);
    assert!(refused(&template, json!([])).contains("has no \"content\" to continue!"));
    assert!(refused(&template, user(Value::Null)).contains("has no \"content\" to continue!"));
    assert!(refused(&template, user(json!([]))).contains("could not find any text to continue"));
    let silent = ChatTemplate::new("no content").unwrap();
    assert!(refused(&silent, user(json!("a"))).contains("does not appear in the chat"));
    let deaf = ChatTemplate::new("nothing").unwrap();
    assert!(refused(&deaf, user(json!("a"))).contains("not an accepted field"));
}
