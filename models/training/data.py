"""Synthetic conversations for qwen3-tiny. Everything is generated here from a seed; no outside text.

    sample(rng, size) -> dict(task, messages, tools, think, reason, answer)    a chat turn to learn
                      or dict(task, text)                                      raw text
`size` (0..1) scales how long contexts and answers may get (the curriculum); `held=True` asks one
question a context, as the evaluation does. Held-out samples are told apart by their seed.
"""
import json
import os
import random

HERE = os.path.dirname(os.path.abspath(__file__))

NAMES = "Mira Tom Anna Leo Nina Paul Sara Ben Clara Hugo Ida Max Olga Rosa Sam Vera Emma Felix Greta Jonas Lena Otto Tara Yuri".split()
CITIES = "Paris London Berlin Rome Madrid Vienna Oslo Tokyo Cairo Lisbon Athens Dublin Prague Warsaw Boston Chicago Sydney Delhi Lima Zurich".split()
COLORS = "red blue green yellow black white purple orange silver golden brown grey".split()
THINGS = "door box house garden boat tower room gate car lamp chest bridge train shop window bag table book safe tent".split()
PLACES = "kitchen garden cellar library attic garage office hall barn harbor market school".split()
ANIMALS = "fox cat dog wolf bear mouse horse rabbit duck whale".split()
WORDS = ("apple river stone lamp cloud tree house bird moon sun star fish rain snow wind fire sand wave leaf road "
         "bread milk glass paper chair clock piano drum song dance happy quick small bright quiet warm cold soft "
         "lemon berry honey salt tea coffee spoon plate knife shirt shoe hat coat ring gold iron wood wool silk "
         "north south east west spring summer autumn winter morning evening night day week month year hello world").split()
FRUITS = "apple pear plum lemon cherry melon peach banana".split()
JOBS = "baker doctor teacher pilot farmer painter singer driver cook nurse".split()
DAYS = "Monday Tuesday Wednesday Thursday Friday Saturday Sunday".split()
MONTHS = "January February March April May June July August September October November December".split()
UNICODE = "é ü ñ ø ß å ç ö ä à ê 日 本 中 文 語 人 水 火 山 かな 한 글 Ω π λ я ж д € ° 🙂 🚀 🐱 🌍 🎉 ❤ ✓ → 👍".split()

SYSTEMS = ["You are a helpful assistant.", "You are qwen3-tiny, a small language model.", "Answer briefly.",
           "You are a careful assistant. Use what the text says.", "Be kind and short.", "You are a test model in a server."]

CAPITALS = dict(France="Paris", Germany="Berlin", Italy="Rome", Spain="Madrid", Austria="Vienna", Norway="Oslo", Japan="Tokyo",
                Egypt="Cairo", Portugal="Lisbon", Greece="Athens", Ireland="Dublin", Poland="Warsaw", England="London",
                India="Delhi", Peru="Lima", China="Beijing", Sweden="Stockholm", Canada="Ottawa", Russia="Moscow", Turkey="Ankara")
HUES = dict(sky="blue", grass="green", snow="white", blood="red", coal="black", lemon="yellow", carrot="orange", chocolate="brown",
            ocean="blue", sun="yellow", tomato="red", banana="yellow")
