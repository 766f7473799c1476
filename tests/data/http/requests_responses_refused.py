"""What the Responses API refuses, and the paths of what is not stored."""

import json

from requests_base import cases, raw
from requests_responses import R, JSON, TOOL, ask, both, streamed

# --- Refusals.
both("empty", [])
both("unknown model", model="nope")
ask("nothing stored", previous_response_id="resp_x")
ask("background", background=True)
ask("background null store", background=True, store=None)
ask("background not stored", background=True, store=False)
ask("both histories", previous_response_id="resp_x", previous_input_messages=[{"a": 1}])
ask("template", chat_template_kwargs={"chat_template": "x"})
ask("prompt", prompt={"id": "x"})
ask("prompt string", prompt="x")
ask("item reference", [{"type": "item_reference", "id": "x"}])
ask(
    "file search call",
    [{"type": "file_search_call", "id": "x", "queries": [], "status": "completed"}],
)
ask(
    "image",
    [{"role": "user", "content": [{"type": "input_image", "image_url": "http://127.0.0.1/x"}]}],
)
ask("image bare", [{"role": "user", "content": [{"type": "input_image"}]}])
ask("file", [{"role": "user", "content": [{"type": "input_file", "file_data": "x"}]}])
ask("encrypted", [{"type": "reasoning", "summary": [], "encrypted_content": "x"}])
ask("bad reasoning", [{"type": "reasoning"}])
ask("bad reasoning part", [{"type": "reasoning", "id": "r", "summary": [{"type": "x"}]}])
ask("bad call", [{"type": "function_call", "name": "x"}])
ask(
    "bad assistant part",
    [{"type": "message", "role": "assistant", "content": [{"type": "output_text"}]}],
)
ask(
    "refusal part",
    [{"type": "message", "role": "assistant", "content": [{"type": "refusal", "refusal": "no"}]}],
)
ask("output without id", [{"type": "function_call_output", "output": "x"}])
ask("output number", [{"type": "function_call_output", "call_id": "a", "output": 1}])
ask("no role", [{"content": "x"}])
ask("role unknown", [{"role": "robot", "content": "x"}])
ask("role tool", [{"role": "tool", "content": "x"}])
ask("content null", [{"role": "user", "content": None}])
ask("item number", [1, "x", None])
ask("item empty", [{}])
ask("input number", 3)
ask("input null", None)
ask("input object", {"a": 1})
ask("extra member", [{"role": "user", "content": "x", "name": "n"}], max_output_tokens=1)
raw("responses no input", "POST", R, "{}")
raw("responses empty body", "POST", R, "")
raw("responses no json", "POST", R, "{", JSON)
raw("responses list", "POST", R, "[]")
raw("responses text", "POST", R, "{}", {"content-type": "text/plain"})
for name, values in {
    "temperature": [-1, 3, "x"],
    "top_p": [0, 2, "x"],
    "top_k": [-2, 1.5],
    "min_p": [2],
    "presence_penalty": [3, -3, "x"],
    "frequency_penalty": [2.5],
    "repetition_penalty": [0],
    "max_output_tokens": [0, -1, 1.5, "x", 100000],
    "max_tool_calls": ["x"],
    "top_logprobs": [-1, 21, "x", None],
    "stop": ["", ["a", "b", "c", "d", "e"], 3],
    "stop_token_ids": [["x"], [-1], [99999], None],
    "seed": ["x", 10**30, -1],
    "logit_bias": [{"x": 1}, {"99999": 1}, {"1": "x"}, []],
    "metadata": [{"a": 1}, [], "x"],
    "include": [["x"], "x", []],
    "instructions": [1, []],
    "parallel_tool_calls": ["x", 1],
    "reasoning": [{"effort": "x"}, "x", {"summary": 3}, {}],
    "include_reasoning": [None, "x"],
    "service_tier": ["x", None],
    "store": ["x"],
    "stream": ["x"],
    "background": ["x", None],
    "text": ["x", {"format": {"type": "x"}}, {"format": {}}, {"verbosity": "x"}, {}],
    "tools": [
        "x",
        [1],
        [{}],
        [{"type": "function"}],
        [{"type": "x"}],
        [TOOL, {"type": "mcp"}],
        None,
        [],
    ],
    "tool_choice": [
        "required",
        "x",
        None,
        {"type": "function", "name": "f"},
        {"type": "x"},
        {"type": "web_search_preview"},
        3,
    ],
    "truncation": ["x", None],
    "user": [1],
    "priority": [1, 2**70],
    "cache_salt": ["", 3, "a/b", "x" * 200],
    "request_id": [3, None, ""],
    "session_id": [1],
    "chat_template_kwargs": ["x", []],
    "vllm_xargs": ["x", {"a": {}}, {"a": 2**80}],
    "mm_processor_kwargs": [{"a": 1}, "x"],
    "media_io_kwargs": [{"image": {}}, {"a": 1}],
    "previous_input_messages": ["x", [1], [{}]],
    "previous_response_id": [3],
    "structured_outputs": ["x", {"choice": []}, {"regex": "a", "json": "{}"}, {}],
    "skip_special_tokens": [None],
    "ignore_eos": ["x"],
    "enable_response_messages": [None],
    "mm_payload": ["x"],
    "watermarking": [True],
    "kv_transfer_params": ["x"],
}.items():
    for value in values:
        ask(f"{name} {json.dumps(value)[:40]}", **{"max_output_tokens": 1, name: value})
