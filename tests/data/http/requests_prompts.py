"""Prompts, messages, tools and tokens."""

from requests_base import *  # noqa: F403

# --- completions prompts
cmpl("no prompt", drop=["prompt"])
for name, value in [
    ("null", None),
    ("empty", ""),
    ("empty list", []),
    ("empty strings", [""]),
    ("a and empty", ["a", ""]),
    ("list of empty list", [[]]),
    ("number", 3),
    ("float list", [1.5]),
    ("mixed", ["a", 1]),
    ("mixed 2", [1, "a"]),
    ("mixed 3", [[1], "a"]),
    ("negative token", [-1]),
    ("negative in batch", [[1, -1]]),
    ("object", {}),
    ("bools", [True]),
    ("null in list", [None]),
    ("nested too deep", [[[1]]]),
    ("string tokens", ["1", "2"]),
    ("oov", [999999]),
    ("oov two", [1, 999998, 999999]),
    ("oov batch", [[1], [999999]]),
    ("huge token", [2**70]),
]:
    cmpl("prompt " + name, prompt=value)
long("completions prompt too many", C, '{"prompt": ["a"', ', "a"', 1024, "]}")
cmpl("prompt oov stream", prompt=[999999], stream=True)
cmpl("prompt empty strings stream", prompt=[""], stream=True)
long("completions prompt too long tokens", C, '{"prompt": [1', ", 1", 4096, "]}")
long("completions prompt longer tokens", C, '{"prompt": [1', ", 1", 4999, "]}")
long("completions prompt full tokens", C, '{"prompt": [1', ", 1", 4095, "]}")
long("completions prompt too long text", C, '{"prompt": "', "a b ", 4100, '"}')
long("completions prompt too long chars", C, '{"prompt": "', "a", 300000, '"}')
long("chat too long chars", P, '{"messages": [{"role": "user", "content": "', "é", 300000, '"}]}')
long("chat too long text", P, '{"messages": [{"role": "user", "content": "', "a b ", 4100, '"}]}')
long(
    "chat too long truncated",
    P,
    '{"max_tokens": 2, "truncate_prompt_tokens": -1, "messages": [{"role": "user", "content": "',
    "a b ",
    4100,
    '"}]}',
)
long(
    "completions too long truncated left",
    C,
    '{"max_tokens": 2, "truncate_prompt_tokens": 5, "truncation_side": "left", "prompt": "',
    "a b ",
    41000,
    '"}',
)
cmpl("prompt empty after truncation", prompt="abc", truncate_prompt_tokens=0)
cmpl("suffix", suffix="x")
cmpl("suffix echo", suffix="x", echo=True)
cmpl("suffix tokens", suffix="x", prompt=[1, 2])
cmpl("suffix number", suffix=3)
cmpl("max_tokens 0 echo", max_tokens=0, echo=True)
cmpl("prompt_embeds", drop=["prompt"], prompt_embeds="AAAA")
cmpl("prompt_embeds and prompt", prompt_embeds="AAAA")
cmpl("prompt_embeds number", prompt_embeds=3)
# --- chat messages
chat("no messages", drop=["messages"])
for name, value in [
    ("null", None),
    ("string", "x"),
    ("object", {}),
    ("empty", []),
    ("number", 3),
    ("strings", ["x"]),
    ("numbers", [1]),
    ("nulls", [None]),
    ("empty object", [{}]),
]:
    chat("messages " + name, messages=value)
