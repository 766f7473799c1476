"""The requests that are sent to servers which parse reasoning and tool calls.

They are sent to servers with the flags FLAGS, and their replies are recorded with the tokens behind
them (tests/data/recorded/parsed-0.32.json), so that a scripted model can give the same output again
(tests/http_api/parsed.rs).
"""

from cases import CASES as OTHERS, MODEL, TOOL, case, chat, user

FLAGS = [
    *("--reasoning-parser", "qwen3", "--enable-auto-tool-choice"),
    *("--tool-call-parser", "hermes", "--enable-scale-out"),
]
FIRST = len(OTHERS)
TIME = {
    "type": "function",
    "function": {
        "name": "get_time",
        "description": "Get the current time in a city.",
        "parameters": {
            "type": "object",
            "properties": {"city": {"type": "string"}, "utc": {"type": "boolean"}},
            "required": ["city"],
        },
    },
}
WEATHER = "What is the weather in Paris?"
NAMED = {"type": "function", "function": {"name": "get_weather"}}
QUIET = {"enable_thinking": False}
CALL = '<tool_call>\n{"name": "get_weather", "arguments": {"city": "Paris"}}\n</tool_call>'
CALL_TIME = (
    '<tool_call>\n{"arguments": {"city":"Rome", "utc":true}, "name": "get_time"}\n</tool_call>'
)
USAGE = {"include_usage": True}
RUNNING = {"include_usage": True, "continuous_usage_stats": True}


def said(name, ask="Who are you?", **fields):
    """A request, whole and streamed."""
    chat(f"parsed: {name}", ask, **fields)
    chat(f"parsed stream: {name}", ask, stream=True, **fields)


def calls(name, ask=WEATHER, **fields):
    said(name, ask, **(dict(tools=[TOOL, TIME], max_tokens=96) | fields))


def writes(name, text, **fields):
    """The model writes exactly this, for a grammar lets it write nothing else."""
    calls(name, structured_outputs={"choice": [text]}, **fields)


THINK = dict(chat_template_kwargs={}, max_tokens=160)

# --- Reasoning ---------------------------------------------------------------------------------
said("thinking", "What is 3 + 4?", **THINK)
said("thinking, cut", "What is 3 + 4?", **(THINK | {"max_tokens": 4}))
said("thinking, one token", "What is 3 + 4?", **(THINK | {"max_tokens": 1}))
said("thinking, hidden", "What is 3 + 4?", include_reasoning=False, **THINK)
said(
    "thinking, hidden, cut",
    "What is 3 + 4?",
    include_reasoning=False,
    chat_template_kwargs={},
    max_tokens=4,
)
said("thinking, token ids", "What is 3 + 4?", return_token_ids=True, **THINK)
said(
    "thinking, hidden, token ids",
    "What is 3 + 4?",
    return_token_ids=True,
    include_reasoning=False,
    **THINK,
)
said("thinking, logprobs", "What is 3 + 4?", logprobs=True, top_logprobs=1, **THINK)
said(
    "thinking, hidden, logprobs", "What is 3 + 4?", logprobs=True, include_reasoning=False, **THINK
)
said("thinking, special tokens asked away", "What is 3 + 4?", skip_special_tokens=True, **THINK)
said(
    "thinking, to the end token", "What is 3 + 4?", ignore_eos=True, **(THINK | {"max_tokens": 60})
)
said("not thinking")
said("not thinking, cut", max_tokens=3)
said("not thinking, effort none", reasoning_effort="none", chat_template_kwargs={})
said("thinking, effort low", reasoning_effort="low", **(THINK | {"max_tokens": 48}))
said("thinking, effort beside its own variable", reasoning_effort="low", max_tokens=12)
said("thinking null", chat_template_kwargs={"enable_thinking": None}, max_tokens=48)
said("thinking auto", chat_template_kwargs={"enable_thinking": "auto"}, max_tokens=48)
said("thinking 0", chat_template_kwargs={"enable_thinking": 0}, max_tokens=48)
said("stop string in the reasoning", "What is 3 + 4?", stop=["+"], **THINK)
said(
    "stop string behind the reasoning", "What is 3 + 4?", stop=["zzzzzzzzzz", "The answer"], **THINK
)
for options, name in ((USAGE, "usage"), (RUNNING, "running usage")):
    chat(
        f"parsed stream: thinking, {name}",
        "What is 3 + 4?",
        stream=True,
        stream_options=options,
        **THINK,
    )
