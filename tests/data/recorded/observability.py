"""Records what vLLM 0.32 measures of a fixed list of requests, one after another:

    vllm serve models/qwen3-tiny --served-model-name tiny --max-model-len 512 --block-size 32 \
        --num-gpu-blocks-override 24 --enable-mfu-metrics --kv-cache-metrics \
        --kv-cache-metrics-sample 1.0 --enable-logging-iteration-details > server.log
    python3 observability.py http://127.0.0.1:8000 server.log > observability-0.32.json

vLLM keeps one block of the 24 for itself. `tests/serve/observability.rs` compares.
"""

import json
import re
import sys
import time
import urllib.request

FAMILIES = ("vllm:estimated_", "vllm:kv_block_")


def tokens(start, count):
    return [300 + (start * 37 + i * 11) % 700 for i in range(count)]


def body(prompt, max_tokens):
    return {"model": "tiny", "prompt": prompt, "max_tokens": max_tokens, "min_tokens": max_tokens,
            "temperature": 0, "ignore_eos": True}


# Prompts that share prefixes, fill the cache several times over, and come back after that.
SHARED = tokens(1, 200)
REQUESTS = [body(SHARED, 5), body(SHARED[:128] + tokens(2, 40), 3), body(SHARED, 2)]
REQUESTS += [body(tokens(n, 300), 1 + n % 4) for n in range(3, 9)]
REQUESTS += [body(SHARED, 3), body([400], 1), body(tokens(9, 33), 40)]


def get(url, data=None):
    head = {"content-type": "application/json"}
    with urllib.request.urlopen(urllib.request.Request(url, data, head)) as reply:
        return reply.read().decode()


def measured(page):
    """Counters, and of histograms the counts: times differ from run to run."""
    found = {}
    for line in page.splitlines():
        name, _, value = line.rpartition(" ")
        if name.startswith(FAMILIES) and re.search(r"_(total|count)\{", name):
            found[name.split("{")[0]] = float(value)
    return found


def main():
    url, log = sys.argv[1:]
    steps = []
    for request in REQUESTS:
        get(url + "/v1/completions", json.dumps(request).encode())
        # The last step is counted after the reply.
        time.sleep(0.5)
        steps.append({"request": request, "measured": measured(get(url + "/metrics"))})
    lines = []
    with open(log, encoding="utf-8") as file:
        for line in file:
            if "Iteration(" in line:
                text = line[line.index("Engine 000"):].strip()
                lines.append(re.sub(r"time: [\d.]+ ms", "time: <time> ms", text))
    families, metrics = [], get(url + "/metrics")
    for line in metrics.splitlines():
        if "kv_block_" in line and not line.startswith("# HELP"):
            families.append(line if line.startswith("#") else line.rpartition(" ")[0])
    parts = ['"requests": [\n' + ",\n".join(map(json.dumps, steps)) + "\n]",
             '"iterations": [\n' + ",\n".join(map(json.dumps, lines)) + "\n]",
             '"kv_block_families": [\n' + ",\n".join(map(json.dumps, families)) + "\n]"]
    print("{\n" + ",\n".join(parts) + "\n}")


main()
