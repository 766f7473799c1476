"""Every request has its span, with the guide's attributes and the phases below it."""

import http.client
import json
import threading
import time

import span_table
from checks import check, must, none_of
from server import send
from span_table import ERROR, INTERNAL, of_case
from telemetry_cases import CASES, LONG, MODEL, ask, trace_id, traceparent
from traces_tree import header, new_ids

PHASES = ("queue", "prefill", "decode")  # those whose time the account has under the same name


def completion(**fields):
    return dict(model=MODEL, prompt="Hello", max_tokens=8, temperature=0) | fields


def timed(port, body, headers, path="/v1/completions"):
    """The status, and when the client asked and had the answer, as `check_case` wants it."""
    began = time.time_ns()
    status = send(port, "POST", path, body, headers)["status"]
    return dict(status=status, began=began, ended=time.time_ns())


@check
def every_case_has_its_spans(bench):
    """All requests of telemetry_cases.py: as many spans as they must leave, by the table of
    names and types, with an exact account; errors for what failed; none for probes.
    """
    service = "every-case"
    replies = []
    with bench.serve(service) as server:
        for case in CASES:
            began = time.time_ns()
            reply = ask(server.port, case)
            status = reply and reply[0]
            replies.append(dict(status=status, began=began, ended=time.time_ns()))
    everything = bench.left_by(service)
    spans = [s for s in everything if s.name == "llm_request"]
    silent = {trace_id(c["number"]) for c in CASES if c["spans"] == 0}
    none_of(f"{s}: no span was to come of this" for s in everything if s.trace in silent)
    none_of(
        f"{case['name']}: {what}"
        for case, reply in zip(CASES, replies)
        for what in span_table.check_case(case, of_case(spans, case), reply)
    )
    ours = [s for c in CASES for s in of_case(spans, c)]
    strangers = [s for s in spans if s not in ours]
    must(not strangers, f"spans of no case: {strangers}")
    hit = next(c for c in CASES if "again" in c["name"])
    (cached,) = of_case(spans, hit)
    tokens = cached.attributes["gen_ai.usage.cache_read.input_tokens"]
    must(tokens == 256, f"{tokens} cached tokens of the repeated prompt, not 4 blocks of 64")


@check
def refusals_have_spans(bench):
    """401 without the key and 503 over the bound of the queue: a span each, with its error."""
    with bench.serve("refusing", "--api-key", "secret") as server:
        key = {"Authorization": "Bearer secret"}
        trace, parent = new_ids()
        denied = timed(server.port, completion(), header(trace, parent))
        must(denied["status"] == 401, f"without a key: {denied['status']}")
        must_fail(bench, "refusing", trace, parent, denied)
        trace, parent = new_ids()
        timed(server.port, completion(), header(trace, parent) | key)
        (span,) = bench.requests("refusing", trace=trace)
        none_of(span_table.check(span))
    with bench.serve("full", "--max-num-queued-reqs", "1") as server:
        with endless(server.port):
            trace, parent = new_ids()
            full = timed(server.port, completion(), header(trace, parent))
            must(full["status"] == 503, f"over the bound: {full['status']}")
        must_fail(bench, "full", trace, parent, full)


def must_fail(bench, service, trace, parent, reply):
    (span,) = bench.requests(service, trace=trace)
    must(span.parent == parent, f"{span} has the parent {span.parent}")
    must(span.status == ERROR, f"{span} has status {span.status}")
    none_of(span_table.check(span, finished=False, wall=(reply["began"], reply["ended"])))


class endless:
    """A stream that runs until the end of the block."""

    def __init__(self, port):
        self.connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
        body = completion(prompt="Count", max_tokens=4000, ignore_eos=True, stream=True)
        self.connection.request(
            "POST", "/v1/completions", json.dumps(body), {"Content-Type": "application/json"}
        )
        self.answer = self.connection.getresponse()
        self.answer.readline()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.answer.close()
        self.connection.close()


def check_phases(span, children):
    """Children inside their parent, as long as the account says, none on top of another."""
    out = []
    for child in children:
        if child.kind != INTERNAL:
            out.append(f"{child} is of kind {child.kind}")
        if not span.start <= child.start <= child.end <= span.end:
            out.append(f"{child} is not inside its parent")
        events = [e for e in child.events if not child.start <= e["time"] <= child.end]
        out += [f"{child}: {e} is outside of it" for e in events]
    for phase in (*PHASES, "preempted"):
        parts = [c for c in children if c.name == phase]
        length = sum(c.end - c.start for c in parts)
        account = span.attributes[f"glassbox.latency.{phase}"]
        if length != account:
            out.append(f"{span}: its {phase} spans are {length} ns, the account {account} ns")
    engine = sorted(
        (c for c in children if c.name in (*PHASES, "preempted")), key=lambda c: c.start
    )
    out += [f"{b} begins before {a} ends" for a, b in zip(engine, engine[1:]) if b.start < a.end]
    return out