chat(
    "parsed stream: not thinking, running usage", stream=True, stream_options=RUNNING, max_tokens=4
)
chat(
    "parsed stream: thinking, every 5 tokens",
    "What is 3 + 4?",
    stream=True,
    stream_interval=5,
    **THINK,
)
said(
    "an answer that goes on in reasoning",
    [*user("What is 3 + 4?"), {"role": "assistant", "content": "<think>\nI add"}],
    add_generation_prompt=False,
    continue_final_message=True,
    **THINK,
)
said(
    "an answer that goes on behind reasoning",
    [*user("What is 3 + 4?"), {"role": "assistant", "content": "<think>\n3 + 4\n</think>\n\nIt"}],
    add_generation_prompt=False,
    continue_final_message=True,
    stream_options=None,
    **THINK,
)
chat(
    "parsed: echo",
    [*user("Who are you?"), {"role": "assistant", "content": "I am"}],
    echo=True,
    add_generation_prompt=False,
    continue_final_message=True,
    max_tokens=5,
)
chat("parsed: echo of nothing", "What is 3 + 4?", echo=True, **(THINK | {"max_tokens": 3}))
chat(
    "parsed: reasoning of an earlier turn",
    [
        *user("What is 3 + 4?"),
        {"role": "assistant", "content": "7", "reasoning": "3 + 4 is 7."},
        *user("And 2 + 2?"),
    ],
    **THINK,
)

# --- Tool calls --------------------------------------------------------------------------------
calls("tools, auto")
calls("tools, auto, thinking", chat_template_kwargs={}, max_tokens=200)
calls(
    "tools, auto, thinking hidden", chat_template_kwargs={}, max_tokens=200, include_reasoning=False
)
calls("tools, auto, no call", "Who are you?")
calls("tools, none", tool_choice="none")
calls("tools, null", tool_choice=None)
calls("tools, cut inside the call", max_tokens=9)
calls("tools, cut before the name", max_tokens=4)
calls("tools, token ids", return_token_ids=True)
calls("tools, logprobs", logprobs=True, top_logprobs=1)
calls("tools, stop string in the call", stop=["Paris"])
calls("tools, long stop string", stop=["this is not what comes at all"])
chat(
    "parsed stream: tools, usage",
    WEATHER,
    tools=[TOOL],
    max_tokens=96,
    stream=True,
    stream_options=RUNNING,
)
chat(
    "parsed stream: tools, every 7 tokens",
    WEATHER,
    tools=[TOOL],
    max_tokens=96,
    stream=True,
    stream_interval=7,
)
calls(
    "tools, a result",
    [
        *user(WEATHER),
        {
            "role": "assistant",
            "content": None,
            "tool_calls": [
                {
                    "id": "chatcmpl-tool-1",
                    "type": "function",
                    "function": {"name": "get_weather", "arguments": '{"city": "Paris"}'},
                }
            ],
        },
        {"role": "tool", "tool_call_id": "chatcmpl-tool-1", "content": "18 degrees, sunny"},
    ],
)
calls(
    "tools, results in parts",
    [
        *user("What is the weather and the time in Paris?"),
        {
            "role": "assistant",
            "tool_calls": [
                {
                    "id": "a",
                    "type": "function",
                    "function": {"name": "get_weather", "arguments": '{"city": "Paris"}'},
                },
                {
                    "id": "b",
                    "type": "function",
                    "function": {"name": "get_time", "arguments": '{"city": "Paris"}'},
                },
            ],
        },
        {"role": "tool", "tool_call_id": "a", "content": [{"type": "text", "text": "18 degrees"}]},
        {"role": "tool", "tool_call_id": "b", "content": "12:30"},
    ],
)
writes("one call", CALL)
writes("text and a call", "Let me see.\n" + CALL)
writes("two calls", CALL + "\n" + CALL_TIME)
writes(
    "two calls, one wanted",
    "Both: " + CALL + "\n" + CALL_TIME + "\nDone.",
    parallel_tool_calls=False,
)
writes("text between calls", CALL + " and " + CALL_TIME + " end")
writes(
    "numbers",
    '<tool_call>{"name":"get_time","arguments":'
    '{"a":1e3,"b":[1,2.50,-0],"c":{"é":"ü\\u00e9"}}}</tool_call>',
)
writes(
    "arguments in a string",
    '<tool_call>\n{"name": "get_time", "arguments": "{\\"city\\": 1}"}\n</tool_call>',
)
writes("no arguments", '<tool_call>\n{"name": "get_time"}\n</tool_call>')
writes("no name", '<tool_call>\n{"arguments": {"city": "Rome"}}\n</tool_call>')
writes("broken", '<tool_call>\n{"name": "get_time", "arguments": {"city": }\n</tool_call>')
writes("a broken call behind a good one", CALL + "\n<tool_call>\n{oops}\n</tool_call>")
writes("an open call", CALL.removesuffix("\n</tool_call>"))
writes(
    "a brace too many",
    '<tool_call>\n{"name": "get_time", "arguments": {"city": "Rome"}}}\n</tool_call>',
)
writes("nothing in the tags", "A <tool_call></tool_call> b")
writes("half a tag at the end", "1 < 2 and then <tool_")
writes("text like a tag", "a </think> b <think> c </tool_call> d")
writes("a call, none wanted", CALL, tool_choice="none")
writes("white space and a call", " \n" + CALL)
chat("parsed: tags without tools", structured_outputs={"choice": [CALL]}, max_tokens=96)

