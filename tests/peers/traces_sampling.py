"""Who is sampled, and that both protocols carry the spans."""

import http.client
import json
import math
import random

import span_table
from checks import check, must, none_of
from server import send
from telemetry_cases import MODEL
from traces_tree import header, new_ids

BODY = dict(model=MODEL, prompt="Hello", max_tokens=1, temperature=0)
RATIO = 0.1
Z = 5.0  # a fair sampler is further off once in 1.7 million runs


def send_many(port, headers):
    """A request for each of the headers, on one connection; all must succeed."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
    body = json.dumps(BODY)
    for more in headers:
        connection.request(
            "POST", "/v1/completions", body, {"Content-Type": "application/json"} | more
        )
        answer = connection.getresponse()
        answer.read()
        must(answer.status == 200, f"status {answer.status}")
    connection.close()


def sampled_run(bench, service, sampler, ratio, headers):
    """The traces that this sampler kept of requests with these headers."""
    env = dict(OTEL_TRACES_SAMPLER=sampler, OTEL_TRACES_SAMPLER_ARG=str(ratio))
    with bench.serve(service, "--glassbox-trace-level", "request", **env) as server:
        send_many(server.port, headers)
    return [s.trace for s in bench.left_by(service, name="llm_request")]


def parents(count, flags, seed=1):
    """Headers with known trace ids, random in all bits."""
    draw = random.Random(seed)
    ids = [
        (f"{draw.getrandbits(128):032x}", f"{draw.getrandbits(64) | 1:016x}") for _ in range(count)
    ]
    return [trace for trace, _ in ids], [header(trace, span, flags) for trace, span in ids]


@check
def parents_decide(bench):
    """parentbased_traceidratio 0 and 1: roots never and always; the parent's flag wins."""
    sampled, with_sampled = parents(20, "01", seed=1)
    unsampled, with_unsampled = parents(20, "00", seed=2)
    for ratio, roots in ((0, 0), (1, 20)):
        headers = [*with_sampled, *with_unsampled, *[{}] * 20]
        found = sampled_run(bench, f"parents-{ratio}", "parentbased_traceidratio", ratio, headers)
        must(
            sorted(t for t in found if t in sampled) == sorted(sampled),
            f"ratio {ratio}: every request with a sampled parent, once",
        )
        must(not set(found) & set(unsampled), f"ratio {ratio}: none with an unsampled one")
        others = len(found) - len(sampled)
        must(others == roots, f"ratio {ratio}: {others} of 20 roots, not {roots}")


@check
def ratio_of_roots(bench):
    """parentbased_traceidratio 0.1: as many roots as a fair sampler keeps."""
    count = 500
    found = sampled_run(bench, "roots", "parentbased_traceidratio", RATIO, [{}] * count)
    slack = Z * math.sqrt(count * RATIO * (1 - RATIO))
    must(
        abs(len(found) - count * RATIO) <= slack,
        f"{len(found)} of {count} roots, not {count * RATIO:.0f} +- {slack:.0f}",
    )
    must(len(set(found)) == len(found), "each root has a trace of its own")


@check
def ratio_by_trace_id(bench):
    """traceidratio 0.1: exactly those trace ids that the rule keeps, whatever the parent says."""
    ids, headers = parents(300, "00", seed=3)
    found = sampled_run(bench, "by-id", "traceidratio", RATIO, headers)
    bound = round(RATIO * 2**64)
    wanted = [t for t in ids if int(t[16:], 16) < bound]
    must(wanted, "some are to be kept")
    must(
        sorted(found) == sorted(wanted),
        f"kept {len(found)} of {len(ids)}, the rule keeps {len(wanted)}; "
        f"both keep {len(set(found) & set(wanted))}",
    )


@check
def both_protocols(bench):
    """OTEL_EXPORTER_OTLP_TRACES_PROTOCOL grpc and http/protobuf: the same spans."""
    shapes = []
    for service, protocol in (("by-grpc", "grpc"), ("by-http", "http/protobuf")):
        endpoint = bench.stack.endpoint("grpc" if protocol == "grpc" else "http")
        env = dict(OTEL_EXPORTER_OTLP_TRACES_PROTOCOL=protocol)
        with bench.serve(service, endpoint=endpoint, **env) as server:
            trace, parent = new_ids()
            reply = send(server.port, "POST", "/v1/completions", BODY, header(trace, parent))
            must(reply["status"] == 200, f"status {reply['status']}")
        (span,) = bench.left_by(service, trace=trace, name="llm_request")
        none_of(span_table.check(span))
        must(span.parent == parent, f"{span} has the parent {span.parent}")
        children = bench.stack.spans(service=service, parent=span.id)
        shapes.append((sorted(span.attributes), sorted(c.name for c in children)))
    must(shapes[0] == shapes[1], f"by grpc {shapes[0]}, by http {shapes[1]}")
