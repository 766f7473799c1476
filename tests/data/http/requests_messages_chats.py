"""Conversations of Anthropic's API, as token counts and as tokens."""

from requests_messages_base import *  # noqa: F403

BILLING = "x-anthropic-billing-header: a=1;"
CALL = {"type": "tool_use", "id": "toolu_1", "name": "get_weather", "input": {"city": "Paris"}}


def result(content, **more):
    return {"type": "tool_result", "tool_use_id": "toolu_1", "content": content, **more}


def added(name, **more):
    return {"type": "tool_addition", "tool": {"type": "tool_reference", "name": name}, **more}


def removed(name):
    return {"type": "tool_removal", "tool": {"type": "tool_reference", "name": name}}


CONVERSATIONS = dict(
    plain=user("hi"),
    one_block=[says("user", text("hi"))],
    two_blocks=[says("user", text("hi"), text("there"))],
    cached_block=[says("user", {**text("hi"), "cache_control": {"type": "ephemeral"}})],
    empty_block=[says("user", text(""), text("hi"))],
    only_empty=[says("user", text("")), ASKED],
    turns=[ASKED, {"role": "assistant", "content": "Sunny."}, {"role": "user", "content": "hi"}],
    last_assistant=[ASKED, {"role": "assistant", "content": "Sun"}],
    only_assistant=[{"role": "assistant", "content": "Sun"}],
    empty_assistant=[ASKED, says("assistant"), ASKED],
    inline_system=[ASKED, {"role": "system", "content": "Be brief."}, ASKED],
    inline_blocks=[ASKED, says("system", text("Be "), text("brief.")), ASKED],
    inline_billing=[ASKED, {"role": "system", "content": BILLING}, ASKED],
    inline_billing_block=[ASKED, says("system", text(BILLING), text("Be brief.")), ASKED],
    inline_empty=[ASKED, {"role": "system", "content": ""}, ASKED],
    inline_image=[ASKED, says("system", {"type": "image"}), ASKED],
    only_system=[{"role": "system", "content": "Be brief."}],
    user_billing=user(BILLING + "\nhi"),
    thinking=[
        ASKED,
        says("assistant", {"type": "thinking", "thinking": "Sun.", "signature": "s"}, text("Sun.")),
        ASKED,
    ],
    only_thinking=[ASKED, says("assistant", {"type": "thinking", "thinking": "Sun."}), ASKED],
    two_thoughts=[
        ASKED,
        says(
            "assistant",
            {"type": "thinking", "thinking": "A."},
            {"type": "redacted_thinking", "data": "x"},
            {"type": "thinking", "thinking": "B."},
            CALL,
        ),
        says("user", result("sunny")),
    ],
    unthought=[ASKED, says("assistant", {"type": "thinking"}, text("Sun.")), ASKED],
    redacted=[ASKED, says("assistant", {"type": "redacted_thinking", "data": "x"}), ASKED],
    tool=[ASKED, says("assistant", CALL), says("user", result("sunny"))],
    tool_said=[ASKED, says("assistant", text("Let me see."), CALL), says("user", result("sunny"))],
    tool_bare=[ASKED, says("assistant", {"type": "tool_use"}), says("user", result("sunny"))],
    tool_arguments=[
        ASKED,
        says("assistant", {**CALL, "input": {"city": "Zürich \"1\"", "n": [1, 2.0, None, True]}}),
        says("user", result("sunny")),
    ],
    two_calls=[
        ASKED,
        says("assistant", CALL, {**CALL, "id": "toolu_2", "input": {"city": "Rome"}}),
        says("user", result("sunny"), result("rain"), text("And?")),
    ],
    result_text=[ASKED, says("assistant", CALL), says("user", result([text("a"), text("b")]))],
    result_none=[ASKED, says("assistant", CALL), says("user", {"type": "tool_result"})],
    result_error=[ASKED, says("assistant", CALL), says("user", result("bad", is_error=True))],
    result_odd=[ASKED, says("assistant", CALL), says("user", result([{"type": "x"}, {}]))],
    result_untexted=[ASKED, says("assistant", CALL), says("user", result([{"type": "text"}]))],
    result_nontext=[
        ASKED,
        says("assistant", CALL),
        says("user", result([{"type": "text", "text": 5}])),
    ],
    result_image=[
        ASKED,
        says("assistant", CALL),
        says("user", result([{"type": "image", "source": IMAGES["base64"]}])),
    ],
    result_image_unsourced=[
        ASKED,
        says("assistant", CALL),
        says("user", result([{"type": "image", "source": {"type": "url"}}])),
    ],
    result_image_odd=[
        ASKED,
        says("assistant", CALL),
        says("user", result([{"type": "image", "source": "x"}])),
    ],
    result_reference=[
        ASKED,
        says("assistant", CALL),
        says("user", result([{"type": "tool_reference", "tool_name": "get_time"}])),
    ],
    result_references=[
        ASKED,
        says("assistant", CALL),
        says(
            "user",
            result(
                [
                    text("found"),
                    {"type": "tool_reference", "name": "get_time"},
                    {"type": "tool_reference", "tool_name": "f"},
                    {"type": "tool_reference"},
                ]
            ),
        ),
    ],
    result_reference_odd=[
        ASKED,
        says("assistant", CALL),
        says("user", result([{"type": "tool_reference", "name": 5}])),
    ],
    result_of_assistant=[ASKED, says("assistant", result("sunny")), ASKED],
    result_list_of_assistant=[
        ASKED,
        says("assistant", result([{"type": "text", "text": "é'\n", "n": [None, True, 1.5]}])),
        ASKED,
    ],
    no_result_of_assistant=[ASKED, says("assistant", {"type": "tool_result"}), ASKED],
    reference=[says("user", {"type": "tool_reference", "tool_name": "f"}, text("hi"))],
    calls_of_user=[says("user", CALL, text("hi"))],
    calls_only_of_user=[says("user", CALL), ASKED],
    thoughts_of_user=[says("user", {"type": "thinking", "thinking": "t"}), ASKED],
    added=[ASKED, says("system", added("get_time")), ASKED],
    added_unknown=[ASKED, says("system", added("f\n'")), ASKED],
    removed=[ASKED, says("system", removed("get_weather")), ASKED],
    removed_unknown=[ASKED, says("system", removed("f")), ASKED],
    removed_all=[ASKED, says("system", removed("get_weather"), removed("get_time")), ASKED],
    readded=[ASKED, says("system", removed("get_time"), added("get_time")), ASKED],
    defined=[
        ASKED,
        says(
            "system",
            {
                "type": "tool_addition",
                "tool": {
                    "type": "tool_definition",
                    "definition": {"name": "f", "input_schema": {"a": 1}},
                },
            },
            text("Be brief."),
        ),
        ASKED,
    ],
    redefined=[
        ASKED,
        says(
            "system",
            {
                "type": "tool_addition",
                "tool": {
                    "type": "tool_definition",
                    "definition": {"name": "get_weather", "input_schema": {}},
                },
            },
        ),
        ASKED,
    ],
)
for name, conversation in CONVERSATIONS.items():
    count(name, conversation)
    count(name + ", tools", conversation, tools=[TOOL, {**TIME, "defer_loading": True}])
    render(name, conversation)
    render(name + ", tools", conversation, tools=[TOOL, {**TIME, "defer_loading": True}])
