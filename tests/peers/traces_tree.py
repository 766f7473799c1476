"""One joined tree: gateway, llm-d's real sidecars and endpoint picker, and our requests below."""

import contextlib
import json
import os
import re
import subprocess
import urllib.parse

from checks import check, must
from otel_stack import made_up, until
from server import Server, send
from span_table import CLIENT, SERVER
from telemetry_cases import MODEL

BODY = dict(model=MODEL, prompt="The capital of France is", max_tokens=8, temperature=0)
PD_PROXY = "llm_d.pd_proxy.POST /v1/completions"


def new_ids(count=1):
    """A trace id and as many span ids."""
    return [os.urandom(16).hex(), *(os.urandom(8).hex() for _ in range(count))]


def header(trace, span, flags="01"):
    return {"traceparent": f"00-{trace}-{span}-{flags}"}


class Tree:
    """A trace out of Jaeger's query API."""

    def __init__(self, answer):
        (trace,) = answer
        self.spans = {s["spanID"]: s for s in trace["spans"]}
        self.services = {k: p["serviceName"] for k, p in trace["processes"].items()}

    def service(self, span):
        return self.services[span["processID"]]

    def parent(self, span):
        """Its id, or None for the root."""
        return next((r["spanID"] for r in span["references"] if r["refType"] == "CHILD_OF"), None)

    def tags(self, span):
        return {t["key"]: t["value"] for t in span["tags"]}

    def named(self, operation, service=None):
        return [
            s
            for s in self.spans.values()
            if s["operationName"] == operation and service in (None, self.service(s))
        ]

    def way_up(self, span):
        """The names from its parent to the root."""
        names = []
        while at := self.parent(span):
            must(at in self.spans, f"the parent {at} of {span['operationName']} is not in the tree")
            span = self.spans[at]
            names.append(span["operationName"])
        return names

    def root(self):
        """The name of the only one, above all others."""
        roots = [s["operationName"] for s in self.spans.values() if not self.parent(s)]
        must(len(roots) == 1, f"{len(roots)} roots: {roots}")
        for span in self.spans.values():
            self.way_up(span)
        return roots[0]


def tree(bench, trace, wanted):
    """The trace, once Jaeger has the wanted number of spans by (operation, service)."""

    def complete():
        answer = bench.stack.jaeger(f"/api/traces/{trace}")
        if not answer:
            return None
        found = Tree(answer)
        return found if all(len(found.named(*k)) >= n for k, n in wanted.items()) else None

    return until(f"{wanted} in trace {trace}", complete, 30)


def gateway(bench, trace, server, client):
    """What a gateway would send: its SERVER span, and the CLIENT span of the request upstream."""
    bench.stack.post(
        "gateway",
        made_up("gateway.request", SERVER, trace, server, attributes={"test": "gateway"}),
        made_up("HTTP POST gateway", CLIENT, trace, client, parent=server),
    )


def sidecar(bench, name, decode, **env):
    """A sidecar by itself, in front of the decode server."""
    newer = ["--tracing=true"] if name == "sidecar" else []
    command = [
        *(bench.llm_d, "run", name, "--", "--port={port}", f"--vllm-port={decode.port}"),
        *("--secure-proxy=false", *newer),
    ]
    env |= dict(
        OTEL_TRACES_EXPORTER="otlp",
        OTEL_TRACES_SAMPLER="parentbased_traceidratio",
        OTEL_TRACES_SAMPLER_ARG="1.0",
        OTEL_BSP_SCHEDULE_DELAY="200",
        OTEL_EXPORTER_OTLP_ENDPOINT=bench.stack.endpoint(),
    )
    return Server(name, command, env)


def two_legs(port, prefill, headers, **fields):
    reply = send(
        port,
        "POST",
        "/v1/completions",
        BODY | fields,
        headers | {"x-prefiller-host-port": f"127.0.0.1:{prefill.port}"},
    )
    must(reply["status"] == 200, f"status {reply['status']}: {reply['raw'][:300]}")
    return reply


@check
def joined_tree_with_both_sidecars(bench):
    """Gateway > sidecar of 2026 > prefill and decode legs > `llm_request`s: one tree in Jaeger.
    The sidecar of 2025 has no spans: ours hang below the gateway's.
    """
    with (
        bench.serve("vllm-prefill") as prefill,
        bench.serve("vllm-decode") as decode,
    ):
        with sidecar(bench, "sidecar", decode) as proxy:
            newer_sidecar(bench, proxy, prefill)
        with sidecar(bench, "sidecar-2025", decode) as proxy:
            older_sidecar(bench, proxy, prefill)
        whole_chain(bench, prefill, decode)


