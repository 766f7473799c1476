//! Text against vLLM's own code (tests/data/text), against whole decodes and a naive search.

use super::*;
use crate::types::{Finish, FinishReason, StopReason, Token, TokenLogprobs};
use proptest::prelude::*;
use serde_json::Value;
use std::sync::{Arc, LazyLock};
use std::time::{Duration, Instant};
use tokenizers::Tokenizer;

const TOKENIZER: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/models/qwen3-tiny/tokenizer.json");
/// What stands for bytes that are not UTF-8.
const BROKEN: char = char::REPLACEMENT_CHARACTER;
/// `<|im_end|>`.
const END: Token = 2024;

static LIBRARY: LazyLock<Tokenizer> = LazyLock::new(|| Tokenizer::from_file(TOKENIZER).unwrap());
static ENCODER: LazyLock<Encoder> = LazyLock::new(|| Encoder::new(LIBRARY.clone()).unwrap());
static GOLDEN: LazyLock<Value> = LazyLock::new(|| {
    serde_json::from_str(include_str!("../../tests/data/text/text.json")).unwrap()
});

fn wait<T>(future: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(future)
}

fn encode(text: &str) -> Vec<Token> {
    wait(ENCODER.encode(text.to_owned(), false, None)).unwrap().tokens
}

fn vocabulary() -> Arc<Vocabulary> {
    ENCODER.vocabulary().clone()
}

fn options(stop: &[&str]) -> TextOptions {
    TextOptions {
        skip_special_tokens: true,
        stop: StopTexts::new(&stop.iter().map(|&s| s.to_owned()).collect::<Vec<_>>()),
        include_stop_str_in_output: false,
        min_tokens: 0,
    }
}

fn length() -> Option<Finish> {
    Some(Finish { reason: FinishReason::Length, stop: None })
}

/// Feeds all tokens, the last with `finish`; the deltas up to the end of the generation.
fn stream(
    prompt: &[Token],
    tokens: &[Token],
    options: TextOptions,
    finish: Option<Finish>,
) -> Vec<Delta> {
    let mut output = OutputText::new(vocabulary(), prompt, options);
    let mut deltas = Vec::new();
    for (i, &token) in tokens.iter().enumerate() {
        let last = i + 1 == tokens.len();
        deltas.push(output.push(token, finish.clone().filter(|_| last)));
        if deltas[i].finish.is_some() {
            assert_eq!(output.push(token, None), Delta::default(), "nothing after the end");
            break;
        }
    }
    deltas
}

fn text_of(deltas: &[Delta]) -> String {
    deltas.iter().map(|delta| delta.text.as_str()).collect()
}

// --- vLLM ---

fn tokens(value: &Value) -> Vec<Token> {
    value.as_array().unwrap().iter().map(|t| t.as_u64().unwrap() as Token).collect()
}

fn strings(value: &Value) -> Vec<String> {
    value.as_array().unwrap().iter().map(|s| s.as_str().unwrap().to_owned()).collect()
}

#[test]
fn output_equals_vllm() {
    for (i, case) in GOLDEN["outputs"].as_array().unwrap().iter().enumerate() {
        let given = &case["options"];
        let options = TextOptions {
            skip_special_tokens: given["skip_special_tokens"].as_bool().unwrap(),
            stop: StopTexts::new(&strings(&given["stop"])),
            include_stop_str_in_output: given["include_stop_str_in_output"].as_bool().unwrap(),
            min_tokens: given["min_tokens"].as_u64().unwrap() as u32,
        };
        let reason = match case["ends_at_token"].as_bool().unwrap() {
            true => FinishReason::Stop,
            false => FinishReason::Length,
        };
        let finish = Finish { reason, stop: None };
        let prompt = tokens(&case["prompt"]);
        let deltas = stream(&prompt, &tokens(&case["tokens"]), options, Some(finish.clone()));
        let texts: Vec<&str> = deltas.iter().map(|delta| delta.text.as_str()).collect();
        assert_eq!(texts, strings(&case["deltas"]), "case {i}: {case}");
        let expected = match case["stopped"].as_str() {
            Some(stop) => {
                Finish { reason: FinishReason::Stop, stop: Some(StopReason::Text(stop.to_owned())) }
            }
            None => finish,
        };
        assert_eq!(deltas.last().unwrap().finish, Some(expected), "case {i}: {case}");
    }
}

