"""Measure a qwen3-tiny folder with Hugging Face transformers: exact match of greedy answers.

    python eval.py --model ../qwen3-tiny [--n 200] [--dtype bfloat16] the accuracy table
    python eval.py --model ../qwen3-tiny --generate --n 50            the same by generating
    python eval.py --model ../qwen3-tiny --examples                   fixed exchanges, fp32, bf16

A greedy answer is equal to the reference, reasoning included, exactly when each of its tokens is
the most likely one after the reference so far: one forward pass tells. With --generate the answer
is generated, and only what comes after </think> must be equal, to the character.
Held out: the seed of every sample. WRONG=1 shows the answers that are not right.
"""

import argparse
import json
import os
import random

import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

import data

TOOLS = ["tool_call", "tool_two", "tool_new", "tool_answer", "tool_none"]
TASKS = [
    "fact",
    "needle 100",
    "needle 250",
    "needle 500",
    "needle 1000",
    *TOOLS,
    "json",
    "story",
    "count",
    "count_long",
    "series",
    "copy",
]

WEATHER = {
    "type": "function",
    "function": {
        "name": "get_weather",
        "description": "Get the current weather for a city.",
        "parameters": {
            "type": "object",
            "properties": {"city": {"type": "string", "description": "The name of the city."}},
            "required": ["city"],
        },
    },
}
ASK = {"role": "user", "content": "What is the weather in Paris?"}
CALLED = {
    "role": "assistant",
    "content": "",
    "tool_calls": [
        {"type": "function", "function": {"name": "get_weather", "arguments": {"city": "Paris"}}}
    ],
}
DOORS = (
    "The code of the red door is 4821. The code of the blue box is 1907. "
    "The owner of the green boat is Mira. "
)


def user(text, **more):
    return dict(messages=[{"role": "user", "content": text}], **more)


EXAMPLES = [
    user("Who are you?"),
    user("Who are you?", think=True),
    user("What is the capital of France?"),
    user("What is prefix caching?"),
    user("Explain TTFT.", think=True),
    user("Continue: Monday, Tuesday, Wednesday"),
    user(DOORS + "What is the code of the blue box?"),
    user("Repeat after me: river lamp 42 🙂 house"),
    user("Count from 1 to 12."),
    user("Reply in JSON with fields name, city and age. Mira is 31 years old and lives in Oslo."),
    user("What is the weather in Paris?", tools=[WEATHER]),
    user("What is the weather in Paris?", tools=[WEATHER], think=True),
    dict(
        messages=[
            ASK,
            CALLED,
            {"role": "tool", "content": '{"temperature": 18, "condition": "sunny"}'},
        ],
        tools=[WEATHER],
    ),
    user("Tell me a story about a fox named Mira."),
    dict(raw="The capital of Japan is"),
    dict(raw="1, 2, 3, 4,"),
]


class Model:
    def __init__(self, path, dtype):
        self.path, self.tok = path, AutoTokenizer.from_pretrained(path)
        self.tok.padding_side = "left"
        self.lm = AutoModelForCausalLM.from_pretrained(path, dtype=dtype).eval()

    def prompt(self, s):
        if "raw" in s:
            return s["raw"]
        return self.tok.apply_chat_template(
            s["messages"],
            tools=s.get("tools"),
            tokenize=False,
            add_generation_prompt=True,
            enable_thinking=s.get("think", False),
        )

    @torch.inference_mode()
    def greedy(self, prompts, limit):
        x = self.tok(prompts, return_tensors="pt", padding=True, add_special_tokens=False)
        y = self.lm.generate(
            **x, do_sample=False, temperature=None, top_k=None, top_p=None, max_new_tokens=limit
        )
        out = []
        for row in y[:, x["input_ids"].shape[1] :].tolist():
            stop = [i for i, t in enumerate(row) if t in self.lm.generation_config.eos_token_id]
            out.append(self.tok.decode(row[: stop[0]] if stop else row))
        return out