messages("no role", {"content": "hi"})
messages("content null", {"role": "user", "content": None})
messages("content number", {"role": "user", "content": 3})
messages("content object", {"role": "user", "content": {}})
messages("content missing", {"role": "user"})
messages("role number", {"role": 3, "content": "x"})
messages("role null", {"role": None, "content": "x"})
messages("role unknown", {"role": "pirate", "content": "x"})
messages("system null", {"role": "system", "content": None})
messages("system missing", {"role": "system"})
messages(
    "assistant null", {"role": "user", "content": "hi"}, {"role": "assistant", "content": None}
)
messages("assistant missing", {"role": "user", "content": "hi"}, {"role": "assistant"})
messages("assistant number", {"role": "assistant", "content": 3})
messages("assistant tool_calls string", {"role": "assistant", "tool_calls": "x"})
messages("assistant tool_calls number", {"role": "assistant", "tool_calls": 3})
messages("assistant tool_calls items", {"role": "assistant", "tool_calls": [{"id": "a"}]})
messages(
    "assistant tool_calls type",
    {
        "role": "assistant",
        "tool_calls": [{"id": "a", "type": "x", "function": {"name": "f", "arguments": "{}"}}],
    },
)
messages(
    "assistant tool_calls ok",
    {"role": "user", "content": "hi"},
    {
        "role": "assistant",
        "tool_calls": [
            {"id": "a", "type": "function", "function": {"name": "f", "arguments": "{}"}}
        ],
    },
    {"role": "tool", "content": "3", "tool_call_id": "a"},
)
messages("tool null", {"role": "tool", "content": None, "tool_call_id": "a"})
messages("tool no id", {"role": "user", "content": "hi"}, {"role": "tool", "content": "x"})
messages(
    "function role",
    {"role": "user", "content": "hi"},
    {"role": "function", "content": "x", "name": "f"},
)
messages(
    "developer", {"role": "developer", "content": "be brief"}, {"role": "user", "content": "hi"}
)
messages("parts text", {"role": "user", "content": [{"type": "text", "text": "hi"}]})
messages("parts string", {"role": "user", "content": ["hi"]})
messages("parts empty", {"role": "user", "content": []})
messages("parts null", {"role": "user", "content": [None]})
messages("parts number", {"role": "user", "content": [3]})
messages("parts text number", {"role": "user", "content": [{"type": "text", "text": 3}]})
messages("parts text missing", {"role": "user", "content": [{"type": "text"}]})
messages("parts unknown", {"role": "user", "content": [{"type": "xyz", "xyz": 1}]})
messages(
    "parts image",
    {
        "role": "user",
        "content": [{"type": "image_url", "image_url": {"url": "data:image/png;base64,AAAA"}}],
    },
)
messages(
    "parts simple image", {"role": "user", "content": [{"image_url": "data:image/png;base64,AAAA"}]}
)
messages(
    "parts audio",
    {
        "role": "user",
        "content": [{"type": "input_audio", "input_audio": {"data": "AAAA", "format": "wav"}}],
    },
)
messages(
    "parts video",
    {
        "role": "user",
        "content": [{"type": "video_url", "video_url": {"url": "http://127.0.0.1:1/x"}}],
    },
)
messages("parts no type", {"role": "user", "content": [{"text": "hi"}]})
messages("parts empty object", {"role": "user", "content": [{}]})
messages("parts refusal", {"role": "assistant", "content": [{"type": "refusal", "refusal": "no"}]})
messages(
    "parts prompt_embeds", {"role": "user", "content": [{"type": "prompt_embeds", "data": "AAAA"}]}
)
messages("name number", {"role": "user", "content": "x", "name": 3})
messages("two bad", {"role": 3}, {"role": "user", "content": 3})
messages(
    "reasoning_content",
    {"role": "user", "content": "hi"},
    {"role": "assistant", "content": "x", "reasoning_content": "y"},
)
messages("reasoning number", {"role": "assistant", "content": "x", "reasoning": 3})
messages("extra field", {"role": "user", "content": "hi", "extra": 1})
chat("both prompt flags", continue_final_message=True, add_generation_prompt=True)
chat("continue alone", continue_final_message=True)
chat("continue", continue_final_message=True, add_generation_prompt=False)
chat("no generation prompt", add_generation_prompt=False)
chat("chat_template", chat_template="{{ messages }}")
chat("chat_template number", chat_template=3)
chat("chat_template kwarg", chat_template_kwargs={"chat_template": "x"})
chat("chat_template_kwargs string", chat_template_kwargs="x")
chat("chat_template_kwargs tokenize", chat_template_kwargs={"tokenize": True})
chat("chat_template_kwargs unknown", chat_template_kwargs={"foo": 1})
chat("mm_processor_kwargs", mm_processor_kwargs={"a": 1})
chat("media_io_kwargs", media_io_kwargs={"image": {"a": 1}})
chat("media_io_kwargs bad", media_io_kwargs={"image": 3})
chat("documents bad", documents=[{"a": 1}])
chat("documents string", documents="x")
chat("reasoning_effort bad", reasoning_effort="huge")
chat("reasoning_effort none", reasoning_effort="none")
chat("reasoning_effort number", reasoning_effort=3)
# --- tools
chat("tools empty", tools=[])
chat("tools auto", tools=[TOOL])
chat("tools none", tools=[TOOL], tool_choice="none")
chat("tools null choice", tools=[TOOL], tool_choice=None)
chat("tools required", tools=[TOOL], tool_choice="required")
chat("tools named", tools=[TOOL], tool_choice={"type": "function", "function": {"name": "f"}})
chat("tools named other", tools=[TOOL], tool_choice={"type": "function", "function": {"name": "g"}})
chat("tools bad choice", tools=[TOOL], tool_choice="xx")
chat("tools bad choice number", tools=[TOOL], tool_choice=3)
chat("tools bad choice list", tools=[TOOL], tool_choice=["a'b", None, True])
chat("tools bad function", tools=[TOOL], tool_choice={"type": "function"})
chat("tools bad function name", tools=[TOOL], tool_choice={"type": "function", "function": {}})
chat(
    "tools empty function name",
    tools=[TOOL],
    tool_choice={"type": "function", "function": {"name": ""}},
)
chat("tools bad choice type", tools=[TOOL], tool_choice={"type": "x", "function": {"name": "f"}})
chat("tool_choice alone", tool_choice="auto")
chat("tool_choice none alone", tool_choice="none")
chat("tool_choice null alone", tool_choice=None)
chat("tools string", tools="x")
chat("tools string none", tools="x", tool_choice="none")
chat("tools items", tools=[{}], tool_choice="none")
chat("tools item number", tools=[3], tool_choice="none")
chat(
    "tools function name",
    tools=[{"type": "function", "function": {"name": 3, "parameters": []}}],
    tool_choice="none",
)
chat("tools type", tools=[{"type": "x", "function": {"name": "f"}}], tool_choice="none")
# --- tokenize
tok("text", {"prompt": "hello world"})
tok("strings", {"prompt": "hello wörld", "return_token_strs": True})
tok("empty", {"prompt": ""})
tok("chat", {"messages": [{"role": "user", "content": "hi"}]})
tok(
    "chat strings",
    {"messages": [{"role": "user", "content": "hi"}], "return_token_strs": True, "tools": [TOOL]},
)
tok(
    "chat continue",
    {
        "messages": [{"role": "user", "content": "hi"}],
        "continue_final_message": True,
        "add_generation_prompt": False,
    },
)
tok(
    "chat flags",
    {
        "messages": [{"role": "user", "content": "hi"}],
        "continue_final_message": True,
        "add_generation_prompt": True,
    },
)
tok("chat empty messages", {"messages": []})
tok("chat template", {"messages": [{"role": "user", "content": "hi"}], "chat_template": "x"})
tok("both", {"prompt": "hello", "messages": [{"role": "user", "content": "hi"}]})
tok("neither", {})
tok("prompt number", {"prompt": 3})
tok("prompt list", {"prompt": ["a"]})
tok("messages bad", {"messages": 3})
tok("both bad", {"prompt": 3, "messages": 3})
tok("model", {"prompt": "x", "model": "nope"})
tok("flag", {"prompt": "x", "add_special_tokens": "maybe"})
tok("list", [])
tok("text", {"tokens": [1, 2, 3]}, "/detokenize")
tok("empty", {"tokens": []}, "/detokenize")
tok("special", {"tokens": [2022, 2024, 5]}, "/detokenize")
tok("none", {}, "/detokenize")
tok("negative", {"tokens": [-1]}, "/detokenize")
tok("string", {"tokens": ["x"]}, "/detokenize")
tok("numeric string", {"tokens": ["5"]}, "/detokenize")
tok("oov", {"tokens": [999999]}, "/detokenize")
tok("2^40", {"tokens": [2**40]}, "/detokenize")
tok("2^70", {"tokens": [2**70]}, "/detokenize")
tok("bool", {"tokens": [True]}, "/detokenize")
tok("string value", {"tokens": "x"}, "/detokenize")
tok("model", {"tokens": [1], "model": "nope"}, "/detokenize")
