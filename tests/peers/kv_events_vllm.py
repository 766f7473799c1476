"""KV events beside the real vLLM's: the same requests, the same payloads, the same residents.

    tests/peers/kv_events_vllm.py --vllm PEER --ours BINARY [FORM..]

With a Python that has pyzmq and msgpack. Both servers have the same model, blocks, hash seed and
algorithm; after each request, what either one told since the last must be the same: each stored
block with every field of its event, in the same order, each removed hash, and the set that is
resident then. What may differ is in `ALLOWED`; each is counted, and the counts are printed.
"""

import argparse
import collections
import json
import os
import sys
import time

import msgpack
import zmq
from checks import PATIENCE, ROOT, must
from kv_events_vllm_cases import CASES
from server import Server, free_port, send

ALLOWED = {
    "copy stored": "vLLM tells of each copy of a block, we of the first",
    "copy removed": "vLLM tells of each copy that goes, we of the last",
    "batched otherwise": "the same stores in another number of events",
    "cleared earlier": "we tell of a reset at once, vLLM with its next step",
    "null block": "vLLM sets one block aside, so it gets one more",
    "first clear": "our batch 0 says that nothing is cached yet",
}
FORMS = {
    "int32": (32, "sha256", {}),
    "bytes64": (64, "sha256_cbor", {"VLLM_KV_EVENTS_USE_INT_BLOCK_HASHES": "0"}),
}
TOKENS = 32 * 40  # of the cache


class Listener:
    """What one server tells: stores of first copies, removals of last ones, the residents."""

    def __init__(self, context, port):
        self.socket = context.socket(zmq.SUB)
        self.socket.setsockopt(zmq.SUBSCRIBE, b"kv@")
        self.socket.setsockopt(zmq.LINGER, 0)
        self.socket.connect(f"tcp://127.0.0.1:{port}")
        self.port = port
        self.resident = collections.Counter()  # copies of each hash
        self.records = {}
        self.next = None
        self.begin()

    def begin(self):
        """A new request: forgets what was told about those before."""
        self.stored, self.removed, self.raw, self.cleared = [], [], [], 0
        self.copies = collections.Counter()
        self.stores = 0

    def hear(self, timeout):
        """Takes what arrives; whether there was something."""
        if not self.socket.poll(timeout):
            return False
        topic, number, payload = self.socket.recv_multipart()
        number = int.from_bytes(number, "big")
        must(topic == b"kv@pod@tiny", f"the topic is {topic}")
        must(number == self.next or self.next is None, f"batch {number}, not {self.next}")
        self.next = number + 1
        ts, events, rank = msgpack.unpackb(payload, strict_map_key=False)
        must(isinstance(ts, float) and abs(ts - time.time()) < 60, f"the time is {ts}")
        must(rank == 0, f"the rank is {rank}")
        for event in events:
            self.take(event)
        return True

    def take(self, event):
        kind = event["type"]
        if kind == "AllBlocksCleared":
            must(list(event) == ["type"], f"{event}")
            self.resident.clear()
            self.cleared += 1
        elif kind == "BlockStored":
            self.store(event)
        else:
            must(kind == "BlockRemoved", f"{event}")
            for block in event.pop("block_hashes"):
                self.resident[block] -= 1
                must(self.resident[block] >= 0, f"{block} was not there")
                if self.resident[block]:
                    self.copies["copy removed"] += 1
                else:
                    del self.resident[block]
                    self.removed.append((block, json.dumps(event)))

    def store(self, event):
        self.raw.append(dict(event))
        self.stores += 1
        blocks, parent = event.pop("block_hashes"), event.pop("parent_block_hash")
        tokens, extra = event.pop("token_ids"), event.pop("extra_keys")
        size = event["block_size"]
        must(len(tokens) == size * len(blocks) and len(extra) == len(blocks), f"{event}")
        for i, block in enumerate(blocks):
            # What is left of the event is in the order in which it came.
            own = (block, parent, tokens[i * size : (i + 1) * size], extra[i], json.dumps(event))
            parent = block
            self.resident[block] += 1
            if self.resident[block] == 1:
                self.stored.append(own)
            else:
                self.copies["copy stored"] += 1
                must(self.records[block][:4] == own[:4], f"the copies of {block} differ")
            self.records[block] = own