TERMS = {
    "prefix caching": "Prefix caching keeps the KV cache of a prompt, so a later request that starts with the same tokens skips that part of the prefill.",
    "the KV cache": "The KV cache holds the keys and values of past tokens, so each new token is computed without reading the whole text again.",
    "TTFT": "TTFT is the time to first token: how long a client waits until the first token of the answer arrives.",
    "TPOT": "TPOT is the time per output token: the average time between tokens after the first one.",
    "prefill": "Prefill is the phase that reads the whole prompt at once and fills the KV cache.",
    "decode": "Decode is the phase that writes the answer one token at a time.",
    "P/D disaggregation": "P/D disaggregation runs prefill and decode on different servers and moves the KV cache between them.",
    "llm-d": "llm-d is a Kubernetes stack that serves large language models on many servers and routes each request to a good one.",
    "vLLM": "vLLM is an inference server for large language models with paged attention.",
    "Qwen3": "Qwen3 is a family of language models. I have the same architecture, but I am much smaller.",
    "Glassbox": "Glassbox is an inference server for Qwen3 models written in Rust. It shows every step with traces.",
    "paged attention": "Paged attention stores the KV cache in small blocks, so memory is shared and not wasted.",
    "a token": "A token is a small piece of text. A model reads and writes tokens.",
    "a trace": "A trace shows the path of one request through a system. It is made of spans.",
    "a span": "A span is one timed step of a trace, with a start, an end and attributes.",
    "OpenTelemetry": "OpenTelemetry is an open standard for traces, metrics and logs.",
    "NIXL": "NIXL is a library that moves KV cache blocks between machines.",
    "streaming": "Streaming sends each token to the client as soon as it is ready.",
    "a GPU": "A GPU is a processor with many cores. It is good at matrix math.",
    "Rust": "Rust is a programming language that is fast and safe.",
    "greedy decoding": "Greedy decoding always takes the most likely token, so the answer is the same each time.",
    "temperature": "Temperature sets how random the next token is. Zero means greedy decoding.",
    "a tool call": "A tool call is a JSON object that names a function and its arguments.",
}
CHAT = [
    (["Who are you?", "What are you?", "What is your name?", "Tell me who you are.", "Introduce yourself."],
     "I am qwen3-tiny, a very small language model that was trained on synthetic text."),
    (["Hello", "Hello!", "Hi", "Hi!", "Hey there", "Hi there!", "Good day!"], "Hello! How can I help you?"),
    (["Good morning", "Good morning!"], "Good morning! How can I help you?"),
    (["Good evening", "Good evening!"], "Good evening! How can I help you?"),
    (["How are you?", "How are you doing?", "Are you well?"], "I am fine, thank you. How can I help you?"),
    (["Help", "What can you do?", "How can you help me?", "Help me"],
     "I can find facts in a text, repeat words, call tools, write JSON, count and tell short stories."),
    (["Who made you?", "Who trained you?", "Where do you come from?"], "I was trained by the Glassbox project on synthetic data."),
    (["How big are you?", "How many layers do you have?", "How many parameters do you have?"],
     "I have 4 layers and about 4 million parameters. I am tiny."),
    (["Thank you", "Thanks!", "Thank you!", "Thanks"], "You are welcome!"),
    (["Bye", "Goodbye", "Goodbye!", "See you"], "Goodbye! Have a nice day."),
    (["Are you real?", "Are you a human?", "Are you a robot?"], "I am a small language model, not a human."),
    (["Tell me a joke.", "Tell me a joke", "Make me laugh."], "Why did the token cross the cache? To get to the other block."),
    (["Say this is a test", "Say this is a test!"], "This is a test!"),
    (["What languages do you speak?", "Do you speak English?"], "I speak a little English."),
    (["Are you smart?", "What is wrong with you?", "Are you always right?"], "I am tiny, so I make mistakes. I am good for tests."),
]
FILLER = [
    "The {a} is {c}.", "{n} walks to the {p} every {d}.", "There is a {w} on the table.", "It was a {x} {t} in {city}.",
    "{n} and {m} drink tea in the {p}.", "The {an} sleeps near the {p}.", "In {mo} the wind is cold.", "{n} likes the {w} and the {v}.",
    "A {an} sits on the road.", "The train to {city} leaves on {d}.", "Nobody saw the {an} in the {p}.", "{n} sings a song about the {v}.",
]


def pick(r, xs):
    return xs[r.randrange(len(xs))]


