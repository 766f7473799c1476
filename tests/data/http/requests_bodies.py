"""Routing, and bodies that are no JSON."""

import json

from requests_base import *  # noqa: F403

# --- transport and routing
for path in ["/health", "/ping", "/version", "/load", "/v1/models"]:
    raw("get " + path, "GET", path)
raw("post /ping", "POST", "/ping")
raw("unknown path", "GET", "/nope")
raw("wrong method", "GET", "/v1/chat/completions")
raw("wrong method models", "POST", "/v1/models")
raw("wrong method health", "DELETE", "/health")
raw("head health", "HEAD", "/health")
raw("head models", "HEAD", "/v1/models")
raw("options chat", "OPTIONS", "/v1/chat/completions")
raw("trailing slash", "GET", "/v1/models/")
raw("trailing slash post", "POST", "/v1/chat/completions/", "{}")
raw("trailing slash query", "GET", "/v1/models/?a=b")
raw("trailing slash health", "GET", "/health/")
raw("double slash", "GET", "//health")
raw("capital", "GET", "/V1/models")
raw("root", "GET", "/")
raw("embeddings", "POST", "/v1/embeddings", "{}")
raw("get /ping query", "GET", "/ping?x=1")
# --- bodies
raw("body malformed", "POST", P, '{"messages": ')
raw("body malformed 2", "POST", P, '{"messages": [}')
raw("body malformed 3", "POST", P, "{'a': 1}")
raw("body malformed 4", "POST", P, '{"a" 1}')
raw("body malformed 5", "POST", P, '{"a": 1 "b": 2}')
raw("body malformed 6", "POST", P, '{"a": "x')
raw("body malformed 7", "POST", P, '{"a": "\\x"}')
raw("body malformed 8", "POST", P, '{"a": "\\u12"}')
raw("body malformed 9", "POST", P, '{"a": "tab\there"}')
raw("body malformed 10", "POST", P, '{"a": 1,}')
raw("body malformed 11", "POST", P, "[1, 2")
raw("body malformed 12", "POST", P, "[1, ]")
raw("body malformed 13", "POST", P, "[1 2]")
raw("body malformed 14", "POST", P, '{"a": 01}')
raw("body malformed 15", "POST", P, '{"a": 1.}')
raw("body malformed 16", "POST", P, '{"a": -}')
raw("body malformed 17", "POST", P, '{"a": 1e}')
raw("body malformed 18", "POST", P, '{"a": nul}')
raw("body malformed 19", "POST", P, "{} x")
raw("body malformed 20", "POST", P, "   ")
raw("body malformed 21", "POST", P, '{"a": "\\')
raw("body malformed 22", "POST", P, '{"a": "\\ud800\\u12"}')
raw("body malformed 23", "POST", P, "{,}")
raw("body malformed 24", "POST", P, '{"a":')
raw("body malformed 25", "POST", P, "{")
raw("body malformed 26", "POST", P, "[")
raw("body malformed 27", "POST", P, '{"a"')
raw("body malformed 28", "POST", P, '{"a":1')
raw("body malformed 29", "POST", P, '{"a":1,')
raw("body malformed 30", "POST", P, '"é" x')
raw("body malformed 31", "POST", P, '{"a": "é", x}')
raw("body malformed 32", "POST", P, "-Infinit")
raw("body malformed 33", "POST", P, '{"a": "line\nbreak"}')
raw("body malformed 34", "POST", P, '\ufeff{"a": }')
raw("body empty", "POST", P, "")
raw("body null", "POST", P, "null")
raw("body list", "POST", P, "[]")
raw("body list of five", "POST", P, "[1,2,3,4,5]")
raw("body string", "POST", P, '"x"')
raw("body number", "POST", P, "17")
raw("body float", "POST", P, "1.50")
raw("body bool", "POST", P, "true")
raw("body nan", "POST", P, "NaN")
raw("body invalid utf-8", "POST", P, None)
cases[-1].update(hex="7b2261223a22ff227d", headers={"content-type": "application/json"})
raw("body truncated utf-8", "POST", P, None)
cases[-1].update(hex="7b2261223a22c3", headers={"content-type": "application/json"})
long("body nested 3000", P, "", "[", 3000, "")
raw("body nested 500", "POST", P, "[" * 500 + "]" * 500)
raw("body bom", "POST", P, "\ufeff" + json.dumps({**CHAT, "n": 0}))
raw("body utf-16", "POST", P, None)
cases[-1].update(
    hex='{"n":0}'.encode("utf-16-le").hex(), headers={"content-type": "application/json"}
)
raw("body duplicate keys", "POST", P, '{"messages":[],"messages":3}')
raw("content type text", "POST", P, json.dumps(CHAT), {"content-type": "text/plain"})
raw("content type none", "POST", P, json.dumps(CHAT), {})
raw(
    "content type charset",
    "POST",
    P,
    json.dumps({**CHAT, "n": 0}),
    {"content-type": "Application/JSON; charset=utf-8"},
)
raw("content type space", "POST", P, json.dumps(CHAT), {"content-type": "application/json ;a=b"})
raw("content type and body bad", "POST", P, '{"a', {"content-type": "text/plain"})
raw(
    "content type plus json",
    "POST",
    P,
    json.dumps({**CHAT, "n": 0}),
    {"content-type": "application/geo+json"},
)
raw("completions empty object", "POST", "/v1/completions", "{}")
raw("completions body list", "POST", "/v1/completions", "[]")
raw("chat empty object", "POST", P, "{}")
raw(
    "chat nan temperature",
    "POST",
    P,
    '{"messages":[{"role":"user","content":"hi"}],"temperature":NaN}',
)
raw(
    "chat 1e999 temperature",
    "POST",
    P,
    '{"messages":[{"role":"user","content":"hi"}],"temperature":1e999}',
)
raw(
    "chat -infinity penalty",
    "POST",
    P,
    '{"messages":[{"role":"user","content":"hi"}],"presence_penalty":-Infinity}',
)
raw(
    "chat nan max_tokens",
    "POST",
    P,
    '{"messages":[{"role":"user","content":"hi"}],"max_tokens":NaN}',
)
raw(
    "chat infinity max_tokens",
    "POST",
    P,
    '{"messages":[{"role":"user","content":"hi"}],"max_tokens":Infinity}',
)
raw(
    "chat 1e30 max_tokens",
    "POST",
    P,
    '{"messages":[{"role":"user","content":"hi"}],"max_tokens":1e30}',
)
raw(
    "chat big int max_tokens",
    "POST",
    P,
    '{"messages":[{"role":"user","content":"hi"}],"max_tokens":1000000000000000000000000000000}',
)
raw(
    "chat lone surrogate",
    "POST",
    P,
    '{"messages":[{"role":"user","content":"a\\ud800b"}],"max_tokens":2}',
)
raw(
    "chat lone surrogate role",
    "POST",
    P,
    '{"messages":[{"role":"\\ud800","content":"ab"}],"max_tokens":2}',
)
raw(
    "chat lone surrogate stop",
    "POST",
    P,
    '{"messages":[{"role":"user","content":"hi"}],"max_tokens":2,"stop":["\\ud800"]}',
)
raw("completions lone surrogate", "POST", "/v1/completions", '{"prompt":"\\udc00","max_tokens":2}')
raw(
    "chat lone surrogate model",
    "POST",
    P,
    '{"messages":[{"role":"user","content":"hi"}],"model":"\\ud800"}',
)
