//! The schema errors of the real vLLM, replayed.

use super::super::body::decode;
use super::super::request::{ChatRequest, CompletionRequest, DetokenizeRequest, TokenizeRequest};
use super::*;
use axum::http::HeaderMap;
use proptest::prelude::*;
use serde_json::Value;

const RECORDED: &str = include_str!("../../../tests/data/http/replies.jsonl");

fn bytes(case: &Value) -> Vec<u8> {
    if let Some(hex) = case["hex"].as_str() {
        let byte = |at| u8::from_str_radix(&hex[at..at + 2], 16).unwrap();
        return (0..hex.len()).step_by(2).map(byte).collect();
    }
    if let Some([before, unit, count, after]) = case["repeat"].as_array().map(Vec::as_slice) {
        let text = |part: &Value| part.as_str().unwrap().to_owned();
        let count = count.as_u64().unwrap() as usize;
        return (text(before) + &text(unit).repeat(count) + &text(after)).into_bytes();
    }
    case["body"].as_str().unwrap_or_default().as_bytes().to_vec()
}

fn headers(case: &Value) -> HeaderMap {
    let pairs = case["headers"].as_object().unwrap().iter();
    pairs
        .map(|(name, value)| (name.parse().unwrap(), value.as_str().unwrap().parse().unwrap()))
        .collect::<Vec<(axum::http::HeaderName, axum::http::HeaderValue)>>()
        .into_iter()
        .collect()
}

/// Checks a body for the endpoint at `path`; `None` for paths without one.
fn check_body(path: &str, headers: &HeaderMap, body: &[u8]) -> Option<Result<(), ApiError>> {
    let checked = decode(headers, body).map(|document| document.root);
    Some(match path {
        "/v1/chat/completions" => checked.and_then(ChatRequest::new).map(drop),
        "/v1/completions" => checked.and_then(CompletionRequest::new).map(drop),
        "/tokenize" => checked.and_then(TokenizeRequest::new).map(drop),
        "/detokenize" => checked.and_then(DetokenizeRequest::new).map(drop),
        _ => return None,
    })
}

#[test]
fn says_what_vllm_says() {
    let mut compared = 0;
    for line in RECORDED.lines() {
        let case: Value = serde_json::from_str(line).unwrap();
        if case["method"] != "POST" {
            continue;
        }
        let Some(result) =
            check_body(case["path"].as_str().unwrap(), &headers(&case), &bytes(&case))
        else {
            continue;
        };
        let reply: Value =
            serde_json::from_str(case["reply"].as_str().unwrap()).unwrap_or_default();
        let error = &reply["error"];
        if error["type"] == "Bad Request" || reply["detail"].is_string() {
            let ours = result.expect_err(case["name"].as_str().unwrap());
            if reply["detail"].is_string() {
                assert_eq!(reply["detail"], ours.message);
                continue;
            }
            assert_eq!(error["message"].as_str(), Some(&*ours.message), "{}", case["name"]);
            assert_eq!(error["param"].as_str(), ours.param.as_deref(), "{}", case["name"]);
            assert_eq!(error["type"], ours.kind, "{}", case["name"]);
            compared += 1;
        } else if case["status"] == 200 {
            assert_eq!(result, Ok(()), "{}", case["name"]);
        } else if let Err(ours) = result {
            // A check of vLLM's own: whether it ran this early or not, it says the same.
            if case["status"] == 500 {
                continue;
            }
            assert_eq!(error["message"].as_str(), Some(&*ours.message), "{}", case["name"]);
            assert_eq!(error["param"].as_str(), ours.param.as_deref(), "{}", case["name"]);
        }
    }
    assert!(compared > 300, "{compared}");
}

proptest! {
    #[test]
    fn never_panics(
        field in "(messages|prompt|n|stop|tools|tool_choice|structured_outputs|logit_bias|content)",
        value in arbitrary_json(),
    ) {
        let mut headers = HeaderMap::new();
        headers.insert("content-type", "application/json".parse().unwrap());
        let whole = value.to_string();
        let member =
            format!("{{\"messages\": [{value}], \"prompt\": \"a\", \"{field}\": {value}}}");
        for body in [whole, member] {
            for path in ["/v1/chat/completions", "/v1/completions", "/tokenize", "/detokenize"] {
                let _ = check_body(path, &headers, body.as_bytes());
            }
        }
    }
}

fn arbitrary_json() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<f64>().prop_filter("finite", |f| f.is_finite()).prop_map(Value::from),
        "(user|assistant|tool|text|function|[a-z]{0,3})".prop_map(Value::from),
    ];
    let key = "(role|content|type|text|function|name|tool_calls|arguments|id|json|[a-z]{1,2})";
    leaf.prop_recursive(4, 24, 5, move |inner| {
        prop_oneof![
            proptest::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
            proptest::collection::btree_map(key, inner, 0..5)
                .prop_map(|map| map.into_iter().collect::<Value>()),
        ]
    })
}
