"""`/v1/chat/completions/derender` beside parsers of reasoning and tool calls."""

from requests_parsed_bodies import NAMED, P, TIME, USER, WEATHER, chat_request, post, tokens

D = P + "/derender"
PROMPT = tokens("<|im_start|>user\nhi<|im_end|>\n<|im_start|>assistant\n")
CALL = (
    '<tool_call>\n{"name": "get_weather", "arguments": {"city": "Zürich", "days": 2}}\n</tool_call>'
)
OTHER = '<tool_call>\n{"name": "get_time", "arguments": {}}\n</tool_call>'
XML = (
    "<tool_call>\n<function=get_weather>\n<parameter=city>\nZürich\n</parameter>\n"
    "<parameter=days>\n2\n</parameter>\n</function>\n</tool_call>"
)
OTHER_XML = "<tool_call>\n<function=get_time>\n</function>\n</tool_call>"
THOUGHT = "<think>\nHm, 世界.\n</think>\n\n"
QUIET = {"chat_template_kwargs": {"enable_thinking": False}}
SAID = {
    "nothing special": "Hello, 世界!",
    "thought": THOUGHT + "Hello.",
    "thought, open": "<think>\nHm, 世",
    "thought, no start": "Hm.\n</think>\nHello.",
    "blank": " \n",
    "call": CALL,
    "thought and call": THOUGHT + CALL,
    "text and call": THOUGHT + "Let me see.\n" + CALL,
    "two calls": CALL + "\n" + OTHER,
    "thought and two calls": THOUGHT + CALL + "\n" + OTHER,
    "open call": THOUGHT + CALL[:60],
    "broken call": THOUGHT + CALL.replace('": {', '" {'),
    "arguments alone": '{"city": "Rome"}',
    "list of calls": '[{"name": "get_weather", "parameters": {"city": "Rome"}}]',
    "xml": XML,
    "thought and xml": THOUGHT + XML,
    "text and two xml": "So: " + XML + OTHER_XML,
    "open xml": THOUGHT + XML[:80],
    "xml of nobody": XML.replace("get_weather", "nobody"),
    "special tokens": "<|im_start|>a<|im_end|>",
}
ASKED = {
    "": {},
    ", quiet": QUIET,
    ", no tools": {"tools": None},
    ", none": {"tool_choice": "none"},
    ", null": {"tool_choice": None, **QUIET},
    ", required": {"tool_choice": "required", **QUIET},
    ", named": {"tool_choice": NAMED, **QUIET},
    ", hidden": {"include_reasoning": False, "return_token_ids": True},
    ", single": {"parallel_tool_calls": False, **QUIET},
}


def asked(over):
    request = chat_request(**over)
    return {k: v for k, v in request.items() if not (k == "tools" and v is None)}


def response(text, **over):
    choice = {"index": 0, "token_ids": tokens(text), "finish_reason": "stop", **over}
    return {"request_id": "r", "choices": [choice]}


for said, text in SAID.items():
    for how, over in ASKED.items():
        post(
            said + how,
            D,
            {
                "generate_response": response(text),
                "chat_request": asked(over),
                "prompt_token_ids": PROMPT,
                "prompt_tokens": len(PROMPT),
            },
        )

HELLO = response(SAID["thought and call"])
post("no request", D, {"generate_response": HELLO})
post("no prompt", D, {"generate_response": HELLO, "chat_request": chat_request()})
post(
    "prompt inside",
    D,
    {
        "generate_response": {**HELLO, "prompt_token_ids": PROMPT + tokens("<think>\n\n</think>")},
        "chat_request": chat_request(),
    },
)
post(
    "token ids",
    D,
    {"generate_response": HELLO, "chat_request": chat_request(return_token_ids=True)},
)
LOGPROBS = {"content": [{"token_id": 51, "logprob": -0.5, "top_logprobs": []}]}
for name, over in {"": {}, ", hidden": {"include_reasoning": False}}.items():
    post(
        "logprobs" + name,
        D,
        {
            "generate_response": response(SAID["thought"], logprobs=LOGPROBS),
            "chat_request": chat_request(**over),
        },
    )
post("no tokens", D, {"generate_response": response(""), "chat_request": chat_request()})
post("cut", D, {
    "generate_response": response(SAID["call"], finish_reason="length", stop_reason=None),
    "chat_request": chat_request(**QUIET),
})
post("two choices", D, {
    "generate_response": {
        "request_id": "r",
        "choices": [
            {"index": i, "token_ids": tokens(text), "finish_reason": "stop"}
            for i, text in enumerate([SAID["thought"], SAID["two calls"]])
        ],
    },
    "chat_request": chat_request(**QUIET),
})
post("template", D, {
    "generate_response": HELLO,
    "chat_request": chat_request(chat_template="{{ messages }}"),
})
post("effort", D, {
    "generate_response": HELLO,
    "chat_request": chat_request(reasoning_effort="none"),
})
post("unknown tool", D, {
    "generate_response": HELLO,
    "chat_request": {"messages": USER, "tools": [TIME], "tool_choice": NAMED},
})


