"""Requests of Anthropic's API that are answered."""

from requests_messages_base import *  # noqa: F403
from requests_messages_chats import CONVERSATIONS

# --- replies
both("plain")
both("alias", model="alias-b", max_tokens=3)
both("system", system="You are a helpful assistant.", max_tokens=4)
both("cut", "Tell me a story about a fox named Mira.", max_tokens=5)
both("stopped", max_tokens=12, stop_sequences=["zzz", "small"])
both("stopped at once", stop_sequences=["I"])
both("metadata", metadata={"user_id": "u"}, max_tokens=2)
both("unknown fields", service_tier="auto", container=None, max_tokens=2)
both("salted", cache_salt="salt", max_tokens=2)
both("request id", headers={**JSON, "x-request-id": "abc"}, max_tokens=2)
both("empty request id", headers={**JSON, "x-request-id": ""}, max_tokens=2)
both("load metrics", headers={**JSON, "endpoint-load-metrics-format": "TEXT"}, max_tokens=2)
both("default sampling", drop=["temperature"], top_k=1, max_tokens=3)
FRANCE = "What is the capital of France?"
THINKS = dict(chat_template_kwargs={}, max_tokens=80)
both("thinks", FRANCE, **THINKS)
both("thinks, cut", FRANCE, **{**THINKS, "max_tokens": 4})
both("thinks, cut at 1", FRANCE, **{**THINKS, "max_tokens": 1})
both("thinks, stopped", FRANCE, **THINKS, stop_sequences=["Paris"])
both("told not to think", FRANCE, **THINKS, thinking={"type": "disabled"})
both("may think", FRANCE, **{**THINKS, "max_tokens": 5}, thinking={"type": "adaptive"})
both("effort", FRANCE, **{**THINKS, "max_tokens": 5}, output_config={"effort": "low"})
both("tool", ASK, tools=[TOOL], max_tokens=60)
both("tool, thinking", ASK, tools=[TOOL], **THINKS)
both("tool, auto", ASK, tools=[TOOL], max_tokens=60, tool_choice={"type": "auto"})
both("tool, cut", ASK, tools=[TOOL], max_tokens=20)
both("tool, cut early", ASK, tools=[TOOL], max_tokens=8)
both("tool, stopped", ASK, tools=[TOOL], max_tokens=60, stop_sequences=["Paris"])
both("tool, stopped behind", ASK, tools=[TOOL], max_tokens=60, stop_sequences=["</tool_call>"])
both("tool, none", ASK, tools=[TOOL], max_tokens=60, tool_choice={"type": "none"})
both("tool, not needed", "Who are you?", tools=[TOOL], max_tokens=60)
both("any without tools", max_tokens=12, tool_choice={"type": "any"})
both("auto without tools", max_tokens=12, tool_choice={"type": "auto"})
TWO = "What is the weather in Paris and in Rome?"
both("two tools", TWO, tools=[TOOL], max_tokens=90)
both(
    "two tools, one wanted",
    TWO,
    tools=[TOOL],
    max_tokens=90,
    tool_choice={"type": "auto", "disable_parallel_tool_use": True},
)
both("tool answered", CONVERSATIONS["tool"], tools=[TOOL], max_tokens=40)
both(
    "long, cached",
    [{"role": "system", "content": "Answer briefly. " * 40}, {"role": "user", "content": "hi"}],
    max_tokens=2,
)
both("multi-turn", CONVERSATIONS["turns"], max_tokens=6)
both("goes on", CONVERSATIONS["last_assistant"], max_tokens=6)

# --- held to a form
both("any", ASK, tools=[TOOL], max_tokens=60, tool_choice={"type": "any"})
both("named", ASK, tools=[TOOL], max_tokens=60, tool_choice={"type": "tool", "name": "get_weather"})
both("unknown name", ASK, tools=[TOOL], max_tokens=6, tool_choice={"type": "tool", "name": "f"})
both("name without tools", ASK, max_tokens=6, tool_choice={"type": "tool", "name": "f"})
both(
    "budget",
    FRANCE,
    chat_template_kwargs={},
    max_tokens=1100,
    thinking={"type": "enabled", "budget_tokens": 1024},
)
both(
    "schema",
    "Give me a person named Anna as JSON.",
    max_tokens=60,
    output_config={
        "format": {
            "type": "json_schema",
            "schema": {
                "type": "object",
                "properties": {"name": {"type": "string", "maxLength": 8}},
                "required": ["name"],
                "additionalProperties": False,
            },
        }
    },
)
both(
    "bad schema",
    max_tokens=6,
    output_config={"format": {"type": "json_schema", "schema": {"type": "nonsense"}}},
)
