"""The requests of Anthropic's API: those of `tests/data/http`, which Rust's tests replay."""

import os
import sys

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, os.path.join(os.path.dirname(HERE), "data", "http"))

import requests_messages_bodies  # noqa: E402,F401  add their cases, in this order
import requests_messages_chats  # noqa: E402,F401
import requests_messages_replies  # noqa: E402,F401
from requests_base import cases  # noqa: E402

# What differs, and why: crashes of vLLM.
APART = {
    "/v1/messages/count_tokens no utf-8": "vLLM cannot write its own error about the name",
    "/v1/messages/count_tokens result_image_odd": "vLLM crashes (500)",
    "/v1/messages/count_tokens result_image_odd, tools": "vLLM crashes (500)",
    "/v1/messages/render result_image_odd": "vLLM crashes (500)",
    "/v1/messages/render result_image_odd, tools": "vLLM crashes (500)",
}
MESSAGES = [
    dict(
        case,
        body=None if case["body"] is None else case["body"].encode(),
        text="greedy",
        apart=APART.get(case["name"].removesuffix(", streamed")),
    )
    for case in cases
    if case["path"].startswith("/v1/messages")
]


def folded(events):
    """A stream with each run of pieces of one block in one piece."""
    out = []
    for event in events:
        last = out[-1] if out else None
        delta = event.get("delta") if isinstance(event, dict) else None
        kinds = [k for k in ("text", "thinking", "partial_json") if delta and k in delta]
        if kinds and last and last.get("delta") and kinds[0] in last["delta"]:
            text = last["delta"][kinds[0]] + delta[kinds[0]]
            out[-1] = dict(last, delta=dict(last["delta"], **{kinds[0]: text}))
        else:
            out.append(event)
    return out
