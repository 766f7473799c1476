"""Synthetic conversations for qwen3-tiny: all generated here from a seed, no outside text.

    sample(rng, size) -> dict(task, messages, tools, think, reason, answer)    a chat turn to learn
                      or dict(task, text)                                      raw text
`size` (0..1) scales how long contexts and answers may get (the curriculum); `held=True` asks one
question a context, as the evaluation does. Held-out samples are told apart by their seed.
"""

import json
import os
import random

from tasks import as_json, copy, count, count_long, fact, needle, pick, raw, series, story
from tools import tools
from words import SYSTEMS

HERE = os.path.dirname(os.path.abspath(__file__))

TASKS = {  # function, share of the samples
    "count": (count, 4),
    "count_long": (count_long, 0.5),
    "fact": (fact, 30),
    "needle": (needle, 34),
    "copy": (copy, 9),
    "series": (series, 5),
    "tools": (tools, 26),
    "json": (as_json, 22),
    "story": (story, 4),
    "raw": (raw, 2),
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
                s["messages"] = (
                    p["messages"] + [{"role": "assistant", "content": p["answer"]}] + s["messages"]
                )
        if s["tools"] is None and s["messages"][0]["role"] != "system" and r.random() < 0.25:
            s["messages"].insert(0, {"role": "system", "content": pick(r, SYSTEMS)})
    return s


# --- rendering --------------------------------------------------------------------------


class Renderer:
    """Turns a sample into token ids and the positions to learn."""

    def __init__(self, tokenizer, template=os.path.join(HERE, "chat_template.jinja")):
        import jinja2

        env = jinja2.Environment(trim_blocks=True, lstrip_blocks=True)
        env.filters["tojson"] = lambda x: json.dumps(x, ensure_ascii=False)
        self.template = env.from_string(open(template, encoding="utf-8").read())
        self.tok = tokenizer
        if tokenizer is not None:
            self.open_, self.close = tokenizer.token_to_id("<|im_start|>"), tokenizer.token_to_id(
                "<|im_end|>"
            )
            self.eot = tokenizer.token_to_id("<|endoftext|>")
            self.assistant = tokenizer.encode("assistant\n").ids

    def texts(self, s):
        if "text" in s:
            return "", s["text"]
        prompt = self.template.render(
            messages=s["messages"],
            tools=s["tools"],
            add_generation_prompt=True,
            enable_thinking=s["think"],
        )
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
            if p[i] == self.open_ and p[i + 1 : i + 1 + n] == self.assistant:
                j = i + 2 + n
                while j < len(p) and p[j - 1] != self.close:
                    learn[j] = 1
                    j += 1
                if j >= len(p):  # the opening of the answer itself
                    learn[i + 1 + n : len(p)] = [0] * (len(p) - i - 1 - n)
        return p + a, learn, len(p)


if __name__ == "__main__":
    import sys

    rng, show = random.Random(int(sys.argv[1]) if len(sys.argv) > 1 else 0), Renderer(None)
    for name in TASKS:
        for _ in range(2):
            p, a = show.texts(sample(rng, 0.3, task=name))
            print(f"=== {name}\n{p}[[{a}]]")