def newer_sidecar(bench, proxy, prefill):
    trace, server, client = new_ids(2)
    gateway(bench, trace, server, client)
    two_legs(proxy.port, prefill, header(trace, client))
    found = tree(
        bench,
        trace,
        {
            ("llm_request", "vllm-prefill"): 1,
            ("llm_request", "vllm-decode"): 1,
            ("HTTP POST", None): 2,
            (PD_PROXY, None): 1,
            ("HTTP POST gateway", None): 1,
            ("send", "vllm-decode"): 1,
        },
    )
    must(found.root() == "gateway.request", "the root is the gateway's span")
    top = ["forward_request", PD_PROXY, "HTTP POST gateway", "gateway.request"]
    ways = {
        service: found.way_up(*found.named("llm_request", service))
        for service in ("vllm-prefill", "vllm-decode")
    }
    must(ways["vllm-prefill"] == ["HTTP POST", "prefill", *top], f"prefill leg: {ways}")
    must(
        ways["vllm-decode"]
        in (["HTTP POST", "decode", "prefill", *top], ["HTTP POST", "decode", *top]),
        f"decode leg: {ways}",
    )
    (leg,) = found.named("llm_request", "vllm-decode")
    tags = found.tags(leg)
    must(tags["span.kind"] == "server", f"{tags}")
    must(tags["gen_ai.request.model"] == MODEL, f"{tags}")
    must(tags["gen_ai.usage.completion_tokens"] == 8, f"{tags}")
    search(bench, trace)


def search(bench, trace):
    """Jaeger finds our spans as its page would: by service, operation and tag."""
    services = bench.stack.jaeger("/api/services")
    must({"vllm-prefill", "vllm-decode", "gateway"} <= set(services), f"services: {services}")
    query = urllib.parse.urlencode(
        dict(
            service="vllm-decode",
            operation="llm_request",
            limit=20,
            tags=json.dumps({"gen_ai.request.model": MODEL}),
        )
    )
    found = bench.stack.jaeger(f"/api/traces?{query}")
    must(trace in [t["traceID"] for t in found], "the trace is found by its tag")


def older_sidecar(bench, proxy, prefill):
    trace, server, client = new_ids(2)
    gateway(bench, trace, server, client)
    two_legs(proxy.port, prefill, header(trace, client), stream=True)
    for service in ("vllm-prefill", "vllm-decode"):
        (leg,) = bench.requests(service, trace=trace)
        must(leg.parent == client, f"{leg} has the parent {leg.parent}, not the gateway's")


def trace_of(bench, service, reply_id):
    """The trace of the request that was answered with this id."""

    def found():
        return [
            s.trace
            for s in bench.stack.spans(service=service, name="llm_request")
            if s.attributes.get("gen_ai.response.id") == reply_id
        ]

    return until(f"the span of {reply_id}", found)[0]


@contextlib.contextmanager
def chain(bench, prefill, decode, *flags):
    """The port of Envoy, in front of the endpoint picker, the sidecar and both servers."""
    command = [
        *(bench.llm_d, "chain", "pd", "--gateway-port", "0", "--sidecar-port", "0", *flags),
        *("--otlp", bench.stack.endpoint()),
        *("--prefill", f"127.0.0.1:{prefill.port}", "--decode", f"127.0.0.1:{decode.port}"),
    ]
    process = subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
    )
    try:
        line = process.stdout.readline()
        ready = re.fullmatch(r"ready http://127\.0\.0\.1:(\d+)\n", line)
        must(ready, f"llm-d chain pd said {line!r}")
        yield int(ready[1])
    finally:
        process.terminate()
        process.wait(20)
        process.stdout.close()


def whole_chain(bench, prefill, decode):
    """Envoy > endpoint picker > sidecar > two servers: all that llm-d runs, one tree."""
    with chain(bench, prefill, decode, "--epp-metrics-port", "0") as port:
        reply = send(port, "POST", "/v1/completions", BODY)
        must(reply["status"] == 200, f"through the chain: {reply['raw'][:300]}")
        trace = trace_of(bench, "vllm-decode", reply["json"]["id"])
        found = tree(
            bench,
            trace,
            {
                ("llm_request", "vllm-prefill"): 1,
                ("llm_request", "vllm-decode"): 1,
                ("forward_request", None): 1,
                ("gateway.request", None): 1,
                ("HTTP POST", None): 2,
            },
        )
    must(found.root() == "gateway.request", "the root is the endpoint picker's span")
    for service in ("vllm-prefill", "vllm-decode"):
        way = found.way_up(*found.named("llm_request", service))
        must(
            way[0] == "HTTP POST" and way[-3:] == ["forward_request", PD_PROXY, found.root()],
            f"{service}: the way up is {way}",
        )
    spans = bench.stack.spans()
    probed = {s.trace for s in spans if s.name == "HTTP GET"}  # the endpoint picker's scrapes
    must(probed, "the sidecar traces the scrapes")
    strays = [s for s in spans if s.trace in probed and s.service.startswith("vllm-")]
    must(not strays, f"scrapes of /metrics and /v1/models left spans: {strays[:3]}")
