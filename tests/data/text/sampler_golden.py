"""Writes sampler.json: what vLLM 0.32's own V2 sampler kernels make of random rows.

Run with the Python of a vLLM 0.32 environment; the Triton kernels run in its interpreter, on CPU.
"""

import json
import os
import random

os.environ["TRITON_INTERPRET"] = "1"
import torch
import triton
import triton.language
import vllm.triton_utils

vllm.triton_utils.triton = triton
vllm.triton_utils.tl = triton.language
vllm.triton_utils.HAS_TRITON = True
from vllm.v1.sample.ops.topk_topp_sampler import apply_top_k_top_p_pytorch  # noqa: E402
from vllm.v1.worker.gpu.sample import bad_words, gumbel, logit_bias, min_p, penalties  # noqa: E402

VOCAB, CASES = 96, 150
random.seed(32)
ints = lambda *rows: torch.tensor(rows, dtype=torch.int32)  # noqa: E731
ROW = torch.zeros(1, dtype=torch.int64)


def params():
    """A random request; each feature is on in about half of them."""
    maybe = lambda value, off: value if random.random() < 0.5 else off  # noqa: E731
    ids = lambda n: random.sample(range(VOCAB), n)  # noqa: E731
    return {
        "temperature": random.choice([0.0, 0.01, 0.3, 0.7, 1.0, 1.0, 1.6]),
        "top_p": maybe(random.choice([0.05, 0.5, 0.8, 0.95]), 1.0),
        "top_k": maybe(random.choice([1, 2, 5, 20, VOCAB - 1]), 0),
        "min_p": maybe(random.choice([0.02, 0.1, 0.5, 1.0]), 0.0),
        "repetition_penalty": maybe(random.choice([0.8, 1.1, 1.5]), 1.0),
        "presence_penalty": maybe(random.choice([-1.0, 0.5, 2.0]), 0.0),
        "frequency_penalty": maybe(random.choice([-0.5, 0.25, 1.5]), 0.0),
        "logit_bias": [[t, random.choice([-100.0, -1.5, 2.0, 100.0])] for t in maybe(ids(3), [])],
        "allowed_token_ids": maybe(ids(30), None) if random.random() < 0.5 else None,
        "min_tokens": random.choice([0, 0, 3, 9]),
        "ends": ids(3),
        "seed": random.choice([0, 1, 42, -7, 2**31 + 5, 2**63 - 1, -(2**63)]),
    }


def adjusted(p, row, prompt, output, bad):
    """The row after biases, penalties and bad words."""
    full = lambda values, width: ints((values + [0] * width)[:width])  # noqa: E731
    biases = p["logit_bias"]
    allowed = p["allowed_token_ids"] or []
    length = len(prompt) + len(output)
    logit_bias.apply_logit_bias(
        row, ROW, torch.tensor([length - 1]),
        ints(len(allowed)).view(-1), full(allowed, 32),
        ints(len(biases)).view(-1), full([t for t, _ in biases], 4),
        torch.tensor([([b for _, b in biases] + [0.0] * 4)[:4]]),
        ints(len(prompt) + p["min_tokens"]).view(-1),
        ints(len(p["ends"]) if p["min_tokens"] else 0).view(-1),
        ints(0).view(-1), full(p["ends"], 4),
    )
    mask = [0] * (VOCAB // 32)
    for token in prompt:
        mask[token // 32] |= 1 << token % 32
    mask = [m - (1 << 32) if m >> 31 else m for m in mask]
    counts = [output.count(t) for t in range(VOCAB)]
    penalties.apply_penalties(
        row, ROW, ints(*output[-1:] or [0]).view(-1), torch.zeros(1, dtype=torch.int64),
        torch.tensor([p["repetition_penalty"]]), torch.tensor([p["frequency_penalty"]]),
        torch.tensor([p["presence_penalty"]]), ints(mask), ints(counts),
    )
    if bad:
        offsets = [0]
        for word in bad:
            offsets.append(offsets[-1] + len(word))
        bad_words.apply_bad_words(
            row, ROW, ints([t for word in bad for t in word]), ints(offsets),
            ints(len(bad)).view(-1), ints(prompt + output + [0]), ints(len(prompt)).view(-1),
            ints(length).view(-1), ints(*output[-1:] or [0]).view(-1),
            torch.zeros(1, dtype=torch.int64), len(bad),
        )


def case():
    p = params()
    # Distinct and exact in binary, so that no result hangs on a tie or on decimal rounding.
    logits = [i / 64 for i in random.sample(range(-512, 640), VOCAB)]
    prompt = [random.randrange(VOCAB) for _ in range(random.randrange(1, 12))]
    output = [random.randrange(VOCAB) for _ in range(random.randrange(0, 12))]
    best = max(range(VOCAB), key=logits.__getitem__)
    bad = random.choice([[], [[best]], [output[-1:] + [best], [5, 6, 7]], [output[-2:] + [best]]])
    row = torch.tensor([logits])
    adjusted(p, row, prompt, output, bad)
    after = row[0].tolist()
    temperature = torch.tensor([p["temperature"]])
    if p["temperature"] > 0:
        gumbel.apply_temperature(row, ROW, temperature)
        min_p.apply_min_p(row, ROW, torch.tensor([p["min_p"]]))
        k = torch.tensor([p["top_k"]]) if p["top_k"] else None
        top_p = torch.tensor([p["top_p"]]) if p["top_p"] < 1 else None
        row = apply_top_k_top_p_pytorch(row, k, top_p)
    token = gumbel.gumbel_sample(
        row, ROW, temperature, torch.tensor([p["seed"]]),
        torch.tensor([len(prompt) + len(output) - 1]), False, False,
    )
    return {
        "params": p, "logits": logits, "prompt": prompt, "output": output, "bad_words": bad,
        "adjusted": [None if x == float("-inf") else x for x in after],
        "kept": [t for t in range(VOCAB) if row[0, t] > float("-inf")],
        "token": token.item(),
    }


with open(os.path.join(os.path.dirname(__file__), "sampler.json"), "w") as file:
    rows = ",\n".join(json.dumps(case(), separators=(",", ":")) for _ in range(CASES))
    file.write("[\n" + rows + "\n]\n")
