"""Bodies of Anthropic's API that do not fit, and what its handlers refuse."""

import json

from requests_base import raw
from requests_messages_base import *  # noqa: F403
from requests_messages_base import COUNT, JSON, M, RENDER

# --- bodies that do not fit
raw(M + " get", "GET", M)
raw(COUNT + " get", "GET", COUNT)
raw(M + " slash", "POST", M + "/", "{}", JSON)
for path in (M, COUNT, RENDER):
    raw(path + " empty", "POST", path, "", JSON)
    raw(path + " no object", "POST", path, "[]", JSON)
    raw(path + " no json", "POST", path, "{", JSON)
    raw(path + " null", "POST", path, "null", JSON)
    raw(path + " nothing", "POST", path, "{}", JSON)
    raw(path + " text/plain", "POST", path, "{}", {"content-type": "text/plain"})
    raw(path + " no utf-8", "POST", path, "{\"model\": \"\\ud800\", \"messages\": []}", JSON)
VALUES = [None, True, -1, 1.5, "x", "", [], ["x"], {}, {"type": "x"}]
FIELDS = [
    *("model", "messages", "max_tokens", "metadata", "output_config", "thinking"),
    *("stop_sequences", "stream", "system", "temperature", "tool_choice", "tools", "top_k"),
    *("top_p", "mm_payload", "return_mm_kwargs", "cache_salt", "watermarking"),
    *("kv_transfer_params", "ec_transfer_params", "vllm_xargs", "chat_template_kwargs"),
]
for field in FIELDS:
    for value in VALUES:
        ask(f"{field} {json.dumps(value)}", **{"max_tokens": 2, field: value})
COUNTED = ["model", "messages", "output_config", "system", "thinking", "tool_choice", "tools"]
for field in COUNTED + ["chat_template_kwargs", "max_tokens"]:
    for value in VALUES:
        count(f"{field} {json.dumps(value)}", "hi", **{field: value})
for missing in ("model", "messages", "max_tokens"):
    ask(f"no {missing}", drop=[missing])
    count(f"no {missing}", drop=[missing])

MESSAGES = dict(
    robot={"role": "robot", "content": "x"},
    no_role={"content": "x"},
    no_content={"role": "user"},
    null_content={"role": "user", "content": None},
    number={"role": "user", "content": 5},
    no_blocks={"role": "user", "content": []},
    no_type={"role": "user", "content": [{"text": "x"}]},
    odd_type={"role": "user", "content": [{"type": "document"}]},
    string_block={"role": "user", "content": ["x"]},
    bad_text={"role": "user", "content": [{"type": "text", "text": 5}]},
    no_text={"role": "user", "content": [{"type": "text"}]},
    empty_text={"role": "user", "content": [text("")]},
    empty={"role": "user", "content": ""},
    bad_source={"role": "user", "content": [{"type": "image", "source": "x"}]},
    bad_input={"role": "assistant", "content": [{"type": "tool_use", "input": []}]},
    bad_result={"role": "user", "content": [{"type": "tool_result", "content": [5]}]},
    bad_error={"role": "user", "content": [{"type": "tool_result", "is_error": "maybe"}]},
    addition={"role": "user", "content": [{"type": "tool_addition"}]},
    addition_here={
        "role": "user",
        "content": [
            {"type": "tool_addition", "tool": {"type": "tool_reference", "name": "get_time"}}
        ],
    },
    addition_odd={"role": "system", "content": [{"type": "tool_addition", "tool": {"type": "x"}}]},
    addition_untyped={"role": "system", "content": [{"type": "tool_addition", "tool": {}}]},
    addition_string={"role": "system", "content": [{"type": "tool_addition", "tool": "x"}]},
    addition_unnamed={
        "role": "system",
        "content": [{"type": "tool_addition", "tool": {"type": "tool_reference"}}],
    },
    addition_undefined={
        "role": "system",
        "content": [{"type": "tool_addition", "tool": {"type": "tool_definition"}}],
    },
    addition_unknown={
        "role": "system",
        "content": [{"type": "tool_addition", "tool": {"type": "tool_reference", "name": "f"}}],
    },
    removal_defined={
        "role": "system",
        "content": [
            {"type": "tool_removal", "tool": {"type": "tool_definition", "definition": TOOL}}
        ],
    },
    two_errors={"role": "robot", "content": [{"type": "x"}, {"type": "text", "text": []}]},
)
for name, message in MESSAGES.items():
    ask(f"message {name}", [message])
    count(f"message {name}", [message])
ask("many bad messages", [{"role": "x"}] * 8)
ask("messages of a string", "x", messages="x")
ask("messages none", [])
count("messages none", [])
for name, choice in dict(
    auto={"type": "auto"},
    any={"type": "any"},
    none={"type": "none"},
    unnamed={"type": "tool"},
    empty_name={"type": "tool", "name": ""},
    unknown={"type": "tool", "name": "f"},
    odd={"type": "required"},
    odd_parallel={"type": "auto", "disable_parallel_tool_use": "maybe"},
).items():
    ask(f"tool_choice {name} without tools", tool_choice=choice, max_tokens=4)
    count(f"tool_choice {name} without tools", tool_choice=choice)
    count(f"tool_choice {name} with tools", tool_choice=choice, tools=[TOOL])
