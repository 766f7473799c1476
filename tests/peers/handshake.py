"""vLLM's side channel of KV transfer against the real libzmq: REQ, DEALER and ROUTER of pyzmq.

Usage: handshake.py PROGRAM [CASE..], with a Python that has pyzmq and msgpack. PROGRAM is the built
bench `handshake`: its --serve is our listener, its --ask our side that asks.
"""

import pathlib
import struct
import subprocess
import sys
import threading

import msgpack
import zmq

PATIENCE_MS = 20_000
QUERY = msgpack.packb([b"get_meta_msg", 0, 0])
GOLDEN = pathlib.Path(__file__).parent.parent / "data/transfer/handshake-vllm-0.32.msgpack"


class Listener:
    """Ours, in a process of its own."""

    def __init__(self, program):
        self.process = subprocess.Popen(
            [program, "--serve"], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        word, port = self.process.stdout.readline().split()
        assert word == "ready", word
        self.path = f"tcp://127.0.0.1:{port}"

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.process.stdin.close()
        assert self.process.wait(timeout=20) == 0


def connect(context, kind, path):
    socket = context.socket(kind)
    socket.setsockopt(zmq.LINGER, 0)
    socket.setsockopt(zmq.RCVTIMEO, PATIENCE_MS)
    socket.connect(path)
    return socket


def check(reply):
    """A reply as vLLM's decode side takes it apart."""
    assert len(reply) == 2, [len(frame) for frame in reply]
    payload = msgpack.unpackb(reply[0])
    assert list(payload) == ["compatibility_hash", "agent_metadata_bytes"], list(payload)
    assert len(payload["compatibility_hash"]) == 64
    golden = msgpack.unpackb(msgpack.unpackb(GOLDEN.read_bytes())["agent_metadata_bytes"])
    metadata = msgpack.unpackb(payload["agent_metadata_bytes"])
    assert list(metadata) == list(golden), list(metadata)
    for name, value in golden.items():
        assert type(metadata[name]) is type(value), (name, metadata[name])
    assert metadata["region_names"][27] == "model.layers.27.self_attn.attn"
    assert reply[1][0] == 0xCB, reply[1]
    (seconds,) = struct.unpack(">d", reply[1][1:])
    return seconds


def asked(context, program):
    """One socket asks again and again, as vLLM does for each rank; the clock moves on."""
    with Listener(program) as listener:
        socket = connect(context, zmq.REQ, listener.path)
        times = []
        for _ in range(50):
            socket.send(QUERY)
            times.append(check(socket.recv_multipart()))
        assert times == sorted(times) and times[0] < times[-1], times
        for other in ([b"other", 0, 0], ["get_meta_msg", 0, 0], [None, 0, 0]):
            socket.send(msgpack.packb(other))
            check(socket.recv_multipart())
        socket.close()


def malformed(context, program):
    """What ends vLLM's listener is answered with one frame, and others are served on."""
    queries = [
        (msgpack.packb([b"get_meta_msg", 0, 1]), b"there is no rank pp 0, tp 1"),
        (msgpack.packb([b"get_meta_msg", 0]), b"Expected `array` of length 3"),
        (msgpack.packb({"a": 1}), b"Expected `array`, got `object`"),
        (msgpack.packb([b"get_meta_msg", "0", 0]), b"Expected `int`, got `str`"),
        (b"", b"Input data was truncated"),
        (b"\xff" * 50_000, b"Expected `array`, got `int`"),
    ]
    with Listener(program) as listener:
        for kind in (zmq.REQ, zmq.DEALER):
            socket = connect(context, kind, listener.path)
            delimiter = [b""] if kind == zmq.DEALER else []
            for query, reason in queries:
                socket.send_multipart([*delimiter, query])
                reply = socket.recv_multipart()[len(delimiter) :]
                assert len(reply) == 1 and reply[0].startswith(reason), reply
            socket.send_multipart([*delimiter, QUERY])
            check(socket.recv_multipart()[len(delimiter) :])
            socket.close()
        # A socket of a kind that never asks, and a frame beyond all bounds.
        for kind, frame in ((zmq.SUB, None), (zmq.REQ, b"x" * (1 << 20))):
            socket = connect(context, kind, listener.path)
            if frame:
                socket.send(frame)
            other = connect(context, zmq.REQ, listener.path)
            other.send(QUERY)
            check(other.recv_multipart())
            other.close()
            socket.close()


def crowd(context, program):
    """Sockets that connect and say nothing keep nobody waiting."""
    with Listener(program) as listener:
        silent = [connect(context, zmq.REQ, listener.path) for _ in range(200)]
        sockets = [connect(context, zmq.REQ, listener.path) for _ in range(20)]
        for socket in sockets:
            socket.send(QUERY)
        for socket in sockets:
            check(socket.recv_multipart())
        for socket in [*silent, *sockets]:
            socket.close()


def ask(context, program):
    """Our side that asks, before libzmq's ROUTER."""
    routers = [context.socket(zmq.ROUTER) for _ in range(4)]
    ports = [socket.bind_to_random_port("tcp://127.0.0.1") for socket in routers]
    payload = GOLDEN.read_bytes()
    time = msgpack.packb(12345.5)
    replies = [[payload, time], [payload], [payload, time, b""], [b"\xc0", time]]
    heard = []

    def answer(socket, reply):
        socket.setsockopt(zmq.RCVTIMEO, PATIENCE_MS)
        identity, delimiter, query = socket.recv_multipart()
        heard.append((delimiter, query))
        socket.send_multipart([identity, b"", *reply])

    threads = [threading.Thread(target=answer, args=pair) for pair in zip(routers, replies)]
    for thread in threads:
        thread.start()
    command = [program, "--ask", *map(str, ports)]
    said = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True, timeout=60)
    for thread in threads:
        thread.join()
    for socket in routers:
        socket.close(linger=0)
    assert heard == [(b"", QUERY)] * 4, heard
    lines = said.stdout.splitlines()
    # The golden payload is of another model, and our clock began with the process.
    assert lines[0].startswith("Err(NIXL compatibility hash mismatch. Local: 5e"), lines[0]
    assert 12340 < float(lines[0].rsplit(" ", 1)[1]) <= 12345.5, lines[0]
    assert lines[1].startswith("Err(the peer cannot answer: "), lines[1]
    assert lines[2] == "Err(a reply has 2 frames, not 3)", lines[2]
    assert lines[3].startswith("Err(Failed to decode NixlHandshakePayload."), lines[3]


CASES = [asked, malformed, crowd, ask]


def main():
    program, names = sys.argv[1], sys.argv[2:]
    context = zmq.Context()
    for case in CASES:
        if not names or case.__name__ in names:
            case(context, program)
            print(f"handshake: {case.__name__}: ok", flush=True)
    context.destroy(linger=0)


if __name__ == "__main__":
    main()
