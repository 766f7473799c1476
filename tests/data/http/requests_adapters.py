"""Loading adapters into a server that has none: with VLLM_ALLOW_RUNTIME_LORA_UPDATING=1."""

import json

from requests_base import raw

LOAD, UNLOAD, ADAPTERS = "/v1/load_lora_adapter", "/v1/unload_lora_adapter", "/adapters"


def post(path, body, headers=None):
    text = body if isinstance(body, str) or body is None else json.dumps(body)
    raw(f"POST {path} {text} {headers or ''}".strip(), "POST", path, text, headers)


for body in [
    {}, {"lora_name": "a"}, {"lora_path": "b"}, {"lora_name": "a", "lora_path": "b"},
    {"lora_name": "a", "lora_path": "b", "load_inplace": True, "x": 1},
    {"lora_name": "", "lora_path": "b"}, {"lora_name": "a", "lora_path": ""},
    {"lora_name": "tiny", "lora_path": "b"}, {"lora_name": "é\"", "lora_path": "b"},
    {"lora_name": 1, "lora_path": None, "load_inplace": "x", "is_3d_lora_weight": 2},
    {"lora_name": "a", "lora_path": "b", "load_inplace": "yes", "is_3d_lora_weight": 0},
    {"lora_name": ["a"], "lora_path": {"b": 1}, "load_inplace": None},
    "x", "[]", "null", "", "1", None,
]:
    post(LOAD, body)
for body in [
    {}, {"lora_name": "a"}, {"lora_name": ""}, {"lora_name": "tiny", "lora_int_id": 3},
    {"lora_name": "a", "lora_int_id": "x"}, {"lora_name": "a", "lora_int_id": 1.5},
    {"lora_name": "a", "lora_int_id": "7"}, {"lora_name": "a", "lora_int_id": None},
    {"lora_name": None}, {"lora_name": "é\"'"}, "x", "[]", None,
]:
    post(UNLOAD, body)
for path in [LOAD, UNLOAD]:
    post(path, '{"lora_name": "a", "lora_path": "b"}', {"content-type": "text/plain"})
    post(path, '{"lora_name": "a", "lora_path": "b"}', {})
    for method in ["GET", "PUT", "DELETE", "HEAD"]:
        raw(f"{method} {path}", method, path)

# SageMaker's names for the same.
NAMED = {"name": "a", "src": "/nowhere"}
for body in [
    {}, {"name": "a"}, {"src": "b"}, NAMED, {**NAMED, "preload": True, "pin": True},
    {**NAMED, "preload": False}, {**NAMED, "preload": "x"}, {**NAMED, "pin": False},
    {**NAMED, "pin": 3}, {"name": 1, "src": None}, {"name": "", "src": ""},
    {"name": "", "src": "b"}, {"name": "tiny", "src": "b"},
    {**NAMED, "x": 1}, {**NAMED, "load_inplace": True},
    {**NAMED, "load_inplace": "x"}, {**NAMED, "is_3d_lora_weight": 7},
    "x", "[]", "null", "", "1", '"a"', None,
]:
    post(ADAPTERS, body)
post(ADAPTERS, json.dumps(NAMED), {"content-type": "text/plain"})
post(ADAPTERS, json.dumps(NAMED), {})
post(ADAPTERS, json.dumps(NAMED),
     {"content-type": "application/json", "X-Amzn-SageMaker-Adapter-Alias": "other"})
for method in ["GET", "PUT", "DELETE", "HEAD"]:
    raw(f"{method} {ADAPTERS}", method, ADAPTERS)
for name in ["abc", "a%20b", "%C3%A9", "tiny", "a/b", "a%2Fb", "%22'", "", "x?y=1"]:
    raw(f"DELETE {ADAPTERS}/{name}", "DELETE", f"{ADAPTERS}/{name}")
raw("DELETE with a body", "DELETE", f"{ADAPTERS}/abc", "x", {"content-type": "text/plain"})
raw("DELETE with an alias", "DELETE", f"{ADAPTERS}/abc", None,
    {"X-Amzn-SageMaker-Adapter-Alias": "other"})
for method in ["GET", "POST", "HEAD"]:
    raw(f"{method} {ADAPTERS}/abc", method, f"{ADAPTERS}/abc")
