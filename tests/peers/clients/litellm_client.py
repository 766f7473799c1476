"""LiteLLM against a server, as its `hosted_vllm` and its `openai` provider.

    python litellm_client.py http://127.0.0.1:8000/v1
"""

import json
import os
import sys

# Its price list comes from the network otherwise.
os.environ["LITELLM_LOCAL_MODEL_COST_MAP"] = "True"
import litellm  # noqa: E402
from said import KEY, MODEL, QUIET, TOOL, WEATHER, WHO  # noqa: E402

litellm.telemetry = False


def ask(provider, text="Who are you?", **more):
    options = dict(model=f"{provider}/{MODEL}", api_base=sys.argv[1], api_key=KEY, temperature=0)
    messages = [{"role": "user", "content": text}]
    return litellm.completion(
        **options, messages=messages, max_tokens=64, extra_body=QUIET, num_retries=0, **more
    )


def an_answer(provider):
    reply = ask(provider)
    assert reply.choices[0].message.content == WHO, reply
    assert reply.choices[0].finish_reason == "stop" and reply.usage.completion_tokens > 5, reply


def a_stream(provider):
    chunks = list(ask(provider, stream=True, stream_options={"include_usage": True}))
    said = "".join(chunk.choices[0].delta.content or "" for chunk in chunks if chunk.choices)
    assert said == WHO, chunks
    assert litellm.stream_chunk_builder(chunks).choices[0].message.content == WHO


def a_tool_call(provider):
    reply = ask(provider, WEATHER, tools=[TOOL])
    (call,) = reply.choices[0].message.tool_calls
    assert call.function.name == "get_weather", reply
    assert json.loads(call.function.arguments) == {"city": "Paris"}, reply
    assert reply.choices[0].finish_reason == "tool_calls", reply


def a_forced_tool_call(provider):
    named = {"type": "function", "function": {"name": "get_weather"}}
    reply = ask(provider, "Hello", tools=[TOOL], tool_choice=named)
    (call,) = reply.choices[0].message.tool_calls
    assert call.function.name == "get_weather", reply
    assert isinstance(json.loads(call.function.arguments), dict), reply


def errors_have_their_classes(provider):
    try:
        ask(provider, user="x", top_p=7)
    except litellm.BadRequestError as error:
        assert "top_p must be in (0, 1]" in str(error), error
    else:
        raise AssertionError("top_p 7 was accepted")


CHECKS = [an_answer, a_stream, a_tool_call, a_forced_tool_call, errors_have_their_classes]

if __name__ == "__main__":
    for provider in ("hosted_vllm", "openai"):
        for check in CHECKS:
            check(provider)
            print(f"ok   litellm, {provider}: {check.__name__.replace('_', ' ')}", flush=True)