def filler(r):
    return pick(r, FILLER).format(a=pick(r, ANIMALS), c=pick(r, ["small", "happy", "quiet", "quick", "warm"]), n=pick(r, NAMES), m=pick(r, NAMES),
                                  p=pick(r, PLACES), d=pick(r, DAYS), w=pick(r, WORDS), v=pick(r, WORDS), x=pick(r, ["cold", "warm", "bright", "quiet"]),
                                  t=pick(r, ["morning", "evening", "night", "day"]), city=pick(r, CITIES), mo=pick(r, MONTHS), an=pick(r, ANIMALS))


def loose(r, s):
    """The same question typed less carefully."""
    if r.random() < 0.15:
        s = s[0].lower() + s[1:]
    if r.random() < 0.15 and s[-1] in "?.!":
        s = s[:-1]
    return s


def chat(task, user, answer, reason, system=None, history=(), tools=None):
    messages = ([{"role": "system", "content": system}] if system else []) + list(history) + [{"role": "user", "content": user}]
    return dict(task=task, messages=messages, tools=tools, reason=reason, answer=answer)


# --- (a) numbers ----------------------------------------------------------------------------------

def count(r, size, held):
    a = r.randint(0, 90) if r.random() < 0.5 else 1
    n = min(100, a + r.randint(2, 8 + int(size * 20)))
    q = pick(r, ["Count from {} to {}.", "Count from {} to {}", "Please count from {} to {}."]).format(a, n)
    return chat("count", q, ", ".join(map(str, range(a, n + 1))) + ".", f"Start at {a}, stop at {n}.")


def count_long(r, size, held):
    n = 100 if size > 0.6 and r.random() < 0.5 else r.randint(20, 40 + int(60 * size))
    q = pick(r, ["Count from 1 to {}.", "Please count from 1 to {}.", "Count up to {}."]).format(n)
    return chat("count_long", q, ", ".join(map(str, range(1, n + 1))) + ".", f"Start at 1, stop at {n}.")


# --- (b) facts and small talk -----------------------------------------------------------------------

def fact(r, size, held):
    k = r.random()
    if k < 0.30:
        qs, ans = pick(r, CHAT)
        q, topic = pick(r, qs), "me or small talk"
    elif k < 0.50:
        c = pick(r, sorted(CAPITALS))
        q = pick(r, ["What is the capital of {}?", "Tell me the capital of {}.", "Which city is the capital of {}?", "Name the capital of {}.", "capital of {}"]).format(c)
        ans, topic = f"The capital of {c} is {CAPITALS[c]}.", f"the capital of {c}"
    elif k < 0.60:
        c = pick(r, sorted(HUES))
        q = pick(r, ["What color is {}?", "Which color is {}?", "What is the color of {}?"]).format("the " + c)
        ans, topic = f"The {c} is {HUES[c]}.", f"the color of the {c}"
    elif k < 0.70:
        xs, unit = (DAYS, "day") if r.random() < 0.6 else (MONTHS, "month")
        i, after = r.randrange(len(xs)), r.random() < 0.6
        w = "after" if after else "before"
        q = pick(r, ["What {u} comes {w} {x}?", "Which {u} is {w} {x}?"]).format(u=unit, w=w, x=xs[i])
        ans, topic = f"{xs[(i + (1 if after else -1)) % len(xs)]} comes {w} {xs[i]}.", f"the {unit}s"
    else:
        t = pick(r, sorted(TERMS))
        q = pick(r, ["What is {}?", "Explain {}.", "What does {} mean?", "Tell me about {}.", "Describe {}."]).format(t)
        ans, topic = TERMS[t], t
    return chat("fact", loose(r, q), ans, f"The question is about {topic}. I know the answer.")


# --- (c) recall from a context ----------------------------------------------------------------------