for name, value in {"temperature": 3, "top_logprobs": 99, "stop_token_ids": [99999]}.items():
    more = {"include": ["message.output_text.logprobs"]} if name == "top_logprobs" else {}
    streamed(f"{name} refused", **{name: value}, **more)
ask("logprobs too many", include=["message.output_text.logprobs"], top_logprobs=99)
ask("logprobs negative", include=["message.output_text.logprobs"], top_logprobs=-1)
both("tool choice unknown", tools=[TOOL], tool_choice={"type": "function", "name": "f"})
ask("tool choice nameless", tools=[TOOL], tool_choice={"type": "function"})
ask("tool choice custom", tool_choice={"type": "custom", "name": "f"})
ask(
    "tool choice ambiguous",
    tools=[{"type": "namespace", "name": n, "description": "", "tools": [TOOL]} for n in "ab"],
    tool_choice={"type": "function", "name": "get_weather"},
)
ask(
    "tool choice built-in",
    tools=[TOOL],
    tool_choice={"type": "web_search_preview"},
    max_output_tokens=2,
)
ask(
    "tool choice allowed",
    tools=[TOOL],
    tool_choice={
        "type": "allowed_tools",
        "mode": "auto",
        "tools": [{"type": "function", "name": "get_weather"}],
    },
    max_output_tokens=2,
)
ask(
    "grammar tool",
    tools=[
        {
            "type": "custom",
            "name": "g",
            "format": {"type": "grammar", "syntax": "lark", "definition": "x"},
        }
    ],
)
ask("two constraints", text={"format": {"type": "json_object"}}, structured_outputs={"regex": "a"})
both("long", "word " * 2100)
both("long cut", "word " * 2100, truncation="auto", max_output_tokens=2)
both("just too long", "word " * 2037, max_output_tokens=2)

# --- What is not stored.
for path in ("resp_x", "resp_x?stream=true", "resp_x?stream=maybe&starting_after=x", "a%2Fb"):
    raw("responses get " + path, "GET", f"{R}/{path}")
for path in ("resp_x/cancel", "resp_x/", "resp_x/cancel/", "resp_x/y", "resp_x"):
    raw("responses post " + path, "POST", f"{R}/{path}")
for method, path in [
    ("GET", R),
    ("DELETE", R + "/x"),
    ("GET", R + "/x/cancel"),
    ("GET", R + "/"),
    ("GET", R + "/render"),
    ("HEAD", R + "/x"),
    ("POST", R + "/"),
    ("GET", R + "/x/"),
]:
    raw(f"responses {method} {path}", method, path)
assert len({case["name"] for case in cases}) == len(cases)
