"""Tokens in and out: the endpoints for scaling out."""

import json

from requests_base import CHAT, CMPL, raw

G = "/inference/v1/generate"
A = "/inference/v1/abort_requests"
DC, DP = "/v1/chat/completions/derender", "/v1/completions/derender"
JSON = {"content-type": "application/json"}
TOKENS = [51, 360, 1129, 40, 41]


def post(path, name, body, headers=JSON):
    body = body if isinstance(body, str) else json.dumps(body)
    raw(f"{path} {name}", "POST", path, body, headers)


def gen(name, params=None, headers=JSON, **over):
    given = {"max_tokens": 3, "temperature": 0, **(params or {})}
    given = {k: v for k, v in given.items() if v is not ...}
    body = {"token_ids": TOKENS, "sampling_params": given, **over}
    post(G, name, {k: v for k, v in body.items() if v is not ...}, headers)


# --- generate
for stream in (False, True):
    s = {"stream": True} if stream else {}
    t = " stream" if stream else ""
    gen("plain" + t, **s)
    gen("text" + t, output_mode="text", **s)
    gen("logprobs" + t, {"logprobs": 2}, **s)
    gen("logprobs 0" + t, {"logprobs": 0}, **s)
    gen("logprobs true" + t, {"logprobs": True}, **s)
    gen("text logprobs" + t, {"logprobs": 2}, output_mode="text", **s)
    gen("text logprobs 0" + t, {"logprobs": 0}, output_mode="text", **s)
    gen("ids" + t, return_token_ids=True, **s)
    gen("n" + t, {"n": 2, "temperature": 1, "seed": 3}, **s)
    gen("stop id" + t, {"stop_token_ids": list(range(2048)), "max_tokens": 9}, **s)
    gen("stop text" + t, {"stop": ["e"], "max_tokens": 40}, output_mode="text", **s)
    gen("stop tokens" + t, {"stop": "e", "max_tokens": 40}, **s)
    gen("repetition" + t, {"allowed_token_ids": [40], "max_tokens": 9,
        "repetition_detection": {"max_pattern_size": 1, "min_count": 3}}, **s)
    gen("logprob ids" + t, {"logprob_token_ids": [5, 7]}, **s)
    gen("logprob ids and count" + t, {"logprob_token_ids": [5, 7], "logprobs": 2}, **s)
    gen("text logprob ids" + t, {"logprob_token_ids": [5, 7], "logprobs": 2}, output_mode="text",
        **s)
    gen("logprob ids and other count" + t, {"logprob_token_ids": [5, 7], "logprobs": 1}, **s)
    gen("too many logprobs" + t, {"logprobs": 50}, **s)
    gen("outside" + t, token_ids=[99999], **s)
    gen("too long" + t, token_ids=[5] * 4096, **s)
    gen("longer" + t, token_ids=[5] * 5000, **s)
    gen("longest" + t, token_ids=[5] * 4095, **s)
    gen("rank" + t, headers={**JSON, "X-data-parallel-rank": "1"}, **s)
    gen("interval" + t, {"stream_interval": 2, "max_tokens": 5, "ignore_eos": True}, **s)
    gen("prompt_logprobs" + t, {"prompt_logprobs": 1}, **s)
    gen("structured" + t, {"structured_outputs": {"choice": []}}, **s)
    gen("bad words" + t, {"bad_words": ["x"]}, **s)
    gen("tokens of scores" + t, {"prompt_logprob_token_ids": [[5, 7], [9]]}, **s)
for options in ({"include_usage": True}, {"include_usage": True, "continuous_usage_stats": True},
                {"continuous_usage_stats": True}, {}):
    gen(f"usage {len(options)} {options.get('include_usage')} stream", stream=True,
        stream_options=options)
    gen(f"usage {len(options)} {options.get('include_usage')} text stream", stream=True,
        stream_options=options, output_mode="text", return_token_ids=True)