# --- Chunk by chunk: each request holds the state that the replies before would have left.
def stream(name, pieces, finish="stop", prompt=PROMPT, **over):
    """`pieces` of text; a piece may end inside of a character."""
    state, called = None, 0
    for at, piece in enumerate(pieces):
        delta = piece if isinstance(piece, list) else tokens(piece)
        ends = at == len(pieces) - 1
        choice = {"index": 0, "token_ids": delta or None}
        if ends:
            choice["finish_reason"] = finish
        body = {
            "stream": True,
            "generate_chunk": {"request_id": "r", "choices": [choice]},
            "prompt_token_ids": prompt,
            "chat_request": asked(over),
        }
        if state:
            body["stream_state"] = state
        post(f"{name}, chunk {at}", D, body)
        before = state or {"output_token_ids": [], "output_chunk_lens": []}
        called += "<tool_call>" in piece if isinstance(piece, str) else 0
        state = {
            "role_sent": True,
            "output_token_ids": before["output_token_ids"] + delta,
            "output_chunk_lens": before["output_chunk_lens"] + ([len(delta)] if delta else []),
            "tools_streamed": called > 0,
            "last_tool_call_ids": [f"chatcmpl-tool-{i}" for i in range(called)],
        }


def parts(text, size):
    every = tokens(text)
    return [every[at : at + size] for at in range(0, len(every), size)]


stream("plain", ["Hello, ", "world", "!"])
stream("plain, quiet", ["Hello, ", "world", "!"], **QUIET)
stream("characters", parts("世界 é", 2), **QUIET)
stream("thought", ["<think>", "\nHm, ", "世界", ".\n", "</think>", "\n\n", "Hello", "."])
stream("thought, hidden", ["<think>\nHm", "</think>", "Hello"], include_reasoning=False)
stream("thought, ids", ["<think>\nHm", "</think>", "Hello"], return_token_ids=True)
stream("thought, in one", [SAID["thought"]])
stream("thought in the prompt", ["Hm", "</think>\n\n", "Yes"], prompt=PROMPT + tokens("<think>\n"))
stream(
    "no thought in the prompt",
    ["Yes", "."],
    prompt=PROMPT + tokens("<think>\n\n</think>\n\n"),
)
CUTS = [CALL[:14], CALL[14:23], CALL[23:40], CALL[40:52], CALL[52:70], CALL[70:]]
stream("call", CUTS, **QUIET)
stream("call, thinking", [THOUGHT, *CUTS])
stream("call, named", CUTS, tool_choice=NAMED, **QUIET)
stream("call, required", CUTS, tool_choice="required", **QUIET)
stream("call, none", CUTS, tool_choice="none", **QUIET)
stream("call, null", CUTS, tool_choice=None, **QUIET)
stream("call, cut", CUTS[:4], finish="length", **QUIET)
stream("two calls", ["So: ", CALL, "\n", OTHER, ""], **QUIET)
stream("two calls, one wanted", [CALL, "\n", OTHER, ""], parallel_tool_calls=False, **QUIET)
XMLS = [XML[:12], XML[12:34], XML[34:60], XML[60:75], XML[75:110], XML[110:]]
stream("xml", XMLS, **QUIET)
stream("xml, thinking", [THOUGHT, *XMLS])
stream("xml, required", XMLS, tool_choice="required", **QUIET)
stream("xml, none", XMLS, tool_choice="none", **QUIET)
stream("two xml", ["So: ", XML, OTHER_XML, ""], **QUIET)
stream("xml, by bytes", parts(XML, 7), **QUIET)
CHUNK = {"request_id": "r", "choices": [{"index": 0, "token_ids": tokens("a")}]}
post("chunk without request", D, {"stream": True, "generate_chunk": CHUNK, "prompt_token_ids": []})
post("chunk without prompt", D, {
    "stream": True, "generate_chunk": CHUNK, "chat_request": chat_request()
})
post("chunk of two", D, {
    "stream": True,
    "generate_chunk": {"request_id": "r", "choices": [{"index": 0}, {"index": 1}]},
    "chat_request": chat_request(), "prompt_token_ids": PROMPT,
})
post("chunk of none", D, {
    "stream": True,
    "generate_chunk": {"request_id": "r", "choices": [], "usage": {
        "prompt_tokens": 3, "total_tokens": 5, "completion_tokens": 2}},
    "chat_request": chat_request(), "prompt_token_ids": PROMPT, "prompt_tokens": 4,
})
post("chunk with nothing", D, {
    "stream": True,
    "generate_chunk": {"request_id": "r", "choices": [{"index": 0}]},
    "chat_request": chat_request(), "prompt_token_ids": PROMPT,
})
post("chunk with logprobs", D, {
    "stream": True,
    "generate_chunk": {"request_id": "r", "choices": [
        {"index": 0, "token_ids": [51], "logprobs": LOGPROBS}]},
    "chat_request": chat_request(), "prompt_token_ids": PROMPT,
})
post("chunk too long", D, {
    "stream": True, "generate_chunk": CHUNK, "chat_request": chat_request(),
    "prompt_token_ids": [1] * 4096,
})
post("state of another", D, {
    "stream": True, "generate_chunk": CHUNK, "chat_request": chat_request(),
    "prompt_token_ids": PROMPT, "stream_state": {
        "prev_tokens": ["a", "b"], "prefix_offset": 1, "read_offset": 2,
        "logprob_context_token_ids": [5], "logprob_text_offset": 3, "tools_streamed": True,
        "output_token_ids": tokens("abc"), "output_chunk_lens": [1, 2]},
})
