"""The real Collector and the real Jaeger, and the spans that reached them.

`otel stack` is the pipeline of llm-d's guide: OTLP in by gRPC and HTTP, spans of /metrics filtered
out, one file and one Jaeger behind. Standard library only.
"""

import json
import os
import signal
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request

ATTRIBUTE_TYPES = {
    "stringValue": str,
    "intValue": int,
    "doubleValue": float,
    "boolValue": bool,
    "arrayValue": lambda v: [plain(x) for x in v.get("values", [])],
}


def plain(value):
    """An OTLP/JSON value as a Python one of the same type."""
    ((kind, inner),) = value.items()
    return ATTRIBUTE_TYPES[kind](inner)


def attributes(of):
    return {a["key"]: plain(a["value"]) for a in of.get("attributes", [])}


class Span:
    """One received span, its times in nanoseconds."""

    def __init__(self, raw, scope, resource):
        self.name, self.kind = raw["name"], raw["kind"]
        self.trace, self.id = raw["traceId"], raw["spanId"]
        self.parent = raw.get("parentSpanId", "")
        self.start, self.end = int(raw["startTimeUnixNano"]), int(raw["endTimeUnixNano"])
        self.state, self.flags = raw.get("traceState", ""), raw.get("flags", 0)
        self.status = raw.get("status", {}).get("code", 0)
        self.message = raw.get("status", {}).get("message", "")
        self.scope, self.resource = scope, resource
        self.attributes = attributes(raw)
        self.events = [
            dict(name=e["name"], time=int(e["timeUnixNano"]), attributes=attributes(e))
            for e in raw.get("events", [])
        ]
        self.links = raw.get("links", [])

    @property
    def service(self):
        return self.resource.get("service.name")

    def __repr__(self):
        return f"{self.service}/{self.name} {self.id} of trace {self.trace}"


def read_spans(path):
    """The spans in a file of the Collector; a line that is still being written is left out."""
    try:
        with open(path, encoding="utf-8") as f:
            lines = f.read().split("\n")[:-1]
    except FileNotFoundError:
        return []
    out = []
    for line in filter(None, lines):
        for resource in json.loads(line)["resourceSpans"]:
            of = attributes(resource["resource"])
            for scope in resource["scopeSpans"]:
                name = scope.get("scope", {}).get("name", "")
                out += [Span(raw, name, of) for raw in scope["spans"]]
    return out


def until(what, probe, seconds=20):
    """What `probe` returns, once it is true."""
    deadline = time.monotonic() + seconds
    while not (found := probe()):
        if time.monotonic() > deadline:
            raise AssertionError(f"waited {seconds} s in vain for {what}")
        time.sleep(0.05)
    return found


class Stack:
    """The Collector, with Jaeger behind it unless told otherwise, on free or given ports."""

    def __init__(self, otel, jaeger=True, ports=None):
        folder = tempfile.mkdtemp(prefix="peer-otel-")
        self.path = os.path.join(folder, "spans.jsonl")
        command = [otel, "stack", "--spans", self.path, *([] if jaeger else ["--no-jaeger"])]
        for name in ("grpc", "http") if ports else ():
            command += [f"--{name}-port", str(ports[name])]
        for _ in range(3):  # a free port that it picked may be taken before it listens
            self.process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
            line = self.process.stdout.readline()
            if line.startswith("ready "):
                break
            self.process.wait()
        else:
            sys.exit("the Collector did not start")
        self.ports = json.loads(line.removeprefix("ready "))

    def endpoint(self, protocol="grpc"):
        if protocol == "grpc":
            return f"http://127.0.0.1:{self.ports['grpc']}"
        return f"http://127.0.0.1:{self.ports['http']}/v1/traces"

    def spans(self, **matching):
        """Those received so far whose fields are as told: `name="llm_request", trace=...`."""
        return [
            s for s in read_spans(self.path) if all(getattr(s, k) == v for k, v in matching.items())
        ]

    def wait(self, count, seconds=20, **matching):
        """`count` spans that match, or more."""

        def enough():
            found = self.spans(**matching)
            return found if len(found) >= count else None

        return until(
            f"{count} spans {matching}, there are {len(self.spans(**matching))}", enough, seconds
        )

    def post(self, service, *spans):
        """Spans made up here, as a gateway would send them: OTLP/JSON over HTTP."""
        resource = dict(attributes=[dict(key="service.name", value=dict(stringValue=service))])
        scopes = [dict(scope=dict(name="test"), spans=list(spans))]
        body = dict(resourceSpans=[dict(resource=resource, scopeSpans=scopes)])
        request = urllib.request.Request(
            self.endpoint("http"), json.dumps(body).encode(), {"Content-Type": "application/json"}
        )
        urllib.request.urlopen(request, timeout=10).close()

    def settle(self):
        """Until all that the Collector has taken is in the file: it keeps the order."""
        marker = os.urandom(8).hex()
        self.post("marker", made_up("marker", 1, os.urandom(16).hex(), marker))
        self.wait(1, service="marker", id=marker)

    def jaeger(self, path):
        """The `data` of an answer of Jaeger's query API; None where it knows nothing yet."""
        try:
            url = f"http://127.0.0.1:{self.ports['query']}{path}"
            with urllib.request.urlopen(url, timeout=10) as answer:
                return json.load(answer)["data"]
        except urllib.error.HTTPError as e:
            if e.code == 404:
                return None
            raise

    def signal_collector(self, sign):
        """To the Collector alone, which must be the only child: without Jaeger."""
        pid = self.process.pid
        with open(f"/proc/{pid}/task/{pid}/children", encoding="ascii") as f:
            (child,) = f.read().split()
        os.kill(int(child), sign)

    def stop(self):
        self.process.send_signal(signal.SIGTERM)
        self.process.wait(20)
        self.process.stdout.close()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.stop()


def made_up(name, kind, trace, span, parent="", attributes=None):
    """A span for `Stack.post`, a second long, just over."""
    now = time.time_ns()
    return dict(
        traceId=trace,
        spanId=span,
        parentSpanId=parent,
        name=name,
        kind=kind,
        startTimeUnixNano=str(now - 1_000_000_000),
        endTimeUnixNano=str(now),
        attributes=[dict(key=k, value=dict(stringValue=v)) for k, v in (attributes or {}).items()],
    )