gen("usage alone", stream_options={"include_usage": True})
gen("no max_tokens", {"max_tokens": ..., "stop_token_ids": list(range(2048))})
gen("null max_tokens", {"max_tokens": None, "stop_token_ids": list(range(2048))})
gen("big max_tokens", {"max_tokens": 5000, "stop_token_ids": list(range(2048))})
gen("no temperature", {"temperature": ..., "seed": 1})
gen("request id", request_id="mine")
gen("request id header", headers={**JSON, "X-Request-Id": "theirs"}, request_id="mine")
gen("model", model="alias-b")
gen("unknown model", model="nope")
gen("empty model", model="")
gen("empty", token_ids=[])
gen("no tokens", token_ids=...)
gen("negative", token_ids=[1, -2])
gen("strings", token_ids=["1", "2"])
gen("texts", token_ids="abc")
gen("floats", token_ids=[1.5])
gen("huge", token_ids=[2**70])
gen("mode", output_mode="words")
gen("mode null", output_mode=None)
gen("no params", sampling_params=...)
gen("null params", sampling_params=None)
gen("list params", sampling_params=[])
gen("string params", sampling_params="x")
gen("empty params", sampling_params={"stop_token_ids": list(range(2048))})
gen("unknown param", {"nope": 1})
gen("unknown field", nope=1)
gen("salt", cache_salt="pepper")
gen("salt empty", cache_salt="")
gen("salt slash", cache_salt="a/b")
gen("salt long", cache_salt="a" * 129)
gen("priority", priority=4)
gen("priority big", priority=2**63)
gen("transfer", kv_transfer_params={"do_remote_decode": True})
gen("transfer big", kv_transfer_params={"a": 2**65})
gen("extra args", {"extra_args": {"a": 1}})
gen("extra args big", {"extra_args": {"a": 2**65}})
gen("reasoning ended", reasoning_ended=True)
gen("parser kwargs", reasoning_parser_kwargs={"chat_template_kwargs": {"enable_thinking": False}})
gen("parser kwargs unknown", reasoning_parser_kwargs={"x": 1})
gen("features", features={"mm_hashes": {"image": ["a"]},
                          "mm_placeholders": {"image": [{"offset": 0, "length": 1}]}})
gen("features empty", features={"mm_hashes": {}, "mm_placeholders": {}})
gen("features bad", features={"mm_hashes": {}})
gen("content parts empty", content_parts=[])
gen("content parts", content_parts=[{"type": "image_url", "url": "http://127.0.0.1:1/x.png"}])
gen("offsets", token_offsets=[[0, 1]])
gen("detokenize off", {"detokenize": False})
gen("detokenize off text", {"detokenize": False}, output_mode="text")
gen("detokenize off stop", {"detokenize": False, "stop": ["a"]})
gen("n 129", {"n": 129, "temperature": 1})
gen("n 0", {"n": 0})
gen("n greedy", {"n": 2})
gen("n string", {"n": "2", "temperature": 1})
gen("n null", {"n": None})
for field, values in dict(
    temperature=[-1, 3, "x", None, "0.5"], top_p=[0, 1.5], top_k=[-2, 1.5], min_p=[2],
    presence_penalty=[3], frequency_penalty=[-3], repetition_penalty=[0],
    max_tokens=[0, -1, "x", 1.5], min_tokens=[-1, 9], seed=[-1, 2**63, 2**64, "x"],
    stop=["", [""], [1], 5, ["a"] * 9], stop_token_ids=[[-1], [99999], "x", [1.5]],
    logprobs=[-2, -1, "x", 1.5], prompt_logprobs=[-2, -1, 50],
    logit_bias=[{"a": 1}, {"99999": 1}, {"5": "x"}, {"5": 200}],
    allowed_token_ids=[[], [99999], [1]], bad_words=[[""], "x", ["a"]], ignore_eos=["maybe", True],
    skip_special_tokens=[False], include_stop_str_in_output=[True], output_kind=[0, 1, 2, 9, "x"],
    stream_interval=[0, "x"], thinking_token_budget=[-2, 5, -1], watermarking=[True, "x"],
    routed_experts_prompt_start=[0, -1, 99],
    repetition_detection=[{"max_pattern_size": -1}, {"x": 1}, 5],
    structured_outputs=[{}, {"json": "{}", "regex": "a"}, {"regex": 5}, 5],
    logprob_token_ids=[[], [99999], [-1]],
    skip_clone=[True], flat_logprobs=[True], skip_reading_prefix_cache=[True, False],
    prompt_logprob_start=[0], trace_decode_token_ids=[[40, 41, 42], [], [99999]],
    spaces_between_special_tokens=[False], output_text_buffer_length=[5],
).items():
    for i, value in enumerate(values):
        gen(f"{field}={i}", {field: value})
