"""The front of Glassbox beside vLLM's: one-token completions, the same load generator, in turns.

    python3 benches/peers/front.py --vllm ../shared/tools/peer-vllm --ours target/release/glassbox

Three servers: vLLM on qwen3-tiny, Glassbox on qwen3-tiny, and Glassbox on its simulated backend,
which costs nothing. All but the one that is measured are held still (SIGSTOP). The generator is the
`front` bench of this repository; it shares the cores with the server. Prints every rate, medians,
and both ratios to vLLM, and writes them to benches/results.
"""

import argparse
import json
import os
import signal
import statistics
import subprocess
import sys
import time

HERE = os.path.dirname(os.path.abspath(__file__))
ROOT = os.path.dirname(os.path.dirname(HERE))
sys.path[:0] = [HERE, os.path.join(ROOT, "tests", "peers")]
from bench import hold, machine  # noqa: E402
from server import Server  # noqa: E402

MODEL = os.path.join(ROOT, "models", "qwen3-tiny")
FLAGS = ["--served-model-name", "qwen3-tiny", "--max-model-len", "2048", "--block-size", "64"]
FLAGS += ["--host", "127.0.0.1", "--port", "{port}", "--disable-uvicorn-access-log"]
AIM = 10


def generator():
    """The load generator, built."""
    build = ["cargo", "bench", "-q", "--bench", "front", "--no-run", "--message-format=json"]
    said = subprocess.run(build, cwd=ROOT, check=True, capture_output=True, text=True).stdout
    for line in said.splitlines():
        message = json.loads(line)
        if message.get("executable") and message["target"]["name"] == "front":
            return message["executable"]
    sys.exit("cargo built no bench named front")


def main():
    ap = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    ap.add_argument("--vllm", required=True, help="the script that runs vLLM")
    ap.add_argument("--ours", required=True, help="the glassbox binary")
    ap.add_argument("--rounds", type=int, default=5)
    args = ap.parse_args()
    facts = dict(machine(), date=time.strftime("%Y-%m-%d %H:%M UTC", time.gmtime()))
    load = generator()
    commands = {
        "vllm": [args.vllm, "serve", MODEL],
        "glassbox": [args.ours, "serve", MODEL],
        "glassbox, no model": [args.ours, "serve", MODEL, "--device", "sim"],
    }
    servers, rates = {}, {name: [] for name in commands}
    try:
        for name, command in commands.items():
            servers[name] = Server(name.replace(", ", "-").replace(" ", "-"), [*command, *FLAGS])
            hold(servers[name], True)
        for i in range(args.rounds):
            for name, server in servers.items():
                hold(server, False)
                command = [load, "--against", f"127.0.0.1:{server.port}", "qwen3-tiny"]
                said = subprocess.run(command, check=True, capture_output=True, text=True).stdout
                hold(server, True)
                rates[name].append(float(said.split()[0]))
                print(f"round {i + 1} {name}: {said.strip()}", flush=True)
    finally:
        for server in servers.values():
            hold(server, False)
            server.stop()
    medians = {name: statistics.median(values) for name, values in rates.items()}
    ratios = {name: round(m / medians["vllm"], 1) for name, m in medians.items() if name != "vllm"}
    for name, median in medians.items():
        times = f", {ratios[name]} times vLLM" if name in ratios else ""
        print(f"{name}: {median:.0f} requests/s{times}")
    file = time.strftime("front-%Y%m%d.json", time.gmtime())
    out = os.path.join(ROOT, "benches", "results", file)
    with open(out, "w") as f:
        json.dump(dict(facts, rates=rates, medians=medians, ratios=ratios, aim=AIM), f, indent=2)
        f.write("\n")
    print(f"written: {os.path.relpath(out, ROOT)}")
    sys.exit(0 if ratios["glassbox, no model"] >= AIM else 1)


if __name__ == "__main__":
    main()
