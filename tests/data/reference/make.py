"""Reference logits: what Hugging Face transformers computes for fixed token sequences.

    python make.py                all; needs torch, transformers, tokenizers, safetensors, jinja2
    python make.py qwen3-tiny     one of them (after models/qwen3-tiny has changed)

Each folder here is a model: `config.json` and `model*.safetensors` (seeded random weights in odd
shapes; qwen3-tiny's own are in models/), and `logits.safetensors` with, for sequence i,

    tokens.i     i32 [n]               fed from position 0 on
    positions.i  i32 [p]               the positions kept
    f32.i        f32 [p, vocabulary]   logits computed in f32 from the bf16 weights
    bf16.i       bf16 [p, vocabulary]  logits computed in bf16: how far from f32 ours may be

and the SHA-256 of the weights in its metadata.
"""

import glob
import hashlib
import json
import os
import random
import sys

import torch
from safetensors.torch import load_file, save_file
from transformers import Qwen3Config, Qwen3ForCausalLM

HERE = os.path.dirname(os.path.abspath(__file__))
ROOT = os.path.dirname(os.path.dirname(os.path.dirname(HERE)))
TINY = os.path.join(ROOT, "models", "qwen3-tiny")

BASE = dict(
    architectures=["Qwen3ForCausalLM"],
    attention_bias=False,
    hidden_act="silu",
    max_position_embeddings=1024,
    model_type="qwen3",
    rms_norm_eps=1e-6,
    rope_theta=1000000,
    tie_word_embeddings=True,
    torch_dtype="bfloat16",
    vocab_size=96,
)
YARN = dict(rope_type="yarn", factor=4.0, original_max_position_embeddings=64)
# Odd on purpose: widths that are no power of two (but multiples of 32, as real ones are), head
# counts of every kind.
RANDOM = {
    "one-kv-head": dict(
        hidden_size=32,
        num_hidden_layers=3,
        num_attention_heads=8,
        num_key_value_heads=1,
        head_dim=64,
        intermediate_size=96,
    ),
    "untied": dict(
        hidden_size=32,
        num_hidden_layers=1,
        num_attention_heads=6,
        num_key_value_heads=2,
        head_dim=128,
        intermediate_size=160,
        tie_word_embeddings=False,
        vocab_size=83,
        rms_norm_eps=1e-5,
        rope_theta=10000,
    ),
    "yarn": dict(
        hidden_size=32,
        num_hidden_layers=3,
        num_attention_heads=4,
        num_key_value_heads=2,
        head_dim=64,
        intermediate_size=96,
        max_position_embeddings=256,
        rope_theta=None,
        rope_parameters=dict(YARN, rope_theta=1000000.0),
    ),
    "yarn-old-spelling": dict(
        hidden_size=96,
        num_hidden_layers=1,
        num_attention_heads=4,
        num_key_value_heads=4,
        head_dim=64,
        intermediate_size=96,
        max_position_embeddings=256,
        rope_theta=10000.0,
        rope_scaling=dict(YARN, beta_fast=16, beta_slow=2, attention_factor=1.3),
    ),
    "sharded-f16": dict(
        hidden_size=96,
        num_hidden_layers=2,
        num_attention_heads=2,
        num_key_value_heads=2,
        head_dim=64,
        intermediate_size=32,
        torch_dtype="float16",
    ),
    "five-heads": dict(
        hidden_size=32,
        num_hidden_layers=2,
        num_attention_heads=5,
        num_key_value_heads=1,
        head_dim=128,
        intermediate_size=32,
        vocab_size=130,
    ),
}


def random_weights(c, seed):
    """Weights under which every part of the model matters: sharp attention, uneven norms."""
    g = torch.Generator().manual_seed(seed)
    normal = lambda *shape, std: torch.randn(*shape, generator=g) * std
    norm = lambda n, lo, hi: lo + (hi - lo) * torch.rand(n, generator=g)
    h, d, q, kv, m = (
        c["hidden_size"],
        c["head_dim"],
        c["num_attention_heads"],
        c["num_key_value_heads"],
        c["intermediate_size"],
    )
    w = {
        "model.embed_tokens.weight": normal(c["vocab_size"], h, std=1.0),
        "model.norm.weight": norm(h, 0.3, 1.2),
    }
    for i in range(c["num_hidden_layers"]):
        p = f"model.layers.{i}."
        w[p + "input_layernorm.weight"] = norm(h, 0.5, 1.5)
        w[p + "post_attention_layernorm.weight"] = norm(h, 0.5, 1.5)
        w[p + "self_attn.q_norm.weight"] = norm(d, 0.5, 2.0)
        w[p + "self_attn.k_norm.weight"] = norm(d, 0.5, 2.0)
        for name, rows, columns in (
            ("self_attn.q_proj", q * d, h),
            ("self_attn.k_proj", kv * d, h),
            ("self_attn.v_proj", kv * d, h),
            ("self_attn.o_proj", h, q * d),
            ("mlp.gate_proj", m, h),
            ("mlp.up_proj", m, h),
            ("mlp.down_proj", h, m),
        ):
            w[p + name + ".weight"] = normal(rows, columns, std=columns**-0.5)
    if not c["tie_word_embeddings"]:
        w["lm_head.weight"] = normal(c["vocab_size"], h, std=1.0)
    return w


