"""How the lists of requests are written: one call a request."""

import json

P = "/v1/chat/completions"
C = "/v1/completions"
CHAT = {"messages": [{"role": "user", "content": "hi"}], "max_tokens": 2, "temperature": 0}
CMPL = {"prompt": "hi", "max_tokens": 2, "temperature": 0}
TOOL = {"type": "function", "function": {"name": "f", "parameters": {"type": "object"}}}
cases = []


def raw(name, method, path, body=None, headers=None):
    if headers is None:
        headers = {"content-type": "application/json"} if body is not None else {}
    cases.append({"name": name, "method": method, "path": path, "headers": headers, "body": body})


def chat(name, drop=(), **over):
    body = {**CHAT, **over}
    for key in drop:
        body.pop(key)
    raw("chat " + name, "POST", "/v1/chat/completions", json.dumps(body))


def cmpl(name, drop=(), **over):
    body = {**CMPL, **over}
    for key in drop:
        body.pop(key)
    raw("completions " + name, "POST", "/v1/completions", json.dumps(body))


def long(name, path, before, unit, count, after):
    """A body that repeats `unit`; the recording holds the parts."""
    raw(name, "POST", path, None, {"content-type": "application/json"})
    cases[-1]["repeat"] = [before, unit, count, after]


def both(name, **over):
    chat(name, **over)
    cmpl(name, **over)


def messages(name, *msgs):
    chat("messages " + name, messages=list(msgs))


T = "/tokenize"


def tok(name, body, path=T):
    raw(path[1:] + " " + name, "POST", path, json.dumps(body))
