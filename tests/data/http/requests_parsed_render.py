"""The grammars that `/render` shows: of fields, and of tools."""

from requests_parsed_bodies import C, NAMED, P, STRICT, TIME, USER, WEATHER, post

R, M = "/v1/responses", "/v1/messages"
SCHEMA = {
    "type": "object",
    "properties": {"é": {"enum": ["ü\n", 1, 2.0, 1e100, None, True]}, "n": {"minimum": -1.5}},
    "required": ["n"],
}
TAG = {"type": "structural_tag", "format": {
    "type": "tag", "end": "</a>", "begin": "<a>", "content": {"type": "any_text"}}}
LEGACY = {
    "type": "structural_tag",
    "structures": [
        {"end": "</f>", "begin": "<f>", "schema": SCHEMA},
        {"schema": {"type": "null"}, "begin": "<f=", "end": ">", "x": 1},
    ],
    "triggers": ["<f"],
}
LEGACY_BARE = {**LEGACY, "structures": [{"begin": "<f=", "end": ">"}]}
EBNF = 'root ::= "a" | "ü"'
KINDS = {
    "json": {"json": SCHEMA},
    "json text": {"json": '{"type": "object"}'},
    "json text broken": {"json": '{"type": '},
    "json text blank": {"json": " "},
    "regex": {"regex": "[0-9]+ü"},
    "choice": {"choice": ["a", "ü"]},
    "choice empty": {"choice": []},
    "grammar": {"grammar": EBNF},
    "grammar lark": {"grammar": 'start: "a"'},
    "grammar blank": {"grammar": ""},
    "object": {"json_object": True},
    "object not": {"json_object": False},
    "tag": {"structural_tag": '{"type":"structural_tag","format":{"type":"any_text"}}'},
    "options": {"json": SCHEMA, "disable_any_whitespace": 1, "whitespace_pattern": " "},
    "unknown member": {"regex": "a", "x": 1},
}
FORMATS = {
    "text": {"type": "text"},
    "object": {"type": "json_object"},
    "schema": {"type": "json_schema", "json_schema": {"name": "n", "schema": SCHEMA, "strict": 1}},
    "schema missing": {"type": "json_schema", "json_schema": {"name": "n"}},
    "tag": TAG,
    "tag with more": {**TAG, "x": "ü"},
    "legacy": LEGACY,
    "legacy bare": LEGACY_BARE,
}


def chat(name, **over):
    post(name, P + "/render", {"messages": USER, "max_tokens": 9, **over})


def prompt(name, **over):
    post(name, C + "/render", {"prompt": "hi", "max_tokens": 9, **over})


for name, kind in KINDS.items():
    for ask in (chat, prompt):
        ask("outputs " + name, structured_outputs=kind)
    post("outputs " + name, R + "/render", {"input": "hi", "structured_outputs": kind})
for name, kind in FORMATS.items():
    for ask in (chat, prompt):
        ask("format " + name, response_format=kind)
for name, kind in {
    "object": {"type": "json_object"},
    "schema": {"type": "json_schema", "name": "n", "schema": SCHEMA, "strict": True},
    "text": {"type": "text"},
}.items():
    post("format " + name, R + "/render", {"input": "hi", "text": {"format": kind}})
prompt("format and options", structured_outputs={"regex": "a"}, response_format=FORMATS["object"])
prompt(
    "format and tag", structured_outputs={"json_object": True}, response_format=FORMATS["object"]
)
prompt("several prompts", prompt=["a", "b"], structured_outputs=KINDS["regex"])
chat("format and bias", response_format=TAG, logit_bias={"5": 1}, allowed_token_ids=[1, 2])

# --- Tools
LOOSE = {"type": "function", "function": {**WEATHER["function"], "strict": False}}
ODD = {
    "type": "function",
    "function": {
        "name": "ü\"n",
        "parameters": {"properties": {"a": None, "x": {"default": 1.0, "enum": [1e100, -0.0]}}},
        "strict": True,
    },
}
TOOLS = {
    "plain": [WEATHER],
    "strict": [STRICT],
    "two": [WEATHER, TIME],
    "one strict": [STRICT, TIME],
    "loose": [LOOSE],
    "odd": [ODD],
    "twice": [STRICT, STRICT],
}
CHOICES = {
    "auto": "auto",
    "required": "required",
    "named": NAMED,
    "none": "none",
    "null": None,
}
for name, tools in TOOLS.items():
    for choice, value in CHOICES.items():
        named = isinstance(value, dict) and name == "odd"
        if named:
            continue
        for single in ({}, {"parallel_tool_calls": False}, {"parallel_tool_calls": True}):
            label = "".join(f", parallel {v}" for v in single.values())
            chat(f"tools {name}, {choice}{label}", tools=tools, tool_choice=value, **single)
AUTO = {"tools": [STRICT], "tool_choice": "auto"}
for name, kind in KINDS.items():
    chat("tools and outputs " + name, **AUTO, structured_outputs=kind)
