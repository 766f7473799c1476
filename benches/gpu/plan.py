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
# Tests of kernels by module; what the driver refuses is no error of a kernel.
MODULES = ["attend", "gemm", "heads", "norm", "embed", "pack", "sample", "logprobs", "probes"]


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
    for share in re.findall(r"Roofline: .*: ([\d.]+) % of it reached", said):
        lines.append(dict(name="of the copy-rate roofline", percent=float(share)))
    return lines


def sanitized(said):
    lines = tests(said)
    for text in re.findall(r"^=+ ((?:ERROR|RACECHECK) SUMMARY: .*)$", said, re.M):
        lines.append(dict(name="summary", text=text))
    return lines


def sanitizer(programs, tool, limit, smoke):
    """One step a module, so that a cut loses one alone."""
    found = next((tool for tool in map(shutil.which, SANITIZERS) if tool), SANITIZERS[0])
    check = [found, "--tool", tool, "--error-exitcode", "9", "--report-api-errors", "no"]
    modules = MODULES[:1] if smoke else MODULES
    for module in modules:
        command = [*check, programs / "test-kernels", f"{module}::"]
        yield Step(f"{tool}-{module}", limit, command, find=sanitized)


def engine(programs, smoke, *more):
    """nano-vllm's benchmark: 256 prompts and replies of 100 to 1,024 tokens each, all at once."""
    model = HERE / "models" / ("smoke" if smoke else "qwen3-0.6b")
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


def steps(programs, smoke):
    """All steps; `programs` holds what benches/gpu/build has made."""
    tiny = ["--smoke"] if smoke else []
    bench = [programs / "bench-cuda", *tiny]

    def python(name, *more):
        return [sys.executable, HERE / f"{name}.py", *tiny, *more]

    def group(name, limit):
        command = [*bench, "--json", programs / f"bench-{name}.jsonl", name]
        return Step(f"bench-{name}", limit, command)

    some = ["norm::"] if smoke else []
    one = ["probe::"] if smoke else []
    binary = ["--program", programs / "glassbox"]
    yield Step("machine", 45, python("machine"))
    yield Step("yardstick", 60, python("yardstick"))
    yield Step("test-kernels", 90, [programs / "test-kernels", *some], find=tests)
    yield Step("test-backend", 90, [programs / "test-cuda", *one], find=tests)
    yield group("steps", 75)
    yield Step("nano-vllm", 60, engine(programs, smoke), find=throughput)
    yield Step("logits-tiny", 60, python("logits", *binary, "--checkpoint", ROOT / TINY))
    yield group("kernels", 75)
    yield from sanitizer(programs, "memcheck", 40, smoke)
    yield Step("logits-0.6b", 90, python("logits", *binary))
    yield group("choices", 45)
    yield Step("nano-vllm-eager", 60, engine(programs, smoke, "--enforce-eager"), find=throughput)
    yield Step("hugging-face", 60, python("hugging_face"))
    yield from sanitizer(programs, "racecheck", 40, smoke)