@check
def phases_are_children(bench):
    """receive, tokenize, queue, prefill, decode and send below a request, as long as the account
    says; prefill has an event for each chunk, decode one for the first token.
    """
    flags = ("--max-num-batched-tokens", "128", "--max-num-seqs", "8")
    with bench.serve("phases", *flags) as server:
        trace, parent = new_ids()
        body = completion(prompt=LONG, max_tokens=20, ignore_eos=True, stream=True)
        timed(server.port, body, header(trace, parent))
    (span,) = bench.left_by("phases", trace=trace, name="llm_request")
    children = bench.stack.spans(service="phases", parent=span.id)
    none_of(check_phases(span, children))
    names = {c.name for c in children}
    wanted = {"receive", "tokenize", "queue", "prefill", "decode", "send"}
    must(names == wanted, f"children {sorted(names)}, wanted {sorted(wanted)}")
    (prefill,) = [c for c in children if c.name == "prefill"]
    (decode,) = [c for c in children if c.name == "decode"]
    prompt = span.attributes["gen_ai.usage.prompt_tokens"]
    must(
        len(prefill.events) == -(-prompt // 128),
        f"{len(prefill.events)} chunks of {prompt} tokens, 128 at a time: {prefill.events}",
    )
    tokens = [e["attributes"]["glassbox.step.tokens"] for e in prefill.events]
    must(sum(tokens) == prompt and max(tokens) <= 128, f"chunks of {tokens} tokens, of {prompt}")
    must([e["name"] for e in decode.events] == ["first_token"], f"events {decode.events}")
    (queue,) = [c for c in children if c.name == "queue"]
    must("glassbox.wait.reason" in queue.attributes, f"why it waited: {queue.attributes}")


@check
def levels(bench):
    """One span at level request; more events at level steps, by vLLM's flag."""
    found = {}
    for service, flags in {
        "level-request": ("--glassbox-trace-level", "request"),
        "level-phases": (),
        "level-steps": ("--collect-detailed-traces", "all"),
    }.items():
        with bench.serve(service, *flags) as server:
            trace, parent = new_ids()
            timed(server.port, completion(max_tokens=30, ignore_eos=True), header(trace, parent))
        spans = bench.left_by(service, trace=trace)
        found[service] = len(spans), sum(len(s.events) for s in spans)
    must(found["level-request"][0] == 1, f"level request: {found}")
    must(found["level-phases"][0] == found["level-steps"][0] > 1, f"phases, steps: {found}")
    must(found["level-steps"][1] > found["level-phases"][1], f"events: {found}")


@check
def preemption_is_seen(bench):
    """Too little KV for all: those that lost their place have `preempted` children, and every
    account is exact.
    """
    # 48 requests that grow to 4 blocks each, and 70 blocks.
    flags = ("--num-gpu-blocks-override", "70", "--max-num-seqs", "64")
    count = 48
    with bench.serve("preempting", *flags) as server:
        body = completion(max_tokens=200, ignore_eos=True)
        threads = [
            threading.Thread(
                target=send,
                args=(server.port, "POST", "/v1/completions", body | dict(prompt=f"Tale {i}")),
            )
            for i in range(count)
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    everything = bench.left_by("preempting")
    spans = [s for s in everything if s.name == "llm_request"]
    must(len(spans) == count, f"{len(spans)} spans of {count} requests")
    by_parent = {}
    for child in everything:
        by_parent.setdefault(child.parent, []).append(child)
    none_of(
        what
        for span in spans
        for what in span_table.check(span) + check_phases(span, by_parent.get(span.id, []))
    )
    seen = [s for s in spans if any(c.name == "preempted" for c in by_parent.get(s.id, []))]
    must(seen, "somebody was preempted")
    must(
        all(s.attributes["glassbox.latency.preempted"] > 0 for s in seen),
        "the account has the time of preemption",
    )


@check
def start_up_is_a_trace(bench):
    """One trace of its own: a root, and what the start consisted of below it."""
    with bench.serve("starting"):
        pass
    spans = bench.left_by("starting")
    must(len({s.trace for s in spans}) == 1, f"one trace: {spans}")
    roots = [s for s in spans if not s.parent]
    must(len(roots) == 1, f"one root: {roots}")
    root, parts = roots[0], [s for s in spans if s.parent]
    must(len(parts) >= 3, f"the parts of a start: {[s.name for s in parts]}")
    must(all(root.start <= s.start <= s.end <= root.end for s in parts), f"in the root: {parts}")
    must(any("weights" in s.name for s in parts), f"loading is one: {[s.name for s in parts]}")


@check
def resource_is_as_told(bench):
    """OTEL_SERVICE_NAME and OTEL_RESOURCE_ATTRIBUTES, as the guide's pods set them."""
    told = "k8s.namespace.name=llmd,k8s.node.name=node%201,k8s.pod.name=ms-0"
    with bench.serve("resourceful", OTEL_RESOURCE_ATTRIBUTES=told) as server:
        timed(server.port, completion(), {"traceparent": traceparent(900)})
    (span,) = bench.left_by("resourceful", name="llm_request")
    wanted = {
        "k8s.namespace.name": "llmd",
        "k8s.node.name": "node 1",
        "k8s.pod.name": "ms-0",
        "service.name": "resourceful",
        "vllm.instrumenting_module_name": "vllm.llm_engine",
    }
    found = {k: span.resource.get(k) for k in wanted}
    must(found == wanted, f"resource {span.resource}")
    must(
        "telemetry.sdk.name" in span.resource and "vllm.process_id" in span.resource,
        f"resource {span.resource}",
    )
