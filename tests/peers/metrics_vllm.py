"""Compare the /metrics pages of Glassbox and of the real vLLM, taken at the same points.

Proven, with prometheus_client as the reader of every page:
  - every vllm:* and http_* family of vLLM is there: type, order of families, names, labels, bucket
    bounds and order of its series (llm-d's endpoint picker reads only the first)
  - the values that the requests alone decide are equal, before, during and after them
  - what ours has more is glassbox_* (or process_*), and has HELP
  - as OpenMetrics, ours has the same series with the same values, and exemplars with trace ids
What may differ is named in the tables below, each with its reason.
"""

import json
import re
import subprocess

OPENMETRICS = "application/openmetrics-text; version=1.0.0"
ACCEPTS = {  # what a scraper may accept, and whether it then gets OpenMetrics from us
    "": False,
    "*/*": False,
    "text/plain;version=0.0.4": False,
    OPENMETRICS: True,
    "application/openmetrics-text;version=1.0.0;escaping=allow-utf-8;q=0.6,"  # Prometheus 3
    "application/openmetrics-text;version=0.0.1;q=0.5,text/plain;version=1.0.0;"
    "escaping=allow-utf-8;q=0.4,text/plain;version=0.0.4;q=0.3,*/*;q=0.2": True,
    "text/plain;version=0.0.4,application/openmetrics-text;version=1.0.0;q=0.5": False,
}
NOT_OURS = {
    "python_": "there is no Python in Glassbox",
    "process_": "facts of the process; vLLM's are those of its API server alone",
}
OURS_ALONE = ("glassbox_", "process_")
CONFIG_VALUES = {  # labels of vllm:cache_config_info whose values are the server's own
    "gpu_memory_utilization": "the share of memory is each one's default",
    "kv_cache_max_concurrency": "follows from the size of the cache",
    "kv_cache_memory_bytes": "the size of the cache is each one's default",
    "kv_cache_size_tokens": "follows from the size of the cache",
    "num_gpu_blocks": "follows from the size of the cache",
    "prefix_caching_hash_algo": "vLLM's sha256 hashes Python pickles; ours says what it hashes",
}
VALUES = {  # samples whose values may differ, by pattern
    r".*_created": "the time at which the series began",
    r"vllm:.*_seconds_(bucket|sum)": "time measured",
    r"http_request_duration.*_(bucket|sum)": "time measured",
    r"http_response_size_bytes_sum": "sampled text is as long as it is",
    r"vllm:iteration_tokens_total_(bucket|count)": "which tokens share a step is the scheduler's",
    r"vllm:iteration_tokens_total_sum": "see compare_iterations",
    r"vllm:cache_config_info": "1 in both; its labels are compared",
}
AFTER_FAILURES = {  # more that may differ once clients hung up: how far their requests came
    r"vllm:generation_tokens_total": "tokens made before the client was missed",
    r"vllm:inter_token_latency_seconds_count": "tokens made before the client was missed",
}
DURING = {  # while a stream runs, only its gauges are compared
    "vllm:num_requests_running": lambda v: v == 2,
    "vllm:num_requests_waiting": lambda v: v == 0,
    "vllm:kv_cache_usage_perc": lambda v: 0 < v < 1,
}
EXEMPLARS = (
    "vllm:time_to_first_token_seconds_bucket",
    "vllm:inter_token_latency_seconds_bucket",
    "vllm:e2e_request_latency_seconds_bucket",
)


def parsed(python, page, form="text"):
    """The families of a page; `python` is one that has prometheus_client."""
    script = __file__.replace("metrics_vllm.py", "exposition.py")
    done = subprocess.run(
        [python, script, form], input=page, capture_output=True, text=True, check=False
    )
    if done.returncode:
        raise AssertionError(f"prometheus_client refuses the page ({form}): {done.stderr.strip()}")
    return json.loads(done.stdout)


def shared(families):
    return [f for f in families if not f["name"].startswith((*NOT_OURS, *OURS_ALONE))]


def shape(family):
    """Its series in order: names, labels in order with their values, bucket bounds among them."""
    out = []
    for name, labels, _, _ in family["samples"]:
        kept = {k: "*" if k in CONFIG_VALUES else v for k, v in labels.items()}
        out.append((name, tuple(kept.items())))
    return out


def difference(lacks, more):
    """In words: what labels differ between the first of each, if these are of one name."""
    if not lacks and not more:
        return "in another order"
    if lacks and more and lacks[0][0] == more[0][0]:
        only = [
            sorted(set(x) - set(y))
            for x, y in ((lacks[0][1], more[0][1]), (more[0][1], lacks[0][1]))
        ]
        return f"{more[0][0]} has {only[1]}, vLLM {only[0]}" if any(only) else "order of labels"
    return f"lacks {lacks[:3]}, has besides {more[:3]}"


