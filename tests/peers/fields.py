"""The requests of tests/data/http, which the plain tests compare by form, beside vLLM itself."""

import json
import os
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "../data/http"))

import requests_batches  # noqa: E402,F401
import requests_fields  # noqa: E402,F401  each adds its requests
import requests_scale_out  # noqa: E402,F401
from cases import CASES, case  # noqa: E402
from requests_base import cases as REQUESTS  # noqa: E402

APART = {
    "chat prompt_logprobs 20": "ranks that lie within the noise of bf16",
    "priority header 99999999999999999999": "vLLM crashes",
    "/inference/v1/generate trace_decode_token_ids=1": "vLLM crashes",
    "/v1/chat/completions/batch stream": "vLLM drops all text but the last piece",
    "/v1/chat/completions/batch response format bad": "another form of a schema's error",
    "/v1/chat/completions/batch response format list": "another form of a schema's error",
}
# Candidates of a beam, or ranks, that lie within the noise of bf16.
NEAR = {"completions beam 4", "completions beam ends", "completions beam end shown"}


def is_greedy(request):
    """Whether the reply to a request says the same every time."""
    try:
        body = json.loads(request["body"] or "null")
    except ValueError:
        return True
    if not isinstance(body, dict):
        return True
    given = body.get("sampling_params", body)
    is_generated = request["path"].endswith(("completions", "generate", "batch"))
    # A beam's candidates hold the sampled token, so only cold beams are the same every time.
    return not is_generated or isinstance(given, dict) and given.get("temperature") in (0, 1e-9)


# What follows "hi" is a tie for this model: two tokens within the noise of bf16.
PLAIN, FIRM = '"prompt": "hi"', '"prompt": "The capital of Japan is"'

for request in REQUESTS:
    body = request["body"]
    case(
        "fields: " + request["name"],
        request["method"],
        request["path"],
        None if body is None else body.replace(PLAIN, FIRM).encode(),
        request["headers"],
        "greedy" if is_greedy(request) and request["name"] not in NEAR else "free",
        APART.get(request["name"]),
    )
assert len(CASES) > 700
