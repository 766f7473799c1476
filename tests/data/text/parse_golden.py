#!/usr/bin/env python3
"""Makes parse.jsonl: how the parsers of the real vLLM 0.32 read outputs, whole and streamed.

    python3 parse_golden.py models/qwen3-tiny COUNT SEED > parse.jsonl    (with vLLM's Python)

Each line is a fact: the parsers, the request, an output as pieces of text with the tokens that came
with them, and what vLLM made of it. Outputs are made from fragments at random, well and badly
formed; pieces hold no token, one or several, and text may lag behind its tokens as it does when it
is held back for stop strings.
"""

import json
import random
import sys

from transformers import AutoTokenizer
from vllm.entrypoints.openai.chat_completion.protocol import ChatCompletionRequest
from vllm.parser import ParserManager

TOOLS = [
    {
        "type": "function",
        "function": {
            "name": name,
            "parameters": {
                "type": "object",
                "properties": {
                    "city": {"type": "string"},
                    "n": {"type": "integer"},
                    "x": {"type": "number"},
                    "on": {"type": "boolean"},
                    "any": {},
                    "list": {"type": "array", "items": {"type": "integer"}},
                    "o": {"type": ["object", "null"], "properties": {"k": {"type": "integer"}}},
                },
            },
        },
    }
    for name in ("f", "get_weather")
]
WORDS = [
    "Hm",
    " the",
    " é",
    "😀",
    " 日本",
    "\n",
    "\n\n",
    " ",
    "a < b",
    " > ",
    "<",
    "</",
    "<t",
    "\x1c",
]
TAGS = ["<think>", "</think>", "<tool_call>", "</tool_call>"]
SPECIAL = ["<|im_start|>", "<|endoftext|>"]
VALUES = [
    '"Oslo"',
    "1",
    "2.50",
    "1e3",
    "true",
    "null",
    "[1, 2]",
    '{"k":"3"}',
    '"a\\"}"',
    '"é\\u00e9\\n"',
    '"<tool"',
    "NaN",
    "1e999",
    "-0",
    "12345678901234567890123",
    '{"a":1,"b":{},"a":[]}',
]
BARE = ["Oslo", " 7 ", "True", "a<b", ""]
KEYS = ["city", "n", "x", "on", "any", "list", "o", "zz"]


def pick(r, *pairs):
    return r.choices([p[0] for p in pairs], [p[1] for p in pairs])[0]


def prose(r):
    return "".join(r.choice(WORDS) for _ in range(r.randrange(4)))


def object_(r):
    members = [
        f'"{r.choice(KEYS)}":{r.choice(["", " "])}{r.choice(VALUES)}' for _ in range(r.randrange(3))
    ]
    return "{" + r.choice([",", ", "]).join(members) + "}"


def hermes_json(r):
    name = f'"name":{r.choice(["", " ", chr(10)])}"{r.choice(["f", "get_weather", "", "é"])}"'
    value = pick(r, (object_(r), 8), (r.choice(VALUES), 1))
    arguments = f'"arguments":{r.choice(["", " ", chr(9)])}{value}'
    text = (
        "{"
        + pick(
            r, (f"{name}, {arguments}", 8), (f"{arguments}, {name}", 1), (name, 1), (arguments, 1)
        )
        + "}"
    )
    if r.random() < 0.15:
        at = r.randrange(len(text) + 1)
        text = text[:at] + r.choice(["}", "{", '"', "x", "", " "]) + text[at + r.randrange(2) :]
    return text


def xml_call(r):
    name = r.choice(["f", "get_weather", "zz", ""])
    body = "".join(
        f"<parameter={r.choice(KEYS)}>{r.choice([chr(10), ''])}{r.choice(VALUES + BARE)}"
        f"{r.choice([chr(10), ''])}{pick(r, ('</parameter>', 9), ('', 1))}\n"
        for _ in range(r.randrange(4))
    )
    end = pick(r, ("</function>", 9), ("", 1))
    return f"<function={name}{pick(r, ('>', 9), ('', 1))}\n{body}{end}"


def call(r, style):
    inner = hermes_json(r) if style == "hermes" else xml_call(r)
    space = r.choice(["\n", "", " "])
    return (
        pick(r, ("<tool_call>", 19), ("", 1))
        + space
        + inner
        + r.choice(["\n", "", " \n"])
        + pick(r, ("</tool_call>", 9), ("", 1))
    )


def output(r, style):
    parts = []
    if r.random() < 0.6:
        parts += [pick(r, ("<think>", 2), ("", 1)), prose(r), pick(r, ("</think>", 5), ("", 1))]
    parts += [prose(r)]
    for _ in range(pick(r, (0, 3), (1, 4), (2, 2), (3, 1))):
        parts += [call(r, style), r.choice(["", "\n", prose(r)])]
    if r.random() < 0.25:
        parts.insert(r.randrange(len(parts) + 1), r.choice(TAGS + SPECIAL))
    text = "".join(parts)
    if r.random() < 0.2 and text:
        text = text[: r.randrange(len(text))]
    return text


