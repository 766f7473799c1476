"""Two pods behind the real Envoy and EPP: a repeated prefix goes to the pod that has it.

In the mode of llm-d's tracing guide: the EPP binds, the pods connect and publish as
`kv@IP:PORT@MODEL`. Routing is right again after the EPP, or a pod, was killed and is back.
"""

import json
import os
import subprocess
import tempfile
import time
import urllib.request

from checks import PATIENCE, ROOT, check, must
from server import Server, free_port, send
from telemetry_cases import MODEL

TEXT = "Tell me about paged attention, prefix caching and chunked prefill, one after the other. "


class Gateway:
    """Envoy and the EPP in front of pods."""

    def __init__(self, llm_d, pods, bind):
        command = [llm_d, "chain", "precise", "--gateway-port", "0", "--events-bind", str(bind)]
        for pod in pods:
            command += ["--pod", f"127.0.0.1:{pod.server.port}"]
        said = tempfile.TemporaryFile("w+")
        self.process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=said, text=True)
        line = self.process.stdout.readline()
        must(line.startswith("ready http"), f"llm-d chain: {line!r}")
        self.port = int(line.split()[1].rsplit(":", 1)[1])
        said.seek(0)
        lines = (x for x in said if x.startswith("epp metrics"))
        self.metrics = next(lines).split()[-1]

    def admitted(self):
        """Blocks that the EPP's index took in so far."""
        with urllib.request.urlopen(self.metrics, timeout=10) as reply:
            lines = reply.read().decode().splitlines()
        found = (x for x in lines if x.startswith("kvcache_index_admissions_total "))
        return float(next(found, "0 0").split()[1])

    def wait_for(self, blocks):
        until = time.monotonic() + PATIENCE
        while (admitted := self.admitted()) < blocks:
            must(time.monotonic() < until, f"the EPP heard of {admitted:g} blocks, not {blocks:g}")
            time.sleep(0.05)

    def chat(self, text):
        messages = [{"role": "user", "content": text}]
        body = {"model": MODEL, "messages": messages, "max_tokens": 1}
        reply = send(self.port, "POST", "/v1/chat/completions", body)
        must(reply["status"] == 200, f"{reply['status']} {reply['raw'][:200]}")

    def stop(self):
        self.process.terminate()
        self.process.wait(15)


class Pod:
    """A pod that publishes to the EPP's port."""

    def __init__(self, bench, bind, port=None):
        port = port or free_port()
        events = {
            "enable_kv_cache_events": True,
            "publisher": "zmq",
            "endpoint": f"tcp://127.0.0.1:{bind}",
            "topic": f"kv@127.0.0.1:{port}@{MODEL}",
        }
        command = [
            *(bench.ours, "serve", os.path.join(ROOT, "models/qwen3-tiny")),
            *("--served-model-name", MODEL, "--host", "127.0.0.1", "--max-model-len", "2048"),
            *("--port", "{port}", "--enable-scale-out", "--kv-events-config", json.dumps(events)),
        ]
        self.server = Server("pod", command, port=port)

    def count(self, family):
        page = send(self.server.port, "GET", "/metrics")["raw"]
        lines = (x for x in page.splitlines() if x.startswith((family + "{", family + " ")))
        return float(next(lines).rsplit(" ", 1)[1])

    def resident(self):
        return self.count("glassbox_kv_events_resident_blocks")

    def wait_until_heard(self):
        """What is stored from here on reaches the EPP once, and not again by a snapshot."""
        until = time.monotonic() + PATIENCE
        while self.count("glassbox_kv_events_subscribers") == 0:
            must(time.monotonic() < until, "no EPP subscribed")
            time.sleep(0.02)

    def prompts(self):
        return self.count("vllm:time_to_first_token_seconds_count")


def served_by(gateway, pods, text):
    """Which pod answers this chat."""
    before = [pod.prompts() for pod in pods]
    gateway.chat(text)
    served = [i for i, pod in enumerate(pods) if pod.prompts() > before[i]]
    must(len(served) == 1, f"served by {served}")
    return served[0]


def all_resident(pods):
    return sum(pod.resident() for pod in pods)


def follows_prefixes(gateway, pods, seed, gone=0):
    """Each of several long prompts is answered again by the pod that answered it first.

    `gone`: blocks that this EPP was told of by pods that are no more.
    """
    for pod in pods:
        pod.wait_until_heard()
    texts = [f"{seed} {n}: {TEXT * 12}" for n in range(8)]
    first = [served_by(gateway, pods, text) for text in texts]
    must(len(set(first)) == 2, f"both pods are used at first: {first}")
    gateway.wait_for(all_resident(pods) + gone)
    goes_home(gateway, pods, texts, first)
    return texts, first


def goes_home(gateway, pods, texts, homes):
    """All but one: the picker also weighs loads, which it samples every 50 ms."""
    asked = [served_by(gateway, pods, text + " And?") for text in texts]
    strays = sum(a != h for a, h in zip(asked, homes))
    must(strays <= 1, f"prefixes at {homes} were asked of {asked}")


@check
def the_picker_follows_our_events(bench):
    bind = free_port()
    pods = [Pod(bench, bind), Pod(bench, bind)]
    gateway = Gateway(bench.llm_d, pods, bind)
    texts, homes = follows_prefixes(gateway, pods, "first")
    gateway.stop()
    gateway = Gateway(bench.llm_d, pods, bind)
    # A restarted EPP is told of what is resident.
    gateway.wait_for(all_resident(pods))
    goes_home(gateway, pods, texts, homes)
    port, gone = pods[1].server.port, pods[1].resident()
    pods[1].server.stop()
    pods[1] = Pod(bench, bind, port=port)
    follows_prefixes(gateway, pods, "after a pod came back", gone)
    gateway.stop()
    for pod in pods:
        pod.server.stop()