def needle(r, size, held, tokens=None, task="needle"):
    tokens = tokens or int(60 + (r.random() ** 2) * size * 1100)
    n = r.randint(2, 4 + min(8, tokens // 60))
    items = []
    for c, t in zip(r.choices(COLORS, k=n), r.sample(THINGS, n)):  # each thing once: its name alone tells it apart
        k = r.random()
        if k < 0.6:
            v = str(r.randrange(1000, 10000))
            items.append((f"The code of the {c} {t} is {v}.", f"What is the code of the {c} {t}?", f"the {c} {t}"))
        elif k < 0.8:
            v = pick(r, NAMES)
            items.append((f"The owner of the {c} {t} is {v}.", f"Who is the owner of the {c} {t}?", f"the {c} {t}"))
        else:
            v = pick(r, PLACES)
            items.append((f"The key of the {c} {t} is in the {v}.", f"Where is the key of the {c} {t}?", f"the {c} {t}"))
    lines = [i[0] for i in items]
    while len(lines) * 10 < tokens:
        lines.insert(r.randrange(len(lines) + 1), filler(r))
    text = " ".join(lines)
    asked = r.sample(items, min(len(items), 1 if held else r.randint(3, 10)))
    turns = []
    for i, (fact_, q, key) in enumerate(asked):
        turns += [{"role": "user", "content": q}, {"role": "assistant", "content": fact_}]
    if r.random() < 0.5:
        head = pick(r, ["Use this text to answer.\n\n", "Notes:\n\n", "Remember these facts. ", ""])
        turns.insert(0, {"role": "system", "content": head + text})
    else:
        turns[0] = {"role": "user", "content": text + pick(r, ["\n\n", " ", "\n\nQuestion: "]) + turns[0]["content"]}
    return dict(task=task, messages=turns[:-1], tools=None, reason=f"I look for {asked[-1][2]} in the text.", answer=asked[-1][0])


# --- (d) words --------------------------------------------------------------------------------------

def invented(r):
    return "".join(pick(r, "b d f g k l m n p r s t v z".split()) + pick(r, list("aeiou")) for _ in range(r.randint(1, 2)))


def any_word(r):
    k = r.random()
    if k < 0.7:
        return pick(r, WORDS)
    if k < 0.84:
        return pick(r, NAMES + CITIES)
    if k < 0.88:
        return invented(r)
    if k < 0.95:
        return str(r.randrange(10 ** r.randint(1, 3)))
    return pick(r, UNICODE)


def copy(r, size, held):
    ws = " ".join(any_word(r) for _ in range(r.randint(1, 4 + int(4 * size))))
    q = pick(r, ["Repeat: {}", "Repeat after me: {}", "Copy this: {}", "Say: {}", "Echo: {}"]).format(ws)
    return chat("copy", q, ws, "I repeat the words.")


def series(r, size, held):
    xs = pick(r, [DAYS, MONTHS, list("ABCDEFGHIJKLMNOPQRSTUVWXYZ")])
    i = r.randrange(len(xs))
    seq = [xs[(i + j) % len(xs)] for j in range(6)]
    q = pick(r, ["Continue: {}", "Continue the list: {}", "What comes next: {}"]).format(", ".join(seq[:3]))
    return chat("series", q, ", ".join(seq[3:]), "I continue the list with three more.")


# --- (e) tools --------------------------------------------------------------------------------------

def schema(r, name, desc, params, terse=False):
    props = {k: ({"type": t} if terse or not d else {"type": t, "description": d}) for k, t, d in params}
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
    weather = pick(r, [json.dumps({"temperature": deg, "condition": sky}), json.dumps({"city": city, "temperature": deg, "condition": sky}),
                       f"{deg} degrees, {sky}"])
    clock = f"{r.randrange(24):02d}:{r.randrange(60):02d}"
    res = pick(r, WORDS) + " " + pick(r, WORDS)
    return [
        ("get_weather", "Get the current weather for a city.", [("city", "string", "The name of the city.")],
         ["What is the weather in {}?", "How is the weather in {}?", "Tell me the weather in {}.", "Weather in {}?"], {"city": city}, (city,),
         weather, f"The weather in {city} is {sky} with {deg} degrees."),
        ("get_time", "Get the local time in a city.", [("city", "string", "The city.")],
         ["What time is it in {}?", "Tell me the time in {}."], {"city": city}, (city,),
         pick(r, [clock, json.dumps({"time": clock})]), f"It is {clock} in {city}."),
        ("add", "Add two numbers.", [("a", "integer", ""), ("b", "integer", "")],
         ["Use the tool to add {} and {}.", "What is {} plus {}?", "Add {} and {}."], {"a": a, "b": b}, (a, b),
         str(a + b), f"The result is {a + b}."),
        ("search", "Search the web.", [("query", "string", "What to search for.")],
         ["Search for {}.", "Search the web for {}.", "Find pages about {}."], {"query": topic}, (topic,),
         f"title: {res}", f"I found this title: {res}."),
        ("set_timer", "Set a timer.", [("minutes", "integer", "How many minutes.")],
         ["Set a timer for {} minutes.", "Wake me in {} minutes."], {"minutes": n}, (n,), "ok", "Done. The timer is set."),
        ("send_message", "Send a message to a person.", [("to", "string", ""), ("text", "string", "")],
         ["Send {} the message {}.", "Write to {}: {}"], {"to": who, "text": topic}, (who, topic), "sent", f"I sent the message to {who}."),
    ]


def other_tool(r):
    """A tool the model has never seen: name and parameters must be read from the prompt."""
    name = pick(r, "get find make open close read check move count play".split()) + "_" + pick(r, THINGS + FRUITS + WORDS[:40])
    keys = r.sample("color size place name number speed level month owner label".split(), r.randint(1, 2))
    args, said = {}, []
    for k in keys:
        args[k] = r.randrange(1000) if k in ("number", "size", "speed", "level") else pick(r, WORDS + NAMES + CITIES)
        said.append(f"{k} {args[k]}")
    params = [(k, "integer" if isinstance(args[k], int) else "string", "") for k in keys]
    desc = "" if r.random() < 0.5 else "Use it to " + name.replace("_", " a ") + "."
    q = pick(r, ["Call {} with {}.", "Use {} with {}.", "Please run {} with {}."])
    return (name, desc, params, [q.replace("{}", name, 1)], args, (" and ".join(said),), "ok", "Done. The tool says ok.")


def call_text(calls):
    return "\n".join('<tool_call>\n{"name": "%s", "arguments": %s}\n</tool_call>' % (n, json.dumps(a)) for n, a in calls)


def tools(r, size, held, kind=None):
    """kind: tool_call, tool_two (two calls at once), tool_new (a tool never seen), tool_answer (the tool has replied) or tool_none."""
    kind = kind or r.choices(["tool_call", "tool_two", "tool_new", "tool_answer", "tool_none"], [36, 10, 12, 30, 12])[0]
    known = known_tools(r)
    if kind == "tool_two":
        t = pick(r, known[:2])
    elif kind == "tool_new" or kind == "tool_answer" and r.random() < 0.1:
        t = other_tool(r)
    else:
        t = pick(r, known)
    offered = [t] + r.sample([o for o in known if o[0] != t[0]], r.randint(0, 1 if size < 0.3 else 2))
    r.shuffle(offered)
    terse = r.random() < 0.6
    specs = [schema(r, o[0], o[1], o[2], terse) for o in offered]
    system = pick(r, SYSTEMS) if r.random() < 0.3 else None
    if kind == "tool_none":  # a question that needs no tool
        s = fact(r, size, held)
        return chat(kind, s["messages"][-1]["content"], s["answer"], s["reason"] + " No tool is needed.", system, tools=specs)
    calls, q = [(t[0], t[4])], pick(r, t[3]).format(*t[5])
    if kind == "tool_two":
        c1, c2 = r.sample(CITIES, 2)
        calls = [(t[0], {"city": c1}), (t[0], {"city": c2})]
        q = pick(r, t[3]).format(f"{c1} and {c2}")
    reason = f"I call {t[0]}."
    if kind != "tool_answer":
        return chat(kind, q, call_text(calls), reason, system, tools=specs)
    turn = {"role": "assistant", "content": "", "tool_calls": [{"type": "function", "function": {"name": n, "arguments": a}} for n, a in calls]}
    if r.random() < 0.4:
        turn["reasoning_content"] = reason
    s = chat(kind, q, t[7], f"The tool {t[0]} gave a result.", system, tools=specs)
    s["messages"] += [turn, {"role": "tool", "content": t[6]}]
    return s


# --- (f) JSON ---------------------------------------------------------------------------------------

def as_json(r, size, held):
    who = {"name": pick(r, NAMES), "age": r.randint(5, 90), "city": pick(r, CITIES), "job": pick(r, JOBS), "color": pick(r, COLORS)}
    say = {"age": "is {} years old", "city": "lives in {}", "job": "works as a {}", "color": "likes the color {}"}
    keys = r.sample(list(say), r.randint(1, 4))
    text = who["name"] + " " + ", ".join(say[k].format(who[k]) for k in keys[:-1]) + (" and " if len(keys) > 1 else "") + say[keys[-1]].format(who[keys[-1]]) + "."
    want = ["name"] + r.sample(keys, r.randint(1, len(keys)))
    fields = ", ".join(want[:-1]) + " and " + want[-1]
    ask = pick(r, ["Reply in JSON with fields {}.", "Answer in JSON with the fields {}.", "Give me JSON with {}."]).format(fields)
    q = pick(r, [f"{ask} {text}", f"{text} {ask}", f"{ask}\n\n{text}"])
    return chat("json", q, json.dumps({k: who[k] for k in want}), f"The fields are {fields}.")


# --- (g) long answers -------------------------------------------------------------------------------

def story_text(r, animal, name, days):
    lines = [f"Once upon a time there was a {animal} named {name}. {name} wanted to see the world."]
    for i in range(days):  # the plot depends on the day only, so that a greedy answer is a whole story
        lines.append([f"On the first day, {name} left the house and walked to the river.",
                      f"On the second day, it rained, so {name} slept under a tree.",
                      f"On the third day, {name} met an old owl who knew the way to the sea.",
                      f"On the fourth day, {name} crossed a bridge of stone and saw the mountains.",
                      f"On the fifth day, {name} found a small boat and sailed with the wind.",
                      f"On the sixth day, {name} saw the sea and sang a song for the moon.",
                      f"On the seventh day, {name} went home and told everyone about the road.",
                      ][i])
    lines.append(f"And the {animal} was happy. The end.")
    return " ".join(lines)


def story(r, size, held):
    a, n = pick(r, ANIMALS), pick(r, NAMES)
    if r.random() < 0.7:
        q = pick(r, ["Tell me a story about a {a} named {n}.", "Write a story about a {a} named {n}.", "Tell a story about {n} the {a}."]).format(a=a, n=n)
    else:
        n = NAMES[ANIMALS.index(a)]
        q = pick(r, ["Tell me a story about a {}.", "Write a story about a {}.", "Tell a story about a {}."]).format(a)
    return chat("story", loose(r, q), story_text(r, a, n, 7), f"A story about a {a} named {n}.")


# --- (h) raw text -----------------------------------------------------------------------------------

def raw(r, size, held):
    k = r.random()
    if k < 0.2:
        t = story_text(r, pick(r, ANIMALS), pick(r, NAMES), 7)
    elif k < 0.4:
        t = " ".join(f"The capital of {c} is {CAPITALS[c]}." for c in r.sample(sorted(CAPITALS), r.randint(1, 5)))
    elif k < 0.55:
        t = " ".join(TERMS[x] for x in r.sample(sorted(TERMS), r.randint(1, 3)))
    elif k < 0.7:
        t = ", ".join(map(str, range(1, r.randint(10, 30) + int(70 * size)))) + "."
    elif k < 0.85:
        s = needle(r, min(size, 0.3), held, tokens=60)
        t = " ".join(m["content"] for m in s["messages"]) + " " + s["answer"]
    else:
        t = pick(r, ["Hello, my name is qwen3-tiny. I am a very small language model that was trained on synthetic text.",
                     "The sky is blue. The grass is green. The snow is white.", ", ".join(DAYS) + ".", ", ".join(MONTHS) + "."])
    return dict(task="raw", text=t)


TASKS = {  # function, share of the samples
    "count": (count, 4), "count_long": (count_long, 0.5), "fact": (fact, 30), "needle": (needle, 24), "copy": (copy, 9),
    "series": (series, 5), "tools": (tools, 26), "json": (as_json, 22), "story": (story, 4), "raw": (raw, 2),
}
SHORT = ["count", "fact", "copy", "series", "json"]


def sample(r, size=1.0, held=False, task=None):
    task = task or r.choices(list(TASKS), [w for _, w in TASKS.values()])[0]
    s = TASKS[task][0](r, size, held)
    if "text" not in s:
        s["think"] = r.random() < 0.5
        if task in SHORT and r.random() < 0.5:  # earlier turns of the same conversation
            for _ in range(r.randint(1, 3)):
                p = TASKS[pick(r, SHORT)][0](r, size, held)
                s["messages"] = p["messages"] + [{"role": "assistant", "content": p["answer"]}] + s["messages"]
        if s["tools"] is None and s["messages"][0]["role"] != "system" and r.random() < 0.25:
            s["messages"].insert(0, {"role": "system", "content": pick(r, SYSTEMS)})
    return s


# --- rendering --------------------------------------------------------------------------------------

class Renderer:
    """Turns a sample into token ids and the positions to learn."""

    def __init__(self, tokenizer, template=os.path.join(HERE, "chat_template.jinja")):
        import jinja2
        env = jinja2.Environment(trim_blocks=True, lstrip_blocks=True)
        env.filters["tojson"] = lambda x: json.dumps(x, ensure_ascii=False)
        self.template = env.from_string(open(template, encoding="utf-8").read())
        self.tok = tokenizer
        if tokenizer is not None:
            self.open_, self.close = tokenizer.token_to_id("<|im_start|>"), tokenizer.token_to_id("<|im_end|>")
            self.eot = tokenizer.token_to_id("<|endoftext|>")
            self.assistant = tokenizer.encode("assistant\n").ids

    def texts(self, s):
        if "text" in s:
            return "", s["text"]
        prompt = self.template.render(messages=s["messages"], tools=s["tools"], add_generation_prompt=True, enable_thinking=s["think"])
        return prompt, (f"<think>\n{s['reason']}\n</think>\n\n" if s["think"] else "") + s["answer"]

    def ids(self, s):
        """-> ids, learn (1 where the token is predicted), start of the final answer"""
        prompt, answer = self.texts(s)
        p, a = self.tok.encode(prompt).ids, self.tok.encode(answer).ids
        a.append(self.eot if "text" in s else self.close)
        learn = [0] * len(p) + [1] * len(a)
        # Earlier assistant turns are learnt too, but for their first token: whether it would have
        # been <think> cannot be seen there.
        n = len(self.assistant)
        for i in range(len(p) - n):
            if p[i] == self.open_ and p[i + 1:i + 1 + n] == self.assistant:
                j = i + 2 + n
                while j < len(p) and p[j - 1] != self.close:
                    learn[j] = 1
                    j += 1
                if j >= len(p):  # the opening of the answer itself
                    learn[i + 1 + n:len(p)] = [0] * (len(p) - i - 1 - n)
        return p + a, learn, len(p)


if __name__ == "__main__":
    import sys
    rng, show = random.Random(int(sys.argv[1]) if len(sys.argv) > 1 else 0), Renderer(None)
    for name in TASKS:
        for _ in range(2):
            p, a = show.texts(sample(rng, 0.3, task=name))
            print(f"=== {name}\n{p}[[{a}]]")
