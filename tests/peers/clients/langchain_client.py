"""langchain-openai against a server: invoke, stream, batch, tools, and what it reports of usage.

    python langchain_client.py http://127.0.0.1:8000/v1
"""

import asyncio
import sys

from langchain_core.messages import AIMessage, HumanMessage, ToolMessage
from langchain_core.tools import tool
from langchain_openai import ChatOpenAI, OpenAI
from said import KEY, MODEL, QUIET, WEATHER, WHO


@tool
def get_weather(city: str) -> str:
    """Get the current weather for a city."""
    return "18 degrees, sunny"


def model(**more):
    options = dict(model=MODEL, base_url=sys.argv[1], api_key=KEY, temperature=0, max_tokens=64)
    return ChatOpenAI(**options, extra_body=QUIET, **more)


def an_answer():
    reply = model().invoke("Who are you?")
    assert reply.content == WHO and reply.response_metadata["finish_reason"] == "stop", reply
    used = reply.usage_metadata
    assert used["total_tokens"] == used["input_tokens"] + used["output_tokens"], used


def a_stream():
    chunks = list(model(stream_usage=True).stream("Who are you?"))
    assert "".join(chunk.content for chunk in chunks) == WHO and len(chunks) > 5, chunks
    assert sum(c.usage_metadata["output_tokens"] for c in chunks if c.usage_metadata) > 5, chunks


def a_batch():
    replies = model().batch(["Who are you?"] * 4)
    assert [reply.content for reply in replies] == [WHO] * 4, replies


def async_calls():
    async def together():
        return await asyncio.gather(*(model().ainvoke("Who are you?") for _ in range(4)))

    assert [reply.content for reply in asyncio.run(together())] == [WHO] * 4


def a_tool_and_its_answer():
    bound = model().bind_tools([get_weather])
    ask = HumanMessage(WEATHER)
    reply = bound.invoke([ask])
    (call,) = reply.tool_calls
    assert call["name"] == "get_weather" and call["args"] == {"city": "Paris"}, reply
    assert isinstance(reply, AIMessage) and reply.response_metadata["finish_reason"] == "tool_calls"
    answer = ToolMessage(get_weather.invoke(call["args"]), tool_call_id=call["id"])
    final = bound.invoke([ask, reply, answer])
    assert not final.tool_calls and "18 degrees" in final.content, final


def a_streamed_tool_call():
    whole = None
    for chunk in model().bind_tools([get_weather]).stream(WEATHER):
        whole = chunk if whole is None else whole + chunk
    (call,) = whole.tool_calls
    assert call["name"] == "get_weather" and call["args"] == {"city": "Paris"}, whole


def a_structured_answer():
    schema = {
        "title": "place",
        "type": "object",
        "properties": {"city": {"enum": ["Paris", "Rome"]}},
        "required": ["city"],
        "additionalProperties": False,
    }
    asked = model().with_structured_output(schema, method="json_schema")
    assert asked.invoke("Name a city.")["city"] in ("Paris", "Rome")


def a_completion():
    old = OpenAI(model=MODEL, base_url=sys.argv[1], api_key=KEY, temperature=0, max_tokens=8)
    assert old.invoke("The capital of Japan is").strip().startswith("Tokyo")


CHECKS = [an_answer, a_stream, a_batch, async_calls, a_tool_and_its_answer]
CHECKS += [a_streamed_tool_call, a_structured_answer, a_completion]

if __name__ == "__main__":
    for check in CHECKS:
        check()
        print(f"ok   langchain-openai: {check.__name__.replace('_', ' ')}", flush=True)
