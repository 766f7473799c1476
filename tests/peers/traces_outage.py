"""The Collector dies, hangs, returns, or never was: requests do not notice, losses are counted."""

import http.client
import json
import random
import re
import signal
import socket
import threading
import time

from checks import check, must
from otel_stack import Stack, until
from telemetry_cases import MODEL, metrics

BODY = json.dumps(dict(model=MODEL, prompt="Hello", max_tokens=2, temperature=0))
QUICK = dict(OTEL_BSP_SCHEDULE_DELAY="100", OTEL_EXPORTER_OTLP_TIMEOUT="1")
PAUSE = 0.005  # between the requests of a client: the machine is not to be full
FLAGS = ("--glassbox-trace-level", "request")  # one span for each request


class Load:
    """Clients that send one request after another; their statuses and durations by phase."""

    def __init__(self, port, clients=3):
        self.port, self.phase, self.going = port, "up", True
        self.seen = []  # (phase, status, seconds)
        self.threads = [threading.Thread(target=self.client) for _ in range(clients)]
        for thread in self.threads:
            thread.start()

    def client(self):
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=30)
        while self.going:
            phase, began = self.phase, time.monotonic()
            try:
                connection.request(
                    "POST", "/v1/completions", BODY, {"Content-Type": "application/json"}
                )
                answer = connection.getresponse()
                answer.read()
                status = answer.status
            except (OSError, http.client.HTTPException) as e:
                connection.close()
                status = repr(e)
            self.seen.append((phase, status, time.monotonic() - began))
            time.sleep(PAUSE)
        connection.close()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.stop()

    def go_on(self, phase, requests=300):
        """Until so many requests of this phase have been answered."""
        self.phase = phase
        until(
            f"{requests} requests while {phase}",
            lambda: sum(p == phase for p, _, _ in self.seen) >= requests,
            60,
        )

    def stop(self):
        self.going = False
        for thread in self.threads:
            thread.join()

    def must_not_suffer(self):
        """Every request succeeded, and none waited for the Collector."""
        failed = [s for s in self.seen if s[1] != 200]
        must(not failed, f"{len(failed)} of {len(self.seen)} requests failed: {failed[:3]}")
        slowest = {}
        for phase, _, seconds in self.seen:
            slowest.setdefault(phase, []).append(seconds)
        p99 = {k: sorted(v)[len(v) * 99 // 100] for k, v in slowest.items()}
        bound = 3 * p99["up"] + 0.02
        must(max(p99.values()) <= bound, f"the 99th percentiles, seconds: {p99}")


def counts(port):
    """What the server says about its spans: {name without prefix and suffix: sum}."""
    out = {}
    for line in metrics(port).splitlines():
        found = re.match(r"glassbox_telemetry_spans_(\w+?)(?:_total)?(?:\{.*\})? (\S+)$", line)
        if found and not found[1].endswith("_created"):
            out[found[1]] = out.get(found[1], 0) + int(float(found[2]))
    return out


def kept_port():
    """A free port that no outgoing connection takes meanwhile: these are above 32767."""
    while True:
        port = random.randrange(20000, 32000)
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", port)):
                return port


def all_settled(port, made):
    """The counts, once every span has found its end."""

    def settled():
        now = counts(port)
        return now if now["exported"] + now["dropped"] >= made else None

    return until(f"{made} spans to be exported or dropped: {counts(port)}", settled, 30)


def must_add_up(made, stored, now):
    """Each span was exported or dropped, and what was exported is stored. Of those dropped some may
    be stored too: sent, and their receipt not confirmed in time. Nothing else is lost.
    """
    must(now["exported"] + now["dropped"] == made, f"{made} spans made, the server says {now}")
    late = stored - now["exported"]
    must(0 <= late <= now["dropped"], f"{stored} stored of {made}, the server says {now}")
    if late:
        print(f"     {late} spans were stored whose receipt was not confirmed in time")


def log_of(server):
    with open(server.log.name, encoding="utf-8") as f:
        return f.read()


def lines_about_export(log, level):
    return [
        x
        for x in log.splitlines()
        if f" {level} " in x and re.search(r"\bspans?\b|\btraces?\b|collector|OTLP", x, re.I)
    ]


@check
def killed_and_restarted(bench):
    """Killed under load, and started again: no request fails or waits; stored and dropped spans
    are all that were made; one warning, one line when it is well again.
    """
    at = dict(grpc=kept_port(), http=kept_port())
    first = Stack(bench.otel, jaeger=False, ports=at)
    with bench.serve("outage", *FLAGS, endpoint=first.endpoint(), **QUICK) as server:
        with Load(server.port) as load:
            load.go_on("up")
            first.stop()
            load.go_on("down")
            until("a dropped span", lambda: counts(server.port)["dropped"])
            second = Stack(bench.otel, jaeger=False, ports=at)
            load.go_on("up again")
            before = counts(server.port)["exported"]
            until("spans to go out again", lambda: counts(server.port)["exported"] > before)
        starting = [s for s in first.spans(service="outage") if s.name != "llm_request"]
        made = len(load.seen) + len(starting)
        now = all_settled(server.port, made)
        log = log_of(server)
    second.settle()
    second.stop()
    load.must_not_suffer()
    stored = {s.id for stack in (first, second) for s in stack.spans(service="outage")}
    must_add_up(made, len(stored), now)
    warned = lines_about_export(log, "WARNING") + lines_about_export(log, "ERROR")
    must(len(warned) == 1, f"one warning: {warned}")
    healed = lines_about_export(log[log.index(warned[0]) :], "INFO")
    must(len(healed) == 1, f"one line on recovery: {healed}")


@check
def hanging(bench):
    """A Collector that stands still with its connections open: the same holds."""
    with (
        Stack(bench.otel, jaeger=False) as stack,
        bench.serve("hanging", *FLAGS, endpoint=stack.endpoint(), **QUICK) as server,
    ):
        with Load(server.port) as load:
            load.go_on("up")
            stack.signal_collector(signal.SIGSTOP)
            try:
                load.go_on("hanging")
                until("a dropped span", lambda: counts(server.port)["dropped"])
            finally:
                stack.signal_collector(signal.SIGCONT)
            load.go_on("up again")
        starting = [s for s in stack.spans(service="hanging") if s.name != "llm_request"]
        made = len(load.seen) + len(starting)
        now = all_settled(server.port, made)
        stack.settle()
        stored = {s.id for s in stack.spans(service="hanging")}
    load.must_not_suffer()
    must_add_up(made, len(stored), now)


@check
def never_there(bench):
    """Nothing listens at the endpoint: said at the start, served all the same, a quick end."""
    endpoint = f"http://127.0.0.1:{kept_port()}"
    with bench.serve("alone", *FLAGS, endpoint=endpoint, **QUICK) as server:
        with Load(server.port) as load:
            load.go_on("up", 100)
        warned = until("a warning", lambda: lines_about_export(log_of(server), "WARNING"))
        must(endpoint.removeprefix("http://") in warned[0], f"it names the endpoint: {warned}")
        must(counts(server.port)["exported"] == 0, "nothing was exported")
        began = time.monotonic()
        server.signal(signal.SIGTERM)
        server.process.wait(30)
        took = time.monotonic() - began
    load.must_not_suffer()
    must(took < 5, f"the end took {took:.1f} s")


@check
def flushed_at_the_end(bench):
    """A server that stops sends what it holds, though its next batch is a minute away."""
    with bench.serve("last-words", *FLAGS, OTEL_BSP_SCHEDULE_DELAY="60000") as server:
        with Load(server.port, clients=1) as load:
            load.go_on("up", 40)
    found = bench.left_by("last-words", name="llm_request")
    must(len(found) == len(load.seen), f"{len(found)} of {len(load.seen)} spans")
