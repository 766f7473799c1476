"""Read a /metrics page from stdin with the real prometheus_client; print it as JSON.

    python exposition.py text|openmetrics < page         exit 1 and a line on stderr: not valid

A list of families in the page's order: `name`, `type`, `help`, and `samples`, each
[name, labels, value, labels of its exemplar or null].
"""

import json
import sys

from prometheus_client import parser
from prometheus_client.openmetrics import parser as openmetrics


def main():
    parse = {"text": parser, "openmetrics": openmetrics}[sys.argv[1]]
    try:
        families = list(parse.text_string_to_metric_families(sys.stdin.read()))
    except ValueError as e:
        sys.exit(f"not a valid page: {e}")
    json.dump(
        [
            dict(
                name=f.name,
                type=f.type,
                help=f.documentation,
                samples=[
                    [s.name, s.labels, s.value, s.exemplar.labels if s.exemplar else None]
                    for s in f.samples
                ],
            )
            for f in families
        ],
        sys.stdout,
    )


if __name__ == "__main__":
    main()