#[test]
fn logprob_texts_equal_vllm() {
    let logprob = |value: &Value| value.as_f64().map_or(f32::NEG_INFINITY, |x| x as f32);
    let token = |value: &Value| value.as_u64().unwrap() as Token;
    for (i, case) in GOLDEN["logprobs"].as_array().unwrap().iter().enumerate() {
        let mut texts = TokenTexts::new(vocabulary());
        let described = case["described"].as_array().unwrap();
        for (position, expected) in case["positions"].as_array().unwrap().iter().zip(described) {
            let pairs = position["top"].as_array().unwrap().iter();
            let found = texts.next(&TokenLogprobs {
                token: token(&position["token"]),
                logprob: logprob(&position["logprob"]),
                rank: token(&position["rank"]),
                top: pairs.map(|pair| (token(&pair[0]), logprob(&pair[1]))).collect(),
            });
            let expected = expected.as_array().unwrap().iter().map(|entry| TokenText {
                token: token(&entry[0]),
                logprob: logprob(&entry[1]),
                rank: token(&entry[2]),
                text: entry[3].as_str().unwrap().to_owned(),
            });
            assert_eq!(found.tokens(), expected.collect::<Vec<_>>(), "case {i}: {position}");
        }
    }
}

#[test]
fn bad_words_equal_vllm() {
    for case in GOLDEN["bad_words"].as_array().unwrap() {
        let found = wait(ENCODER.encode_bad_words(strings(&case["words"])));
        match case["error"].as_str() {
            Some(message) => assert_eq!(found.unwrap_err().to_string(), message),
            None => {
                let expected = case["tokens"].as_array().unwrap().iter().map(tokens);
                assert_eq!(found.unwrap(), expected.collect::<Vec<_>>(), "{case}");
            }
        }
    }
    let many = (0..129).map(|i| format!("{i}-{i}")).collect();
    let message = "Too many bad words after tokenization: 129. The max number is 128.";
    assert_eq!(wait(ENCODER.encode_bad_words(many)).unwrap_err().to_string(), message);
}

// --- properties ---

/// Any tokens: of the vocabulary, single bytes more often, unknown ones.
fn any_tokens() -> impl Strategy<Value = Vec<Token>> {
    let token = prop_oneof![6 => 0u32..2022, 4 => 0u32..256, 1 => 2022u32..2060];
    prop::collection::vec(token, 0..60)
}

/// Text in which stop strings occur and overlap.
fn any_text() -> impl Strategy<Value = String> {
    prop_oneof![".{0,60}", "[ab]{0,40}", "[aé😀 ]{0,40}"]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]

    #[test]
    fn streamed_text_is_the_whole_text(text in any_text(), skip in any::<bool>()) {
        let options = TextOptions { skip_special_tokens: skip, ..options(&[]) };
        let tokens = encode(&text);
        let deltas = stream(&encode("Hi"), &tokens, options, length());
        // What ends in U+FFFD is never shown, as in vLLM.
        let whole = ENCODER.decode(&tokens, skip);
        let shown = text_of(&deltas);
        prop_assert!(shown == whole || (whole.ends_with(BROKEN) && whole.starts_with(&shown)));
    }

    #[test]
    fn streamed_tokens_are_the_whole_decode(tokens in any_tokens(), skip in any::<bool>()) {
        let options = TextOptions { skip_special_tokens: skip, ..options(&[]) };
        let deltas = stream(&[], &tokens, options, length());
        let whole = ENCODER.decode(&tokens, skip);
        let shown = text_of(&deltas);
        prop_assert!(!shown.ends_with(BROKEN));
        let rest = whole.strip_prefix(&shown);
        prop_assert!(rest.is_some(), "{:?} does not start with {:?}", whole, shown);
        prop_assert!(rest.is_some_and(|rest| rest.is_empty() || rest.ends_with(BROKEN)));
        let library = LIBRARY.decode(&tokens, skip).unwrap();
        prop_assert_eq!(whole, library);
    }

    #[test]
    fn an_unfinished_prompt_is_finished_by_the_output(
        text in "[aé😀東]{2,20}",
        cut in 0usize..60,
    ) {
        let tokens = encode(&text);
        let (prompt, output) = tokens.split_at(cut % tokens.len());
        let before = ENCODER.decode(prompt, true);
        let before = before.trim_end_matches(BROKEN);
        let deltas = stream(prompt, output, options(&[]), length());
        prop_assert_eq!(format!("{before}{}", text_of(&deltas)), text);
    }

    #[test]
    fn stop_strings_end_the_text_where_a_search_finds_them(
        text in any_text(),
        stops in prop::collection::vec(prop_oneof!["[ab]{1,5}", "[aé😀 ]{1,3}"], 1..4),
        include in any::<bool>(),
        min_tokens in 0u32..4,
    ) {
        let tokens = encode(&text);
        let given = TextOptions {
            include_stop_str_in_output: include,
            min_tokens,
            stop: StopTexts::new(&stops),
            ..options(&[])
        };
        let deltas = stream(&[], &tokens, given, length());
        // The token that completes the match must come after the first `min_tokens`.
        let shown = |n| text_of(&stream(&[], &tokens[..n], options(&[]), length()));
        let text = shown(tokens.len());
        let ends: Vec<usize> = (0..=tokens.len()).map(|n| shown(n).len()).collect();
        let counts = |end: usize| ends.partition_point(|&e| e < end) > min_tokens as usize;
        let found = (0..text.len() + 1).find_map(|end| {
            let stop = stops.iter().find(|s| text.as_bytes()[..end].ends_with(s.as_bytes()))?;
            counts(end).then_some((end, stop))
        });
        let Some((end, stop)) = found else {
            prop_assert_eq!(text_of(&deltas), text);
            prop_assert_eq!(&deltas.last().map_or(length(), |d| d.finish.clone()), &length());
            return Ok(());
        };
        let kept = if include { end } else { end - stop.len() };
        prop_assert_eq!(text_of(&deltas), &text[..kept]);
        let stop = Some(StopReason::Text(stop.clone()));
        let finish = Some(Finish { reason: FinishReason::Stop, stop });
        prop_assert_eq!(&deltas.last().unwrap().finish, &finish);
    }
}