def compare_shape(theirs, ours):
    """Presence, order, types, labels and bounds of one pair of pages."""
    out = []
    want, have = shared(theirs), {f["name"]: f for f in ours}
    for family in want:
        mine = have.get(family["name"])
        if mine is None:
            out.append(f"{family['name']}: missing")
            continue
        if mine["type"] != family["type"]:
            out.append(f"{family['name']}: a {mine['type']}, not a {family['type']}")
        if not mine["help"]:
            out.append(f"{family['name']}: no HELP")
        a, b = shape(family), shape(mine)
        if a != b:
            lacks, more = [x for x in a if x not in b], [x for x in b if x not in a]
            out.append(f"{family['name']}: {difference(lacks, more)}")
    names = [f["name"] for f in want]
    for name in (f["name"] for f in ours if f["name"] not in names):
        if not name.startswith(OURS_ALONE):
            out.append(f"{name}: vLLM has no such family")
    order = [f["name"] for f in ours if f["name"] in names]
    if order != [n for n in names if n in have]:
        at = next(
            i for i, (a, b) in enumerate(zip(order, [n for n in names if n in have])) if a != b
        )
        out.append(f"families in another order from {order[at]} on")
    return out


def values(families):
    """{(sample, labels): value}; of the configuration only the labels count."""
    return {
        (name, tuple(sorted(labels.items()))): value
        for f in shared(families)
        for name, labels, value, _ in f["samples"]
    }


def compare_values(theirs, ours, allowed):
    """Samples of vLLM whose value ours does not share; those with other labels are shape's."""
    a, b = values(theirs), values(ours)
    patterns = [re.compile(p) for p in allowed]
    return [
        f"{name}{dict(labels)}: {b[name, labels]:g}, vLLM {value:g}"
        for (name, labels), value in a.items()
        if (name, labels) in b
        and value != b[name, labels]
        and not any(p.fullmatch(name) for p in patterns)
    ]


def compare_iterations(page):
    """Steps made what was counted, and a few tokens while stop strings were being found."""
    found = {s[0]: s[2] for f in page for s in f["samples"]}
    counted = (
        found["vllm:prompt_tokens_total"]
        - found["vllm:prompt_tokens_cached_total"]
        + found["vllm:generation_tokens_total"]
    )
    extra = found["vllm:iteration_tokens_total_sum"] - counted
    return [] if 0 <= extra <= 100 else [f"steps made {extra:g} tokens that are not counted"]


def compare_during(page):
    found = {s[0]: s[2] for f in page for s in f["samples"] if s[0] in DURING}
    return [
        f"{name}: {found.get(name)} while a stream with n=2 runs"
        for name, ok in DURING.items()
        if not ok(found.get(name, -1))
    ]


def compare_formats(text, openmetrics):
    """Ours as text and as OpenMetrics, one scrape after the other while nothing happens."""
    scrapes = re.compile(r"process_.*|glassbox_.*")  # these change by themselves
    flat = [
        {(s[0], tuple(sorted(s[1].items()))): s[2] for f in page for s in f["samples"]}
        for page in (text, openmetrics)
    ]
    out = [f"{k}: only as text" for k in flat[0] if k not in flat[1]]
    out += [f"{k}: only as OpenMetrics" for k in flat[1] if k not in flat[0]]
    out += [
        f"{k}: {v} as text, {flat[1][k]} as OpenMetrics"
        for k, v in flat[0].items()
        if k in flat[1] and flat[1][k] != v and not scrapes.match(k[0])
    ]
    return out


def compare_exemplars(openmetrics, traces):
    """Each latency histogram links to a trace that reached the Collector."""
    out = []
    for wanted in EXEMPLARS:
        ids = {
            s[3].get("trace_id")
            for f in openmetrics
            for s in f["samples"]
            if s[0] == wanted and s[3]
        }
        if not ids:
            out.append(f"{wanted}: no exemplar")
        elif lost := ids - traces:
            out.append(f"{wanted}: exemplars of traces that nobody exported: {sorted(lost)}")
    return out


def compare_kinds(theirs, ours):
    """The content types by what was accepted: vLLM's but where ours is OpenMetrics."""
    wanted = "application/openmetrics-text; version=1.0.0; charset=utf-8"
    return [
        f"Accept: {accept}: {ours[accept]!r}, wanted {want!r}"
        for accept, want in ((a, wanted if om else theirs[a]) for a, om in ACCEPTS.items())
        if ours[accept] != want
    ]


def compare(python, theirs, ours, traces):
    """All differences between two recordings' pages; `traces`: the ids that ours exported."""
    out = compare_kinds(theirs["kinds"], ours["kinds"])

    def pair(name, allowed):
        a, b = (parsed(python, r["pages"][name]) for r in (theirs, ours))
        found = compare_shape(a, b) + (compare_values(a, b, allowed) if allowed else [])
        out.extend(f"{name}: {x}" for x in found)

    pair("start", VALUES)
    pair("finished", VALUES)
    finished = compare_iterations(parsed(python, ours["pages"]["finished"]))
    out += [f"finished: {x}" for x in finished]
    pair("after", VALUES | AFTER_FAILURES)
    for recording in (theirs, ours):
        during = compare_during(parsed(python, recording["pages"]["during"]))
        out += [f"during, {recording['service']}: {x}" for x in during]
    for name in ("start", "after"):
        page = ours["pages"][f"{name} openmetrics"]
        if not page.endswith("# EOF\n"):
            out.append(f"{name}: no OpenMetrics where Accept asks for it")
            continue
        both = parsed(python, ours["pages"][name]), parsed(python, page, "openmetrics")
        out += [f"{name}: {x}" for x in compare_formats(*both)]
        if name == "after":
            out += compare_exemplars(both[1], traces)
    return out
