"""KV cache events against the real libzmq: SUB, DEALER and REQ peers of pyzmq.

Usage: kv_events_wire.py PROGRAM [CASE..], with a Python that has pyzmq and msgpack. PROGRAM is the
built bench `events`; its --serve runs the real publisher on what standard input says.
"""

import json
import os
import subprocess
import sys
import tempfile

import msgpack
import zmq

BLOCK_SIZE = 16
PATIENCE_MS = 20_000
END = (-1).to_bytes(8, "big", signed=True)
TOPIC = "kv@10.0.0.7@Qwen/Qwen3-0.6B"


class Server:
    """A publisher in a process of its own."""

    def __init__(self, program, config, *flags, env=None):
        config = {"enable_kv_cache_events": True, "topic": TOPIC, **config}
        self.process = subprocess.Popen(
            [program, "--serve", json.dumps(config), *flags],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env={**os.environ, "VLLM_HOST_IP": "127.0.0.1", **(env or {})},
        )
        word, self.endpoint, self.replay = self.process.stdout.readline().split()
        assert word == "ready", word

    def say(self, line):
        self.process.stdin.write(line + "\n")
        self.process.stdin.flush()
        answer = self.process.stdout.readline().strip()
        assert answer == "ok" or line == "stats", (line, answer)
        return answer

    def stop(self):
        self.process.stdin.close()
        assert self.process.wait(timeout=20) == 0

    def kill(self):
        self.process.kill()
        self.process.wait()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        if self.process.poll() is None:
            self.kill()


class Index:
    """A consumer without any cleverness: it does what the events say, in order."""

    def __init__(self):
        self.blocks = {}

    def take(self, payload):
        ts, events, rank = msgpack.unpackb(payload, strict_map_key=False)
        assert isinstance(ts, float) and ts > 1.7e9 and rank == 0, (ts, rank)
        for event in events:
            self.event(event)
        return events

    def event(self, event):
        if isinstance(event, list):
            names = {
                "BlockStored": ["block_hashes", "parent_block_hash", "token_ids", "block_size"],
                "BlockRemoved": ["block_hashes"],
                "AllBlocksCleared": [],
            }[event[0]]
            event = {"type": event[0], **dict(zip(names, event[1:]))}
        if event["type"] == "AllBlocksCleared":
            self.blocks.clear()
            return
        for i, block in enumerate(event["block_hashes"]):
            if event["type"] == "BlockRemoved":
                del self.blocks[number(block)]
                continue
            parent = event["block_hashes"][i - 1] if i else event["parent_block_hash"]
            assert parent is None or number(parent) in self.blocks, "an unknown parent"
            assert number(block) not in self.blocks, "stored twice"
            size = event["block_size"]
            self.blocks[number(block)] = event["token_ids"][i * size : (i + 1) * size]


def number(block):
    """The block's number in the script, from its hash as an integer or as bytes."""
    if isinstance(block, bytes):
        assert len(block) == 32, block
        block = int.from_bytes(block[-8:], "big")
    return block & ~(1 << 63)


def wanted(numbers):
    return {n: [(n * 31 + i) % 150_000 for i in range(BLOCK_SIZE)] for n in numbers}


def socket(context, kind, endpoint=None):
    peer = context.socket(kind)
    peer.setsockopt(zmq.RCVTIMEO, PATIENCE_MS)
    peer.setsockopt(zmq.LINGER, 0)
    if kind == zmq.SUB:
        peer.setsockopt(zmq.SUBSCRIBE, b"kv@")
    if endpoint:
        peer.connect(endpoint)
    return peer


def receive(sub):
    topic, seq, payload = sub.recv_multipart()
    assert topic == TOPIC.encode() and len(seq) == 8
    return int.from_bytes(seq, "big"), payload


def follow(sub, index, until):
    """Takes batches until the index holds exactly these blocks; returns the numbers seen."""
    seen = []
    while index.blocks != wanted(until):
        seq, payload = receive(sub)
        index.take(payload)
        seen.append(seq)
    return seen


def replay(dealer, start):
    dealer.send_multipart([b"", start.to_bytes(8, "big")])
    answer = []
    while True:
        frames = dealer.recv_multipart()
        assert len(frames) == 4 and frames[0] == b"", frames
        if frames[2] == END:
            assert frames[1:] == [b"", END, b""], frames
            return answer
        assert frames[1] == TOPIC.encode()
        answer.append((int.from_bytes(frames[2], "big"), frames[3]))


