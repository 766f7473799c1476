"""OpenAI's Responses API: `/v1/responses` and its rendering."""

import json

from requests_base import raw

R = "/v1/responses"
JSON = {"content-type": "application/json"}
ASK = "What is the weather in Paris?"
QUIET = {"enable_thinking": False}
CITY = {
    "type": "object",
    "properties": {"city": {"type": "string", "description": "The name of the city."}},
    "required": ["city"],
}
TOOL = {
    "type": "function",
    "name": "get_weather",
    "description": "Get the current weather for a city.",
    "parameters": CITY,
}
CALL = {
    "type": "function_call",
    "call_id": "call_1",
    "name": "get_weather",
    "arguments": '{"city": "Paris"}',
}
OUTPUT = {"type": "function_call_output", "call_id": "call_1", "output": '{"temp": 12}'}


def ask(name, input=ASK, path=R, **more):
    body = {"input": input, "temperature": 0, "max_output_tokens": 40, **more}
    raw("responses " + name, "POST", path, json.dumps(body))


def streamed(name, input=ASK, **more):
    ask(name + " streamed", input, stream=True, **more)


def both(name, input=ASK, **more):
    ask(name, input, **more)
    streamed(name, input, **more)


def render(name, input=ASK, **more):
    ask("render " + name, input, path=R + "/render", **more)


def quiet(text):
    return dict(input=text, chat_template_kwargs=QUIET)


# --- Replies.
both("plain", request_id="resp_a", store=False)
both("quiet", **quiet("Who are you?"))
both("cut", max_output_tokens=3, **quiet("Who are you?"))
both("cut in reasoning", max_output_tokens=3)
both("without reasoning", include_reasoning=False)
both("logprobs", include=["message.output_text.logprobs"], top_logprobs=2, **quiet("Hi"))
both("logprobs alone", include=["message.output_text.logprobs"], **quiet("Hi"))
both("logprobs with reasoning", include=["message.output_text.logprobs"], top_logprobs=1)
both(
    "logprobs without reasoning",
    include=["message.output_text.logprobs"],
    include_reasoning=False,
)
both("top_logprobs alone", top_logprobs=3, **quiet("Hi"))
both("messages shown", enable_response_messages=True, **quiet("Hi"))
both("tools", tools=[TOOL], max_output_tokens=200)
both("tools quiet", tools=[TOOL], max_output_tokens=200, **quiet(ASK))
both("tools one call", tools=[TOOL], parallel_tool_calls=False, **quiet(ASK))
both("tools none", tools=[TOOL], tool_choice="none", **quiet(ASK))
both("tools cut in call", tools=[TOOL], max_output_tokens=8, **quiet(ASK))
both("namespace", tools=[{"type": "namespace", "name": "ns", "description": "d", "tools": [TOOL]}])
both("custom tool", tools=[{"type": "custom", "name": "run", "description": "d"}], **quiet("run"))
for kind in ("web_search_preview", "code_interpreter", "file_search", "web_search", "mcp"):
    tool = {"type": kind}
    if kind == "code_interpreter":
        tool["container"] = {"type": "auto"}
    if kind == "file_search":
        tool["vector_store_ids"] = ["a"]
    if kind == "mcp":
        tool.update(server_label="l", server_url="http://127.0.0.1:1")
    ask(f"built-in {kind}", tools=[tool], **quiet("Hi"))
ask("required without function", tools=[{"type": "web_search"}], tool_choice="required")
for effort in ("none", "minimal", "low", "medium", "high", "xhigh"):
    ask(f"effort {effort}", reasoning={"effort": effort}, max_output_tokens=4)
ask("reasoning summary", reasoning={"summary": "auto", "generate_summary": "concise"})
ask("effort null", reasoning={"effort": None}, max_output_tokens=4)
ask("effort before kwargs", reasoning={"effort": "low"}, **quiet("Hi"))
ask(
    "all shown",
    instructions="Be short.",
    metadata={"a": "b"},
    user="u",
    service_tier="flex",
    truncation="auto",
    max_tool_calls=3,
    parallel_tool_calls=None,
    text={"format": {"type": "text"}, "verbosity": "low"},
    prompt_cache_key="k",
    background=False,
    safety_identifier="x",
    top_p=0.5,
    presence_penalty=0.25,
    frequency_penalty=-0.5,
    **{k: v for k, v in quiet("Hi").items()},
)
ask(
    "tool shown",
    tools=[{**TOOL, "strict": True, "x": 1}],
    tool_choice={"type": "function", "name": "get_weather"},
    max_output_tokens=4,
)
ask("stream null", stream=None, max_output_tokens=2)
ask("store false", store=False, max_output_tokens=2)
ask("stop", stop="a", **quiet("Who are you?"))
ask("stop list", stop=["m", "q"], include_stop_str_in_output=True, **quiet("Who are you?"))
ask("special tokens", skip_special_tokens=False, **quiet("Hi"))
ask("ignore eos", ignore_eos=True, max_output_tokens=20, **quiet("Hi"))
ask("text null", text=None, max_output_tokens=2)
ask("default temperature", temperature=None, max_output_tokens=2)
ask("max tokens null", max_output_tokens=None, **quiet("Hi"))
ask("kv_transfer_params", kv_transfer_params={"a": 1}, max_output_tokens=2)
ask("empty model", model="", max_output_tokens=2)

