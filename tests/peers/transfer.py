"""What the suites of KV transfer share: servers that take part in it, requests in two legs, and
what a server says of its blocks.
"""

import json
import os
import random
import time
from concurrent.futures import ThreadPoolExecutor

from checks import PATIENCE, ROOT, must
from server import Server, free_port, send

MODEL = "tiny"
MODEL_DIR = os.path.join(ROOT, "models/qwen3-tiny")
# What a sidecar sends to the server that computes the prompt.
LEASE = dict(
    do_remote_decode=True,
    do_remote_prefill=False,
    remote_block_ids=None,
    remote_engine_id=None,
    remote_host=None,
    remote_port=None,
)


def config(role, **extra):
    """`--kv-transfer-config` for this role; a `policy` is what becomes of lost KV."""
    policy = extra.pop("policy", None)
    return json.dumps(
        dict(kv_connector="NixlConnector", kv_role=role, kv_connector_extra_config=extra)
        | (dict(kv_load_failure_policy=policy) if policy else {})
    )


def command(program, block_size, transfer, flags):
    return [
        *(program, "serve", MODEL_DIR, "--served-model-name", MODEL, "--host", "127.0.0.1"),
        *("--port", "{port}", "--max-model-len", "2048", "--block-size", block_size),
        "--enable-prompt-tokens-details",
        *(("--kv-transfer-config", transfer) if transfer else ()),
        *flags,
    ]


class Peer(Server):
    """A server with a side channel of its own, or a single one where `transfer` is None."""

    def __init__(self, name, program, transfer, block_size=16, flags=(), **env):
        env = dict(VLLM_NIXL_SIDE_CHANNEL_HOST="127.0.0.1", **env)
        env["VLLM_NIXL_SIDE_CHANNEL_PORT"] = str(free_port())
        super().__init__(name, command(program, block_size, transfer, flags), env)

    def post(self, body, path="/v1/completions", **more):
        return send(self.port, "POST", path, body, **more)

    def value(self, family):
        """The sum of a family's samples."""
        lines = send(self.port, "GET", "/metrics")["raw"].splitlines()
        found = [line for line in lines if line.startswith((family + "{", family + " "))]
        must(found, f"{self.name} has no {family}")
        return sum(float(line.rsplit(" ", 1)[1]) for line in found)

    def settled(self, within=PATIENCE):
        """Waits until no block is in use; how long that took."""
        began = time.monotonic()
        while (usage := self.value("vllm:kv_cache_usage_perc")) > 0:
            waited = time.monotonic() - began
            must(waited < within, f"{self.name} keeps {usage:.2%} of its blocks after {within} s")
            time.sleep(0.1)
        return time.monotonic() - began


def request(prompt, tokens=12, **fields):
    """A greedy completion whose tokens and log-probabilities are told."""
    body = dict(model=MODEL, prompt=prompt, max_tokens=tokens, temperature=0, ignore_eos=True)
    return body | dict(logprobs=1, return_token_ids=True) | fields


def said(reply):
    """What a completion says, down to the digits of its log-probabilities."""
    must(reply["status"] == 200, f"{reply['status']}: {reply['raw'][:300]}")
    (choice,) = reply["json"]["choices"]
    return {k: choice[k] for k in ("token_ids", "text", "logprobs", "finish_reason")}


def prefilled(peer, body):
    """The `kv_transfer_params` of a prompt that this server has computed and keeps."""
    reply = peer.post(body | dict(max_tokens=1, kv_transfer_params=LEASE))
    must(reply["status"] == 200, f"prefill: {reply['status']}: {reply['raw'][:300]}")
    params = reply["json"]["kv_transfer_params"]
    must(params, "the reply of a prefill has no kv_transfer_params")
    return params


def both_legs(prefill, decode, body):
    """As a sidecar does it: the prompt there, the rest here."""
    return decode.post(body | dict(kv_transfer_params=prefilled(prefill, body)))


def random_prompts(count, seed, lengths=(1, 400)):
    rng = random.Random(seed)
    return [random_tokens(rng, rng.randint(*lengths)) for _ in range(count)]


def random_tokens(rng, count):
    return [rng.randrange(1000, 2000) for _ in range(count)]


def at_once(function, items, threads=32):
    """`function` of each item, this many at a time; the results in order."""
    with ThreadPoolExecutor(threads) as pool:
        return list(pool.map(function, items))