for name, system in dict(
    string="Be brief.",
    empty="",
    no_blocks=[],
    blocks=[text("Be "), text("brief.")],
    billing=[text(BILLING), text("Be brief.")],
    only_billing=[text(BILLING)],
    billing_string=BILLING + "\nBe brief.",
    other_blocks=[{"type": "image"}, text(""), text("Be brief.")],
).items():
    count(f"system {name}", system=system)
    render(f"system {name}", system=system)
    render(f"system {name}, inline", CONVERSATIONS["inline_system"], system=system)
for name, fields in dict(
    disabled={"thinking": {"type": "disabled"}},
    adaptive={"thinking": {"type": "adaptive"}},
    summarized={"thinking": {"type": "adaptive", "display": "summarized"}},
    effort={"output_config": {"effort": "low"}},
    max_effort={"output_config": {"effort": "max"}},
    effort_disabled={"output_config": {"effort": "high"}, "thinking": {"type": "disabled"}},
    kwargs={"chat_template_kwargs": QUIET},
    kwargs_disabled={
        "chat_template_kwargs": {"enable_thinking": True},
        "thinking": {"type": "disabled"},
    },
    schema={"output_config": {"format": {"schema": {"type": "object"}}}},
    tool_choice={"tools": [TOOL], "tool_choice": {"type": "any"}},
    no_tool_choice={"tools": [TOOL], "tool_choice": {"type": "none"}},
    named_tool={"tools": [TOOL], "tool_choice": {"type": "tool", "name": "get_weather"}},
    no_tools={"tools": []},
).items():
    count(name, **fields)
    render(name, **fields)
render("budget", thinking={"type": "enabled", "budget_tokens": 1024}, max_tokens=2000)
count("budget", thinking={"type": "enabled", "budget_tokens": 1024})
render(
    "all fields",
    stop_sequences=["a"],
    temperature=0.5,
    top_k=3,
    top_p=0.9,
    cache_salt="salt",
    stream=True,
    metadata={"user_id": "u"},
    vllm_xargs={"a": 1},
    kv_transfer_params={"b": 2},
    mm_payload="none",
)