def bind_any():
    return {"endpoint": "tcp://*:0", "replay_endpoint": "tcp://*:0"}


def case_forms(program, context):
    """Every encoding and hash form, bound; batches arrive in order from 0 with none missing."""
    for flags, env in [
        ([], {}),
        (["--glassbox-kv-events-encoding", "array"], {}),
        (["--glassbox-kv-events-encoding", "array-2025"], {}),
        ([], {"VLLM_KV_EVENTS_USE_INT_BLOCK_HASHES": "0"}),
        ([], {"GLASSBOX_KV_EVENTS_ENCODING": "array", "VLLM_KV_EVENTS_USE_INT_BLOCK_HASHES": "0"}),
    ]:
        with Server(program, bind_any(), *flags, env=env) as server:
            # Said before anyone listens: the first batch waits.
            server.say("store - 0 3")
            sub, index = socket(context, zmq.SUB, server.endpoint), Index()
            seen = follow(sub, index, range(3))
            server.say("store 2 3 2; remove 4")
            server.say("clear; store - 9 1")
            seen += follow(sub, index, [9])
            assert seen == [0, 1, 2, 3], seen
            server.stop()
            sub.close()


def case_connect(program, context):
    """The guide's mode: the consumer binds; it restarts, and so does the publisher."""
    sub = socket(context, zmq.SUB)
    port = sub.bind_to_random_port("tcp://127.0.0.1")
    config = {"endpoint": f"tcp://127.0.0.1:{port}"}
    server, index = Server(program, config), Index()
    server.say("store - 0 4")
    assert follow(sub, index, range(4)) == [0, 1]
    sub.unbind(f"tcp://127.0.0.1:{port}")
    sub.close()
    server.say("remove 3")
    server.say("store 2 5 2")
    sub, index = socket(context, zmq.SUB), Index()
    sub.bind(f"tcp://127.0.0.1:{port}")
    follow(sub, index, [0, 1, 2, 5, 6])
    server.kill()
    with Server(program, config) as server:
        # What the dead process had told is void from batch 0 on.
        seq, payload = receive(sub)
        index.take(payload)
        assert seq == 0 and index.blocks == {}, (seq, index.blocks)
        server.say("store - 20 2")
        follow(sub, index, [20, 21])
    sub.close()


def case_late(program, context):
    """Whoever comes late learns what is resident, and nobody else is bothered with it."""
    with Server(program, bind_any(), "--glassbox-kv-events-wait", "0") as server:
        first, index = socket(context, zmq.SUB, server.endpoint), Index()
        server.say("store - 0 2000")
        server.say("remove 1999 1998")
        follow(first, index, range(1998))
        late, other = socket(context, zmq.SUB, server.endpoint), Index()
        seen = follow(late, other, range(1998))
        assert set(seen) == {2} and len(seen) == 4, seen
        server.say("store 1997 3000 1")
        assert follow(late, other, [*range(1998), 3000]) == [3]
        assert follow(first, index, [*range(1998), 3000]) == [3]
        # Unsubscribed means silence; subscribing again brings the whole state.
        late.setsockopt(zmq.UNSUBSCRIBE, b"kv@")
        late.setsockopt(zmq.SUBSCRIBE, b"kv@10.0.0.7")
        other = Index()
        follow(late, other, [*range(1998), 3000])
        first.close()
        late.close()


def case_replay(program, context):
    """Kept, ahead, older than kept, by DEALER and REQ, beside malformed requests."""
    config = {**bind_any(), "buffer_steps": 4}
    with Server(program, config) as server:
        sub, live = socket(context, zmq.SUB, server.endpoint), Index()
        for n in range(10):
            server.say(f"store {n - 1 if n else '-'} {n} 1")
        server.say("remove 9")
        sent, payloads = [], {}
        while len(sent) < 12:
            seq, payload = receive(sub)
            live.take(payload)
            sent.append(seq)
            payloads[seq] = payload
        assert sent == list(range(12))
        dealer = socket(context, zmq.DEALER, server.replay)
        dealer.send_multipart([b"three", b"frames", b"here"])
        dealer.send(b"one")
        assert replay(dealer, 9) == [(n, payloads[n]) for n in range(9, 12)]
        for ahead in [12, 10**9, 2**64 - 1]:
            assert replay(dealer, ahead) == []
        for start in [0, 3, 7]:
            answer, index = replay(dealer, start), Index()
            # A consumer that knows better is put right too.
            index.blocks = wanted([77, 9])
            assert [seq for seq, _ in answer] == list(range(start, 12))
            for _, payload in answer:
                index.take(payload)
            assert index.blocks == live.blocks == wanted(range(9))
        request = socket(context, zmq.REQ, server.replay)
        request.send((11).to_bytes(8, "big"))
        topic, seq, payload = request.recv_multipart()
        assert (topic, seq, payload) == (TOPIC.encode(), (11).to_bytes(8, "big"), payloads[11])
        stats = server.say("stats")
        assert "replays_snapshot: 3" in stats and "replays_invalid: 2" in stats, stats
        for peer in (sub, dealer, request):
            peer.close()