// --- edges ---

#[test]
fn held_back_text_comes_with_an_abort() {
    let mut output = OutputText::new(vocabulary(), &[], options(&["abcdefgh"]));
    let shown: String = encode("so abc").iter().map(|&t| output.push(t, None).text).collect();
    assert!(shown.len() < 4);
    assert_eq!(shown + &output.finish_without_token(), "so abc");
    assert_eq!(output.finish_without_token(), "");
}

#[test]
fn the_text_of_the_end_token_shows_only_when_asked_for() {
    let finish = Some(Finish { reason: FinishReason::Stop, stop: None });
    let mut tokens = encode("bye");
    tokens.push(END);
    for (include, skip, expected) in
        [(false, false, "bye"), (true, false, "bye<|im_end|>"), (true, true, "bye")]
    {
        let options = TextOptions {
            include_stop_str_in_output: include,
            skip_special_tokens: skip,
            ..options(&[])
        };
        assert_eq!(text_of(&stream(&[], &tokens, options, finish.clone())), expected);
    }
}

#[test]
fn long_runs_of_invalid_bytes_and_long_stop_strings_cost_no_more() {
    let start = Instant::now();
    // The first byte of a character, 200,000 times.
    let broken = vec![encode("😀")[0]; 200_000];
    let deltas = stream(&[], &[broken, encode("!")].concat(), options(&[]), length());
    assert_eq!(deltas.last().unwrap().text.chars().count(), 200_001);
    let stop = format!("{}b", "a".repeat(100_000));
    let deltas = stream(&[], &[encode("a")[0]].repeat(200_000), options(&[&stop]), length());
    assert_eq!(text_of(&deltas).len(), 200_000);
    assert_eq!(deltas[199_998].text, "a");
    assert!(start.elapsed() < Duration::from_secs(5), "{:?}", start.elapsed());
}

