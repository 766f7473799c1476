"""Requests that are answered."""

import json

from requests_base import *  # noqa: F403

# --- good requests, compared by shape
both("plain", seed=1)
both("plain stream", stream=True)
both("ids", return_token_ids=True)
both("ids stream", return_token_ids=True, stream=True)
both("usage stream", stream=True, stream_options={"include_usage": True})
both(
    "continuous usage stream",
    stream=True,
    stream_options={"include_usage": True, "continuous_usage_stats": True},
)
both("continuous only stream", stream=True, stream_options={"continuous_usage_stats": True})
chat("logprobs", logprobs=True, top_logprobs=2)
chat("logprobs 0", logprobs=True)
chat("logprobs stream", logprobs=True, top_logprobs=2, stream=True)
chat("logprobs as ids", logprobs=True, top_logprobs=1, return_tokens_as_token_ids=True)
cmpl("logprobs", logprobs=2)
cmpl("logprobs 0", logprobs=0)
cmpl("logprobs true", logprobs=True)
cmpl("logprobs stream", logprobs=2, stream=True)
cmpl("logprobs as ids", logprobs=1, return_tokens_as_token_ids=True)
both("prompt_logprobs", prompt_logprobs=1)
both("prompt_logprobs 0 stream", prompt_logprobs=0, stream=True)
both("n stream", n=2, temperature=1, stream=True, seed=3)
both("n", n=2, temperature=1, seed=3)
both("echo", echo=True)
both("echo stream", echo=True, stream=True)
cmpl("echo logprobs", echo=True, logprobs=1)
cmpl("echo logprobs stream", echo=True, logprobs=1, stream=True)
cmpl("echo logprobs 0 tokens", echo=True, logprobs=1, max_tokens=0)
cmpl("echo ids", echo=True, return_token_ids=True)
cmpl("echo 0 tokens stream", echo=True, max_tokens=0, stream=True)
cmpl("echo 0 tokens", echo=True, max_tokens=0)
cmpl("echo token prompt", echo=True, prompt=[5, 6, 7])
cmpl("echo ids stream", echo=True, return_token_ids=True, stream=True)
cmpl("batch", prompt=["a", "b"])
cmpl("batch stream", prompt=["a", "b"], stream=True, stream_options={"include_usage": True})
cmpl("tokens", prompt=[5, 6])
cmpl("token batch", prompt=[[5, 6], [7]])
chat("prompt text", return_prompt_text=True)
chat("prompt text stream", return_prompt_text=True, stream=True)
chat(
    "echo last role",
    echo=True,
    messages=[{"role": "user", "content": "hi"}, {"role": "assistant", "content": "well"}],
    add_generation_prompt=False,
)
chat(
    "echo continue stream",
    echo=True,
    messages=[{"role": "user", "content": "hi"}, {"role": "assistant", "content": "well"}],
    add_generation_prompt=False,
    continue_final_message=True,
    stream=True,
)
both("alias", model="alias-b")
both("stop text", stop=["e", "a", "i", "o"], max_tokens=20)
both("stop text stream", stop=["e", "a", "i", "o"], max_tokens=20, stream=True)
both("unknown fields", guided_json={}, best_of=3, foo="bar")
both("truncate", truncate_prompt_tokens=1)
both("truncate left", truncate_prompt_tokens=1, truncation_side="left")
both("stream_interval", stream=True, stream_interval=3, max_tokens=8)
raw(
    "chat x-request-id",
    "POST",
    P,
    json.dumps(CHAT),
    {"content-type": "application/json", "x-request-id": "abc"},
)
raw(
    "chat empty x-request-id",
    "POST",
    P,
    json.dumps(CHAT),
    {"content-type": "application/json", "x-request-id": ""},
)
raw(
    "chat priority header",
    "POST",
    P,
    json.dumps(CHAT),
    {"content-type": "application/json", "x-vllm-priority": "x", "x-data-parallel-rank": "x"},
)
raw(
    "chat rank",
    "POST",
    P,
    json.dumps(CHAT),
    {"content-type": "application/json", "x-data-parallel-rank": "3"},
)
raw(
    "chat rank stream",
    "POST",
    P,
    json.dumps({**CHAT, "stream": True}),
    {"content-type": "application/json", "x-data-parallel-rank": "3"},
)
raw(
    "chat load metrics",
    "POST",
    P,
    json.dumps(CHAT),
    {"content-type": "application/json", "endpoint-load-metrics-format": "TEXT"},
)
raw(
    "chat load metrics json",
    "POST",
    P,
    json.dumps(CHAT),
    {"content-type": "application/json", "endpoint-load-metrics-format": "JSON"},
)
raw(
    "completions load metrics bad",
    "POST",
    "/v1/completions",
    json.dumps(CMPL),
    {"content-type": "application/json", "endpoint-load-metrics-format": "xml"},
)
raw("chat request_id body", "POST", P, json.dumps({**CHAT, "request_id": "xyz"}))