post(G, "not json", "{")
post(G, "list", "[]")
post(G, "nothing", "")
post(G, "null", "null")
post(G, "empty object", "{}")
post(G, "content type", "{}", {"content-type": "text/plain"})
raw(G + " get", "GET", G)

# --- abort
post(A, "none", {"request_ids": []})
post(A, "unknown", {"request_ids": ["generate-tokens-x"]})
post(A, "string", {"request_ids": "x"})
post(A, "missing", {})
post(A, "null ids", {"request_ids": None})
post(A, "not json", "{nope")
post(A, "content type", '{"request_ids": []}', {"content-type": "text/plain"})
post(A, "no content type", '{"request_ids": []}', {})
raw(A + " get", "GET", A)

# --- derender
CHOICE = {"index": 0, "token_ids": TOKENS, "finish_reason": "length"}
LP = {"content": [{"token_id": 51, "logprob": -0.5, "rank": 1,
                   "top_logprobs": [{"token_id": 51, "logprob": -0.5, "rank": 1},
                                    {"token_id": 7, "logprob": -2.0, "rank": 2}]},
                  {"token_id": 360, "logprob": -9999.0}]}


def response(*choices, **over):
    return {"request_id": "generate-tokens-1", "choices": list(choices) or [CHOICE], **over}


def derender_both(name, gen_response, many=None, **over):
    post(DC, name, {"generate_response": gen_response, **over})
    post(DP, name, {"generate_responses": many or [gen_response], **over})


derender_both("plain", response())
derender_both("logprobs", response({**CHOICE, "logprobs": LP}))
derender_both("logprobs null", response({**CHOICE, "logprobs": {"content": None}}))
derender_both("two", response(CHOICE, {**CHOICE, "index": 1, "token_ids": [40]}))
derender_both("stop", response({**CHOICE, "finish_reason": "stop", "stop_reason": 5}))
derender_both("no reason", response({"index": 0, "token_ids": [40]}))
derender_both("reason null", response({**CHOICE, "finish_reason": None}))
derender_both("no tokens", response({**CHOICE, "token_ids": []}))
derender_both("null tokens", response({"index": 3}))
derender_both("negative", response({**CHOICE, "token_ids": [-1]}))
derender_both("outside", response({**CHOICE, "token_ids": [51, 99999, 40]}))
derender_both("special", response({**CHOICE, "token_ids": [2024, 40, 2023, 2022]}))
derender_both("bytes", response({**CHOICE, "token_ids": list(range(160, 200))}))
derender_both("prompt tokens", response(prompt_token_ids=[5, 6, 2023]))
derender_both("no choices", {"choices": []})
derender_both("mode", response(output_mode="text"))
derender_both("mode tokens", response(output_mode="tokens"))
derender_both("model", response(), model="alias-b")
derender_both("unknown model", response(), model="nope")
derender_both("transfer", response(kv_transfer_params={"a": 1}))
derender_both("usage", response(usage={"prompt_tokens": 3, "total_tokens": 4}))
derender_both("metrics", response(metrics={"queue_time_ms": 1.5}))
derender_both("prompt_logprobs", response(
    prompt_logprobs=[None, {"5": {"logprob": -1.0, "rank": 1, "decoded_token": "x"}}]))
derender_both("long", response({**CHOICE, "token_ids": [40] * 4097}))
derender_both("many tops", response({**CHOICE, "logprobs": {"content": [
    {"token_id": 1, "logprob": 0, "top_logprobs": [{"token_id": 1, "logprob": 0}] * 21}]}}))
derender_both("long prompt", response(), prompt_token_ids=[1] * 4097)
post(DC, "prompt tokens given", {"generate_response": response(), "prompt_tokens": 7,
                                 "prompt_token_ids": [5, 6, 7]})
post(DC, "chat request", {"generate_response": response({**CHOICE, "token_ids": [2024, 40]}),
                          "chat_request": {**CHAT, "skip_special_tokens": False,
                                           "return_token_ids": True}})