def tokens(r, tokenizer, text):
    """Ids of a text, some of whose tags are spelled out in ordinary tokens."""
    if r.random() < 0.15:
        ids = [i for c in text for i in tokenizer.encode(c, add_special_tokens=False)]
    elif r.random() < 0.1 and len(text) > 1:
        at = r.randrange(len(text))
        ids = tokenizer.encode(text[:at], add_special_tokens=False) + [
            i for c in text[at:] for i in tokenizer.encode(c, add_special_tokens=False)
        ]
    else:
        ids = tokenizer.encode(text, add_special_tokens=False)
    return ids


def pieces(r, tokenizer, ids, end):
    """The output as a stream gives it: text with tokens. The end token shows no text."""
    hold = pick(r, (0, 8), (3, 1), (9, 1))
    size = pick(r, (1, 6), (3, 2), (1000, 1))
    out, shown, at = [], 0, 0
    whole = tokenizer.decode(ids)
    while at < len(ids):
        took = r.randint(1, size) if size > 1 else 1
        text = tokenizer.decode(ids[: at + took])
        last = at + took >= len(ids) and end is None
        if text.endswith("\ufffd") or not whole.startswith(text):
            ready = shown
        else:
            ready = max(shown, len(text) - (0 if last else hold))
        if last:
            ready = max(ready, len(whole)) if whole == text else ready
        out.append([text[shown:ready], ids[at : at + took]])
        shown = ready
        at += took
    if end is not None:
        if size > 1 and out and r.random() < 0.5:
            out[-1] = [out[-1][0] + whole[shown:], out[-1][1] + [end]]
        else:
            out.append([whole[shown:], [end]])
    elif not ids:
        out.append(["", []])
    return out


def main():
    model, count, seed = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
    tokenizer = AutoTokenizer.from_pretrained(model)
    end = tokenizer.convert_tokens_to_ids("<|im_end|>")
    r = random.Random(seed)
    styles = sys.argv[4].split(",") if len(sys.argv) > 4 else ["hermes"]
    for _ in range(count):
        style = r.choice(styles)
        reasoning = pick(r, (None, 2), ("qwen3", 5), ("deepseek_r1", 1))
        tools = pick(r, (style, 6), (None, 1)) if reasoning else style
        choice = pick(r, ("auto", 6), ("none", 1), (None, 1), ("required", 2), ("named", 1))
        named = {"type": "function", "function": {"name": "f"}}
        fields = dict(
            messages=[{"role": "user", "content": "x"}],
            include_reasoning=r.random() < 0.85,
            tools=TOOLS,
            tool_choice=named if choice == "named" else choice,
        )
        thinking = r.random() < 0.8
        prompt = tokenizer.encode("<|im_start|>assistant\n")
        if not thinking or r.random() < 0.1:
            prompt += tokenizer.encode("<think>\n\n</think>\n\n")
        elif r.random() < 0.2:
            prompt += tokenizer.encode("<think>\n")
        ids = tokens(r, tokenizer, output(r, style))
        finish = end if r.random() < 0.8 else None
        given = pieces(r, tokenizer, ids, finish)
        cls = ParserManager.get_parser(
            tools, reasoning, enable_auto_tools=True, tokenizer=tokenizer
        )

        def new(request):
            return cls(tokenizer, request.tools, chat_template_kwargs={"enable_thinking": thinking})

        request = ChatCompletionRequest(**fields)
        parser = new(request)
        steps = []
        for at, (text, some) in enumerate(given):
            delta = parser.parse_delta(text, some, request, prompt, finished=at + 1 == len(given))
            delta = delta and delta.model_dump(exclude_unset=True)
            for entry in (delta or {}).get("tool_calls", []):
                entry.pop("id", None)
            steps.append(delta)
        streamed = parser.count_reasoning_tokens([i for _, some in given for i in some])
        parser = new(request)
        text = "".join(text for text, _ in given)
        all_ids = [i for _, some in given for i in some]
        said, content, calls = parser.parse(text, request, enable_auto_tools=True)
        calls = [[c.name, c.arguments] for c in calls] if calls is not None else None
        whole = dict(
            reasoning=said,
            content=content,
            calls=calls,
            reasoning_tokens=parser.count_reasoning_tokens(all_ids),
        )
        line = dict(
            reasoning=reasoning,
            tools=tools,
            choice=choice,
            include=request.include_reasoning,
            thinking=thinking,
            prompt=prompt,
            given=given,
            steps=steps,
            reasoning_tokens=streamed,
            whole=whole,
        )
        print(json.dumps(line, ensure_ascii=False))


main()
