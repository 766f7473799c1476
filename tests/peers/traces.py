"""Our traces before the real OpenTelemetry Collector, Jaeger and llm-d.

    python3 traces.py --ours BINARY --otel OTEL --llm-d LLM-D [--only WORD]

Each check says what it proves; the suite fails if one of them does. It takes two minutes.
"""

import argparse
import sys

import traces_outage  # noqa: F401  these add their checks
import traces_sampling  # noqa: F401
import traces_spans  # noqa: F401
import traces_tree  # noqa: F401
from checks import CHECKS, Bench, passes


def main():
    ap = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    ap.add_argument("--ours", help="the glassbox binary", required=True)
    ap.add_argument("--otel", help="the script that runs the Collector and Jaeger", required=True)
    ap.add_argument("--llm-d", help="the script that runs llm-d's components", required=True)
    ap.add_argument("--only", default="", help="checks whose name holds this")
    args = ap.parse_args()
    chosen = [c for c in CHECKS if args.only in c.__name__]
    bench = Bench(args.ours, args.otel, args.llm_d)
    try:
        failed = [c.__name__ for c in chosen if not passes(c, bench)]
    finally:
        bench.stack.stop()
    print(f"{len(chosen) - len(failed)} of {len(chosen)} checks of traces passed")
    sys.exit(1 if failed or not chosen else 0)


if __name__ == "__main__":
    main()
