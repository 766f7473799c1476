"""Traces and metrics beside the real vLLM's: the same requests, one Collector, one start of each.

    python3 telemetry_vllm.py --otel OTEL --vllm PEER --ours BINARY       both, live
    ... --vllm PEER --record FILE                                         record vLLM alone
    ... --ours BINARY --recorded FILE                                     against a recording
    ... [--only traces|metrics]

traces_vllm.py and metrics_vllm.py say what is compared and what may differ. The comparison of
metrics needs prometheus_client, which is in the venv that PEER makes (--python).
"""

import argparse
import http.client
import json
import os
import sys
import time

import metrics_vllm
import traces_vllm
from metrics_vllm import OPENMETRICS
from otel_stack import Stack, read_spans, until
from server import Server
from telemetry_cases import CASES, LONG, MODEL, ask, metrics, running, scrape

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
VENV = os.environ.get("PEER_DIR", os.path.expanduser("~/.cache/glassbox-peers"))
FLAGS = [
    "--served-model-name",
    MODEL,
    "--max-model-len",
    "4096",
    "--block-size",
    "64",
    "--host",
    "127.0.0.1",
    "--port",
    "{port}",
]


def settled(port):
    """The page once nothing runs and it stays the same: counts come a moment after replies."""
    seen = []

    def same():
        page = metrics(port)
        lines = [x for x in page.splitlines() if x.startswith(("vllm:", "http_"))]
        seen.append((lines, running(page)))
        return page if len(seen) > 3 and seen[-1] == seen[-4] and seen[-1][1] == 0 else None

    return until("the metrics to settle", same)


def page_during(port):
    """The page while two choices of one stream are being generated; the stream is read out."""
    body = dict(
        model=MODEL,
        prompt=LONG,
        n=2,
        max_tokens=900,
        ignore_eos=True,
        stream=True,
        temperature=0.7,
        seed=7,
    )
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=120)
    try:
        connection.request(
            "POST",
            "/v1/completions",
            json.dumps(body),
            {"Content-Type": "application/json", "X-Request-Id": "during"},
        )
        answer = connection.getresponse()
        answer.readline()
        page = until(
            "two running requests", lambda: p if running(p := metrics(port)) == 2 else None, 5
        )
        answer.read()
    finally:
        connection.close()
    return page


def send_all(port, service):
    """The cases, in order, with a page of metrics where they can be compared."""
    pages = dict(start=metrics(port))
    pages["start openmetrics"] = metrics(port, OPENMETRICS)
    pages["during"] = page_during(port)
    replies = []
    for case in CASES:
        if case["abort"] and "finished" not in pages:
            pages["finished"] = settled(port)
        began = time.time_ns()
        reply = ask(port, case)
        replies.append(
            dict(
                number=case["number"],
                status=reply and reply[0],
                body=reply and reply[1],
                began=began,
                ended=time.time_ns(),
            )
        )
    pages["after"] = settled(port)
    pages["after openmetrics"] = metrics(port, OPENMETRICS)
    kinds = {accept: scrape(port, accept)[1] for accept in metrics_vllm.ACCEPTS}
    return dict(service=service, pages=pages, kinds=kinds, replies=replies)


def serve_and_send(command, service, stack):
    env = dict(OTEL_SERVICE_NAME=service, OTEL_BSP_SCHEDULE_DELAY="500")
    flags = [*FLAGS, "--otlp-traces-endpoint", stack.endpoint()]
    model = os.path.join(ROOT, "models/qwen3-tiny")
    with Server(service, [*command, "serve", model, *flags], env) as server:
        print(f"{service} was ready after {server.ready_after:.1f} s", flush=True)
        return send_all(server.port, service)


def main():
    ap = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    ap.add_argument("--otel", help="the script that runs the Collector", required=True)
    ap.add_argument("--vllm", help="the script that runs vLLM")
    ap.add_argument("--ours", help="the glassbox binary")
    ap.add_argument("--python", default=os.path.join(VENV, "vllm-0.32.0/bin/python"))
    ap.add_argument("--record", help="write what vLLM did to this file")
    ap.add_argument("--recorded", help="compare with this file")
    ap.add_argument("--only", choices=["traces", "metrics"])
    args = ap.parse_args()
    theirs = ours = None
    with Stack(args.otel, jaeger=False) as stack:
        if args.vllm:
            theirs = serve_and_send([args.vllm], "vllm", stack)
        if args.ours:
            ours = serve_and_send([args.ours], "glassbox", stack)
    with open(stack.path, encoding="utf-8") as f:
        lines = f.read()
    if args.record:
        with open(args.record, "w", encoding="utf-8") as f:
            json.dump(dict(theirs, spans=lines), f)
    sys.exit(report(args, theirs, ours, stack.path) if args.ours else 0)


def report(args, theirs, ours, path):
    spans = read_spans(path)
    if args.recorded:
        with open(args.recorded, encoding="utf-8") as f:
            theirs = json.load(f)
        with open(path + ".recorded", "w", encoding="utf-8") as f:
            f.write(theirs["spans"])
        spans += read_spans(path + ".recorded")
    theirs["spans"] = [s for s in spans if s.service == "vllm"]
    ours["spans"] = [s for s in spans if s.service == "glassbox"]
    failed = 0
    if args.only != "metrics":
        failed += tell("traces", traces_vllm.compare(theirs, ours))
    if args.only != "traces":
        ids = {s.trace for s in ours["spans"]}
        failed += tell("metrics", metrics_vllm.compare(args.python, theirs, ours, ids))
    return min(failed, 1)


def tell(what, found):
    for line in found:
        print(f"FAIL {what}: {line}")
    print(f"{what} beside vLLM: {len(found) or 'no'} differences that are not allowed", flush=True)
    return len(found)


if __name__ == "__main__":
    main()
