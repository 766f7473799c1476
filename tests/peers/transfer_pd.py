"""Two Glassbox, one that computes prompts and one that continues them, beside a single one.

    python3 transfer_pd.py --ours BINARY [--only WORD]

By the real NIXL (GLASSBOX_NIXL_LIB) over each way that UCX has on one machine, and by our own
protocol. Every token and every digit of its log-probability is the single server's.
"""

import random
import time

from checks import arguments, must, none_of, settings_suite
from transfer import (
    Peer,
    at_once,
    both_legs,
    config,
    prefilled,
    random_prompts,
    random_tokens,
    request,
    said,
)

CHUNKED = ("--max-num-batched-tokens", "96")
SETTINGS = {
    # name: (keys of the connector, block size, flags, environment)
    "nixl-shared-memory": ({}, 16, (), dict(UCX_TLS="tcp,self,sm")),
    "nixl-sockets": ({}, 64, CHUNKED, dict(UCX_TLS="tcp,self")),
    "nixl-one-socket": ({}, 16, (), dict(UCX_TLS="tcp")),
    "nixl-checksums": (dict(block_checksums=True), 16, CHUNKED, dict(UCX_TLS="tcp,self,sm")),
    "tcp": (dict(transport="tcp"), 16, (), {}),
    "tcp-checksums": (dict(transport="tcp", block_checksums=True), 64, CHUNKED, {}),
}


class Pair:
    """P, D, and the single server that they are held to."""

    about = ""

    def __init__(self, ours, extra, block_size, flags, env):
        self.block_size, self.servers = block_size, []
        transfers = [config("kv_producer", **extra), config("kv_consumer", **extra), None]
        try:
            for name, transfer in zip(("prefill", "decode", "single"), transfers):
                self.servers.append(Peer(name, ours, transfer, block_size, flags, **env))
        except BaseException:
            self.stop()
            raise
        self.prefill, self.decode, self.single = self.servers

    def stop(self):
        for server in self.servers:
            server.stop()

    def same(self, prompts, **fields):
        """These prompts, one after the other."""
        none_of(filter(None, (self.differs(request(p, **fields)) for p in prompts)))

    def differs(self, body):
        """What is wrong with the pair's answer, if anything."""
        want, have = said(self.single.post(body)), said(both_legs(self.prefill, self.decode, body))
        wrong = [f"{key}: {have[key]} for {want[key]}" for key in want if have[key] != want[key]]
        return f"a prompt of {len(body['prompt'])} tokens: {wrong[0]}" if wrong else None


def prompts_at_the_edges_of_blocks(pair):
    """One token, a block less one, a block, one more, and many; random ones in between."""
    rng, block = random.Random(1), pair.block_size
    lengths = [1, 2, block - 1, block, block + 1, 4 * block, 4 * block + 1, 900]
    began = pair.decode.value("vllm:nixl_xfer_time_seconds_count")
    pair.same(random_tokens(rng, n) for n in lengths)
    pair.same(random_prompts(16, seed=2))
    moved = pair.decode.value("vllm:nixl_xfer_time_seconds_count") - began
    # Of a single token no KV is missing: the last one of a prompt is computed here anyway.
    must(moved >= 23, f"{moved:g} transfers for 24 prompts")


def prefixes_that_decode_has(pair):
    """What D has of a prompt is not pulled again, and P's hits are told."""
    rng, block = random.Random(3), pair.block_size
    prefix = random_tokens(rng, 5 * block)
    tails = [random_tokens(rng, n) for n in (1, block, 3 * block + 5)]
    pair.same([prefix + tails[0]])
    pulled = pair.decode.value("vllm:nixl_bytes_transferred_sum")
    pair.same([prefix + tails[0]])
    must(
        pair.decode.value("vllm:nixl_bytes_transferred_sum") - pulled <= pulled / 5,
        "a prompt that D has was pulled again",
    )
    pair.same(prefix + tail for tail in tails)
    body = request(prefix + tails[1])
    params = prefilled(pair.prefill, body)
    cached = params["remote_prefill_cached_tokens"]
    must(cached >= 5 * block, f"P has {cached} tokens of a prompt that it saw")
    reply = pair.decode.post(body | dict(kv_transfer_params=params))
    told = reply["json"]["usage"]["prompt_tokens_details"]["cached_tokens"]
    must(told == cached, f"the client is told of {told} cached tokens, and P had {cached}")


def thirty_two_at_once(pair):
    """Requests that meet in both servers change nothing of each other."""
    prompts = random_prompts(64, seed=4)
    none_of(filter(None, at_once(lambda p: pair.differs(request(p, tokens=24)), prompts)))


def sampled_with_a_seed(pair):
    pair.same(random_prompts(8, seed=5), temperature=0.9, seed=11, top_p=0.8)


def kv_and_no_prompt(pair):
    """D is given Y and the KV of X, whose last token is the same: it says what X says. So what it
    continues is what came over the wire. Given Y alone it says something else."""
    rng = random.Random(6)
    for length in (100, 333):
        x = random_tokens(rng, length)
        y = [5] * (length - 1) + x[-1:]
        params = prefilled(pair.prefill, request(x))
        have = pair.decode.post(request(y, kv_transfer_params=params, cache_salt=f"swap{length}"))
        want = said(pair.single.post(request(x)))
        must(said(have) == want, f"with the KV of X: {said(have)['token_ids']}, not {want}")
        alone = pair.decode.post(request(y, cache_salt="alone"))
        must(said(alone) != want, "the proof proves nothing: Y alone says the same")


def nothing_is_left(pair):
    """All blocks of P are free long before a lease runs out, and nothing failed on the way."""
    for server in pair.servers:
        server.settled(within=5)
    for family in ("failed_transfers", "failed_notifications", "kv_expired_reqs"):
        for server in (pair.prefill, pair.decode):
            count = server.value(f"vllm:nixl_num_{family}_total")
            must(count == 0, f"{server.name}: {count:g} {family}")


def nobody_spins(pair):
    """Servers that have met and have nothing to do leave the processors to others."""
    began = [server.processor_seconds() for server in pair.servers]
    time.sleep(3)
    for server, before in zip(pair.servers, began):
        used = server.processor_seconds() - before
        must(used < 0.3, f"{server.name} took {used:.2f} s of the processors in 3 s of nothing")


CHECKS = [
    prompts_at_the_edges_of_blocks,
    prefixes_that_decode_has,
    thirty_two_at_once,
    sampled_with_a_seed,
    kv_and_no_prompt,
    nothing_is_left,
    nobody_spins,
]


def main():
    args = arguments(__doc__, "settings", ours="the glassbox binary")
    settings_suite("P/D", SETTINGS, args, Pair, lambda _: CHECKS)


if __name__ == "__main__":
    main()
