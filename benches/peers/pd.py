"""P/D against local prefill: the time to the first token when another server has the prompt.

    python3 benches/peers/pd.py --ours target/release/glassbox [--transport tcp|nixl]

Starts two Glassbox with a model of Qwen3-0.6B's shape, P and D, and asks in turns, with prompts
never seen before:

    local   D computes the prompt itself: milliseconds to the first token
    pull    P has computed it: milliseconds from D's request to its first token
    both    the two legs one after the other, as a sidecar has them

Prints medians, their ratios, and the bandwidth of the pulls (from D's vllm:nixl_* families). NIXL
is found as GLASSBOX_NIXL_LIB says.
"""

import argparse
import json
import os
import random
import re
import statistics
import sys
import tempfile
import time
import urllib.request

HERE = os.path.dirname(os.path.abspath(__file__))
ROOT = os.path.dirname(os.path.dirname(HERE))
sys.path[:0] = [HERE, os.path.join(ROOT, "tests", "peers")]
import model  # noqa: E402
from bench import FLAGS, machine  # noqa: E402
from server import Server, free_port  # noqa: E402

LENGTHS = (128, 512, 1024)


def start(name, args, role):
    config = dict(
        kv_connector="NixlConnector",
        kv_role=role,
        kv_connector_extra_config=dict(transport=args.transport),
    )
    env = dict(
        VLLM_NIXL_SIDE_CHANNEL_HOST="127.0.0.1", VLLM_NIXL_SIDE_CHANNEL_PORT=str(free_port())
    )
    command = [args.ours, "serve", args.model, *FLAGS, "--kv-transfer-config", json.dumps(config)]
    return Server(name, command, env=env, patience=120)


def ask(server, prompt, **more):
    """One token: the reply and the milliseconds that it took."""
    body = dict(model="m", prompt=prompt, max_tokens=1, temperature=0, ignore_eos=True, **more)
    request = urllib.request.Request(
        f"http://127.0.0.1:{server.port}/v1/completions",
        json.dumps(body).encode(),
        {"Content-Type": "application/json"},
    )
    began = time.perf_counter()
    with urllib.request.urlopen(request, timeout=300) as reply:
        answer = json.load(reply)
    return answer, 1000 * (time.perf_counter() - began)


def total(server, family):
    with urllib.request.urlopen(f"http://127.0.0.1:{server.port}/metrics") as reply:
        page = reply.read().decode()
    return float(re.search(rf"^vllm:{family}_sum{{.*}} (\S+)$", page, re.M).group(1))


def one_round(p, d, rng, length, values):
    def fresh():
        return [rng.randrange(1000, 150000) for _ in range(length)]

    values["local"].append(ask(d, fresh())[1])
    prompt = fresh()
    prefill, first = ask(p, prompt, kv_transfer_params={"do_remote_decode": True})
    pulled, second = ask(d, prompt, kv_transfer_params=prefill["kv_transfer_params"])
    if pulled["choices"][0]["text"] != prefill["choices"][0]["text"]:
        sys.exit("the two servers do not agree")
    values["pull"].append(second)
    values["both"].append(first + second)


def main():
    ap = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    ap.add_argument("--ours", required=True, help="the glassbox binary")
    ap.add_argument("--transport", default="tcp", choices=["tcp", "nixl"])
    ap.add_argument("--rounds", type=int, default=7)
    ap.add_argument("--model", default=os.path.join(tempfile.gettempdir(), "qwen3-0.6b-dummy"))
    ap.add_argument("--out", default=os.path.join(ROOT, "benches", "results"))
    args = ap.parse_args()
    facts = dict(machine(), date=time.strftime("%Y-%m-%d %H:%M UTC", time.gmtime()))
    model.make(args.model)
    p, d = start("p", args, "kv_producer"), start("d", args, "kv_consumer")
    try:
        rng, results = random.Random(7), {}
        one_round(p, d, rng, 64, dict(local=[], pull=[], both=[]))  # they meet
        for length in LENGTHS:
            values = dict(local=[], pull=[], both=[])
            before = [total(d, f) for f in ("nixl_bytes_transferred", "nixl_xfer_time_seconds")]
            for _ in range(args.rounds):
                one_round(p, d, rng, length, values)
            after = [total(d, f) for f in ("nixl_bytes_transferred", "nixl_xfer_time_seconds")]
            moved, took = (b - a for a, b in zip(before, after))
            m = {what: statistics.median(v) for what, v in values.items()}
            print(
                f"{length:5} tokens: local {m['local']:7.1f} ms, pull {m['pull']:6.1f} ms "
                f"({m['pull'] / m['local']:.2f}), both legs {m['both']:7.1f} ms "
                f"({m['both'] / m['local']:.2f}); {moved / took / 1e9:.2f} GB/s"
            )
            results[length] = dict(values=values, bytes=moved, seconds=took)
    finally:
        p.stop()
        d.stop()
    name = time.strftime(f"pd-{args.transport}-%Y%m%d.json", time.gmtime())
    with open(os.path.join(args.out, name), "w") as f:
        json.dump(dict(facts, transport=args.transport, results=results), f, indent=1)


if __name__ == "__main__":
    main()
