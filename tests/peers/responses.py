"""The requests of OpenAI's Responses API: those of `tests/data/http`, which Rust's tests replay."""

import os
import sys

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, os.path.join(os.path.dirname(HERE), "data", "http"))

from requests_base import cases  # noqa: E402

FLAGS = [
    *("--served-model-name", "tiny", "--max-model-len", "2048", "--block-size", "32"),
    *("--reasoning-parser", "qwen3", "--enable-auto-tool-choice"),
    *("--tool-call-parser", "hermes", "--enable-scale-out"),
]
STORES = {"VLLM_ENABLE_RESPONSES_API_STORE": "1"}
# What differs, and why.
APART = {"responses refusal part": "vLLM crashes (500)"}


def added(*modules):
    """The cases that these modules add."""
    before = list(cases)
    cases.clear()
    for module in modules:
        __import__(module)
    new = list(cases)
    cases[:] = before
    return [
        dict(
            case,
            body=None if case["body"] is None else case["body"].encode(),
            text="greedy",
            apart=APART.get(case["name"].removesuffix(" streamed")),
        )
        for case in new
    ]


RESPONSES = added("requests_responses", "requests_responses_refused")
STORED = added("requests_responses_store")


def folded(events):
    """A stream with neighbouring deltas of one kind as one, and without the events' numbers, which
    have to run on."""
    numbered = [e for e in events if isinstance(e, dict) and "sequence_number" in e]
    if not numbered or len(numbered) != len(events):
        return events
    first = events[0]["sequence_number"]
    if [e["sequence_number"] for e in events] != list(range(first, first + len(events))):
        return events
    out = []
    for event in events:
        event = {k: v for k, v in event.items() if k != "sequence_number"}
        last = out[-1] if out else {}
        if event.get("delta") is not None and last.get("event") == event["event"]:
            last["delta"] += event["delta"]
            if event.get("logprobs"):
                last["logprobs"] = (last.get("logprobs") or []) + event["logprobs"]
        else:
            out.append(event)
    return out
