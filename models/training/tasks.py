"""One function a task: (random, size, held) -> sample; see data.py."""

import json

from words import (
    ANIMALS,
    CAPITALS,
    CHAT,
    CITIES,
    COLORS,
    DAYS,
    FILLER,
    HUES,
    JOBS,
    MONTHS,
    NAMES,
    PLACES,
    TERMS,
    THINGS,
    UNICODE,
    WORDS,
)


def pick(r, xs):
    return xs[r.randrange(len(xs))]


def filler(r):
    return pick(r, FILLER).format(
        a=pick(r, ANIMALS),
        c=pick(r, ["small", "happy", "quiet", "quick", "warm"]),
        n=pick(r, NAMES),
        m=pick(r, NAMES),
        p=pick(r, PLACES),
        d=pick(r, DAYS),
        w=pick(r, WORDS),
        v=pick(r, WORDS),
        x=pick(r, ["cold", "warm", "bright", "quiet"]),
        t=pick(r, ["morning", "evening", "night", "day"]),
        city=pick(r, CITIES),
        mo=pick(r, MONTHS),
        an=pick(r, ANIMALS),
    )


def loose(r, s):
    """The same question typed less carefully."""
    if r.random() < 0.15:
        s = s[0].lower() + s[1:]
    if r.random() < 0.15 and s[-1] in "?.!":
        s = s[:-1]
    return s


def chat(task, user, answer, reason, system=None, history=(), tools=None):
    messages = (
        ([{"role": "system", "content": system}] if system else [])
        + list(history)
        + [{"role": "user", "content": user}]
    )
    return dict(task=task, messages=messages, tools=tools, reason=reason, answer=answer)


# --- (a) numbers ------------------------------------------------------------------------


def count(r, size, held):
    a = r.randint(0, 90) if r.random() < 0.5 else 1
    n = min(100, a + r.randint(2, 8 + int(size * 20)))
    q = pick(
        r, ["Count from {} to {}.", "Count from {} to {}", "Please count from {} to {}."]
    ).format(a, n)
    return chat(
        "count", q, ", ".join(map(str, range(a, n + 1))) + ".", f"Start at {a}, stop at {n}."
    )


def count_long(r, size, held):
    n = 100 if size > 0.6 and r.random() < 0.5 else r.randint(20, 40 + int(60 * size))
    q = pick(r, ["Count from 1 to {}.", "Please count from 1 to {}.", "Count up to {}."]).format(n)
    return chat(
        "count_long", q, ", ".join(map(str, range(1, n + 1))) + ".", f"Start at 1, stop at {n}."
    )


# --- (b) facts and small talk -----------------------------------------------------------


def fact(r, size, held):
    k = r.random()
    if k < 0.30:
        qs, ans = pick(r, CHAT)
        q, topic = pick(r, qs), "me or small talk"
    elif k < 0.50:
        c = pick(r, sorted(CAPITALS))
        q = pick(
            r,
            [
                "What is the capital of {}?",
                "Tell me the capital of {}.",
                "Which city is the capital of {}?",
                "Name the capital of {}.",
                "capital of {}",
            ],
        ).format(c)
        ans, topic = f"The capital of {c} is {CAPITALS[c]}.", f"the capital of {c}"
    elif k < 0.60:
        c = pick(r, sorted(HUES))
        q = pick(r, ["What color is {}?", "Which color is {}?", "What is the color of {}?"]).format(
            "the " + c
        )
        ans, topic = f"The {c} is {HUES[c]}.", f"the color of the {c}"
    elif k < 0.70:
        xs, unit = (DAYS, "day") if r.random() < 0.6 else (MONTHS, "month")
        i, after = r.randrange(len(xs)), r.random() < 0.6
        w = "after" if after else "before"
        q = pick(r, ["What {u} comes {w} {x}?", "Which {u} is {w} {x}?"]).format(
            u=unit, w=w, x=xs[i]
        )
        ans, topic = (
            f"{xs[(i + (1 if after else -1)) % len(xs)]} comes {w} {xs[i]}.",
            f"the {unit}s",
        )
    else:
        t = pick(r, sorted(TERMS))
        q = pick(
            r,
            [
                "What is {}?",
                "Explain {}.",
                "What does {} mean?",
                "Tell me about {}.",
                "Describe {}.",
            ],
        ).format(t)
        ans, topic = TERMS[t], t
    return chat("fact", loose(r, q), ans, f"The question is about {topic}. I know the answer.")