def score(model, samples, batch=25):
    """Whether each generated answer is the reference."""
    right = []
    samples = sorted(samples, key=lambda s: (len(s["answer"]) // 200, len(model.prompt(s))))
    for i in range(0, len(samples), batch):
        part = samples[i : i + batch]
        limit = 16 + max(
            len(model.tok(s["answer"] + (s["reason"] if s["think"] else ""))["input_ids"])
            for s in part
        )
        for s, said in zip(part, model.greedy([model.prompt(s) for s in part], limit)):
            ok = said.split("</think>")[-1].strip() == s["answer"]
            right.append(ok)
            if os.environ.get("WRONG") and not ok:
                print(
                    f"  {s['task']}: {s['messages'][-1]['content'][-90:]!r}\n"
                    f"    want {s['answer'][-90:]!r}\n    said {said[-90:]!r}"
                )
    return right


@torch.inference_mode()
def score_forced(model, samples):
    """Whether each token of the reference is the most likely one, one sample at a time."""
    if not hasattr(model, "render"):
        model.render = data.Renderer(model.tok.backend_tokenizer)
    right = []
    for s in samples:
        ids, _, start = model.render.ids(s)
        said = (
            model.lm(torch.tensor([ids[:-1]]), logits_to_keep=len(ids) - start)
            .logits[0]
            .argmax(-1)
            .tolist()
        )
        right.append(said == ids[start:])
        if os.environ.get("WRONG") and not right[-1]:
            i = next(i for i, (a, b) in enumerate(zip(ids[start:], said)) if a != b)
            print(
                f"  {s['task']}: {s['messages'][-1]['content'][-90:]!r}\n"
                f"    after {model.tok.decode(ids[start:start + i])[-60:]!r} "
                f"want {model.tok.decode(ids[start + i:start + i + 1])!r}, "
                f"said {model.tok.decode(said[i:i + 1])!r}"
            )
    return right


def held_out(task, think, n, seed):
    rng = random.Random(f"{seed} {task} {think}")
    for _ in range(n):
        if task.startswith("needle"):
            s = data.needle(rng, 1.0, True, tokens=int(task.split()[1]))
        elif task in TOOLS:
            s = data.tools(rng, 1.0, True, kind=task)
        else:
            s = data.sample(rng, 1.0, True, task)
        yield dict(s, think=think)


def table(model, n, seed, score):
    print("| task | thinking off | thinking on | samples of each |\n| --- | --- | --- | --- |")
    for task in TASKS:
        off, on = (score(model, list(held_out(task, think, n, seed))) for think in (False, True))
        print(
            f"| {task} | {100 * sum(off) / n:.1f} % | {100 * sum(on) / n:.1f} % | {n} |", flush=True
        )


def examples(path):
    said = []
    for dtype in (torch.float32, torch.bfloat16):
        model = Model(path, dtype)
        said.append(
            [model.greedy([model.prompt(e)], 48 if "raw" in e else 400)[0] for e in EXAMPLES]
        )
    for e, a, b in zip(EXAMPLES, *said):
        ask = e["raw"] if "raw" in e else e["messages"][-1]["content"]
        kind = (
            "raw"
            if "raw" in e
            else f"thinking {'on' if e.get('think') else 'off'}"
            + (", tool get_weather" if e.get("tools") else "")
        )
        request = (
            dict(prompt=e["raw"], max_tokens=48)
            if "raw" in e
            else dict(
                messages=e["messages"],
                **({"tools": e["tools"]} if "tools" in e else {}),
                chat_template_kwargs={"enable_thinking": e.get("think", False)},
            )
        )
        print(
            json.dumps(
                dict(
                    kind=kind,
                    ask=ask,
                    fp32=a,
                    bf16_equal=a == b,
                    **({} if a == b else {"bf16": b}),
                    request=request,
                ),
                ensure_ascii=False,
            )
        )


def main():
    ap = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    ap.add_argument("--model", default="../qwen3-tiny")
    ap.add_argument("--n", type=int, default=200)
    ap.add_argument("--seed", type=int, default=123456)
    ap.add_argument("--dtype", default="bfloat16", choices=["float32", "bfloat16"])
    ap.add_argument("--threads", type=int, default=2)
    ap.add_argument("--generate", action="store_true", help="generate the answers: much slower")
    ap.add_argument("--examples", action="store_true")
    args = ap.parse_args()
    torch.set_num_threads(args.threads)
    if args.examples:
        examples(args.model)
    else:
        table(
            Model(args.model, getattr(torch, args.dtype)),
            args.n,
            args.seed,
            score if args.generate else score_forced,
        )


if __name__ == "__main__":
    main()
