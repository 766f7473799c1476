"""Tool calls: schemas, calls in hermes form, what to say once the tool has replied."""

import json

from tasks import chat, fact, pick
from words import CITIES, FRUITS, NAMES, SYSTEMS, THINGS, WORDS


def schema(r, name, desc, params, terse=False):
    props = {
        k: ({"type": t} if terse or not d else {"type": t, "description": d}) for k, t, d in params
    }
    f = {"name": name}
    if desc:
        f["description"] = desc
    f["parameters"] = {"type": "object", "properties": props, "required": [p[0] for p in params]}
    return {"type": "function", "function": f}


def known_tools(r):
    """(name, description, parameters, questions -> arguments, reply -> final answer)"""
    city, a, b = pick(r, CITIES), r.randrange(100), r.randrange(100)
    topic, n, who = pick(r, WORDS) + " " + pick(r, WORDS), r.randint(1, 60), pick(r, NAMES)
    deg, sky = r.randint(-5, 35), pick(r, ["sunny", "cloudy", "rainy", "windy", "snowy"])
    weather = pick(
        r,
        [
            json.dumps({"temperature": deg, "condition": sky}),
            json.dumps({"city": city, "temperature": deg, "condition": sky}),
            f"{deg} degrees, {sky}",
        ],
    )
    clock = f"{r.randrange(24):02d}:{r.randrange(60):02d}"
    res = pick(r, WORDS) + " " + pick(r, WORDS)
    return [
        (
            "get_weather",
            "Get the current weather for a city.",
            [("city", "string", "The name of the city.")],
            [
                "What is the weather in {}?",
                "How is the weather in {}?",
                "Tell me the weather in {}.",
                "Weather in {}?",
            ],
            {"city": city},
            (city,),
            weather,
            f"The weather in {city} is {sky} with {deg} degrees.",
        ),
        (
            "get_time",
            "Get the local time in a city.",
            [("city", "string", "The city.")],
            ["What time is it in {}?", "Tell me the time in {}."],
            {"city": city},
            (city,),
            pick(r, [clock, json.dumps({"time": clock})]),
            f"It is {clock} in {city}.",
        ),
        (
            "add",
            "Add two numbers.",
            [("a", "integer", ""), ("b", "integer", "")],
            ["Use the tool to add {} and {}.", "What is {} plus {}?", "Add {} and {}."],
            {"a": a, "b": b},
            (a, b),
            str(a + b),
            f"The result is {a + b}.",
        ),
        (
            "search",
            "Search the web.",
            [("query", "string", "What to search for.")],
            ["Search for {}.", "Search the web for {}.", "Find pages about {}."],
            {"query": topic},
            (topic,),
            f"title: {res}",
            f"I found this title: {res}.",
        ),
        (
            "set_timer",
            "Set a timer.",
            [("minutes", "integer", "How many minutes.")],
            ["Set a timer for {} minutes.", "Wake me in {} minutes."],
            {"minutes": n},
            (n,),
            "ok",
            "Done. The timer is set.",
        ),
        (
            "send_message",
            "Send a message to a person.",
            [("to", "string", ""), ("text", "string", "")],
            ["Send {} the message {}.", "Write to {}: {}"],
            {"to": who, "text": topic},
            (who, topic),
            "sent",
            f"I sent the message to {who}.",
        ),
    ]


def other_tool(r):
    """A tool the model has never seen: name and parameters must be read from the prompt."""
    name = (
        pick(r, "get find make open close read check move count play".split())
        + "_"
        + pick(r, THINGS + FRUITS + WORDS[:40])
    )
    keys = r.sample(
        "color size place name number speed level month owner label".split(), r.randint(1, 2)
    )
    args, said = {}, []
    for k in keys:
        args[k] = (
            r.randrange(1000)
            if k in ("number", "size", "speed", "level")
            else pick(r, WORDS + NAMES + CITIES)
        )
        said.append(f"{k} {args[k]}")
    params = [(k, "integer" if isinstance(args[k], int) else "string", "") for k in keys]
    desc = "" if r.random() < 0.5 else "Use it to " + name.replace("_", " a ") + "."
    q = pick(r, ["Call {} with {}.", "Use {} with {}.", "Please run {} with {}."])
    return (
        name,
        desc,
        params,
        [q.replace("{}", name, 1)],
        args,
        (" and ".join(said),),
        "ok",
        "Done. The tool says ok.",
    )


def call_text(calls):
    return "\n".join(
        '<tool_call>\n{"name": "%s", "arguments": %s}\n</tool_call>' % (n, json.dumps(a))
        for n, a in calls
    )


def tools(r, size, held, kind=None):
    """kind: tool_call, tool_two (two calls at once), tool_new (a tool never seen), tool_answer (the
    tool has replied) or tool_none (a question that needs none)."""
    kind = (
        kind
        or r.choices(
            ["tool_call", "tool_two", "tool_new", "tool_answer", "tool_none"], [30, 8, 24, 26, 12]
        )[0]
    )
    known = known_tools(r)
    if kind == "tool_two":
        t = pick(r, known[:2])
    elif kind == "tool_new" or kind == "tool_answer" and r.random() < 0.1:
        t = other_tool(r)
    else:
        t = pick(r, known)
    offered = [t] + r.sample(
        [o for o in known if o[0] != t[0]], r.randint(0, 1 if size < 0.3 else 2)
    )
    r.shuffle(offered)
    terse = r.random() < 0.6
    specs = [schema(r, o[0], o[1], o[2], terse) for o in offered]
    system = pick(r, SYSTEMS) if r.random() < 0.3 else None
    if kind == "tool_none":  # a question that needs no tool
        s = fact(r, size, held)
        return chat(
            kind,
            s["messages"][-1]["content"],
            s["answer"],
            s["reason"] + " No tool is needed.",
            system,
            tools=specs,
        )
    calls, q = [(t[0], t[4])], pick(r, t[3]).format(*t[5])
    if kind == "tool_two":
        c1, c2 = r.sample(CITIES, 2)
        calls = [(t[0], {"city": c1}), (t[0], {"city": c2})]
        q = pick(r, t[3]).format(f"{c1} and {c2}")
    reason = f"I call {t[0]}."
    if kind != "tool_answer":
        return chat(kind, q, call_text(calls), reason, system, tools=specs)
    turn = {
        "role": "assistant",
        "content": "",
        "tool_calls": [
            {"type": "function", "function": {"name": n, "arguments": a}} for n, a in calls
        ],
    }
    if r.random() < 0.4:
        turn["reasoning_content"] = reason
    s = chat(kind, q, t[7], f"The tool {t[0]} gave a result.", system, tools=specs)
    s["messages"] += [turn, {"role": "tool", "content": t[6]}]
    return s
