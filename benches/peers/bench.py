"""Glassbox beside the real vLLM on a model of Qwen3-0.6B's shape, in turns on the same machine.

    python3 benches/peers/bench.py --vllm ../shared/tools/peer-vllm --ours target/release/glassbox

Starts Glassbox and vLLM with each of its two thread settings, holds all but one still (SIGSTOP),
and measures each in turn, round after round, so that a change of the machine's mood hits all alike:

    decode    one stream: milliseconds from token to token
    prefill   a prompt of 1,024 tokens never seen before: milliseconds to its one token
    streams   8 requests at once, 64 tokens in and 48 out each: tokens out a second

Prints medians and ratios against the better of vLLM's settings, and writes every value to
benches/results. About ten minutes on two cores, most of it vLLM's start. Run it on a quiet machine:
the load before the start is in the result.
"""

import argparse
import http.client
import json
import os
import platform
import random
import signal
import statistics
import sys
import tempfile
import threading
import time

HERE = os.path.dirname(os.path.abspath(__file__))
ROOT = os.path.dirname(os.path.dirname(HERE))
sys.path[:0] = [HERE, os.path.join(ROOT, "tests", "peers")]
import model  # noqa: E402
from server import Server  # noqa: E402

FLAGS = [
    "--load-format",
    "dummy",
    "--dtype",
    "bfloat16",
    "--served-model-name",
    "m",
    "--max-model-len",
    "2048",
    "--max-num-batched-tokens",
    "2048",
    "--block-size",
    "64",
    "--host",
    "127.0.0.1",
    "--port",
    "{port}",
]
MEASURES = {  # what, unit, better, the ratio that we want to reach
    "decode": ("batch-1 decode", "ms a token", min, 1.5),
    "prefill": ("1,024-token prefill", "ms", min, 1.0),
    "streams": ("8 concurrent streams", "tokens/s", max, 1.3),
}


def generate(port, rng, tokens_in, tokens_out):
    """One streamed completion of random ids: seconds at which each chunk came, tokens generated."""
    prompt = [rng.randrange(1000, 150000) for _ in range(tokens_in)]
    body = dict(
        model="m",
        prompt=prompt,
        max_tokens=tokens_out,
        ignore_eos=True,
        temperature=0,
        stream=True,
        stream_options={"include_usage": True},
    )
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=300)
    connection.request(
        "POST", "/v1/completions", json.dumps(body), {"Content-Type": "application/json"}
    )
    reply = connection.getresponse()
    if reply.status != 200:
        sys.exit(f"the server on port {port} answered {reply.status}: {reply.read()[:500]!r}")
    times, counted = [], 0
    for line in reply:
        if line.startswith(b"data: {"):
            chunk = json.loads(line[6:])
            if chunk.get("choices"):
                times.append(time.perf_counter())
            counted = (chunk.get("usage") or {}).get("completion_tokens", counted)
    connection.close()
    if counted != tokens_out or not times:
        sys.exit(f"the server on port {port} gave {counted} tokens, not {tokens_out}")
    return times, counted


def decode(port, rng, scale):
    times, count = generate(port, rng, 32, max(8, int(64 * scale)))
    return 1000 * (times[-1] - times[0]) / (count - 1)


def prefill(port, rng, scale):
    began = time.perf_counter()
    times, _ = generate(port, rng, max(64, int(1024 * scale)), 1)
    return 1000 * (times[0] - began)


def streams(port, rng, scale):
    seeds, done = [rng.random() for _ in range(8)], []

    def one(seed):
        done.append(generate(port, random.Random(seed), 64, max(6, int(48 * scale))))

    threads = [threading.Thread(target=one, args=(s,)) for s in seeds]
    began = time.perf_counter()
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    if len(done) != len(threads):
        sys.exit("a stream failed")
    return sum(count for _, count in done) / (max(times[-1] for times, _ in done) - began)


def start(name, command, env):
    began = time.perf_counter()
    server = Server(name, [*command, *FLAGS], env=env, patience=600)
    print(f"{name} was ready after {time.perf_counter() - began:.1f} s", flush=True)
    return server


def hold(server, still):
    server.signal(signal.SIGSTOP if still else signal.SIGCONT)


