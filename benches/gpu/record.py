"""How the Python programs here leave what they find: lines of JSON, each written at once."""

import json
import os
import sys

from results import describe


def line(**values):
    path = os.environ.get("GLASSBOX_BENCH_JSON")
    if path:
        with open(path, "a") as file:
            file.write(json.dumps(values) + "\n")
    print(describe(values), flush=True)


def skip(reason):
    """Ends the program as one that cannot run here."""
    print(f"SKIPPED: {reason}", flush=True)
    sys.exit(77)


def torch(smoke):
    """PyTorch and the device to use: the GPU, or for a smoke test whatever there is."""
    try:
        import torch
    except ImportError as error:
        skip(f"there is no PyTorch ({error})")
    if torch.cuda.is_available():
        return torch, "cuda"
    if not smoke:
        skip("PyTorch sees no GPU")
    return torch, "cpu"