for name, tool in dict(
    empty={},
    unnamed={"input_schema": {}},
    no_schema={"name": "f"},
    null_schema={"name": "f", "input_schema": None},
    string_schema={"name": "f", "input_schema": "x"},
    server_tool={"type": "web_search_20250305", "name": "web_search"},
    odd_strict={"name": "f", "input_schema": {}, "strict": "maybe"},
    odd_defer={"name": "f", "input_schema": {}, "defer_loading": 2},
    odd_description={"name": "f", "input_schema": {}, "description": 5},
    plain={"name": "f", "input_schema": {}},
    deferred={"name": "f", "input_schema": {}, "defer_loading": True},
    strict={"name": "f", "input_schema": {}, "strict": False},
    cached={"name": "f", "input_schema": {}, "cache_control": {"type": "ephemeral"}},
).items():
    count(f"tool {name}", tools=[tool])
for name, thinking in dict(
    low={"type": "enabled", "budget_tokens": 1023},
    unbudgeted={"type": "enabled"},
    odd_budget={"type": "enabled", "budget_tokens": "x"},
    odd_display={"type": "enabled", "budget_tokens": 1024, "display": "x"},
    high={"type": "enabled", "budget_tokens": 2000},
    untyped={"budget_tokens": 5},
    numbered={"type": 5},
    odd_adaptive={"type": "adaptive", "display": 5},
).items():
    ask(f"thinking {name}", thinking=thinking, max_tokens=2000)
    count(f"thinking {name}", thinking=thinking)
ask(
    "thinking high on a prefill leg",
    thinking={"type": "enabled", "budget_tokens": 2000},
    max_tokens=1,
    kv_transfer_params={"do_remote_decode": True},
)
for name, config in dict(
    effort={"effort": "minimal"},
    format={"format": {"type": "text"}},
    schema={"format": {"type": "json_schema", "schema": []}},
    no_schema={"format": {"type": "json_schema"}},
    null_schema={"format": {"schema": None}},
    string={"format": "x"},
).items():
    ask(f"output_config {name}", output_config=config, max_tokens=3)
    count(f"output_config {name}", output_config=config)
for salt in ("a/b", "x" * 129, "x" * 1025, "é"):
    ask(f"cache_salt of {len(salt)} {salt[:3]}", cache_salt=salt, max_tokens=2)
for values in (["a"] * 5, [""], [5], "a", ["zzzz"]):
    both(f"stop_sequences {json.dumps(values)}", stop_sequences=values, max_tokens=3)
for system in ([{"type": "tool_addition"}], [{"text": "x"}], 5, [5], [{"type": "image"}]):
    ask(f"system {json.dumps(system)}", system=system, max_tokens=3)
    count(f"system {json.dumps(system)}", system=system)
ask(
    "system tool_addition",
    system=[{"type": "tool_addition", "tool": {"type": "tool_reference", "name": "f"}}],
)

# --- what the handlers refuse
ask("model unknown", model="nope")
ask("model unknown, streamed", model="nope", stream=True)
count("model unknown", model="nope")
render("model unknown", model="nope")
both("temperature high", temperature=3)
both("temperature low", temperature=-1)
both("top_p 0", top_p=0)
both("top_p 2", top_p=2)
both("top_k -2", top_k=-2)
both("top_k 1e30", top_k=10**30)
both("max_tokens 5000", max_tokens=5000)
both("max_tokens 1e30", max_tokens=10**30)
both("long prompt", "x " * 5000)
count("long prompt", "x " * 5000)
both("full prompt", "hi " * 2043)
for name, source in IMAGES.items():
    ask(f"image {name}", [says("user", text("see"), {"type": "image", "source": source})])
    ask(f"image {name} alone", [says("user", {"type": "image", "source": source})])
count("image", [says("user", {"type": "image", "source": IMAGES["base64"]})])
render("image", [says("user", {"type": "image", "source": IMAGES["base64"]})])
ask("image without source", [says("user", {"type": "image"})])
ask("image empty source", [says("user", {"type": "image", "source": {}})])
ask("chat_template", chat_template_kwargs={"chat_template": "x"})
count("chat_template", chat_template_kwargs={"chat_template": "x"})
ask("prompt ids", kv_transfer_params={"prompt_token_ids": [5, 6, 7]}, max_tokens=2)
ask("prompt ids odd", kv_transfer_params={"prompt_token_ids": ["x"]})
ask("prompt ids outside", kv_transfer_params={"prompt_token_ids": [99999]})
ask("big kv_transfer_params", kv_transfer_params={"a": 10**30})
for rank in ("0", "3", "x"):
    ask(f"rank {rank}", headers={**JSON, "x-data-parallel-rank": rank}, max_tokens=2)
    ask(
        f"rank {rank}, streamed",
        headers={**JSON, "x-data-parallel-rank": rank},
        max_tokens=2,
        stream=True,
    )
