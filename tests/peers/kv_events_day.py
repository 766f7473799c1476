"""Events of a day's load, before llm-d's real index: in the end it holds what the pool holds.

The server is the real one, but for the model: its device computes nothing, so that a million
blocks take seconds. Conversations grow turn by turn over shared system prompts until the pool has
been full for long and blocks were evicted. One index listens from the start; another begins at
the end, when most of the batches are forgotten, and is told a million blocks. Then both must say
of every conversation how many of its leading blocks are cached, which its next request shows.
"""

import collections
import http.client
import json
import os
import random
import threading
import time

from checks import ROOT, check, must
from kv_events_index import INDEX_BLOCK, Index
from server import Server, free_port
from telemetry_cases import MODEL

BLOCKS = 1_000_000  # of the pool
SURPLUS = 1.12  # blocks stored, in sizes of the pool
TENANTS = 8
SYSTEM = 256  # tokens of a tenant's system prompt
CLIENTS = 4
PROBES = 400
LONG = 120  # seconds, for a million blocks on a busy machine


class Client:
    """Requests on one connection."""

    def __init__(self, port):
        self.connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)

    def complete(self, text, count):
        """The tokens that continue a prompt, and how many of its own were cached.

        `text`: the token ids as JSON writes them, for a day is too long to write them anew.
        """
        body = (
            f'{{"model": "{MODEL}", "prompt": [{text}], "max_tokens": {count}, '
            '"ignore_eos": true, "return_token_ids": true}'
        )
        headers = {"Content-Type": "application/json"}
        self.connection.request("POST", "/v1/completions", body, headers)
        reply = self.connection.getresponse()
        answer = reply.read()
        must(reply.status == 200, f"{reply.status} {answer[:200]}")
        answer = json.loads(answer)
        details = answer["usage"]["prompt_tokens_details"] or {"cached_tokens": 0}
        return answer["choices"][0]["token_ids"], details["cached_tokens"]


def words(dice, count):
    return [dice.randrange(2, 1500) for _ in range(count)]


