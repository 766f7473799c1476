"""Two pods behind the real Envoy and EPP: a repeated prefix goes to the pod that has it.

In the mode of llm-d's tracing guide: the EPP binds, the pods connect and publish as
`kv@IP:PORT@MODEL`. Routing is right again after the EPP, or a pod, was killed and is back.
The other mode is in `kv_events_dial.py`.
"""

import json
import os
import signal
import subprocess
import tempfile
import time
import urllib.request

from checks import PATIENCE, ROOT, check, must
from server import Server, free_port, send
from telemetry_cases import MODEL

REDIAL = 30  # seconds: an EPP that dials waits up to 7.5 between attempts
TEXT = "Tell me about paged attention, prefix caching and chunked prefill, one after the other. "


class Gateway:
    """Envoy and the EPP in front of pods."""

    def __init__(self, llm_d, pods, bind=None):
        """`bind`: where the EPP listens; otherwise it dials the pods."""
        command = [llm_d, "chain", "precise", "--gateway-port", "0"]
        command += ["--events-bind", str(bind)] if bind else []
        for pod in pods:
            command += ["--pod", pod.address]
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

    def heard(self):
        """What changes when the EPP hears something: its blocks, and the messages of each pod."""
        family = "llm_d_epp_kv_cache_events_messages_received_total{"
        with urllib.request.urlopen(self.metrics, timeout=10) as reply:
            lines = reply.read().decode().splitlines()
        return self.admitted(), sorted(line for line in lines if line.startswith(family))

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

    def kill(self):
        """Kills the EPP; Envoy goes with it."""
        for pid in filter(str.isdigit, os.listdir("/proc")):
            try:
                with open(f"/proc/{pid}/stat") as f:
                    stat = f.read()
                with open(f"/proc/{pid}/cmdline") as f:
                    words = f.read().split("\0")
            except OSError:
                continue
            parent = int(stat.rsplit(")", 1)[1].split()[1])
            if parent == self.process.pid and "--pool-name=epp" in words:
                os.kill(int(pid), signal.SIGKILL)
        must(self.process.wait(15) == 1, "the chain ended, for its EPP was killed")

    def stop(self):
        self.process.terminate()
        self.process.wait(15)


class Pod:
    """A pod behind the gateway, which publishes as these events say."""

    def __init__(self, bench, events, host="127.0.0.1", port=None, ports=""):
        self.host, port = host, port or free_port()
        self.address = f"{host}:{port}{ports}"
        topic = f"kv@{host}:{port}@{MODEL}"
        events = {"enable_kv_cache_events": True, "topic": topic, **events}
        command = [
            *(bench.ours, "serve", os.path.join(ROOT, "models/qwen3-tiny")),
            *("--served-model-name", MODEL, "--host", host, "--max-model-len", "2048"),
            *("--port", "{port}", "--enable-scale-out", "--kv-events-config", json.dumps(events)),
        ]
        env = {"VLLM_SERVER_DEV_MODE": "1"}
        self.server = Server("pod", command, env, port=port, host=host)

    def send(self, method, path, body=None):
        reply = send(self.server.port, method, path, body, host=self.host)
        must(reply["status"] == 200, f"{path}: {reply['status']} {reply['raw'][:200]}")
        return reply

    def count(self, family):
        lines = self.send("GET", "/metrics")["raw"].splitlines()
        lines = (x for x in lines if x.startswith((family + "{", family + " ")))
        return float(next(lines).rsplit(" ", 1)[1])

    def resident(self):
        return self.count("glassbox_kv_events_resident_blocks")

    def wait_until_heard(self):
        """What is stored from here on reaches the EPP once, and not again by a snapshot."""
        until = time.monotonic() + REDIAL
        while self.count("glassbox_kv_events_subscribers") == 0:
            must(time.monotonic() < until, "no EPP subscribed")
            time.sleep(0.02)

    def prompts(self):
        return self.count("vllm:time_to_first_token_seconds_count")

    def kill(self):
        self.server.signal(signal.SIGKILL)
        self.server.stop()


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
    texts, first = spread(gateway, pods, seed)
    gateway.wait_for(all_resident(pods) + gone)
    goes_home(gateway, pods, texts, first)
    return texts, first


def spread(gateway, pods, seed):
    """Long prompts and which pod answered each: eight, or more until each pod has some.

    Nothing tells the picker yet where they belong, and it may like one pod better for a while.
    """
    texts, first = [], []
    while len(texts) < 8 or len(set(first)) < 2:
        must(len(texts) < 60, f"both pods are used at first: {first}")
        texts.append(f"{seed} {len(texts)}: {TEXT * 12}")
        first.append(served_by(gateway, pods, texts[-1]))
    return texts, first


def goes_home(gateway, pods, texts, homes):
    """All but one: the picker also weighs loads, which it samples every 50 ms."""
    asked = [served_by(gateway, pods, text + " And?") for text in texts]
    strays = sum(a != h for a, h in zip(asked, homes))
    must(strays <= 1, f"prefixes at {homes} were asked of {asked}")


@check
def the_picker_follows_our_events(bench):
    bind = free_port()
    events = {"endpoint": f"tcp://127.0.0.1:{bind}"}
    pods = [Pod(bench, events), Pod(bench, events)]
    gateway = Gateway(bench.llm_d, pods, bind)
    texts, homes = follows_prefixes(gateway, pods, "first")
    gateway.kill()
    gateway = Gateway(bench.llm_d, pods, bind)
    # A restarted EPP is told of what is resident.
    gateway.wait_for(all_resident(pods))
    goes_home(gateway, pods, texts, homes)
    port, gone = pods[1].server.port, pods[1].resident()
    pods[1].kill()
    pods[1] = Pod(bench, events, port=port)
    follows_prefixes(gateway, pods, "after a pod came back", gone)
    gateway.stop()
    for pod in pods:
        pod.server.stop()
