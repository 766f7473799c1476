use serde_json::json;

use super::*;

fn render_with(template: &str, messages: Value) -> Result<String, TemplateError> {
    let input = RenderInput {
        messages: &messages,
        tools: None,
        add_generation_prompt: true,
        continue_final_message: false,
        kwargs: &Map::new(),
    };
    ChatTemplate::new(template)?.render(&input, &Map::new())
}

#[test]
fn endless_templates_run_out_of_fuel() {
    let loops = "{% for a in range(99999) %}{% for b in range(99999) %}{% endfor %}{% endfor %}";
    let doubles = "{% set ns = namespace(x='xxxxxxxx') %}{% for a in range(99) %}\
                   {% set ns.x = ns.x ~ ns.x %}{% endfor %}";
    let recursion = "{% macro f() %}{{ f() }}{% endmacro %}{{ f() }}";
    for template in [loops, doubles, recursion] {
        let error = render_with(template, json!([])).unwrap_err();
        assert!(matches!(error, TemplateError::Failed(_)), "{error}");
    }
}

#[test]
fn templates_take_systems_anywhere_or_not() {
    let guard = "{% for m in messages %}{% if m.role == 'system' and not loop.first %}\
                 {{ raise_exception('first!') }}{% endif %}{{ m.content }}{% endfor %}";
    let marked = "{% generation %}x{% endgeneration %}";
    let dated = "{{ strftime_now('%Y') }}";
    for template in [guard, marked, dated, "{{ messages[0].x.y }}"] {
        let template = ChatTemplate::new(template).unwrap();
        assert!(!template.takes_systems_anywhere(false));
        assert!(!template.takes_systems_anywhere(true));
    }
    let plain = "{% for m in messages %}{{ m.role }}: {{ m.content }}\n{% endfor %}";
    assert!(ChatTemplate::new(plain).unwrap().takes_systems_anywhere(false));
    let with_tools = ("tool_use".to_owned(), guard.to_owned());
    let named = vec![("default".to_owned(), plain.to_owned()), with_tools];
    let named = ChatTemplate::named(named).unwrap();
    assert!(named.takes_systems_anywhere(false) && !named.takes_systems_anywhere(true));
}

#[test]
fn refusals_keep_their_words_and_failures_name_the_line() {
    let refused =
        render_with("{% if true %}{{ raise_exception('no\\nway') }}{% endif %}", json!([]));
    assert_eq!(refused, Err(TemplateError::Raised("no\nway".into())));
    let in_macro = "{% macro f() %}{{ raise_exception('deep') }}{% endmacro %}{{ f() }}";
    assert_eq!(render_with(in_macro, json!([])), Err(TemplateError::Raised("deep".into())));
    let error = render_with("\n{{ messages.x.y }}", json!([])).unwrap_err().to_string();
    assert!(error.contains("(line 2)"), "{error}");
    let error = ChatTemplate::new("a\n{% if %}").unwrap_err().to_string();
    assert!(error.contains("(line 2)") && !error.contains('\n'), "{error}");
}

#[test]
fn messages_that_are_none_are_refused() {
    for (messages, reason) in [
        (json!(null), "messages is not a list"),
        (json!(["x"]), "a message is not an object"),
        (
            json!([{"role": "assistant", "tool_calls": ["x"]}]),
            "assistant tool_calls entries must be objects.",
        ),
        (
            json!([{"role": "assistant", "tool_calls": [{"type": "custom", "function": {}}]}]),
            "chat completions only support assistant tool_calls of type 'function'.",
        ),
    ] {
        let wanted = Err(TemplateError::Messages(reason.into()));
        assert_eq!(render_with("x", messages.clone()), wanted, "{messages}");
    }
    // Only the assistant's calls are looked at.
    assert_eq!(render_with("x", json!([{"role": "user", "tool_calls": ["x"]}])).unwrap(), "x");
}

#[test]
fn named_templates_are_chosen_by_tools() {
    let folder = tempfile::tempdir().unwrap();
    let config = folder.path().join("tokenizer_config.json");
    let write = |value: Value| std::fs::write(&config, value.to_string()).unwrap();
    let load = |jinja: Option<&Path>| ChatTemplate::load(jinja, Some(&config));
    write(json!({"chat_template": [{"name": "default", "template": "plain"},
        {"name": "tool_use", "template": "tools"}]}));
    let template = load(None).unwrap().unwrap();
    assert_eq!(
        (template.source(false).unwrap(), template.source(true).unwrap()),
        ("plain", "tools")
    );
    write(json!({"chat_template": [{"name": "rag", "template": "x"}]}));
    assert!(load(None).unwrap().unwrap().source(true).is_err());
    let jinja = folder.path().join("chat_template.jinja");
    std::fs::write(&jinja, "file").unwrap();
    assert_eq!(load(Some(&jinja)).unwrap().unwrap().source(false).unwrap(), "file");
    write(json!({"chat_template": null}));
    assert!(load(None).unwrap().is_none());
    write(json!({"chat_template": "{% if"}));
    let error = load(None).unwrap_err().to_string();
    assert!(error.contains("tokenizer_config.json: bad chat template: "), "{error}");
    write(json!({"chat_template": 5}));
    assert!(load(None).is_err());
}

#[test]
fn the_flag_is_a_file_or_a_template() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("t.jinja");
    std::fs::write(&path, "from a file").unwrap();
    let source = |flag: &str| {
        let template = ChatTemplate::from_flag(flag)?;
        Ok::<_, ModelError>(template.source(false).unwrap().to_owned())
    };
    assert_eq!(source(path.to_str().unwrap()).unwrap(), "from a file");
    assert_eq!(source("{{ messages }}").unwrap(), "{{ messages }}");
    let error = source("chatml").unwrap_err().to_string();
    assert!(error.starts_with("chatml: --chat-template is no readable file"), "{error}");
    assert!(source("{{ x").is_err());
}

#[test]
fn the_clock_prints_formats() {
    let year = render_with("{{ strftime_now('%Y-%m-%d') }}", json!([])).unwrap();
    let digits: Vec<_> = year.split('-').map(str::len).collect();
    assert_eq!(digits, [4, 2, 2], "{year}");
    assert!(year[..4].parse::<u32>().unwrap() >= 2025);
    assert_eq!(render_with("{{ strftime_now('50%%') }}", json!([])).unwrap(), "50%");
    assert!(render_with("{{ strftime_now('a\\0b') }}", json!([])).is_err());
}
