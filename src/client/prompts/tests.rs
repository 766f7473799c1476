use super::*;
use crate::model::HubOptions;
use std::io::Write;

fn text() -> (Tokenizer, Option<ChatTemplate>) {
    let model = concat!(env!("CARGO_MANIFEST_DIR"), "/models/qwen3-tiny");
    Tokenizer::open(model, &HubOptions::from_vars(|_: &str| None)).expect("the shipped tokenizer")
}

fn file(name: &str, content: &str) -> (tempfile::TempDir, FileData) {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join(name);
    let mut file = std::fs::File::create(&path).expect("a file");
    file.write_all(content.as_bytes()).expect("written");
    (folder, FileData { path, output: None, shuffle: false, oversample: true })
}

#[test]
fn random_prompts_have_the_lengths_asked_for_and_come_again() {
    let (tokenizer, _) = text();
    let data = DataSet::Random(RandomData {
        input: Lengths { mean: 40, spread: 0.5 },
        output: Lengths { mean: 8, spread: 0.0 },
        prefix: 16,
    });
    let make = |seed| samples(&data, 20, seed, Some(&tokenizer), None).expect("samples");
    let found = make(1);
    assert_eq!(found, make(1));
    assert_ne!(found, make(2));
    for sample in &found {
        assert!((16 + 20..=16 + 60).contains(&sample.prompt_len), "{}", sample.prompt_len);
        assert_eq!(sample.output_len, 8);
    }
    let exact = |sample: &&Sample| {
        let read = tokenizer.hf().encode_fast(sample.prompt.as_str(), false).expect("tokens");
        read.len() == sample.prompt_len && read.get_ids() == sample.tokens
    };
    // Text of random tokens does not always read back as so many.
    assert!(found.iter().filter(exact).count() >= 15);
}

#[test]
fn prefixes_repeat() {
    let (tokenizer, _) = text();
    let data =
        DataSet::PrefixRepetition(PrefixData { prefixes: 2, prefix: 24, suffix: 8, output: 3 });
    let found = samples(&data, 10, 0, Some(&tokenizer), None).expect("samples");
    assert_eq!(found.len(), 10);
    assert!(found.iter().all(|sample| (sample.prompt_len, sample.output_len) == (32, 3)));
    let starts: HashSet<&[Token]> = found.iter().map(|sample| &sample.tokens[..16]).collect();
    assert_eq!(starts.len(), 2);
}

#[test]
fn files_give_prompts() {
    let (tokenizer, template) = text();
    let lines = "{\"prompt\": \"What is prefix caching?\", \"output_tokens\": 5}\n\n\
                 {\"prompt\": \"Who are you?\", \"output_tokens\": 6}\n";
    let (_folder, data) = file("prompts.jsonl", lines);
    let plain = DataSet::Custom { file: data.clone(), template_kwargs: None };
    let found = samples(&plain, 3, 0, Some(&tokenizer), None).expect("samples");
    assert_eq!(found.len(), 3, "the third is one of the two");
    assert_eq!((found[0].prompt.as_str(), found[0].output_len), ("What is prefix caching?", 5));
    assert_eq!(found[1].output_len, 6);
    let rendered = DataSet::Custom { file: data.clone(), template_kwargs: Some(Map::new()) };
    let found = samples(&rendered, 1, 0, Some(&tokenizer), template.as_ref()).expect("samples");
    assert!(found[0].prompt.starts_with("<|im_start|>user\nWhat is"), "{}", found[0].prompt);
    let found = samples(&plain, 2, 0, None, None).expect("without a tokenizer");
    assert_eq!((found[0].prompt_len, found[0].output_len), (1, 1));

    let turns = "[{\"conversations\": [{\"value\": \"a\"}]}, {\"conversations\": [{\"value\": \
                 \"Tell me about paged attention, please.\"}, {\"value\": \"It keeps the cache \
                 in blocks.\"}]}]";
    let (_folder, data) = file("share.json", turns);
    let shared = DataSet::ShareGpt(FileData { oversample: false, ..data });
    let found = samples(&shared, 5, 0, Some(&tokenizer), None).expect("samples");
    assert_eq!(found.len(), 1);
    assert!(found[0].output_len >= 4);
}

#[test]
fn what_is_wrong_with_a_file_is_said() {
    let (tokenizer, _) = text();
    let error = |name: &str, content: &str| {
        let (_folder, data) = file(name, content);
        let data = DataSet::Custom { file: data, template_kwargs: None };
        samples(&data, 1, 0, Some(&tokenizer), None).expect_err(content)
    };
    assert_eq!(error("a.txt", ""), "Only JSONL format is supported for CustomDataset.");
    assert_eq!(error("a.jsonl", "{}"), "JSONL file must contain a 'prompt' column.");
    let start = "If no output length is provided the custom dataset must contain";
    assert!(error("a.jsonl", "{\"prompt\": \"x\"}").starts_with(start));
    assert!(error("a.jsonl", "").ends_with("there is no prompt that can be used"));
}