# --- Input items.
items = {
    "messages": [
        {"role": "system", "content": "s"},
        {"role": "user", "content": [{"type": "input_text", "text": "a"}]},
        {"role": "assistant", "content": "b"},
        {"type": "message", "role": "user", "content": "c"},
    ],
    "developer": [{"role": "developer", "content": "d"}, {"role": "user", "content": "u"}],
    "assistant parts": [
        {"role": "user", "content": "a"},
        {"type": "message", "role": "assistant", "content": [{"type": "output_text", "text": "b"}]},
        {"role": "user", "content": "c"},
    ],
    "assistant parts without type": [
        {"role": "user", "content": "a"},
        {"role": "assistant", "content": [{"type": "input_text", "text": "b"}]},
        {"role": "user", "content": "c"},
    ],
    "two parts": [
        {
            "role": "user",
            "content": [{"type": "input_text", "text": "a"}, {"type": "input_text", "text": "b"}],
        }
    ],
    "call": [{"role": "user", "content": ASK}, CALL, OUTPUT],
    "two calls": [
        {"role": "user", "content": ASK},
        CALL,
        {**CALL, "call_id": "call_2", "namespace": "ns"},
        OUTPUT,
        {**OUTPUT, "call_id": "call_2"},
    ],
    "call behind message": [
        {"role": "user", "content": ASK},
        {"role": "assistant", "content": "I look."},
        CALL,
        OUTPUT,
    ],
    "reasoning": [
        {"role": "user", "content": ASK},
        {"type": "reasoning", "summary": [], "content": [{"type": "reasoning_text", "text": "r"}]},
        CALL,
        OUTPUT,
    ],
    "reasoning summary": [
        {"role": "user", "content": ASK},
        {"type": "reasoning", "id": "x", "summary": [{"type": "summary_text", "text": "r"}]},
        {"type": "message", "role": "assistant", "content": [{"type": "output_text", "text": "b"}]},
        {"role": "user", "content": "c"},
    ],
    "two reasonings": [
        {"role": "user", "content": ASK},
        {"type": "reasoning", "summary": [{"type": "summary_text", "text": "r"}]},
        {"type": "reasoning", "summary": []},
        {"role": "user", "content": "c"},
    ],
    "output parts": [
        {"role": "user", "content": ASK},
        CALL,
        {
            **OUTPUT,
            "output": [{"type": "input_text", "text": "x"}, {"type": "input_text", "text": "y"}],
        },
    ],
    "custom call": [
        {"role": "user", "content": ASK},
        {"type": "custom_tool_call", "call_id": "c", "name": "run", "input": "ls é\n"},
        {"type": "custom_tool_call_output", "call_id": "c", "output": "x"},
    ],
    "unfinished message": [
        {"role": "user", "content": "Who are you?"},
        {
            "type": "message",
            "role": "assistant",
            "status": "incomplete",
            "content": [{"type": "output_text", "text": "I am"}],
        },
    ],
    "unfinished reasoning": [
        {"role": "user", "content": "Who are you?"},
        {
            "type": "reasoning",
            "status": "in_progress",
            "summary": [],
            "content": [{"type": "reasoning_text", "text": "The user"}],
        },
    ],
    "easy unfinished": [
        {"role": "user", "content": "Who are you?"},
        {"role": "assistant", "content": "I am", "status": "incomplete"},
    ],
    "null parts": [{"role": "user", "content": "a"}, {"role": "assistant", "content": []}],
}
for name, value in items.items():
    render(name, value)
render("instructions", instructions="Be short.")
render("instructions empty", instructions="")
render(
    "instructions and system",
    [{"role": "system", "content": "s"}, {"role": "user", "content": "u"}],
    instructions="i",
)
render("tools", tools=[TOOL])
render(
    "tools all members",
    tools=[
        {
            **TOOL,
            "strict": True,
            "defer_loading": False,
            "x": 1,
            "output_schema": {"type": "object"},
        }
    ],
)
render("tools none", tools=[TOOL], tool_choice="none")
render("tool choice named", tools=[TOOL], tool_choice={"type": "function", "name": "get_weather"})
render("tool choice required", tools=[TOOL], tool_choice="required")
render(
    "namespace",
    tools=[
        {
            "type": "namespace",
            "name": "ns",
            "description": "d",
            "tools": [TOOL, {"type": "custom", "name": "c"}],
        },
        TOOL,
    ],
)
render("custom tool", tools=[{"type": "custom", "name": "run", "description": "d"}])
render("built-in", tools=[{"type": "web_search"}, TOOL])
render("effort", reasoning={"effort": "low"})
render("effort none", reasoning={"effort": "none"})
render("kwargs", chat_template_kwargs={"enable_thinking": False, "add_generation_prompt": True})
render("previous", previous_response_id="x")
render("previous messages", previous_input_messages=[{"role": "user", "content": "before"}])
render(
    "sampling",
    top_k=5,
    min_p=0.1,
    seed=3,
    stop=["a"],
    stop_token_ids=[5],
    logit_bias={"5": 1},
    repetition_penalty=1.1,
    ignore_eos=True,
    include=["message.output_text.logprobs"],
    top_logprobs=4,
    stream=True,
    model="tiny",
    cache_salt="s",
    request_id="r",
)
render("truncation", truncation="auto", max_output_tokens=None)
render("background", background=True)
render("unknown model", model="x")