def case_large(program, context):
    """A replay of more messages than libzmq's default mark, end marker included, beside live."""
    with Server(program, bind_any()) as server:
        sub, live = socket(context, zmq.SUB, server.endpoint), Index()
        follow(sub, live, [])
        for n in range(3000):
            server.say(f"store {n - 1 if n else '-'} {n} 1")
        dealer = socket(context, zmq.DEALER, server.replay)
        dealer.send_multipart([b"", bytes(8)])
        server.say("store 2999 5000 1")
        follow(sub, live, [*range(3000), 5000])
        answer = 0
        while dealer.recv_multipart()[2] != END:
            answer += 1
        assert answer >= 3001, answer
        sub.close()
        dealer.close()


def case_slow(program, context):
    """A subscriber that does not read loses batches, and is right in the end."""
    config = {**bind_any(), "hwm": 8}
    with Server(program, config) as server:
        sub, index = context.socket(zmq.SUB), Index()
        sub.setsockopt(zmq.RCVHWM, 1)
        sub.setsockopt(zmq.RCVBUF, 4096)
        sub.setsockopt(zmq.RCVTIMEO, PATIENCE_MS)
        sub.setsockopt(zmq.SUBSCRIBE, b"")
        sub.connect(server.endpoint)
        index.take(receive(sub)[1])
        for n in range(400):
            server.say(f"store - {n * 1000} 999")
            server.say("remove " + " ".join(str(n * 1000 + i) for i in range(998, 4, -1)))
        resident = [n * 1000 + i for n in range(400) for i in range(5)]
        follow(sub, index, resident)
        stats = server.say("stats")
        assert "dropped_slow: 0" not in stats and "announced_gap: 0" not in stats, stats
        sub.close()


def case_ipc(program, context):
    """ipc:// endpoints are bound; their files go with the process."""
    with tempfile.TemporaryDirectory() as folder:
        config = {"endpoint": f"ipc://{folder}/pub", "replay_endpoint": f"ipc://{folder}/replay"}
        for _ in range(2):
            with Server(program, config) as server:
                sub, index = socket(context, zmq.SUB, server.endpoint), Index()
                server.say("store - 0 2")
                follow(sub, index, range(2))
                dealer = socket(context, zmq.DEALER, server.replay)
                assert len(replay(dealer, 0)) == 2
                server.stop()
                assert os.listdir(folder) == []
                sub.close()
                dealer.close()


def case_heartbeat(program, context):
    """libzmq's heartbeats are answered: the connection outlives their timeout."""
    with Server(program, bind_any()) as server:
        sub, index = context.socket(zmq.SUB), Index()
        sub.setsockopt(zmq.HEARTBEAT_IVL, 50)
        sub.setsockopt(zmq.HEARTBEAT_TIMEOUT, 200)
        sub.setsockopt(zmq.RCVTIMEO, PATIENCE_MS)
        sub.setsockopt(zmq.SUBSCRIBE, b"")
        monitor = sub.get_monitor_socket(zmq.EVENT_DISCONNECTED)
        sub.connect(server.endpoint)
        index.take(receive(sub)[1])
        assert monitor.poll(1000) == 0, "the connection was lost"
        server.say("store - 0 1")
        assert follow(sub, index, [0]) == [1]
        sub.disable_monitor()
        sub.close()


def main():
    program, asked = sys.argv[1], sys.argv[2:]
    cases = {name[5:]: case for name, case in globals().items() if name.startswith("case_")}
    with zmq.Context() as context:
        for name in asked or cases:
            cases[name](program, context)
            print(f"{name}: good", flush=True)
    print(f"libzmq {zmq.zmq_version()}, pyzmq {zmq.__version__}")


if __name__ == "__main__":
    main()
