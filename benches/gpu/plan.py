"""The steps of benches/gpu/run, the one that is worth most first."""

import dataclasses
import pathlib
import re
import shutil
import sys
import typing

HERE = pathlib.Path(__file__).resolve().parent
ROOT = HERE.parent.parent
TINY = pathlib.Path("models") / "qwen3-tiny"
SANITIZERS = ["compute-sanitizer", "/usr/local/cuda/bin/compute-sanitizer"]
# Tests by module, each in a process of its own: a device that has failed stays so for its process.
KERNELS = ["norm", "embed", "pack", "heads", "gemm", "attend", "sample", "logprobs", "probes"]
BACKEND = ["probe", "same", "invariance", "edges", "sampling", "sleep", "failures", "serve"]

# Of these, those that run whole steps, by graphs and one by one.
STEPS = ["sampling", "invariance"]


@dataclasses.dataclass
class Step:
    name: str
    limit: float
    command: list
    env: dict = dataclasses.field(default_factory=dict)
    # Takes what a step has said and gives lines for the table.
    find: typing.Optional[typing.Callable] = None


def tests(said):
    """The summaries of test programs, and the tests that failed."""
    found = re.findall(r"^test result: (.*?);? (?:finished in .*)?$", said, re.M)
    failed = re.findall(r"^test (\S+) \.\.\. FAILED$", said, re.M)
    lines = [dict(name="tests", text=text) for text in found]
    return lines + [dict(name=name, text="FAILED") for name in failed]


def throughput(said):
    """What `bench throughput` says: output tokens count, as in nano-vllm's own benchmark."""
    lines = []
    for rate in re.findall(r"([\d.]+) output tokens/s", said):
        lines.append(dict(name="output", tokens_per_second=float(rate)))
    return lines + roofline(said)


def roofline(said):
    shares = re.findall(r"Roofline: .*: ([\d.]+) % of it reached", said)
    return [dict(name="of the copy-rate roofline", percent=float(share)) for share in shares]


def sanitized(said):
    lines = tests(said)
    for text in re.findall(r"^=+ ((?:ERROR|RACECHECK) SUMMARY: .*)$", said, re.M):
        lines.append(dict(name="summary", text=text))
    return lines


def modules(program, names, limit, smoke, *more):
    for module in names[:1] if smoke else names:
        command = [program, f"{module}::", *more]
        yield Step(f"{program.name}-{module}", limit, command, find=tests)


def sanitizer(programs, tool, limit, smoke):
    """One step a module, so that a cut loses one alone: each kernel by itself, then as steps start
    them."""
    found = next((tool for tool in map(shutil.which, SANITIZERS) if tool), SANITIZERS[0])
    check = [found, "--tool", tool, "--error-exitcode", "9", "--report-api-errors", "no"]
    each = [("test-kernels", module) for module in KERNELS]
    each += [("test-cuda", module) for module in STEPS]
    for program, module in each[:1] if smoke else each:
        command = [*check, programs / program, f"{module}::"]
        yield Step(f"{tool}-{module}", limit, command, find=sanitized)


def engine(programs, model, smoke, *more):
    """nano-vllm's benchmark: 256 prompts and replies of 100 to 1,024 tokens each, all at once."""
    mean, spread, count = (12, 0.5, 3) if smoke else (562, 0.822, 256)
    command = [programs / "glassbox", "bench", "throughput", "--model", model]
    # Any tokenizer will do: it names the tokens that random prompts are made of.
    command += ["--load-format", "dummy", "--tokenizer", ROOT / TINY, "--device", "cuda"]
    command += ["--dataset-name", "random", "--random-input-len", mean]
    command += ["--random-output-len", mean, "--random-range-ratio", spread]
    command += ["--num-prompts", count, "--num-warmups", 1 if smoke else 8]
    if smoke:
        command += ["--max-model-len", 64, "--max-num-seqs", 4, "--max-num-batched-tokens", 64]
        command += ["--kv-cache-memory-bytes", "4M"]
    else:
        command += ["--max-model-len", 4096, "--max-num-seqs", 256]
        command += ["--max-num-batched-tokens", 16384]
    return [*command, *more]


def latency(programs, model, smoke, batch):
    """A batch of 1,024 tokens in and 128 out each through the engine, prompts and all."""
    given, made = (12, 3) if smoke else (1024, 128)
    command = [programs / "glassbox", "bench", "latency", "--model", model, "--device", "cuda"]
    command += ["--load-format", "dummy", "--skip-tokenizer-init", "--batch-size", batch]
    command += ["--input-len", given, "--output-len", made, "--num-iters-warmup", 1]
    command += ["--num-iters", 1 if smoke else 5, "--max-num-seqs", batch]
    command += ["--max-model-len", 64 if smoke else 2048]
    command += ["--kv-cache-memory-bytes", "4M" if smoke else "16G"]
    if smoke:
        command += ["--max-num-batched-tokens", 64]

    def find(said):
        lines = []
        for text in re.findall(r"^Avg latency: ([\d.e-]+) seconds", said, re.M):
            seconds = float(text)
            name = f"batch {batch}, {given} in, {made} out, in all"
            rate = batch * made / seconds
            lines.append(dict(name=name, seconds=seconds, tokens_per_second=rate))
        return lines + roofline(said)

    return Step(f"latency-{batch}", 40, command, find=find)


def steps(programs, model, smoke):
    """All steps. `programs` holds what benches/gpu/build has made; `model` is one of models/."""
    model = HERE / "models" / ("smoke" if smoke else model)
    tiny = ["--smoke"] if smoke else []
    bench = [programs / "bench-cuda", "--model", model, *tiny]

    def python(name, *more):
        return [sys.executable, HERE / f"{name}.py", *tiny, *more]

    def group(name, limit):
        command = [*bench, "--json", programs / f"bench-{name}.jsonl", name]
        return Step(f"bench-{name}", limit, command)

    binary = ["--program", programs / "glassbox"]
    yield Step("machine", 45, python("machine"))
    yield Step("yardstick", 60, python("yardstick"))
    # What the driver refuses is no error of a kernel, so sanitizers leave it out.
    yield from modules(programs / "test-kernels", [*KERNELS, "driver"], 40, smoke)
    # One thread, as some look at how much memory is free.
    yield from modules(programs / "test-cuda", BACKEND, 40, smoke, "--test-threads", "1")
    yield group("steps", 75)
    yield Step("nano-vllm", 60, engine(programs, model, smoke), find=throughput)
    for batch in [1, 3] if smoke else [1, 32]:
        yield latency(programs, model, smoke, batch)
    yield Step("logits-tiny", 60, python("logits", *binary, "--checkpoint", ROOT / TINY))
    yield group("kernels", 75)
    yield from sanitizer(programs, "memcheck", 40, smoke)
    yield Step("logits-0.6b", 90, python("logits", *binary))
    yield group("choices", 45)
    eager = engine(programs, model, smoke, "--enforce-eager")
    yield Step("nano-vllm-eager", 60, eager, find=throughput)
    yield Step("hugging-face", 60, python("hugging_face"))
    yield from sanitizer(programs, "racecheck", 40, smoke)

