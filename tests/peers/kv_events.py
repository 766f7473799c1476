"""KV events before llm-d's real index: it scores our blocks right, and becomes whole again.

    tests/peers/kv_events.py --llm-d ../shared/llm-d/llm-d --ours target/release/glassbox

The index (`llm-d score`) learns what a pod caches from its events alone, and says how many blocks
of a prompt each pod holds. A check asks it about prompts whose place in the cache is known.
"""

import argparse
import json
import os
import sys
import time

import kv_events_chain  # noqa: F401  adds its check
import kv_events_day  # noqa: F401  adds its check
import kv_events_dial  # noqa: F401  adds its checks
from checks import CHECKS, ROOT, check, must, passes
from kv_events_index import INDEX_BLOCK, Index
from server import Server, free_port, send
from telemetry_cases import MODEL

class Pod:
    """Glassbox with events and replay on ports of its own, and its index."""

    def __init__(self, bench, *flags, port=None, zmq=None, replay=None, ring=10000):
        self.bench, self.zmq, self.replay = bench, zmq or free_port(), replay or free_port()
        events = {
            "enable_kv_cache_events": True,
            "publisher": "zmq",
            "endpoint": f"tcp://*:{self.zmq}",
            "replay_endpoint": f"tcp://*:{self.replay}",
            "buffer_steps": ring,
            "topic": f"kv@127.0.0.1@{MODEL}",
        }
        command = [
            *(bench.ours, "serve", os.path.join(ROOT, "models/qwen3-tiny")),
            *("--served-model-name", MODEL, "--host", "127.0.0.1", "--max-model-len", "2048"),
            *("--port", "{port}"),
            *("--kv-events-config", json.dumps(events), *flags),
        ]
        self.server = Server("glassbox", command, {"VLLM_SERVER_DEV_MODE": "1"}, port=port)

    def index(self, **options):
        pod = f"127.0.0.1:{self.server.port},zmq={self.zmq},replay={self.replay}"
        return Index(self.bench.llm_d, pod, **options)

    def post(self, path, body):
        reply = send(self.server.port, "POST", path, body)
        must(reply["status"] == 200, f"{path}: {reply['status']} {reply['raw'][:200]}")
        return reply["json"]

    def complete(self, tokens, **more):
        self.post("/v1/completions", {"prompt": tokens, "max_tokens": 1, **more})

    def stop(self):
        self.server.stop()


class Bench:
    def __init__(self, ours, llm_d):
        self.ours, self.llm_d = ours, llm_d


def prompt(first, length):
    """Token ids that no other `first` shares a block with."""
    return [first % 1500 + 2] + [(first * 7 + i * 13) % 1500 + 2 for i in range(1, length)]


@check
def hits_and_partial_hits(bench):
    for block_size in (16, 64):
        pod = Pod(bench, "--block-size", str(block_size))
        index = pod.index()
        tokens = prompt(1, 300)
        pod.complete(tokens)
        whole = 300 // block_size * block_size // INDEX_BLOCK
        index.wait(tokens, whole)
        must(index.score(tokens[:128] + prompt(2, 100)) == 128 // INDEX_BLOCK, "a shared prefix")
        must(index.score(prompt(3, 200)) == 0, "another prompt has no block here")
        index.stop()
        pod.stop()


@check
def salted_prompts_score_none(bench):
    pod = Pod(bench)
    index = pod.index()
    salted, plain = prompt(4, 128), prompt(5, 128)
    pod.complete(salted, cache_salt="tenant")
    pod.complete(plain)
    index.wait(plain, 128 // INDEX_BLOCK)
    must(index.score(salted) == 0, "the router knows no salt")
    index.stop()
    pod.stop()


@check
def evicted_blocks_are_gone(bench):
    pod = Pod(bench, "--num-gpu-blocks-override", "128", "--block-size", "16")
    index = pod.index()
    first = prompt(6, 320)
    pod.complete(first)
    index.wait(first, 20)
    for other in range(7, 15):
        pod.complete(prompt(other, 320))
    index.wait(first, 0)
    index.wait(prompt(14, 320), 20)
    index.stop()
    pod.stop()


@check
def a_reset_clears_at_once(bench):
    pod = Pod(bench)
    index = pod.index()
    tokens = prompt(20, 160)
    pod.complete(tokens)
    index.wait(tokens, 10)
    must(pod.post("/reset_prefix_cache", {}) == {"success": True}, "nothing was held")
    index.wait(tokens, 0)
    pod.complete(tokens)
    index.wait(tokens, 10)
    index.stop()
    pod.stop()


@check
def a_late_index_is_made_whole(bench):
    """Also when the ring has long forgotten the first batches, which leaves vLLM's blind."""
    pod = Pod(bench, ring=4)
    prompts = [prompt(n, 160) for n in range(30, 50)]
    for tokens in prompts:
        pod.complete(tokens)
    index = pod.index()
    for tokens in prompts:
        index.wait(tokens, 10)
    index.stop()
    again = pod.index()
    for tokens in prompts:
        again.wait(tokens, 10)
    again.stop()
    pod.stop()


@check
def a_restarted_pod_starts_from_nothing(bench):
    pod = Pod(bench)
    index = pod.index()
    before, after = prompt(60, 160), prompt(61, 160)
    pod.complete(before)
    index.wait(before, 10)
    port = pod.server.port
    pod.stop()
    pod = Pod(bench, port=port, zmq=pod.zmq, replay=pod.replay)
    pod.complete(after)
    index.wait(after, 10)
    index.wait(before, 0)
    index.stop()
    pod.stop()


@check
def older_indexes_read_arrays(bench):
    pod = Pod(bench, "--glassbox-kv-events-encoding", "array")
    index = pod.index(release="kvscore-2026-06")
    # This one asks for no replay: it must be there before the events.
    for n in range(70, 90):
        pod.complete(prompt(n, 160))
        if index.score(prompt(n, 160)) == 10:
            break
        time.sleep(0.5)
    index.wait(prompt(n, 160), 10)
    index.stop()
    pod.stop()


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--llm-d", required=True)
    parser.add_argument("--ours", required=True)
    parser.add_argument("checks", nargs="*", help="names; all by default")
    args = parser.parse_args()
    bench = Bench(os.path.abspath(args.ours), args.llm_d)
    chosen = [c for c in CHECKS if not args.checks or c.__name__ in args.checks]
    failed = [c.__name__ for c in chosen if not passes(c, bench)]
    print(f"{len(chosen) - len(failed)} of {len(chosen)} checks of KV events passed")
    sys.exit(1 if failed or not chosen else 0)


if __name__ == "__main__":
    main()
