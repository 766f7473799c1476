"""Our traces before the real OpenTelemetry Collector, Jaeger and llm-d.

    python3 traces.py --ours BINARY --otel OTEL --llm-d LLM-D [--only WORD]

Each check says what it proves; the suite fails if one of them does. It takes two minutes.
"""

import traces_outage  # noqa: F401  these add their checks
import traces_sampling  # noqa: F401
import traces_spans  # noqa: F401
import traces_tree  # noqa: F401
from checks import CHECKS, Bench, arguments, bench_suite


def main():
    args = arguments(
        __doc__,
        "checks",
        ours="the glassbox binary",
        otel="the script that runs the Collector and Jaeger",
        llm_d="the script that runs llm-d's components",
    )
    bench_suite("traces", CHECKS, args, Bench(args.ours, args.otel, args.llm_d))


if __name__ == "__main__":
    main()