def write_random(name, c, seed):
    """The model's folder; the f16 one in two shards."""
    folder = os.path.join(HERE, name)
    os.makedirs(folder, exist_ok=True)
    with open(os.path.join(folder, "config.json"), "w") as f:
        json.dump(c, f, indent=2)
        f.write("\n")
    w = {k: v.to(getattr(torch, c["torch_dtype"])) for k, v in random_weights(c, seed).items()}
    if c["torch_dtype"] != "float16":
        save_file(w, os.path.join(folder, "model.safetensors"), metadata={"format": "pt"})
        return
    names, place = sorted(w), {}
    for i, part in enumerate((names[::2], names[1::2])):
        file = f"model-0000{i + 1}-of-00002.safetensors"
        save_file({k: w[k] for k in part}, os.path.join(folder, file), metadata={"format": "pt"})
        place.update(dict.fromkeys(part, file))
    with open(os.path.join(folder, "model.safetensors.index.json"), "w") as f:
        json.dump(
            dict(
                metadata=dict(total_size=sum(v.numel() * 2 for v in w.values())), weight_map=place
            ),
            f,
            indent=2,
        )
        f.write("\n")


def model(folder, c, dtype):
    """The model with the weights rounded to bf16, computing in `dtype`."""
    w = {
        k: v.bfloat16().to(dtype)
        for file in sorted(glob.glob(os.path.join(folder, "model*.safetensors")))
        for k, v in load_file(file).items()
    }
    c = {
        k: v
        for k, v in c.items()
        if v is not None and k not in ("torch_dtype", "architectures", "transformers_version")
    }
    m = Qwen3ForCausalLM(Qwen3Config(**c, attn_implementation="eager")).to(dtype).eval()
    missing, unexpected = m.load_state_dict(w, strict=False)
    assert not unexpected and set(missing) <= (
        {"lm_head.weight"} if c["tie_word_embeddings"] else set()
    ), (missing, unexpected)
    m.tie_weights()
    return m


def keep(n, most):
    """Up to `most` of n positions: the first, the last few, and some between."""
    if n <= most:
        return list(range(n))
    tail = most // 3
    step = (n - tail) / (most - tail)
    return sorted({int(i * step) for i in range(most - tail)} | set(range(n - tail, n)))


def random_sequences(c):
    rng = random.Random(c["hidden_size"])
    return [[rng.randrange(c["vocab_size"]) for _ in range(n)] for n in (1, 9, 40, 200)]


def tiny_sequences():
    """Chats as in training, with the answers that they ask for, and text never seen."""
    sys.path.insert(0, os.path.join(ROOT, "models", "training"))
    import data
    from tokenizers import Tokenizer

    tok = Tokenizer.from_file(os.path.join(TINY, "tokenizer.json"))
    render, rng = data.Renderer(tok), random.Random(2026)
    samples = [data.sample(rng, 1.0, True, task) for task in ("fact", "json", "story")]
    samples += [
        data.tools(rng, 1.0, True, kind="tool_call"),
        data.needle(rng, 1.0, True, tokens=700),
    ]
    rows = [render.ids(dict(s, think=i % 2 == 0))[0] for i, s in enumerate(samples)]
    return rows + [
        tok.encode(
            "Zwölf Boxkämpfer 🥊 jagen {'x': [3.14, null]} über den Sylter Deich.\n\n\t#!/bin/sh"
        ).ids
    ]


def make(name, folder, sequences, most):
    with open(os.path.join(folder, "config.json")) as f:
        c = json.load(f)
    f32, bf16 = model(folder, c, torch.float32), model(folder, c, torch.bfloat16)
    tensors = {}
    with torch.inference_mode():
        for i, tokens in enumerate(sequences):
            at = keep(len(tokens), most)
            exact, rounded = (m(torch.tensor([tokens])).logits[0, at] for m in (f32, bf16))
            tensors.update(
                {
                    f"tokens.{i}": torch.tensor(tokens, dtype=torch.int32),
                    f"positions.{i}": torch.tensor(at, dtype=torch.int32),
                    f"f32.{i}": exact.contiguous(),
                    f"bf16.{i}": rounded.bfloat16().contiguous(),
                }
            )
            error = (rounded.float() - exact).norm() / exact.norm()
            print(
                f"{name}: {len(tokens)} tokens, {len(at)} kept, spread {exact.std():.2f}; "
                f"bf16 is {100 * error:.2f} % away, other best token at "
                f"{(rounded.argmax(-1) != exact.argmax(-1)).sum()}"
            )
    digest = hashlib.sha256()
    for file in sorted(glob.glob(os.path.join(folder, "model*.safetensors"))):
        with open(file, "rb") as f:
            digest.update(f.read())
    out = os.path.join(HERE, name)
    os.makedirs(out, exist_ok=True)
    save_file(
        tensors,
        os.path.join(out, "logits.safetensors"),
        metadata={"weights_sha256": digest.hexdigest()},
    )


def main():
    torch.set_num_threads(1)
    wanted = sys.argv[1:]
    for seed, (name, c) in enumerate(RANDOM.items()):
        if not wanted or name in wanted:
            c = dict(BASE, **c)
            c = {k: v for k, v in c.items() if v is not None}
            write_random(name, c, 100 + seed)
            make(name, os.path.join(HERE, name), random_sequences(c), 60)
    if not wanted or "qwen3-tiny" in wanted:
        make("qwen3-tiny", TINY, tiny_sequences(), 14)


if __name__ == "__main__":
    main()
