"""Servers with parsers: what `/derender` makes of given tokens, and which grammars `/render` shows.

Nothing is generated, so a reply tells how the server reads, whatever its model says."""

import json

from requests_base import C, P, raw

JSON = {"content-type": "application/json"}
TAGS = {
    "<tool_call>": 2036,
    "</tool_call>": 2037,
    "<think>": 2046,
    "</think>": 2047,
    "<|im_start|>": 2023,
    "<|im_end|>": 2024,
}
WEATHER = {
    "type": "function",
    "function": {
        "name": "get_weather",
        "description": "Get the current weather for a city.",
        "parameters": {
            "type": "object",
            "properties": {"city": {"type": "string"}, "days": {"type": "integer"}},
            "required": ["city"],
        },
    },
}
TIME = {"type": "function", "function": {"name": "get_time"}}
STRICT = {"type": "function", "function": {**WEATHER["function"], "strict": True}}
NAMED = {"type": "function", "function": {"name": "get_weather"}}
USER = [{"role": "user", "content": "hi"}]


def tokens(text):
    """The tokens of a text of qwen3-tiny, one for each byte, tags as they are."""
    # The vocabulary begins with all bytes, those that can be seen first.
    seen = [*range(33, 127), *range(161, 173), *range(174, 256)]
    byte = {b: at for at, b in enumerate(seen + [b for b in range(256) if b not in seen])}
    for tag in TAGS:
        at = text.find(tag)
        if at >= 0:
            behind = tokens(text[at + len(tag) :])
            return [*tokens(text[:at]), TAGS[tag], *behind]
    return [byte[b] for b in text.encode()]


def post(name, path, body):
    raw(f"{path} {name}", "POST", path, json.dumps(body), JSON)


def chat_request(**over):
    return {"messages": USER, "tools": [WEATHER, TIME], **over}
