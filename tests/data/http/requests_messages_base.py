"""How the requests of Anthropic's API are written: `/v1/messages`, its count of tokens and its
rendering."""

import json

from requests_base import raw

M = "/v1/messages"
COUNT = M + "/count_tokens"
RENDER = M + "/render"
JSON = {"content-type": "application/json"}
QUIET = {"enable_thinking": False}
TOOL = {
    "name": "get_weather",
    "description": "Get the current weather for a city.",
    "input_schema": {
        "type": "object",
        "properties": {"city": {"type": "string", "description": "The name of the city."}},
        "required": ["city"],
    },
}
TIME = {
    "name": "get_time",
    "description": "Get the current time in a city.",
    "input_schema": {"properties": {"city": {"type": "string"}}},
}
ASK = "What is the weather in Paris?"


def user(text):
    return [{"role": "user", "content": text}]


def post(name, path, body, drop=(), headers=None):
    body = {key: value for key, value in body.items() if key not in drop}
    raw(f"{path} {name}", "POST", path, json.dumps(body), headers or JSON)


def ask(name, ask="Who are you?", drop=(), headers=None, **over):
    messages = user(ask) if isinstance(ask, str) else ask
    body = dict(model="qwen3-tiny", max_tokens=24, temperature=0, messages=messages)
    body["chat_template_kwargs"] = QUIET
    post(name, M, {**body, **over}, drop, headers)


def both(name, said="Who are you?", **over):
    """Whole and streamed."""
    ask(name, said, **over)
    ask(name + ", streamed", said, stream=True, **over)


def count(name, ask="hi", drop=(), **over):
    messages = user(ask) if isinstance(ask, str) else ask
    post(name, COUNT, {"model": "qwen3-tiny", "messages": messages, **over}, drop)


def render(name, ask="hi", drop=(), **over):
    messages = user(ask) if isinstance(ask, str) else ask
    body = {"model": "qwen3-tiny", "max_tokens": 5, "messages": messages, **over}
    post(name, RENDER, body, drop, {**JSON, "x-request-id": "r"})


def says(role, *blocks):
    return {"role": role, "content": list(blocks)}


def text(words):
    return {"type": "text", "text": words}


IMAGES = dict(
    base64={"type": "base64", "media_type": "image/png", "data": "AAAA"},
    url={"type": "url", "url": "http://127.0.0.1/x.png"},
    odd={"type": "url", "url": 5},
    file={"type": "file", "file_id": "x"},
)
ASKED = {"role": "user", "content": ASK}
