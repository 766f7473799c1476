//! `--logprobs-mode`: what the real vLLM 0.32 showed in each mode on the same model
//! (`tests/data/recorded/logprobs.py`).
//!
//! vLLM rounds logits to bfloat16, so numbers are close, not equal: see [`SLACK`].

use super::support::start;
use serde_json::{Map, Value};

const RECORDED: &str = include_str!("../data/recorded/logprobs-0.32.jsonl");
const FLAGS: [&str; 6] =
    ["--served-model-name", "tiny", "--max-model-len", "512", "--block-size", "32"];
/// A few units of the last place of a logit of up to 16 in bfloat16: one of its own, others of what
/// comes before it.
const SLACK: f64 = 0.25;
/// What stands for minus infinity.
const NEVER: f64 = -9999.0;

/// The tokens of a reply, their numbers, and those of the best tokens at each place.
type Shown = (Vec<Value>, Vec<Value>, Vec<Map<String, Value>>);

fn shown(reply: &Value) -> Shown {
    let logprobs = &reply["choices"][0]["logprobs"];
    let list = |value: &Value| value.as_array().cloned().expect("a list");
    let Some(content) = logprobs["content"].as_array() else {
        let top = list(&logprobs["top_logprobs"]);
        let top = top.iter().map(|top| top.as_object().cloned().unwrap_or_default()).collect();
        return (list(&logprobs["tokens"]), list(&logprobs["token_logprobs"]), top);
    };
    let all = |name: &str| content.iter().map(|one| one[name].clone()).collect();
    let pair = |top: &Value| (top["token"].as_str().unwrap().to_owned(), top["logprob"].clone());
    let top = content.iter().map(|one| list(&one["top_logprobs"]).iter().map(pair).collect());
    (all("token"), all("logprob"), top.collect())
}

fn is_close(a: &Value, b: &Value) -> bool {
    match (a.as_f64(), b.as_f64()) {
        (Some(a), Some(b)) => (a - b).abs() <= SLACK * b.abs().max(32.0) / 32.0,
        (a, b) => a == b,
    }
}

/// Compares the best tokens at one place: those that may come, but for such that are as good as
/// the worst of them.
fn compare_top(ours: &Map<String, Value>, theirs: &Map<String, Value>, what: &str) {
    let possible = |top: &Map<String, Value>| {
        let number = |value: &Value| value.as_f64().expect("a number");
        let all = top.iter().map(|(token, value)| (token.clone(), number(value)));
        all.filter(|(_, value)| *value > NEVER).collect::<Vec<_>>()
    };
    let (a, b) = (possible(ours), possible(theirs));
    assert_eq!(a.len(), b.len(), "{what}: {ours:?}, not {theirs:?}");
    let worst = b.iter().map(|(_, value)| *value).fold(f64::INFINITY, f64::min);
    for (token, value) in &b {
        match ours.get(token) {
            Some(own) => assert!(is_close(own, &(*value).into()), "{what}: {token}: {own} {value}"),
            None => assert!(value - worst <= 2.0 * SLACK, "{what}: {token} is not among {ours:?}"),
        }
    }
}

/// How many places have the same tokens before them. Texts part only where two tokens are about
/// as good.
fn common(ours: &[Value], theirs: &[Value], top: &[Map<String, Value>], what: &str) -> usize {
    let same = ours.iter().zip(theirs).take_while(|(a, b)| a == b).count();
    if same == ours.len() && same == theirs.len() {
        return same;
    }
    let of = |tokens: &[Value]| top[same].get(tokens[same].as_str()?)?.as_f64();
    let near = of(ours).zip(of(theirs)).is_some_and(|(a, b)| (a - b).abs() <= 2.0 * SLACK);
    assert!(near, "{what}: {ours:?}, not {theirs:?}");
    same
}

#[test]
fn every_mode_shows_what_vllm_shows() {
    let cases: Vec<Value> =
        RECORDED.lines().map(|line| serde_json::from_str(line).expect("JSON")).collect();
    let mut compared = 0;
    for mode in ["processed_logprobs", "raw_logits", "processed_logits"] {
        let server = start(&[&FLAGS[..], &["--logprobs-mode", mode]].concat());
        for (i, case) in cases.iter().filter(|case| case["mode"] == mode).enumerate() {
            let reply = server.post(case["path"].as_str().expect("a path"), &case["body"]);
            assert_eq!(reply.status, 200, "{}", reply.body);
            let (tokens, numbers, top) = shown(&reply.json());
            let what = format!("{mode} {i} {}", case["body"]);
            let is_greedy = case["body"]["temperature"] == 0;
            let theirs = |name: &str| case[name].as_array().expect("a list");
            let mut same = top.len();
            if is_greedy {
                same = common(&tokens, theirs("tokens"), &top, &what);
                for (own, number) in numbers.iter().zip(theirs("logprobs")).take(same) {
                    assert!(is_close(own, number), "{what}: {own}, not {number}");
                }
            }
            compared += same;
            for (own, other) in top.iter().zip(theirs("top")).take(same) {
                let mut own = own.clone();
                if !is_greedy && own.len() > other.as_object().map_or(0, Map::len) {
                    // The drawn token comes on top of the best ones.
                    own.shift_remove(tokens[0].as_str().expect("a token"));
                }
                compare_top(&own, other.as_object().unwrap_or(&Map::new()), &what);
            }
        }
    }
    assert!(compared >= 240, "{compared} places were compared");
}
