"""The picker dials the pods, as llm-d's pod discovery has it, and asks for replays.

All pods must offer their events and replays at the same two ports, each at an address of its own:
127.0.0.2 and 127.0.0.3. Where nothing stands between, a pod binds its address alone: an endpoint
that names it in IPv6 holds `::` and is bound. Where the way to a pod is cut, the pod binds `*` at
ports of its own, and a forwarder stands at its address, as a node's forwarding does for a pod's.
"""

import socket
import threading
import time

from checks import check, must
from kv_events_chain import REDIAL, TEXT, Gateway, Pod, goes_home, spread
from server import free_port
from telemetry_cases import MODEL


class Forwarder:
    """Connections to one address, carried to another until they are cut."""

    def __init__(self, host, port, to):
        self.here, self.to = (host, port), to
        self.lock, self.open = threading.Lock(), []
        self.listener = None
        self.start()

    def start(self):
        self.listener = socket.create_server(self.here)
        threading.Thread(target=self.accept, args=[self.listener], daemon=True).start()

    def accept(self, listener):
        while True:
            try:
                caller = listener.accept()[0]
                server = socket.create_connection(("127.0.0.1", self.to))
            except OSError:
                return
            with self.lock:
                self.open += [caller, server]
            for ends in ((caller, server), (server, caller)):
                threading.Thread(target=self.carry, args=ends, daemon=True).start()

    @staticmethod
    def carry(source, sink):
        try:
            while data := source.recv(1 << 16):
                sink.sendall(data)
            sink.shutdown(socket.SHUT_WR)
        except OSError:
            pass

    def cut(self):
        """Ends all connections; new ones are refused."""
        self.listener.shutdown(socket.SHUT_RDWR)
        self.listener.close()
        with self.lock:
            for end in self.open:
                try:
                    end.shutdown(socket.SHUT_RDWR)
                except OSError:
                    pass
                end.close()
            self.open.clear()


def direct(bench, host, zmq, replay, port=None):
    """A pod that binds its own address alone."""
    events = {
        "endpoint": f"tcp://[::ffff:{host}]:{zmq}",
        "replay_endpoint": f"tcp://{host}:{replay}",
    }
    return Pod(bench, events, host, port, f",zmq={zmq},replay={replay}")


def behind_forwarders(bench, host, zmq, replay):
    """A pod that binds `*`, and the forwarders that stand at its address."""
    own = free_port(), free_port()
    events = {"endpoint": f"tcp://*:{own[0]}", "replay_endpoint": f"tcp://*:{own[1]}"}
    pod = Pod(bench, events, host, ports=f",zmq={zmq},replay={replay}")
    return pod, [Forwarder(host, port, to) for port, to in zip((zmq, replay), own)]


def ask(pod, text):
    """Past the picker."""
    messages = [{"role": "user", "content": text}]
    body = {"model": MODEL, "messages": messages, "max_tokens": 1}
    pod.send("POST", "/v1/chat/completions", body)


def settle(gateway, pods):
    """Until the picker has heard of both pods, and of all they had to say."""
    must(len(pods) == 2, "two pods")
    until, last, quiet = time.monotonic() + REDIAL, None, 0
    while quiet < 10:
        must(time.monotonic() < until, f"the picker is not still: {last}")
        heard = gateway.heard()
        quiet = quiet + 1 if heard == last and len(heard[1]) == 2 else 0
        last = heard
        time.sleep(0.1)


def homes(gateway, pods, seed):
    """Long prompts, and which pod answered each; both did some."""
    texts, first = spread(gateway, pods, seed)
    settle(gateway, pods)
    goes_home(gateway, pods, texts, first)
    return texts, first


@check
def the_picker_dials_the_pods(bench):
    zmq, replay = free_port(), free_port()
    pods = [direct(bench, host, zmq, replay) for host in ("127.0.0.2", "127.0.0.3")]
    gateway = Gateway(bench.llm_d, pods)
    settle(gateway, pods)
    texts, first = homes(gateway, pods, "dialled")
    gateway.kill()
    gateway = Gateway(bench.llm_d, pods)
    settle(gateway, pods)
    goes_home(gateway, pods, texts, first)
    must(all(pod.count("glassbox_kv_events_replays_total") > 0 for pod in pods), "it replayed")
    pods[1].kill()
    pods[1] = direct(bench, pods[1].host, zmq, replay, pods[1].server.port)
    pods[1].wait_until_heard()
    settle(gateway, pods)
    # What the survivor has still goes there, and new prefixes go home to either.
    kept = [(text, 0) for text, home in zip(texts, first) if home == 0]
    goes_home(gateway, pods, *zip(*kept))
    homes(gateway, pods, "after a pod was killed")
    gateway.stop()
    for pod in pods:
        pod.server.stop()


@check
def a_publisher_that_was_cut_off_is_followed_again(bench):
    zmq, replay = free_port(), free_port()
    hosts = ("127.0.0.2", "127.0.0.3")
    pods, ways = zip(*(behind_forwarders(bench, host, zmq, replay) for host in hosts))
    gateway = Gateway(bench.llm_d, pods)
    settle(gateway, pods)
    texts, first = homes(gateway, pods, "before the cut")
    lost, taker = first[0], 1 - first[0]
    for way in ways[lost]:
        way.cut()
    # Unheard, one pod forgets all it had and learns something else; the other, heard, takes over.
    pods[lost].send("POST", "/reset_prefix_cache")
    unheard = [f"unheard {n}: {TEXT * 12}" for n in range(4)]
    for text in unheard:
        ask(pods[lost], text)
    moved = [text for text, home in zip(texts, first) if home == lost]
    for text in moved:
        ask(pods[taker], text)
    for way in ways[lost]:
        way.start()
    pods[lost].wait_until_heard()
    settle(gateway, pods)
    goes_home(gateway, pods, unheard, [lost] * len(unheard))
    goes_home(gateway, pods, moved, [taker] * len(moved))
    gateway.stop()
    for pod, way in zip(pods, ways):
        pod.server.stop()
        for forwarder in way:
            forwarder.cut()
