"""Responses that are stored: to be asked of a server in this order."""

import json

from requests_base import cases, raw
from requests_responses import R, TOOL, quiet

cases.clear()


def ask(name, input, **more):
    body = {"input": input, "temperature": 0, "max_output_tokens": 40, **more}
    raw("store " + name, "POST", R, json.dumps(body))


def get(name, path, method="GET"):
    raw("store " + name, method, f"{R}/{path}")


WHO = quiet("Who are you?")
ask("plain", request_id="resp_a", **WHO)
get("get", "resp_a")
get("get stream of none", "resp_a?stream=true")
get("cancel done", "resp_a/cancel", "POST")
ask("not stored", request_id="resp_b", store=False, **WHO)
get("get not stored", "resp_b")
ask("store null", request_id="resp_c", store=None, **WHO)
get("get null", "resp_c")
ask(
    "next",
    "And where do you live?",
    request_id="resp_d",
    previous_response_id="resp_a",
    instructions="Be short.",
    enable_response_messages=True,
)
ask(
    "next after next",
    "Why?",
    request_id="resp_e",
    previous_response_id="resp_d",
    enable_response_messages=True,
)
ask("unknown previous", "Why?", previous_response_id="resp_zz")
ask("streamed", request_id="resp_f", stream=True, **WHO)
get("get streamed", "resp_f")
ask(
    "next after streamed",
    "Why?",
    request_id="resp_g",
    previous_response_id="resp_f",
    enable_response_messages=True,
)
ask("background streamed", request_id="resp_h", background=True, stream=True, **WHO)
get("get background streamed", "resp_h")
get("stream background", "resp_h?stream=true")
get("stream background later", "resp_h?stream=true&starting_after=5")
get("stream background at end", "resp_h?stream=true&starting_after=-3")
get("stream false", "resp_h?stream=false&starting_after=1")
get("bad query", "resp_h?stream=maybe&starting_after=x")
get("empty query", "resp_h?stream=&starting_after=")
get("cancel background done", "resp_h/cancel", "POST")
ask(
    "background refused",
    request_id="resp_i",
    background=True,
    temperature=3,
    **{k: v for k, v in WHO.items()},
)
get("get background refused", "resp_i")
ask("background refused late", request_id="resp_j", background=True, stop_token_ids=[99999], **WHO)
ask("background not stored", background=True, store=False, **WHO)
ask("background null store", request_id="resp_k", background=True, store=None, **WHO)
ask(
    "tools",
    "What is the weather in Paris?",
    request_id="resp_l",
    tools=[TOOL],
    max_output_tokens=200,
)
ask(
    "next after tools",
    [{"type": "function_call_output", "call_id": "x", "output": "12"}],
    request_id="resp_m",
    previous_response_id="resp_l",
    enable_response_messages=True,
    tools=[TOOL],
)
ask("again", request_id="resp_a", **quiet("Hi"))
get("get again", "resp_a")
