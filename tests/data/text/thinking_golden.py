"""Writes thinking.json: which token vLLM 0.32's V2 kernel forces on reasoning over its budget.

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
from vllm.v1.worker.gpu.sample.thinking_budget import apply_thinking_budget  # noqa: E402

VOCAB, CASES = 6, 600
MARKS = [  # what starts reasoning, ends it, and is forced
    ([4], [5], [5]), ([4], [5], [1, 1, 5]), ([4], [5], [1, 2, 1, 3]), ([4, 4], [5, 1], [2, 5, 1]),
    ([4], [1, 2], [1, 2]), ([1, 2, 1], [5], [0, 5]), ([4], [4], [4]),
]
random.seed(32)


def forced(tokens, budget, marks):
    """The forced token, or None."""
    row = torch.zeros(1, VOCAB)
    ints = lambda values: torch.tensor(values, dtype=torch.int32)  # noqa: E731
    state = [ints([-1]), ints([-1]), ints([0])]
    apply_thinking_budget(
        row, ints([0]), ints([0]), ints([budget]), ints([tokens]), ints([len(tokens)]),
        ints([tokens[-1]]), ints([0]), *state, *map(ints, marks))
    hits = (row[0] == 1e9).nonzero().flatten().tolist()
    return hits[0] if hits else None


def case():
    marks = random.choice(MARKS)
    tokens = [random.randrange(VOCAB) for _ in range(random.randrange(1, 6))]
    for _ in range(random.randrange(4)):
        tokens += random.choice(marks)[: random.randrange(1, 5)]
        tokens += [random.randrange(VOCAB) for _ in range(random.randrange(4))]
    budget = random.choice([0, 0, 1, 2, 3, 5, 8])
    return {"marks": marks, "tokens": tokens, "prompt": random.randrange(1, len(tokens) + 1),
            "budget": budget, "forced": forced(tokens, budget, marks)}


with open(os.path.join(os.path.dirname(__file__), "thinking.json"), "w") as file:
    rows = ",\n".join(json.dumps(case(), separators=(",", ":")) for _ in range(CASES))
    file.write("[\n" + rows + "\n]\n")
