"""Glassbox's log-probabilities on the GPU beside Hugging Face's, for the same tokens.

    logits.py --program GLASSBOX [--checkpoint FOLDER] [--smoke]

Without a checkpoint, one of Qwen3-0.6B's shape is written with seeded weights. Both are held
against Hugging Face in float32: Glassbox, in bf16, may be no farther from it than Hugging Face in
bf16 is, give or take half of that.
"""

import argparse
import json
import pathlib
import random
import re
import subprocess
import sys
import tempfile
import time
import urllib.request

import record

HERE = pathlib.Path(__file__).resolve().parent
READY = re.compile(r"Starting vLLM server on (http://[^\s\"]+)")
TOP = 20
LENGTHS = [1, 17, 130, 1000]
SLACK = 1.5
# What rounding of float32 log-probabilities explains.
FLOOR = 1e-4


def arguments():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--program", required=True)
    parser.add_argument("--checkpoint", type=pathlib.Path)
    parser.add_argument("--smoke", action="store_true")
    return parser.parse_args()


def write_checkpoint(torch, transformers, device, folder, smoke):
    name = "smoke" if smoke else "qwen3-0.6b"
    config = transformers.Qwen3Config.from_pretrained(HERE / "models" / name)
    torch.manual_seed(0)
    with torch.device(device):
        model = transformers.Qwen3ForCausalLM(config)
    model.to(torch.bfloat16).save_pretrained(folder)
    return folder


class Server:
    """`glassbox serve` on the GPU, until it is closed."""

    def __init__(self, program, folder, smoke):
        command = [program, "serve", str(folder), "--device", "cuda", "--host", "127.0.0.1"]
        command += ["--port", "0", "--served-model-name", "m", "--skip-tokenizer-init"]
        command += ["--max-logprobs", str(TOP), "--max-num-seqs", "4"]
        if smoke:
            command += ["--max-model-len", "64", "--kv-cache-memory-bytes", "16M"]
            command += ["--max-num-batched-tokens", "64"]
        else:
            command += ["--max-model-len", "2048", "--kv-cache-memory-bytes", "2G"]
        since = time.monotonic()
        self.child = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
        for line in self.child.stdout:
            found = READY.search(line)
            if found:
                self.address = found.group(1)
                self.seconds = time.monotonic() - since
                return
        sys.exit(f"the server ended with {self.child.wait()}")

    def ask(self, tokens):
        """For each position after the first, {token: log-probability}."""
        body = {"model": "m", "prompt": tokens, "max_tokens": 1, "temperature": 0}
        body |= {"prompt_logprobs": TOP, "detokenize": False}
        request = urllib.request.Request(
            self.address + "/v1/completions",
            json.dumps(body).encode(),
            {"content-type": "application/json"},
        )
        with urllib.request.urlopen(request, timeout=60) as reply:
            choice = json.load(reply)["choices"][0]
        positions = choice["prompt_logprobs"][1:]
        return [{int(token): at["logprob"] for token, at in top.items()} for top in positions]

    def close(self):
        self.child.terminate()
        self.child.wait(timeout=20)


def reference(torch, transformers, folder, device, dtype, prompts):
    """Log-probabilities of every token at every position."""
    model = transformers.Qwen3ForCausalLM.from_pretrained(folder, dtype=dtype).to(device).eval()
    found = []
    with torch.inference_mode():
        for tokens in prompts:
            logits = model(torch.tensor([tokens], device=device)).logits[0].float()
            found.append(torch.log_softmax(logits, -1).cpu())
    return found


def compare(ours, bf16, f32):
    """Distances from float32 of ours and of theirs, over all that we were told, and how often the
    best token is float32's."""
    off, theirs, same, positions = [], [], 0, 0
    for found, rounded, exact in zip(ours, bf16, f32):
        for position, top in enumerate(found):
            for token, logprob in top.items():
                off.append(abs(logprob - exact[position][token].item()))
                theirs.append(abs(rounded[position][token].item() - exact[position][token].item()))
            same += max(top, key=top.get) == exact[position].argmax().item()
            positions += 1
    return off, theirs, same / positions


def report(off, theirs, same):
    def mean(values):
        return sum(values) / len(values)

    for name, values in [("Glassbox", off), ("Hugging Face in bf16", theirs)]:
        text = f"mean {mean(values):.6f}, largest {max(values):.6f}, of {len(values)}"
        record.line(name=f"{name}: distance from float32", text=text)
    record.line(name="best token is float32's", percent=100 * same)
    close = mean(off) <= SLACK * mean(theirs) + FLOOR
    record.line(name="as close as bf16 is", text="yes" if close else "NO")
    return close


def main():
    args = arguments()
    torch, device = record.torch(args.smoke)
    try:
        import transformers
    except ImportError as error:
        record.skip(f"there is no transformers ({error})")
    with tempfile.TemporaryDirectory() as folder:
        checkpoint = args.checkpoint
        if checkpoint is None:
            checkpoint = write_checkpoint(torch, transformers, device, folder, args.smoke)
        vocab = json.loads((pathlib.Path(checkpoint) / "config.json").read_text())["vocab_size"]
        dice = random.Random(1)
        lengths = [2, 21] if args.smoke else LENGTHS
        prompts = [[dice.randrange(vocab) for _ in range(length + 1)] for length in lengths]
        server = Server(args.program, checkpoint, args.smoke)
        try:
            record.line(name="from the start to the first request", seconds=server.seconds)
            ours = [server.ask(tokens) for tokens in prompts]
        finally:
            server.close()
        references = [
            reference(torch, transformers, checkpoint, device, dtype, prompts)
            for dtype in (torch.bfloat16, torch.float32)
        ]
    if not report(*compare(ours, *references)):
        sys.exit("farther from float32 than bf16 explains")


if __name__ == "__main__":
    main()