#[test]
fn each_api_shows_logprobs_its_own_way() {
    let [a, b, c] = ["a", "b", "c"].map(|text| encode(text)[0]);
    let smile = encode("😀");
    let logprobs = TokenLogprobs {
        token: c,
        logprob: f32::NEG_INFINITY,
        rank: 9,
        top: vec![(a, -0.5), (smile[0], -1.0), (smile[1], -2.0), (b, -3.0)],
    };
    let position = TokenTexts::new(vocabulary()).next(&logprobs);
    let chat = position.chat(2, false);
    assert_eq!(
        (chat.token.as_str(), chat.logprob, chat.bytes.as_deref()),
        ("c", -9999.0, Some(&b"c"[..]))
    );
    let top = |chat: &ChatLogprob| -> Vec<String> {
        chat.top_logprobs.iter().map(|entry| entry.token.clone()).collect()
    };
    assert_eq!(top(&chat), ["c", "a"]);
    assert!(top(&position.chat(0, false)).is_empty());
    assert_eq!(top(&position.chat(-1, false)), ["c", "a", "", "", "b"]);
    let ids = position.chat(2, true);
    assert_eq!((&ids.token, ids.bytes.as_deref()), (&format!("token_id:{c}"), Some(&b"c"[..])));
    assert_eq!(ids.top_logprobs[1].bytes, format!("token_id:{a}").into_bytes());
    let pairs = |top: &[(&str, f64)]| -> Vec<(String, f64)> {
        top.iter().map(|(text, logprob)| ((*text).to_owned(), *logprob)).collect()
    };
    assert_eq!(position.completion(0, false).top, pairs(&[("c", -9999.0)]));
    let completion = position.completion(4, false);
    let expected = pairs(&[("c", -9999.0), ("a", -0.5), ("", -2.0), ("b", -3.0)]);
    assert_eq!(completion.top, expected, "equal texts share an entry: the last value");
    let prompt = position.clone().prompt(false);
    assert!(prompt.iter().all(|(_, logprob)| logprob.decoded_token.is_none()));
    let prompt = position.prompt(true);
    assert_eq!(prompt[0].1.decoded_token.as_deref(), Some("c"));
    assert_eq!(prompt.iter().map(|(id, _)| *id).collect::<Vec<_>>(), [c, a, smile[0], smile[1], b]);
    assert_eq!(prompt[0].1.rank, 9);
    assert_eq!(prompt[4].1.rank, 4);
    assert_eq!(prompt[0].1.logprob, -9999.0);
}

#[test]
fn pieces_are_spelled_as_in_the_vocabulary() {
    let token = encode(" the")[0];
    assert_eq!(ENCODER.token_piece(token).as_deref(), Some("Ġthe"));
    assert_eq!(ENCODER.token_piece(1 << 30), None);
    assert_eq!(ENCODER.decode(&[token, 1 << 30], true), " the");
    assert_eq!(ENCODER.max_chars_per_token(), 20);
}

#[test]
fn a_limit_bounds_the_work_and_keeps_the_start() {
    let unit = "The quick brown fox, 東京 and 😀!\n";
    for text in [unit.repeat(330_000), "a".repeat(10 << 20), " ".repeat(10 << 20)] {
        let start = Instant::now();
        let encoded = wait(ENCODER.encode(text.clone(), true, Some(1000))).unwrap();
        assert!(start.elapsed() < Duration::from_secs(1), "{:?}", start.elapsed());
        assert_eq!((encoded.tokens.len(), encoded.truncated), (1001, true));
        let start = encode(&text[..text.floor_char_boundary(40_000)]);
        assert_eq!(encoded.tokens[..900], start[..900]);
    }
    let short = encode(unit);
    for (max, truncated) in [(short.len() - 1, false), (short.len(), false), (3, true)] {
        let encoded = wait(ENCODER.encode(unit.to_owned(), true, Some(max))).unwrap();
        assert_eq!(encoded.tokens, short[..short.len().min(max + 1)]);
        assert_eq!(encoded.truncated, truncated);
    }
}

#[test]
fn short_texts_do_not_wait_for_long_ones() {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).build().unwrap();
    let encoder = Encoder::new(LIBRARY.clone()).unwrap();
    runtime.block_on(async {
        let text = "Some words of a long text. ".repeat(80_000);
        let long: Vec<_> = (0..8)
            .map(|_| {
                let (encoder, text) = (encoder.clone(), text.clone());
                tokio::spawn(async move { encoder.encode(text, true, None).await })
            })
            .collect();
        for _ in 0..5 {
            encoder.encode("short".to_owned(), true, None).await.unwrap();
        }
        assert!(long.iter().any(|task| !task.is_finished()));
        long.iter().for_each(|task| task.abort());
    });
    // Work that has begun goes on; what waits in the queue is gone with its request.
    runtime.shutdown_background();
}

#[test]
fn other_decoders_are_refused() {
    let mut tokenizer = LIBRARY.clone();
    tokenizer.with_decoder(None::<tokenizers::DecoderWrapper>);
    assert_eq!(Vocabulary::new(&tokenizer).unwrap_err(), UnsupportedTokenizer);
}
