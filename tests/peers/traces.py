"""Our traces before the real OpenTelemetry Collector, Jaeger and llm-d.

    python3 traces.py --ours BINARY --otel OTEL --llm-d LLM-D [--only WORD]

Each check says what it proves; the suite fails if one of them does. It takes two minutes.
"""

import traces_outage  # noqa: F401  these add their checks
import traces_sampling  # noqa: F401
import traces_spans  # noqa: F401
import traces_tree  # noqa: F401
from checks import CHECKS, Bench, llm_d_suite

if __name__ == "__main__":
    llm_d_suite("traces", CHECKS, __doc__, Bench)