class Day:
    """The load. Every conversation is kept as the text of its tokens."""

    def __init__(self, port):
        self.port, self.lock, self.blocks = port, threading.Lock(), 0
        dice = random.Random(1)
        self.systems = [self.text(words(dice, SYSTEM)) for _ in range(TENANTS)]
        # What users say is put together from pieces of 100 tokens.
        self.pieces = [self.text(words(dice, 100)) for _ in range(400)]
        self.conversations, self.failures = [], []

    @staticmethod
    def text(tokens):
        return ",".join(map(str, tokens))

    def talk(self, seed):
        dice, client = random.Random(seed), Client(self.port)
        try:
            while True:
                with self.lock:
                    if self.blocks >= BLOCKS * SURPLUS:
                        return
                    number = len(self.conversations)
                    self.conversations.append(None)
                self.converse(client, dice, number)
        except Exception as error:  # noqa: BLE001  told by the check
            self.failures.append(error)

    def converse(self, client, dice, number):
        """Two or three turns; the first words name the conversation."""
        tenant = number % TENANTS
        turns = [self.systems[tenant], self.text([2 + number // 1500, 2 + number % 1500])]
        length = SYSTEM + 2
        for _ in range(dice.randint(2, 3)):
            said = dice.randint(8, 12)
            count = dice.randint(1, 40)
            turns += dice.choices(self.pieces, k=said)
            tokens, _ = client.complete(",".join(turns), count)
            must(len(tokens) == count, "a reply has the tokens that it was asked for")
            turns.append(self.text(tokens))
            length += 100 * said + count
        # The last token was sampled and never computed.
        blocks = (length - 1) // INDEX_BLOCK
        with self.lock:
            self.conversations[number] = ",".join(turns), blocks
            self.blocks += blocks - SYSTEM // INDEX_BLOCK

    def run(self):
        talkers = [threading.Thread(target=self.talk, args=(n,)) for n in range(CLIENTS)]
        for talker in talkers:
            talker.start()
        for talker in talkers:
            talker.join()
        if self.failures:
            raise self.failures[0]


def metric(port, name):
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
    connection.request("GET", "/metrics")
    lines = connection.getresponse().read().decode().splitlines()
    return float(next(x for x in lines if x.startswith((name + "{", name + " "))).rsplit(" ", 1)[1])


def reachable(index, day):
    """Blocks that the index holds of all conversations; what a tenant's share counts once."""
    shared, reached = [0] * TENANTS, 0
    for number, (text, _) in enumerate(day.conversations):
        score = index.score_text(text)
        shared[number % TENANTS] = max(shared[number % TENANTS], min(score, SYSTEM // INDEX_BLOCK))
        reached += max(0, score - SYSTEM // INDEX_BLOCK)
    return reached + sum(shared)


@check
def a_days_load_leaves_the_index_equal_to_the_pool(bench):
    zmq, replay = free_port(), free_port()
    events = {
        "enable_kv_cache_events": True,
        "endpoint": f"tcp://*:{zmq}",
        "replay_endpoint": f"tcp://*:{replay}",
        "buffer_steps": 500,
        "topic": f"kv@127.0.0.1@{MODEL}",
    }
    command = [
        *(bench.ours, "serve", os.path.join(ROOT, "models/qwen3-tiny")),
        *("--served-model-name", MODEL, "--host", "127.0.0.1", "--port", "{port}"),
        *("--device", "sim", "--num-gpu-blocks-override", str(BLOCKS)),
        *("--block-size", str(INDEX_BLOCK), "--max-num-batched-tokens", "32768"),
        *("--enable-prompt-tokens-details", "--kv-events-config", json.dumps(events)),
    ]
    with Server("day", command) as server:
        pod = f"127.0.0.1:{server.port},zmq={zmq},replay={replay}"
        with Index(bench.llm_d, pod) as early:
            day, resident = fill(server.port, early)
            with Index(bench.llm_d, pod) as late:
                become_whole(late, day, resident)
                go_on(day, [early, late], Client(server.port))


def fill(port, early):
    """The day, and how many blocks are resident after it. The index has heard of all."""
    day, began = Day(port), time.monotonic()
    day.run()
    took = time.monotonic() - began
    text, blocks = day.conversations[-1]
    early.wait_text(text, lambda score: score == blocks, LONG)
    must(metric(port, "glassbox_kv_events_merged_total") == 0, "the publisher kept up")
    resident = metric(port, "glassbox_kv_events_resident_blocks")
    print(
        f"     {len(day.conversations)} conversations stored {day.blocks:,} blocks in {took:.1f} s "
        f"and were heard after {time.monotonic() - began:.1f} s; {resident:,.0f} are resident",
        flush=True,
    )
    return day, resident


def become_whole(late, day, resident):
    """Whatever comes first in what the index is told, all is there in the end."""
    began = time.monotonic()
    text, blocks = day.conversations[-1]
    late.wait_text(text, lambda score: score == blocks, LONG)
    while (reached := reachable(late, day)) != resident:
        must(time.monotonic() - began < LONG, f"reached {reached:g} of {resident:g} blocks")
    print(f"     a late index was whole after {time.monotonic() - began:.1f} s", flush=True)


def go_on(day, indexes, client):
    """Some conversations go on; each index must know what of them is cached, which the reply says.

    Each reply also changes the pool, and both indexes must have heard of it before the next one.
    """
    dice, counts, slowest = random.Random(2), collections.Counter(), 0.0
    for number in dice.sample(range(len(day.conversations)), PROBES):
        text, whole = day.conversations[number]
        scores = [index.score_text(text) for index in indexes]
        # A block's worth of new words, for a prompt is never cached to its end.
        text = f"{text},{day.text(words(dice, INDEX_BLOCK + 1))}"
        _, cached = client.complete(text, 1)
        told = time.monotonic()
        must(scores == [cached // INDEX_BLOCK] * 2, f"{number}: {scores}, cached {cached} tokens")
        counts["whole" if scores[0] == whole else "in part" if scores[0] else "gone"] += 1
        blocks = (text.count(",") + 1) // INDEX_BLOCK
        for index in indexes:
            index.wait_text(text, lambda score: score == blocks)
        slowest = max(slowest, time.monotonic() - told)
    print(f"     {dict(counts)} conversations went on, heard of within {slowest * 1e3:.0f} ms")
    must(counts["whole"] > PROBES / 4 and counts["in part"] > 0, "blocks were kept and evicted")
