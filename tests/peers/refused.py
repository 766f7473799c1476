"""Requests that are refused, or accepted where one would think that they are not."""

from cases import TOOL, case, chat, completion


def raw(name, body, headers=None, path="/v1/chat/completions"):
    case(name, "POST", path, body, headers)


# --- Bodies ------------------------------------------------------------------------------------
raw("bad json", b'{"model": "x", ')
raw("bad json, comma", b'{"messages": [],}')
raw("bad json, literal", b'{"messages": nul}')
raw("bad json, completions", b"hello", path="/v1/completions")
raw("empty body", b"")
raw("null body", b"null")
raw("list body", b"[1, 2]")
raw("string body", b'"text"')
raw("invalid utf-8", b'{"messages": "\xff\xfe"}')
raw("deep json", b'{"messages": ' + b"[" * 3000 + b"]" * 3000 + b"}")
raw("wrong content type", b'{"messages": []}', {"Content-Type": "text/plain"})
raw("space before parameters", b'{"messages": []}', {"Content-Type": "application/json ;a=b"})
raw(
    "content type with parameters",
    b'{"messages": [{"role":"user","content":"Hi"}],"max_tokens":1,"temperature":0}',
    {"Content-Type": "application/json; charset=utf-8"},
)
raw(
    "duplicate keys",
    b'{"messages": [{"role":"user","content":"Hi"}],"max_tokens":9,"max_tokens":1,"temperature":0}',
)
raw(
    "byte order mark",
    b'\xef\xbb\xbf{"messages": [{"role":"user","content":"Hi"}],"max_tokens":1,"temperature":0}',
)
raw("NaN", b'{"messages": [{"role":"user","content":"Hi"}],"temperature":NaN}')
raw("infinity", b'{"messages": [{"role":"user","content":"Hi"}],"temperature":1e999}')
raw("lone surrogate", b'{"messages": [{"role":"user","content":"\\ud800"}],"max_tokens":1}')
raw("no messages", b"{}")
raw("no prompt", b"{}", path="/v1/completions")

# --- Values ----------- -------------------------------------------------------------------
chat("messages not a list", messages="hi")
chat("messages null", messages=None)
chat("messages empty", messages=[])
chat("message without role", [{"content": "x"}])
chat("message content null", [{"role": "user", "content": None}])
chat("message is a string", ["hi"])
chat(
    "image part",
    [
        {
            "role": "user",
            "content": [{"type": "image_url", "image_url": {"url": "http://127.0.0.1/x.png"}}],
        }
    ],
)
chat("unknown model", model="nope")
for field, values in dict(
    max_tokens=["abc", 0, -1, 5000, 1.5, True, [1]],
    max_completion_tokens=[5000, 0],
    temperature=[-1, 3, "hot"],
    top_p=[0, 1.5],
    top_k=[-2, 1.5],
    min_p=[2],
    presence_penalty=[3],
    frequency_penalty=[-2.5],
    repetition_penalty=[0],
    n=[0, 2, "x", 20000],
    seed=[2**63, "x", -1],
    stop=["", ["a"] * 5, [""], 5],
    min_tokens=[50, -1],
    top_logprobs=[2],
    prompt_logprobs=[30, -3, "1"],
    logit_bias=[{"a": 1}, {"999999": 1}, {"1": 500}, [1]],
    stop_token_ids=[[999999], [-1], "x"],
    allowed_token_ids=[[], [999999]],
    bad_words=[[""], "x"],
    truncate_prompt_tokens=[0, -2, 99999],
    stream_options=[{"include_usage": True}],
    cache_salt=["", "a/b", "x" * 129],
    tools=[[]],
    tool_choice=["auto", "none", "xx"],
    chat_template=["{{ messages }}"],
    chat_template_kwargs=["x", {"tokenize": True}],
    response_format=[{"type": "json_schema"}, {"type": "x"}],
    structured_outputs=[
        {},
        {"json": {}, "regex": "a"},
        {"json": "{"},
        {"json": {"type": "foo"}},
        {"regex": "(a"},
        {"grammar": "root ::= undefined"},
        {"structural_tag": "x"},
    ],
    priority=["x"],
    logprobs=["x"],
    stream=["x"],
    thinking_token_budget=[-2, 5],
    reasoning_effort=["x"],
    ignore_eos=["x"],
    echo=[3],
    user=[7],
    request_id=[7],
).items():
    for value in values:
        shown = repr(value) if len(repr(value)) < 30 else repr(value)[:25] + "..."
        chat(
            f"chat {field}={shown}",
            text="greedy" if value not in (20000,) else "free",
            **{field: value},
        )
chat("top_logprobs negative", logprobs=True, top_logprobs=-3)
chat("top_logprobs all", logprobs=True, top_logprobs=-1, max_tokens=1)
chat("top_logprobs too many", logprobs=True, top_logprobs=30)
chat("stream, top_logprobs too many", stream=True, logprobs=True, top_logprobs=30)
chat("stream, prompt_logprobs", stream=True, prompt_logprobs=1)
chat("stream, out of vocabulary", stream=True, logit_bias={"999999": 1})
chat("stream, unknown model", stream=True, model="nope")
chat("auto tools", tools=[TOOL])
chat("required tools", tools=[TOOL], tool_choice="required")
chat(
    "named tool that is not there",
    tools=[TOOL],
    tool_choice={"type": "function", "function": {"name": "x"}},
)
chat("generation prompt and continuation", add_generation_prompt=True, continue_final_message=True)
chat("prompt too long", "river " * 4200)
chat("prompt too long by characters", "a" * 82_000)
chat("several errors at once", max_tokens="abc", n="x", seed=1.5)
completion("completion prompt=[]", prompt=[])
completion("completion prompt=''", prompt="")
completion("completion prompt=['']", prompt=[""])
completion("completion prompt=[[]]", prompt=[[]])
completion("completion prompt=['a','']", prompt=["a", ""])
completion("completion prompt=null", prompt=None)
completion("completion prompt=5", prompt=5)
completion("completion prompt={}", prompt={})
completion("completion prompt=[1,'a']", prompt=[1, "a"])
completion("completion of 1025 prompts", prompt=["a"] * 1025)
completion("completion of an unknown token", prompt=[999999])
completion("completion of a negative token", prompt=[-1])
completion("completion stream of an unknown token", prompt=[999999], stream=True)
completion("completion stream of nothing", prompt="", stream=True)
completion("completion stream of an empty list", prompt=[[]], stream=True)
completion("completion of too many tokens", prompt=[5] * 4097)
completion("completion of exactly the context", prompt=[5] * 4096, max_tokens=1)
completion("completion clamped to the context", prompt=[5] * 4094, max_tokens=100, ignore_eos=True)
for field, values in dict(
    max_tokens=[0, None, -1, 5000],
    n=[None, 0],
    logprobs=[30, -2, "2", 1.5],
    echo=["x"],
    suffix=["x"],
    prompt_logprobs=[30, "x"],
    stop=[["a"] * 5],
    best_of=[3],
    model=["nope", ""],
    use_beam_search=["x"],
).items():
    for value in values:
        completion(f"completion {field}={value!r}", **{field: value})
completion("completion stream, logprobs too many", stream=True, logprobs=30)
completion("completion stream, beam search", stream=True, use_beam_search=True, n=2, temperature=0)
completion("completion stream_options alone", stream_options={"include_usage": True})
