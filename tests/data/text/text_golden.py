"""Writes text.json: what vLLM 0.32's own detokeniser, logprobs processor and bad-words code make
of random tokens of models/qwen3-tiny's tokenizer.

Run with the Python of a vLLM 0.32 environment, from the root of the repository.
"""

import json
import os
import random
from types import SimpleNamespace

import numpy as np
from transformers import AutoTokenizer
from vllm import SamplingParams
from vllm.exceptions import VLLMValidationError
from vllm.tokenizers.hf import get_cached_tokenizer
from vllm.v1.engine.detokenizer import FastIncrementalDetokenizer
from vllm.v1.engine.logprobs import LogprobsProcessor
from vllm.v1.outputs import LogprobsLists

random.seed(32)
TOKENIZER = get_cached_tokenizer(AutoTokenizer.from_pretrained("models/qwen3-tiny"))
TEXT = "Hello wörld 😀 naïve 東京 is a city. \n\n  {\"a\": [1, 2]} 👨‍👩‍👧 ﷺ <think>x</think> end\ufffd"
WORDS = TEXT.split(" ")
END = TOKENIZER.convert_tokens_to_ids("<|im_end|>")


def random_tokens():
    """Text, broken characters, single bytes, added and unknown tokens."""
    tokens = []
    for _ in range(random.randrange(1, 8)):
        word = TOKENIZER.encode(random.choice(["", " "]) + random.choice(WORDS))
        kind = random.random()
        if kind < 0.6:
            tokens += word
        elif kind < 0.75:
            tokens += word[: random.randrange(len(word) + 1)]
        elif kind < 0.85:
            tokens += [random.randrange(256) for _ in range(random.randrange(1, 4))]
        elif kind < 0.95:
            tokens.append(random.randrange(2022, 2048))
        else:
            tokens.append(random.choice([2048, 5000]))
    return tokens or [0]


def output_case():
    prompt = TOKENIZER.encode(random.choice(["Hi", "", "<|im_start|>assistant\n", "é 東"]))
    tokens = random_tokens()
    text = TOKENIZER.decode(tokens)
    stop = []
    for _ in range(random.choice([0, 0, 1, 2, 3])):
        start = random.randrange(max(len(text), 1))
        stop.append(text[start : start + random.randrange(1, 6)] or "zz")
    options = {
        "skip_special_tokens": random.random() < 0.5,
        "stop": stop,
        "include_stop_str_in_output": random.random() < 0.4,
        "min_tokens": random.choice([0, 0, 2, 5]),
    }
    ends_at_token = random.random() < 0.5
    if ends_at_token:
        tokens.append(END)
    params = SamplingParams(max_tokens=1000, **options)
    request = SimpleNamespace(sampling_params=params, prompt_token_ids=prompt, request_id="r")
    detokenizer = FastIncrementalDetokenizer(TOKENIZER, request)
    deltas, stopped = [], None
    for i, token in enumerate(tokens):
        last = i + 1 == len(tokens)
        stopped = detokenizer.update([token], last and ends_at_token)
        deltas.append(detokenizer.get_next_output_text(last or stopped is not None, True))
        if stopped is not None:
            break
    return {
        "prompt": prompt, "tokens": tokens, "options": options, "ends_at_token": ends_at_token,
        "deltas": deltas, "stopped": stopped,
    }


def logprobs_case():
    tokens = random_tokens()
    top = random.choice([0, 1, 3])
    processor = LogprobsProcessor(TOKENIZER, [], None, 0.0, top, None)
    positions, described = [], []
    for token in tokens:
        others = random.sample(range(2048), top)
        if top and random.random() < 0.5:
            others[random.randrange(top)] = token
        if top and random.random() < 0.5:
            others[0] = random.choice(TOKENIZER.encode("😀東é"))
            others = list(dict.fromkeys(others))
            others += [t for t in range(5) if t not in others][: top - len(others)]
        values = [random.choice([-0.5, -2.0, -20000.0, float("-inf")]) for _ in others]
        own = values[others.index(token)] if token in others else -3.0
        rank = random.randrange(1, 99)
        processor._update_sample_logprobs(LogprobsLists(
            np.array([[token] + others]), np.array([[own] + values], dtype=np.float32),
            np.array([rank]), None,
        ))
        fin = lambda x: None if x == float("-inf") else x  # noqa: E731
        positions.append({
            "token": token, "logprob": fin(own), "rank": rank,
            "top": [[t, fin(v)] for t, v in zip(others, values)],
        })
        described.append([
            [t, fin(entry.logprob), entry.rank, entry.decoded_token]
            for t, entry in processor.logprobs[-1].items()
        ])
    return {"positions": positions, "described": described}


def bad_words_case():
    words = random.sample(
        ["hello", "Hello", " the", "the", "a", "東京", "😀", "\n"]
        + ["naïve idea", "x", "\u001cyes", "."],
        random.randrange(1, 5),
    )
    params = SamplingParams(bad_words=words)
    try:
        params.update_from_tokenizer(TOKENIZER)
    except VLLMValidationError as error:
        return {"words": words, "error": str(error).split(" (parameter")[0]}
    return {"words": words, "tokens": params.bad_words_token_ids}


def write(name, cases):
    lines = (json.dumps(c, separators=(",", ":")) for c in cases)
    return f'"{name}": [\n' + ",\n".join(lines) + "\n]"


parts = [
    write("outputs", [output_case() for _ in range(400)]),
    write("logprobs", [logprobs_case() for _ in range(60)]),
    write("bad_words", [bad_words_case() for _ in range(30)]),
]
with open(os.path.join(os.path.dirname(__file__), "text.json"), "w") as file:
    file.write("{\n" + ",\n".join(parts) + "\n}\n")