for name, kind in FORMATS.items():
    chat("tools and format " + name, **AUTO, response_format=kind)
    chat("forced and format " + name, tools=[WEATHER], tool_choice="required", response_format=kind)
chat("plain tools and format", tools=[WEATHER], response_format=FORMATS["schema"])
chat(
    "plain tools and format, single",
    tools=[WEATHER],
    response_format=FORMATS["schema"],
    parallel_tool_calls=False,
)
FORMATS_INSIDE = {
    "any text": {"type": "any_text", "excludes": ["a"], "max_chars": 3},
    "constant": {"type": "const_string", "value": "ü"},
    "token": {"type": "token", "token": 5},
    "not tokens": {"type": "exclude_token", "exclude_tokens": [5]},
    "tokens": {"type": "any_tokens", "max_tokens": 3},
    "regex": {"type": "regex", "pattern": "a+"},
    "grammar": {"type": "grammar", "grammar": EBNF},
    "sequence": {"type": "sequence", "elements": [{"type": "regex", "pattern": "a"}]},
    "or": {"type": "or", "elements": [{"type": "regex", "pattern": "a"}]},
    "triggered": {"type": "triggered_tags", "triggers": ["<a"], "tags": [TAG["format"]]},
    "separated": {"type": "tags_with_separator", "tags": [TAG["format"]], "separator": ","},
    "optional": {"type": "optional", "content": {"type": "regex", "pattern": "a"}},
    "plus": {"type": "plus", "content": {"type": "regex", "pattern": "a"}},
    "star": {"type": "star", "content": {"type": "regex", "pattern": "a"}},
    "repeat": {"type": "repeat", "min": 1, "max": 2, "content": {"type": "regex", "pattern": "a"}},
    "dispatch": {"type": "dispatch", "rules": [["<a", {"type": "regex", "pattern": "b"}]]},
    "xml": {"type": "json_schema", "json_schema": SCHEMA, "style": "qwen_xml"},
    "old xml": {"type": "qwen_xml_parameter", "json_schema": {"type": "object"}},
    "more": {"type": "regex", "x": 1, "pattern": "a"},
}
for name, inside in FORMATS_INSIDE.items():
    chat(
        "tools and tag " + name,
        **AUTO,
        response_format={"type": "structural_tag", "format": inside},
    )

CLAUDE = {"name": "get_weather", "input_schema": WEATHER["function"]["parameters"]}
for name, more in {
    "auto": {"tool_choice": {"type": "auto"}},
    "strict": {"tools": [{**CLAUDE, "strict": True}]},
    "any": {"tool_choice": {"type": "any"}},
    "any, parallel": {"tool_choice": {"type": "any", "disable_parallel_tool_use": False}},
    "any, single": {"tool_choice": {"type": "any", "disable_parallel_tool_use": True}},
    "auto, single": {"tool_choice": {"type": "auto", "disable_parallel_tool_use": True}},
    "tool": {"tool_choice": {"type": "tool", "name": "get_weather"}},
    "none": {"tool_choice": {"type": "none"}},
    "format": {"output_config": {"format": {"type": "json_schema", "schema": SCHEMA}}},
}.items():
    body = {"model": "qwen3-tiny", "max_tokens": 9, "messages": USER, "tools": [CLAUDE], **more}
    post("tools " + name, M + "/render", body)

FLAT = {"type": "function", **WEATHER["function"]}
CUSTOM = {"type": "custom", "name": "run", "description": "d"}
SPACE = {"type": "namespace", "name": "a", "description": "d", "tools": [FLAT]}
for name, more in {
    "auto": {},
    "strict": {"tools": [{**FLAT, "strict": True}]},
    "strict, single": {"tools": [{**FLAT, "strict": True}], "parallel_tool_calls": False},
    "single": {"parallel_tool_calls": False},
    "custom": {"tools": [CUSTOM], "tool_choice": "required"},
    "custom, named": {"tools": [CUSTOM, FLAT], "tool_choice": {"type": "custom", "name": "run"}},
    "custom, auto": {"tools": [CUSTOM, {**FLAT, "strict": True}]},
    "namespace": {"tools": [SPACE], "tool_choice": "required"},
    "built-in": {"tools": [{"type": "web_search"}, FLAT], "tool_choice": "required"},
    "built-in alone": {"tools": [{"type": "web_search"}], "tool_choice": "required"},
    "format": {
        "tools": [{**FLAT, "strict": True}],
        "text": {"format": {"type": "json_schema", "name": "n", "schema": SCHEMA}},
    },
    "allowed": {"tool_choice": {
        "type": "allowed_tools", "mode": "required",
        "tools": [{"type": "function", "name": "get_weather"}]}},
    "unknown": {"tool_choice": {"type": "function", "name": "x"}},
}.items():
    post("tools " + name, R + "/render", {"input": "hi", "tools": [FLAT], **more})