post(DC, "chat request bad", {"generate_response": response(), "chat_request": {}})
post(DP, "completion request", {
    "generate_responses": [response({**CHOICE, "token_ids": [2024, 40]})],
    "completion_request": {**CMPL, "skip_special_tokens": False}})
post(DP, "completion request bad", {"generate_responses": [response()], "completion_request": {}})
post(DP, "none", {"generate_responses": []})
post(DP, "several", {"generate_responses": [response(), response(request_id="b")],
                     "prompt_tokens": [3, 4], "prompt_token_ids": [None, [5]]})
post(DP, "several transfer", {"generate_responses": [
    response(kv_transfer_params={"a": 1}), response(kv_transfer_params={"a": 2})]})
post(DP, "prompt counts", {"generate_responses": [response()], "prompt_tokens": [1, 2]})
post(DP, "prompt ids counts", {"generate_responses": [response()], "prompt_token_ids": []})
for path in (DC, DP):
    post(path, "empty", {})
    post(path, "list", "[]")
    post(path, "stream without chunk", {"stream": True})
    post(path, "stream other", {"stream": 1})
    post(path, "content type", "{}", {"content-type": "text/plain"})
    chunk = {"request_id": "r", "choices": [{"index": 0, "token_ids": [51, 360]}]}
    post(path, "chunk", {"stream": True, "generate_chunk": chunk})
    post(path, "chunk logprobs", {"stream": True, "generate_chunk": {
        **chunk, "choices": [{"index": 0, "token_ids": [51, 360], "logprobs": LP}]}})
    post(path, "chunk usage", {"stream": True, "prompt_tokens": 4, "generate_chunk": {
        "request_id": "r", "choices": [], "usage": {"prompt_tokens": 3, "total_tokens": 5,
                                                    "completion_tokens": 2}}})
    post(path, "chunk usage alone", {"stream": True, "generate_chunk": {
        "choices": [], "request_id": "r", "usage": {"prompt_tokens": 3}}})
    post(path, "chunk end", {"stream": True, "generate_chunk": {
        "request_id": "r", "choices": [{"index": 1, "finish_reason": "stop", "stop_reason": 5}]}})
    post(path, "chunk two", {"stream": True, "generate_chunk": {
        "request_id": "r", "choices": [{"index": 0}, {"index": 1}]}})
    post(path, "chunk seeded", {"stream": True, "prompt_token_ids": list(range(100, 112)),
                                "generate_chunk": chunk})
    post(path, "chunk seeded inside", {"stream": True, "generate_chunk": {
        **chunk, "prompt_token_ids": [5, 2024, 7, 2023]}})
    post(path, "chunk bytes", {"stream": True, "generate_chunk": {
        "request_id": "r", "choices": [{"index": 0, "token_ids": [172, 253]}]}})
    state = {"prev_tokens": ["a", "b", "c"], "prefix_offset": 1, "read_offset": 2,
             "role_sent": True, "logprob_context_token_ids": [1, 2], "logprob_text_offset": 3}
    post(path, "chunk state", {"stream": True, "stream_state": state, "generate_chunk": chunk})
    post(path, "chunk state offsets", {"stream": True, "generate_chunk": chunk,
                                       "stream_state": {**state, "prefix_offset": 9,
                                                        "read_offset": 9}})
    post(path, "chunk state many", {"stream": True, "generate_chunk": chunk,
                                    "stream_state": {"prev_tokens": ["a"] * 1025}})
    post(path, "chunk state context", {"stream": True, "generate_chunk": chunk,
                                       "stream_state": {"logprob_context_token_ids": [1] * 5}})
    post(path, "chunk state sums", {"stream": True, "generate_chunk": chunk, "stream_state": {
        "output_token_ids": [1, 2], "output_chunk_lens": [1]}})
    post(path, "chunk state unknown token", {"stream": True, "generate_chunk": chunk,
                                             "stream_state": {
                                                 **state, "prev_tokens": ["a", "\u4e16", "c"]}})
    post(path, "chunk long", {"stream": True, "prompt_token_ids": [1] * 4095,
                              "generate_chunk": chunk})
    post(path, "chunk longer", {"stream": True, "prompt_token_ids": [1] * 4097,
                                "generate_chunk": chunk})
