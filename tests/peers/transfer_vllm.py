"""KV between a real vLLM and Glassbox, either way, by the real NIXL and with vLLM's own handshake.

    python3 transfer_vllm.py --vllm PEER --ours BINARY [--only WORD]

Whether the right bytes moved is told by a swap: the server that continues is given prompt Y and the
KV of prompt X, which ends with the same token, and must say what it says to X. Two engines round
differently, so where the texts part, its own log-probabilities decide: a gap of the two best below
TIE is a tie, is counted and printed, and anything else is a failure.
"""

import random
import time

from checks import CHECKS, arguments, bench_suite, check, must, none_of
from transfer import (
    LEASE,
    MODEL,
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

TIE = 0.125  # twice the last bit of bf16 between 8 and 16, where the logits of these prompts are
NEAR = 0.25  # how far the rounding of two engines takes the log-probability of a token
BLOCK = 32  # vLLM's CPU kernel has no smaller ones
LEASE_SECONDS = 20  # a vLLM on two busy cores may stand still for some seconds
SHARED = dict(UCX_TLS="tcp,self,sm")


class Bench:
    """A vLLM, a Glassbox, and one that says that it is another version; each can do both."""

    def __init__(self, vllm, ours):
        self.servers, extra = [], dict(kv_lease_duration=LEASE_SECONDS)
        theirs, cpu = config("kv_both", **extra), dict(extra, attn_backend_name="CPU_ATTN")
        other = config("kv_both", **cpu, vllm_version="0.31.0")
        try:
            flags = ("--enforce-eager",)
            self.start("vllm", vllm, theirs, flags, OMP_NUM_THREADS="1")
            self.start("glassbox", ours, config("kv_both", **cpu))
            self.start("another-version", ours, other)
            self.vllm, self.ours, self.other = self.servers
            # (computes prompts, continues them)
            self.ways = [(self.vllm, self.ours), (self.ours, self.vllm)]
            self.meet()
        except BaseException:
            self.stop()
            raise

    def meet(self):
        """The first request of a pair is answered as all others are."""
        for prefill, decode in self.ways:
            body, began = request([7] * 40), time.monotonic()
            params = prefilled(prefill, body)
            computed = time.monotonic()
            said(decode.post(body | dict(kv_transfer_params=params)))
            legs = (computed - began, time.monotonic() - computed)
            print(f"{way(prefill, decode)}: the first request took {legs[0]:.1f} + {legs[1]:.1f} s")

    def start(self, name, program, transfer, flags=(), **env):
        self.servers.append(Peer(name, program, transfer, BLOCK, flags, **SHARED, **env))

    def stop(self):
        for server in self.servers:
            server.stop()


class Parted:
    """Counts what was compared and how often the texts parted at a tie."""

    def __init__(self):
        self.compared, self.ties, self.wrong = 0, [], []

    def compare(self, what, want, have):
        """`want` has the log-probabilities of two tokens a step."""
        self.compared += 1
        tokens = zip(want["token_ids"], have["token_ids"])
        parts = next((i for i, (a, b) in enumerate(tokens) if a != b), None)
        same = len(want["token_ids"]) if parts is None else parts
        scores = [reply["logprobs"]["token_logprobs"][:same] for reply in (want, have)]
        apart = max((abs(a - b) for a, b in zip(*scores)), default=0)
        if apart > NEAR:
            self.wrong.append(f"{what}: log-probabilities of the same tokens are {apart:.3f} apart")
        if parts is None:
            return
        best = sorted(want["logprobs"]["top_logprobs"][parts].values())
        if (gap := best[-1] - best[-2]) < TIE:
            self.ties.append(what)
            print(f"tie  {what}: parts at token {parts}, where the two best are {gap:.3f} apart")
        else:
            self.wrong.append(f"{what}: {have['token_ids']}, not {want['token_ids']}")

    def end(self):
        none_of(self.wrong)
        must(len(self.ties) * 4 <= self.compared, f"{len(self.ties)} ties of {self.compared}")


def way(prefill, decode):
    return f"{prefill.name} to {decode.name}"


@check
def kv_and_no_prompt(bench):
    """The swap, at the edges of blocks and far from them; and Y alone, which says something else.
    KV of another prompt than X is the control that the swap can fail."""
    found = Parted()
    for prefill, decode in bench.ways:
        for seed, length in enumerate((2, BLOCK, BLOCK + 1, 2 * BLOCK, 100, 333)):
            rng, salt = random.Random(seed), f"{prefill.name}{seed}"
            x = random_tokens(rng, length)
            y = [5] * (length - 1) + x[-1:]
            z = random_tokens(rng, length - 1) + x[-1:]
            want = said(decode.post(request(x, logprobs=2, cache_salt=salt + "x")))
            alone = said(decode.post(request(y, cache_salt=salt + "y")))
            replies = []
            for name, kv_of in (("swap", x), ("control", z)):
                params = prefilled(prefill, request(kv_of, cache_salt=salt))
                body = request(y, kv_transfer_params=params, cache_salt=salt + name)
                replies.append(said(decode.post(body)))
            swapped, control = replies
            what = f"{way(prefill, decode)}, {length} tokens"
            found.compare(what, want, swapped)
            for name, reply in (("Y alone", alone), ("the KV of another prompt", control)):
                scores = zip(*(r["logprobs"]["token_logprobs"] for r in (reply, want)))
                differs = reply["token_ids"] != want["token_ids"] or any(
                    abs(a - b) > 2 * NEAR for a, b in scores
                )
                must(differs, f"{what}: the swap proves nothing, {name} says the same")
    found.end()


@check
def random_prompts_at_once(bench):
    """Both legs as a sidecar does them, eight requests at a time, half of them with a prefix that
    the others have."""
    found, prefix = Parted(), random_prompts(1, seed=50, lengths=(96, 96))[0]
    prompts = random_prompts(16, seed=51, lengths=(1, 400))
    prompts = [prefix + p if i % 2 else p for i, p in enumerate(prompts)]
    for prefill, decode in bench.ways:
        name = way(prefill, decode)

        def pair(prompt):
            alone = request(prompt, logprobs=2, cache_salt="alone " + name)
            split = request(prompt, cache_salt=name)
            return said(decode.post(alone)), said(both_legs(prefill, decode, split))

        for prompt, (want, have) in zip(prompts, at_once(pair, prompts, threads=8)):
            found.compare(f"{name}, {len(prompt)} tokens", want, have)
    found.end()


@check
def chats_and_streams(bench):
    """A chat in two legs, as a whole and as a stream, says what the single server says."""
    messages = [dict(role="user", content="Tell me about the sea, and then about the wind.")]
    body = dict(model=MODEL, messages=messages, temperature=0, max_tokens=8, ignore_eos=True)
    for prefill, decode in bench.ways:
        path, told = "/v1/chat/completions", []
        body["cache_salt"] = way(prefill, decode)
        for more in ({}, dict(stream=True)):
            first = body | dict(max_tokens=1, kv_transfer_params=LEASE)
            params = prefill.post(first, path)["json"]["kv_transfer_params"]
            must(params["remote_num_tokens"] > 1, f"{way(prefill, decode)}: {params}")
            told.append(chat_text(decode.post(body | more | dict(kv_transfer_params=params), path)))
        must(told[0] == told[1] and told[0], f"{way(prefill, decode)}: {told}")
        alone = chat_text(decode.post(body | dict(cache_salt="alone"), path))
        must(alone == told[0], f"{way(prefill, decode)}: {told[0]!r}, not {alone!r}")


def chat_text(reply):
    must(reply["status"] == 200, f"{reply['status']}: {reply['raw'][:300]}")
    if "events" not in reply:
        return reply["json"]["choices"][0]["message"]["content"]
    chunks = [e for e in reply["events"] if isinstance(e, dict) and e["choices"]]
    return "".join(e["choices"][0]["delta"].get("content") or "" for e in chunks)


@check
def another_version_is_refused(bench):
    """Whoever continues compares the hashes: the client has an error, the same from either, and
    what was kept for it is free when its lease is over. The pair of one version goes on."""
    prompt, replies = random_prompts(1, seed=60, lengths=(100, 100))[0], []
    for prefill, decode in ((bench.vllm, bench.other), (bench.other, bench.vllm)):
        body = request(prompt, cache_salt=f"refused {decode.name}")
        reply = both_legs(prefill, decode, body)
        must(reply["status"] == 500, f"{decode.name}: {reply['status']}: {reply['raw'][:300]}")
        replies.append(reply["json"])
        must(decode.settled(within=2) < 2, "the one that was refused keeps nothing")
        prefill.settled(within=LEASE_SECONDS + 4)
    must(replies[0] == replies[1], f"{replies}")
    for prefill, decode in bench.ways:
        said(both_legs(prefill, decode, request(prompt, cache_salt="after the refusal")))


@check
def nothing_is_left(bench):
    """All blocks of all servers are free, long before any lease would have ended."""
    for prefill, decode in bench.ways:
        said(both_legs(prefill, decode, request([7] * 200)))
        for server in (prefill, decode):
            server.settled(within=2)


def main():
    programs = dict(vllm="the script that runs vLLM", ours="the glassbox binary")
    args = arguments(__doc__, "checks", **programs)
    bench_suite("P/D with vLLM", CHECKS, args, Bench(args.vllm, args.ours))


if __name__ == "__main__":
    main()