# --- (c) recall from a context ----------------------------------------------------------


def needle(r, size, held, tokens=None, task="needle"):
    tokens = tokens or int(60 + r.random() ** 1.2 * size * 1150)
    n = r.randint(2, 4 + min(8, tokens // 60))
    items = []
    for c, t in zip(
        r.choices(COLORS, k=n), r.sample(THINGS, n)
    ):  # each thing once: its name alone tells it apart
        k = r.random()
        if k < 0.6:
            v = str(r.randrange(1000, 10000))
            items.append(
                (
                    f"The code of the {c} {t} is {v}.",
                    f"What is the code of the {c} {t}?",
                    f"the {c} {t}",
                )
            )
        elif k < 0.8:
            v = pick(r, NAMES)
            items.append(
                (
                    f"The owner of the {c} {t} is {v}.",
                    f"Who is the owner of the {c} {t}?",
                    f"the {c} {t}",
                )
            )
        else:
            v = pick(r, PLACES)
            items.append(
                (
                    f"The key of the {c} {t} is in the {v}.",
                    f"Where is the key of the {c} {t}?",
                    f"the {c} {t}",
                )
            )
    lines = [i[0] for i in items]
    while len(lines) * 10 < tokens:
        lines.insert(r.randrange(len(lines) + 1), filler(r))
    text = " ".join(lines)
    asked = r.sample(items, min(len(items), 1 if held or r.random() < 0.3 else r.randint(3, 10)))
    turns = []
    for i, (fact_, q, key) in enumerate(asked):
        turns += [{"role": "user", "content": q}, {"role": "assistant", "content": fact_}]
    if r.random() < 0.5:
        head = pick(r, ["Use this text to answer.\n\n", "Notes:\n\n", "Remember these facts. ", ""])
        turns.insert(0, {"role": "system", "content": head + text})
    else:
        turns[0] = {
            "role": "user",
            "content": text + pick(r, ["\n\n", " ", "\n\nQuestion: "]) + turns[0]["content"],
        }
    return dict(
        task=task,
        messages=turns[:-1],
        tools=None,
        reason=f"I look for {asked[-1][2]} in the text.",
        answer=asked[-1][0],
    )


# --- (d) words --------------------------------------------------------------------------


def invented(r):
    return "".join(
        pick(r, "b d f g k l m n p r s t v z".split()) + pick(r, list("aeiou"))
        for _ in range(r.randint(1, 2))
    )


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
    q = pick(
        r, ["Repeat: {}", "Repeat after me: {}", "Copy this: {}", "Say: {}", "Echo: {}"]
    ).format(ws)
    return chat("copy", q, ws, "I repeat the words.")


def series(r, size, held):
    xs = pick(r, [DAYS, MONTHS, list("ABCDEFGHIJKLMNOPQRSTUVWXYZ")])
    i = r.randrange(len(xs))
    seq = [xs[(i + j) % len(xs)] for j in range(6)]
    q = pick(r, ["Continue: {}", "Continue the list: {}", "What comes next: {}"]).format(
        ", ".join(seq[:3])
    )
    return chat("series", q, ", ".join(seq[3:]), "I continue the list with three more.")


# --- (f) JSON ---------------------------------------------------------------------------


def as_json(r, size, held):
    who = {
        "name": pick(r, NAMES),
        "age": r.randint(5, 90),
        "city": pick(r, CITIES),
        "job": pick(r, JOBS),
        "color": pick(r, COLORS),
    }
    say = {
        "age": "is {} years old",
        "city": "lives in {}",
        "job": "works as a {}",
        "color": "likes the color {}",
    }
    keys = r.sample(list(say), r.randint(1, 4))
    text = (
        who["name"]
        + " "
        + ", ".join(say[k].format(who[k]) for k in keys[:-1])
        + (" and " if len(keys) > 1 else "")
        + say[keys[-1]].format(who[keys[-1]])
        + "."
    )
    want = ["name"] + r.sample(keys, r.randint(1, len(keys)))
    fields = ", ".join(want[:-1]) + " and " + want[-1]
    ask = pick(
        r,
        [
            "Reply in JSON with fields {}.",
            "Answer in JSON with the fields {}.",
            "Give me JSON with {}.",
        ],
    ).format(fields)
    q = pick(r, [f"{ask} {text}", f"{text} {ask}", f"{ask}\n\n{text}"])
    return chat("json", q, json.dumps({k: who[k] for k in want}), f"The fields are {fields}.")


# --- (g) long answers -------------------------------------------------------------------


def story_text(r, animal, name, days):
    lines = [f"Once upon a time there was a {animal} named {name}. {name} wanted to see the world."]
    for i in range(
        days
    ):  # the plot depends on the day only, so that a greedy answer is a whole story
        lines.append(
            [
                f"On the first day, {name} left the house and walked to the river.",
                f"On the second day, it rained, so {name} slept under a tree.",
                f"On the third day, {name} met an old owl who knew the way to the sea.",
                f"On the fourth day, {name} crossed a bridge of stone and saw the mountains.",
                f"On the fifth day, {name} found a small boat and sailed with the wind.",
                f"On the sixth day, {name} saw the sea and sang a song for the moon.",
                f"On the seventh day, {name} went home and told everyone about the road.",
            ][i]
        )
    lines.append(f"And the {animal} was happy. The end.")
    return " ".join(lines)


def story(r, size, held):
    a, n = pick(r, ANIMALS), pick(r, NAMES)
    if r.random() < 0.7:
        q = pick(
            r,
            [
                "Tell me a story about a {a} named {n}.",
                "Write a story about a {a} named {n}.",
                "Tell a story about {n} the {a}.",
            ],
        ).format(a=a, n=n)
    else:
        n = NAMES[ANIMALS.index(a)]
        q = pick(
            r,
            [
                "Tell me a story about a {}.",
                "Write a story about a {}.",
                "Tell a story about a {}.",
            ],
        ).format(a)
    return chat("story", loose(r, q), story_text(r, a, n, 7), f"A story about a {a} named {n}.")


# --- (h) raw text -----------------------------------------------------------------------


def raw(r, size, held):
    k = r.random()
    if k < 0.2:
        t = story_text(r, pick(r, ANIMALS), pick(r, NAMES), 7)
    elif k < 0.4:
        t = " ".join(
            f"The capital of {c} is {CAPITALS[c]}."
            for c in r.sample(sorted(CAPITALS), r.randint(1, 5))
        )
    elif k < 0.55:
        t = " ".join(TERMS[x] for x in r.sample(sorted(TERMS), r.randint(1, 3)))
    elif k < 0.7:
        t = ", ".join(map(str, range(1, r.randint(10, 30) + int(70 * size)))) + "."
    elif k < 0.85:
        s = needle(r, min(size, 0.3), held, tokens=60)
        t = " ".join(m["content"] for m in s["messages"]) + " " + s["answer"]
    else:
        t = pick(
            r,
            [
                "Hello, my name is qwen3-tiny. "
                "I am a very small language model that was trained on synthetic text.",
                "The sky is blue. The grass is green. The snow is white.",
                ", ".join(DAYS) + ".",
                ", ".join(MONTHS) + ".",
            ],
        )
    return dict(task="raw", text=t)
