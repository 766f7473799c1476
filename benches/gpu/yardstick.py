"""What libraries reach on this GPU: the limits that Glassbox's kernels are held against.

The rate of a large bf16 product of random numbers is the one that shares are of; beside it the
products and the attention of Qwen3-0.6B's own shapes, copies, and reading alone.
"""

import argparse
import statistics
import time

import record

# Outputs and inputs of Qwen3-0.6B's products.
SHAPES = {"Qkv": (4096, 1024), "O": (1024, 2048), "GateUp": (6144, 1024), "Down": (1024, 3072)}
ROWS = [1, 8, 32, 128, 256, 512, 2048, 8192]
PROMPTS = [1024, 4096, 8192]
HEADS, HEAD_DIM = 16, 128


class Clock:
    """Times work on the device by events, or by the wall where there are none."""

    def __init__(self, torch, device, rounds):
        self.torch, self.device, self.rounds = torch, device, rounds

    def once(self, work, times):
        if self.device == "cpu":
            since = time.perf_counter()
            for _ in range(times):
                work()
            return (time.perf_counter() - since) / times
        begin, end = (self.torch.cuda.Event(enable_timing=True) for _ in range(2))
        begin.record()
        for _ in range(times):
            work()
        end.record()
        end.synchronize()
        return begin.elapsed_time(end) / 1e3 / times

    def median(self, work, times=10):
        for _ in range(2):
            work()
        return statistics.median(self.once(work, times) for _ in range(self.rounds))


def products(torch, clock, device, size):
    a, b = (torch.randn(size, size, device=device, dtype=torch.bfloat16) for _ in range(2))
    seconds = clock.median(lambda: a @ b)
    name = f"product of {size} x {size} x {size}"
    record.line(name=name, yardstick="products", seconds=seconds, flops=2 * size**3)


def memory(torch, clock, device, size):
    source = torch.randn(size // 4, device=device)
    to = torch.empty_like(source)
    seconds = clock.median(lambda: to.copy_(source))
    record.line(name="copy", seconds=seconds, bytes=2 * size)
    seconds = clock.median(lambda: torch.sum(source))
    record.line(name="read (sum)", seconds=seconds, bytes=size)


def shapes(torch, clock, device, rows):
    """Weights of as many layers as do not fit a cache, in turn."""
    layers = 28 if device == "cuda" else 1
    for name, (n, k) in SHAPES.items():
        weights = torch.randn(layers, n, k, device=device, dtype=torch.bfloat16)
        for m in rows:
            x = torch.randn(m, k, device=device, dtype=torch.bfloat16)

            def work(x=x, weights=weights):
                for weight in weights:
                    torch.nn.functional.linear(x, weight)

            seconds = clock.median(work, 3) / layers
            values = dict(seconds=seconds, flops=2 * m * n * k, bytes=2 * (n * k + m * k + m * n))
            record.line(name=f"linear {name}, {m} rows", **values)


def attention(torch, clock, device, prompts):
    for length in prompts:
        draw = dict(device=device, dtype=torch.bfloat16)
        q, k, v = (torch.randn(1, HEADS, length, HEAD_DIM, **draw) for _ in range(3))
        sdpa = torch.nn.functional.scaled_dot_product_attention
        seconds = clock.median(lambda q=q, k=k, v=v: sdpa(q, k, v, is_causal=True))
        flops = 4 * HEADS * HEAD_DIM * length * (length + 1) // 2
        record.line(name=f"causal attention of {length}", seconds=seconds, flops=flops)


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--smoke", action="store_true")
    smoke = parser.parse_args().smoke
    torch, device = record.torch(smoke)
    torch.manual_seed(0)
    clock = Clock(torch, device, 1 if smoke else 5)
    products(torch, clock, device, 64 if smoke else 8192)
    memory(torch, clock, device, 1 << 20 if smoke else 4 << 30)
    shapes(torch, clock, device, [1] if smoke else ROWS)
    attention(torch, clock, device, [16] if smoke else PROMPTS)


if __name__ == "__main__":
    main()