def summary(values):
    """Medians, and ours against the better of the others; True when every aim is reached."""
    reached, table = True, {}
    for key, (name, unit, better, aim) in MEASURES.items():
        medians = {who: statistics.median(v[key]) for who, v in values.items()}
        line = f"{name}: " + ", ".join(f"{who} {m:.1f} {unit}" for who, m in medians.items())
        table[key] = dict(unit=unit, medians=medians)
        theirs = [m for who, m in medians.items() if who != "glassbox"]
        if "glassbox" in medians and theirs:
            ratio = (
                better(theirs) / medians["glassbox"]
                if better is min
                else medians["glassbox"] / better(theirs)
            )
            reached &= ratio >= aim
            table[key].update(ratio=round(ratio, 3), aim=aim)
            verdict = "ok" if ratio >= aim else "MISSED"
            line += f": {ratio:.2f} times the better vLLM (aim {aim}) {verdict}"
        print(line)
    return reached, table


def machine():
    with open("/proc/cpuinfo") as f:
        names = {line.split(":")[1].strip() for line in f if line.startswith("model name")}
    return dict(
        cpus=os.cpu_count(),
        cpu=", ".join(sorted(names)) or platform.machine(),
        load_before=round(os.getloadavg()[0], 2),
    )


def main():
    ap = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    ap.add_argument("--vllm", help="the script that runs vLLM")
    ap.add_argument("--ours", help="the glassbox binary")
    ap.add_argument(
        "--settings",
        nargs="+",
        default=["auto", "nobind"],
        help="vLLM's thread settings (VLLM_CPU_OMP_THREADS_BIND)",
    )
    ap.add_argument(
        "--model",
        default=os.path.join(tempfile.gettempdir(), "qwen3-0.6b-dummy"),
        help="made where it is not there",
    )
    ap.add_argument("--rounds", type=int, default=5)
    ap.add_argument("--scale", type=float, default=1.0, help="shorter runs, to try the bench out")
    ap.add_argument("--out", default=os.path.join(ROOT, "benches", "results"))
    args = ap.parse_args()
    facts = dict(
        machine(),
        date=time.strftime("%Y-%m-%d %H:%M UTC", time.gmtime()),
        rounds=args.rounds,
        scale=args.scale,
    )
    if facts["load_before"] > 0.5:
        print(f"this machine is not quiet: its load is {facts['load_before']}", file=sys.stderr)
    model.make(args.model)
    commands = {"glassbox": ([args.ours, "serve", args.model], {})} if args.ours else {}
    for setting in args.settings if args.vllm else []:
        commands[f"vllm-{setting}"] = (
            [args.vllm, "serve", args.model],
            dict(VLLM_CPU_OMP_THREADS_BIND=setting, VLLM_CPU_KVCACHE_SPACE="1"),
        )
    servers, values = {}, {}
    try:
        for name, (command, env) in reversed(
            commands.items()
        ):  # ours last: nothing else starts while it does
            servers[name] = start(name, command, env)
            hold(servers[name], True)
        for i in range(args.rounds + 1):  # the first round warms up
            for name, server in servers.items():
                hold(server, False)
                got = {
                    key: globals()[key](server.port, random.Random(f"{i} {key}"), args.scale)
                    for key in MEASURES
                }
                hold(server, True)
                print(
                    f"{'warm-up' if i == 0 else f'round {i}'} {name}: "
                    + ", ".join(f"{k} {v:.1f}" for k, v in got.items()),
                    flush=True,
                )
                if i:
                    for key, value in got.items():
                        values.setdefault(name, {}).setdefault(key, []).append(round(value, 3))
        facts["peak_memory_bytes"] = {name: s.peak_memory() for name, s in servers.items()}
        facts["start_s"] = {name: round(s.ready_after, 2) for name, s in servers.items()}
    finally:
        for server in servers.values():
            hold(server, False)
            server.stop()
    reached, table = summary(values)
    os.makedirs(args.out, exist_ok=True)
    path = os.path.join(args.out, time.strftime("peers-%Y%m%d-%H%M.json", time.gmtime()))
    with open(path, "w") as f:
        json.dump(dict(facts, summary=table, values=values), f, indent=2)
        f.write("\n")
    print(f"written: {os.path.relpath(path, ROOT)}")
    sys.exit(0 if reached else 1)


if __name__ == "__main__":
    main()
