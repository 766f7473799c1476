"""Token ids in, token ids out: a server with --skip-tokenizer-init."""

import json

from requests_base import CHAT, TOOL, C, P, raw

TOKENS = {"prompt": [300, 301], "max_tokens": 3, "temperature": 0}
GENERATE = "/inference/v1/generate"


def post(path, name, body, **over):
    body = {**body, **over}
    shown = ", ".join(f"{k}={v}" for k, v in over.items())
    raw(f"POST {path} {name} {shown}".strip(), "POST", path, json.dumps(body))


post(C, "text", TOKENS, prompt="hello")
post(C, "texts", TOKENS, prompt=["a", "b"])
post(C, "no prompt", TOKENS, prompt=None)
for over in [
    {}, {"detokenize": False}, {"return_token_ids": True}, {"stream": True}, {"n": 2},
    {"stream": True, "return_token_ids": True}, {"prompt": [[300, 301], [302]]},
    {"logprobs": 2}, {"logprobs": 2, "return_tokens_as_token_ids": True},
    {"logprobs": 0, "return_tokens_as_token_ids": True, "stream": True},
    {"logprobs": 2, "stream": True}, {"prompt_logprobs": 1},
    {"prompt_logprobs": 1, "return_tokens_as_token_ids": True},
    {"stop": "a"}, {"stop": ["a"], "include_stop_str_in_output": True}, {"bad_words": ["a"]},
    {"stop_token_ids": [259]}, {"ignore_eos": True}, {"min_tokens": 2}, {"echo": True},
    {"echo": True, "return_token_ids": True}, {"echo": True, "max_tokens": 0},
    {"structured_outputs": {"regex": "a"}}, {"response_format": {"type": "json_object"}},
    {"structured_outputs": {"choice": ["a"]}}, {"logit_bias": {"300": 5}},
    {"logit_bias": {"99999": 5}},
    {"allowed_token_ids": [300]}, {"allowed_token_ids": [99999]}, {"thinking_token_budget": 3},
    {"truncate_prompt_tokens": 1}, {"add_special_tokens": True}, {"use_beam_search": True, "n": 2},
    {"suffix": "a"}, {"max_tokens": None}, {"max_tokens": 2000}, {"user": "u"}, {"seed": 1},
    {"skip_special_tokens": False}, {"stream": True, "stream_options": {"include_usage": True}},
    {"prompt": []}, {"prompt": [-1]}, {"model": "other"}, {"prompt": list(range(520))},
]:
    post(C, "tokens", TOKENS, **over)
for over in [{}, {"stream": True}, {"tools": [TOOL]}, {"max_tokens": 0}, {"messages": []},
             {"model": "other"}, {"n": 0}]:
    post(P, "", CHAT, **over)
post(P + "/batch", "", CHAT, messages=[CHAT["messages"]])
post("/tokenize", "text", {"prompt": "hi"})
post("/tokenize", "chat", {"messages": CHAT["messages"]})
post("/detokenize", "", {"tokens": [300]})
post("/detokenize", "nothing", {"tokens": []})
raw("GET /tokenizer_info", "GET", "/tokenizer_info")
for over in [{}, {"sampling_params": {"logprobs": 1, "max_tokens": 2, "temperature": 0}},
             {"stream": True}, {"output_mode": "text"},
             {"sampling_params": {"stop": ["a"], "max_tokens": 2}},
             {"sampling_params": {"prompt_logprobs": 1, "max_tokens": 2, "temperature": 0}},
             {"sampling_params": {"bad_words": ["a"], "max_tokens": 2}}, {"token_ids": []}]:
    params = {"max_tokens": 3, "temperature": 0}
    post(GENERATE, "", {"token_ids": [300, 301], "sampling_params": params}, **over)
post("/v1/responses", "", {"input": "hi", "max_output_tokens": 3})
post("/v1/responses", "", {"input": "hi", "max_output_tokens": 3}, stream=True)
post("/v1/messages", "", {"messages": CHAT["messages"], "max_tokens": 3})
post("/v1/messages/count_tokens", "", {"messages": CHAT["messages"]})
post("/v1/completions/render", "tokens", TOKENS)
post("/v1/completions/render", "text", TOKENS, prompt="hi")
post(P + "/render", "", CHAT)
post("/v1/messages/render", "", {"messages": CHAT["messages"], "max_tokens": 3})
post("/v1/responses/render", "", {"input": "hi"})
post("/generative_scoring", "tokens", {"query": [300], "items": [[301]], "label_token_ids": [5, 6]})
post("/generative_scoring", "text", {"query": "a", "items": ["b"], "label_token_ids": [5, 6]})
post("/invocations", "", TOKENS)
raw("GET /health", "GET", "/health")