# --- Refused, and other endpoints --------------------------------------------------------------
chat("parsed: a template of the request's own", chat_template="{{ messages }}")
chat("parsed: thinking budget below -1", thinking_token_budget=-2)
for budget in (0, 1, 5, 1000, -1):
    # Without any thinking so small a model is soon at a loss, and its next words are a tie.
    fields = THINK | {"thinking_token_budget": budget} | ({"max_tokens": 12} if budget == 0 else {})
    said(f"thinking budget {budget}", "What is 3 + 4?", **fields)
said("thinking budget, not thinking", "What is 3 + 4?", thinking_token_budget=3)
case(
    "parsed: completions are not",
    "POST",
    "/v1/completions",
    {"model": MODEL, "prompt": "<think>\n3 + 4 is", "temperature": 0, "max_tokens": 24},
)
RENDER = "/v1/chat/completions/render"
case("parsed: render", "POST", RENDER, {"messages": user("Who are you?"), "max_tokens": 5})
case(
    "parsed: render, not thinking",
    "POST",
    RENDER,
    {"messages": user("Who are you?"), "max_tokens": 5, "chat_template_kwargs": QUIET},
)
case(
    "parsed: render, reasoning hidden",
    "POST",
    RENDER,
    {"messages": user("Who are you?"), "max_tokens": 5, "include_reasoning": False},
)
case(
    "parsed: render, tools",
    "POST",
    RENDER,
    {"messages": user(WEATHER), "max_tokens": 5, "tools": [TOOL]},
)

# --- Forced calls: the grammar of tool_choice --------------------------------------------------
calls("tools, required", tool_choice="required")
calls("tools, required, thinking", tool_choice="required", chat_template_kwargs={}, max_tokens=200)
calls("tools, named", tool_choice=NAMED)
calls("tools, named, about something else", "Who are you?", tool_choice=NAMED)
calls("tools, required, cut", tool_choice="required", max_tokens=9)
calls("tools, required, one", tool_choice="required", parallel_tool_calls=False)

PARSED = OTHERS[FIRST:]
del OTHERS[FIRST:]
