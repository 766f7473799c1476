"""Records where the CPU kernel of vLLM puts each element of a KV block (layout.json).

Usage: layout_golden.py > layout.json, with the Python that vLLM (CPU) is installed for.
"""

import hashlib
import json
import struct

import torch
from vllm import _custom_ops as ops

HEADS = 2


def record(isa, head_size, block_size):
    """The second of two blocks, filled with the places of its elements in FLASH_ATTN's layout."""
    cache = torch.full((2, HEADS, block_size, 2 * head_size), -1.0, dtype=torch.bfloat16)
    key_cache, value_cache = cache.view(2, HEADS, 2 * block_size, head_size).chunk(2, dim=2)
    places = torch.arange(HEADS * block_size * 2 * head_size, dtype=torch.int32)
    places = places.to(torch.int16).view(HEADS, block_size, 2, head_size)
    key, value = (
        places[:, :, i, :].permute(1, 0, 2).contiguous().view(torch.bfloat16) for i in (0, 1)
    )
    slots = torch.arange(block_size, dtype=torch.int64) + block_size
    ops.cpu_attn_reshape_and_cache(key, value, key_cache, value_cache, slots, isa)
    packed = cache[1].contiguous().view(torch.int16).flatten().to(torch.int32) & 0xFFFF
    packed = packed.tolist()
    half = block_size * head_size
    return {
        "isa": isa,
        "head_size": head_size,
        "block_size": block_size,
        "kv_heads": HEADS,
        "sha256": hashlib.sha256(struct.pack(f"<{len(packed)}H", *packed)).hexdigest(),
        "first_k": packed[:40],
        "first_v": packed[half : half + 40],
    }


def main():
    cases = [
        record(isa, head_size, block_size)
        for isa in ("vec", "vec16", "amx")
        for head_size in (64, 128)
        for block_size in (32, 64)
    ]
    print("[\n" + ",\n".join(json.dumps(case) for case in cases) + "\n]")


if __name__ == "__main__":
    main()
