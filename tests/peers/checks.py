"""What suites of checks share: the registry, the assertion, and the bench of the traces suite."""

import argparse
import os
import sys
import time
import traceback

from otel_stack import Stack
from server import Server
from telemetry_cases import MODEL

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
CHECKS = []
PATIENCE = 20  # seconds, for what is on its way


def check(function):
    """Registers a check: it takes the bench, and raises AssertionError for what is wrong."""
    CHECKS.append(function)
    return function


def must(holds, what):
    if not holds:
        raise AssertionError(what)


def none_of(failures):
    """Fails with the first few of a list of sentences."""
    failures = list(failures)
    if failures:
        more = [f"... and {len(failures) - 5} more"] if len(failures) > 5 else []
        raise AssertionError("\n    ".join(failures[:5] + more))


def passes(check, bench):
    """Runs a check, and says how long it took or what is wrong."""
    began = time.monotonic()
    try:
        check(bench)
    except (AssertionError, ValueError, KeyError, OSError) as e:
        at = traceback.extract_tb(e.__traceback__)[-1]
        print(f"FAIL {check.__name__}: {type(e).__name__}: {e}\n    {at.filename}:{at.lineno}")
        return False
    finally:
        print(f"     {check.__name__}: {time.monotonic() - began:.1f} s", flush=True)
    return True


def arguments(doc, only, **needed):
    """The arguments of a suite: what it `needs`, each with its help, and which of its parts."""
    ap = argparse.ArgumentParser(
        description=doc, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    for name, about in needed.items():
        ap.add_argument("--" + name.replace("_", "-"), help=about, required=True)
    ap.add_argument("--only", default="", help=f"{only} whose name holds this")
    return ap.parse_args()


def llm_d_suite(what, checks, doc, bench):
    """The program of a suite whose checks share a `bench` with llm-d and a Collector on it."""
    args = arguments(
        doc,
        "checks",
        ours="the glassbox binary",
        otel="the script that runs the Collector and Jaeger",
        llm_d="the script that runs llm-d's components",
    )
    bench_suite(what, checks, args, bench(args.ours, args.otel, args.llm_d))


def bench_suite(what, checks, args, bench):
    """The program of a suite whose checks share a bench, which this stops."""
    chosen = [c for c in checks if args.only in c.__name__]
    try:
        failed = [c.__name__ for c in chosen if not passes(c, bench)]
    finally:
        bench.stop()
    print(f"{len(chosen) - len(failed)} of {len(chosen)} checks of {what} passed")
    sys.exit(1 if failed or not chosen else 0)


def settings_suite(what, settings, args, start, checks):
    """The program of a suite that makes a bench for each setting: `start` makes it, and `checks`
    are those of a bench."""
    passed = failed = 0
    for name, setting in settings.items():
        if args.only in name:
            bench = start(args.ours, *setting)
            try:
                print(f"     {name}{bench.about}", flush=True)
                results = [passes(check, bench) for check in checks(bench)]
            finally:
                bench.stop()
            passed, failed = passed + sum(results), failed + results.count(False)
    print(f"{passed} of {passed + failed} checks of {what} passed")
    sys.exit(1 if failed or not passed else 0)


def client_suite(client, doc, suite, tests, flags, env=None):
    """The program of a suite that drives a server with an official client: `suite` takes the
    server, and `tests` are the names of its methods that each check one thing."""
    ap = argparse.ArgumentParser(
        description=doc, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    ap.add_argument("--ours", help="the glassbox binary")
    ap.add_argument("--peer", help="the script that runs vLLM")
    ap.add_argument("--model", default=os.path.join(ROOT, "models/qwen3-tiny"))
    ap.add_argument("--only", default="")
    args = ap.parse_args()
    failed, tests = [], [test for test in tests if args.only in test]
    command = [
        *(args.ours or args.peer, "serve", args.model, "--host", "127.0.0.1", "--port", "{port}"),
        *("--max-model-len", "4096", "--block-size", "64", "--api-key", "secret", *flags),
    ]
    with Server(f"{client.__name__}-suite", command, env) as server:
        checks = suite(server)
        for name in tests:
            began, said = time.monotonic(), name.replace("_", " ")
            try:
                getattr(checks, name)()
                print(f"ok   {said} ({time.monotonic() - began:.2f} s)", flush=True)
            except Exception:
                failed.append(name)
                trace = traceback.format_exc().replace("\n", "\n    ")
                print(f"FAIL {said}\n    {trace}", flush=True)
    passed = len(tests) - len(failed)
    print(f"{client.__name__} {client.__version__}: {passed} of {len(tests)} passed")
    sys.exit(1 if failed else 0)


class Bench:
    """The binaries, and one Collector with Jaeger for all checks that share them."""

    def __init__(self, ours, otel, llm_d):
        self.ours, self.otel, self.llm_d = ours, otel, llm_d
        self.stack = Stack(otel)

    def stop(self):
        self.stack.stop()

    def serve(self, service, *flags, endpoint=None, **env):
        """Glassbox, tracing as this service to the shared Collector unless told otherwise."""
        endpoint = endpoint or self.stack.endpoint()
        command = [
            *(self.ours, "serve", os.path.join(ROOT, "models/qwen3-tiny")),
            *("--served-model-name", MODEL, "--max-model-len", "4096", "--block-size", "64"),
            *("--host", "127.0.0.1", "--port", "{port}", "--otlp-traces-endpoint", endpoint),
            *flags,
        ]
        env = dict(OTEL_SERVICE_NAME=service, OTEL_BSP_SCHEDULE_DELAY="200") | env
        return Server(service, command, env)

    def requests(self, service, count=1, **matching):
        """The `llm_request`s of a service, once there are `count`."""
        return self.stack.wait(count, service=service, name="llm_request", **matching)

    def left_by(self, service, **matching):
        """All spans of a service that has stopped: it sends its last ones before it ends."""
        self.stack.settle()
        return self.stack.spans(service=service, **matching)