class Pair:
    """vLLM and Glassbox with the same cache, and who listens to them."""

    def __init__(self, context, args, form):
        self.block_size, algorithm, env = FORMS[form]
        env = {"PYTHONHASHSEED": "42", "VLLM_SERVER_DEV_MODE": "1", **env}
        self.servers, self.ears = [], []
        self.counts = collections.Counter()
        blocks = TOKENS // self.block_size
        self.counts["null block"] = 1
        for name, program, count in (
            ("vLLM", args.vllm, blocks + 1),
            ("Glassbox", args.ours, blocks),
        ):
            port = free_port()
            events = {
                "enable_kv_cache_events": True,
                "endpoint": f"tcp://*:{port}",
                "topic": "kv@pod@tiny",
            }
            command = [
                *(program, "serve", os.path.join(ROOT, "models/qwen3-tiny")),
                *("--served-model-name", "tiny", "--host", "127.0.0.1", "--port", "{port}"),
                *("--max-model-len", "1024", "--block-size", str(self.block_size)),
                *("--num-gpu-blocks-override", str(count)),
                *("--prefix-caching-hash-algo", algorithm),
                *("--kv-events-config", json.dumps(events)),
            ]
            self.servers.append(Server(name, command, env, patience=600))
            self.ears.append(Listener(context, port))

    def ask(self, request):
        """Both answer, and tell the same."""
        for server, ear in zip(self.servers, self.ears):
            ear.begin()
            path, body = request["path"], request["body"]
            reply = send(server.port, "POST", path, body, request["headers"])
            must(reply["status"] == 200, f"{server.name}: {reply['status']} {reply['raw'][:300]}")
        theirs, ours = self.ears
        if request["path"] == "/reset_prefix_cache":
            self.wait(lambda: ours.cleared == 1, "we tell of a reset at once")
            must(not ours.resident, "nothing is resident after a reset")
            while theirs.hear(0):
                pass
            self.counts["cleared earlier"] += not theirs.cleared
            return
        self.wait(lambda: self.have_told(request), "the residents or the stores differ")
        self.compare(request)

    def have_told(self, request):
        """Whether nothing is missing: what is told of blocks that were there adds no resident."""
        theirs, ours = self.ears
        if theirs.resident.keys() != ours.resident.keys():
            return False
        if not request["exact"]:
            return True
        computed = len(request["body"]["prompt"]) + request["body"]["max_tokens"] - 1
        expected = computed >= self.block_size
        return len(theirs.raw) == len(ours.raw) and bool(ours.raw) == expected

    def wait(self, until, what):
        end = time.monotonic() + PATIENCE
        while True:
            heard = [ear.hear(0) for ear in self.ears]
            if until() and not any(heard):
                return
            must(time.monotonic() < end, f"{what}: {self.residents()}")
            if not any(heard):
                time.sleep(0.005)

    def residents(self):
        theirs, ours = (ear.resident.keys() for ear in self.ears)
        alone = [[self.place(block) for block in side] for side in (theirs - ours, ours - theirs)]
        return f"vLLM alone has {alone[0]}, Glassbox alone {alone[1]}"

    def place(self, block):
        """A block as its depth and its last tokens: more telling than a hash."""
        depth, at = 0, block
        known = {**self.ears[0].records, **self.ears[1].records}
        while at is not None:
            depth, at = depth + 1, known[at][1] if at in known else None
        return depth, known[block][2][-3:]

    def compare(self, request):
        theirs, ours = self.ears
        for what in ("stored", "removed"):
            theirs_told, ours_told = getattr(theirs, what), getattr(ours, what)
            for vllm, own in zip(theirs_told, ours_told):
                must(vllm == own, f"{what}: vLLM told\n    {vllm}, Glassbox\n    {own}")
            lengths = len(theirs_told), len(ours_told)
            must(lengths[0] == lengths[1], f"{what}: vLLM told of {lengths[0]}, not {lengths[1]}")
        if request["exact"]:
            must(theirs.raw == ours.raw, f"stores: vLLM\n    {theirs.raw}, we\n    {ours.raw}")
            return
        must(not ours.copies, f"Glassbox told of copies: {ours.copies}")
        if theirs.stores - theirs.copies["copy stored"] != ours.stores:
            self.counts["batched otherwise"] += 1
        self.counts.update(theirs.copies)

    def same_sources(self):
        """Both say alike where their events are, but for the ports."""
        told = []
        for server, ear in zip(self.servers, self.ears):
            reply = send(server.port, "GET", "/kv_event_sources")
            told.append((reply["status"], reply["raw"].replace(str(ear.port), "PORT")))
        must(told[0] == told[1], f"/kv_event_sources: vLLM {told[0]}, Glassbox {told[1]}")

    def first_words(self):
        """Until both are heard: PUB drops what is sent before a subscription arrives."""
        theirs, ours = self.ears
        end = time.monotonic() + PATIENCE
        n = 0
        while theirs.next is None or not theirs.resident:
            must(time.monotonic() < end, "vLLM is not heard")
            n += 1
            body = {"model": "tiny", "prompt": [n + 2] * 100, "max_tokens": 1}
            for server in self.servers:
                send(server.port, "POST", "/v1/completions", body)
            theirs.hear(500)
        self.wait(lambda: ours.next is not None and ours.cleared == 1, "batch 0 is a clear")
        self.counts["first clear"] += 1
        for server in self.servers:
            reply = send(server.port, "POST", "/reset_prefix_cache")
            must(reply["status"] == 200, f"{reply}")
        self.wait(lambda: not ours.resident, "a reset")

    def stop(self):
        for server in self.servers:
            server.stop()


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--vllm", required=True)
    parser.add_argument("--ours", required=True)
    parser.add_argument("forms", nargs="*", help=f"of {', '.join(FORMS)}; all by default")
    args = parser.parse_args()
    failed = 0
    with zmq.Context() as context:
        for form in args.forms or FORMS:
            pair = Pair(context, args, form)
            try:
                failed += run(pair, form)
            finally:
                pair.stop()
                for ear in pair.ears:
                    ear.socket.close()
    sys.exit(1 if failed else 0)


def run(pair, form):
    """The number of cases that failed. Each starts with an empty cache."""
    pair.first_words()
    pair.same_sources()
    failed = requests = blocks = 0
    for name, case in CASES.items():
        try:
            for request in case(pair.block_size):
                pair.ask(request)
                requests += 1
                blocks += len(pair.ears[1].stored)
        except AssertionError as error:
            print(f"FAIL {form} {name}: {error}", flush=True)
            failed += 1
            break
    print(f"{form}: {requests} requests, {blocks} blocks told alike; allowed differences:")
    for what, why in ALLOWED.items():
        print(f"    {pair.counts[what]:4} {what}: {why}")
    return failed


if __name__ == "__main__":
    main()
