"""What an `llm_request` span carries: names, types, and values that can be true."""

from telemetry_cases import parent_id, request_id, trace_id

OK, ERROR = 0, 2  # a success leaves the status unset, as vLLM does
SERVER, INTERNAL, CLIENT = 2, 1, 3
SLACK = 100_000_000  # the server may note the end of a reply after the client has read it

LATENCIES = {
    f"gen_ai.latency.{name}": float
    for name in (
        "time_to_first_token",
        "e2e",
        "time_in_queue",
        "time_in_model_prefill",
        "time_in_model_decode",
        "time_in_model_inference",
    )
}
GUIDE = {  # the table of llm-d's guide
    **LATENCIES,
    "gen_ai.request.id": str,
    "gen_ai.request.model": str,
    "gen_ai.request.temperature": float,
    "gen_ai.request.top_p": float,
    "gen_ai.request.max_tokens": int,
    "gen_ai.usage.prompt_tokens": int,
    "gen_ai.usage.completion_tokens": int,
}
VLLM = {"gen_ai.request.n": int}  # that vLLM sets besides
CONVENTIONS = {  # OpenTelemetry's semantic conventions, on every finished request
    "gen_ai.operation.name": str,
    "gen_ai.provider.name": str,
    "gen_ai.response.id": str,
    "gen_ai.response.model": str,
    "gen_ai.response.finish_reasons": list,
    "gen_ai.usage.input_tokens": int,
    "gen_ai.usage.output_tokens": int,
    "gen_ai.usage.cache_read.input_tokens": int,
}
SOMETIMES = {  # those that a request may have
    "error.type": str,
    "gen_ai.conversation.id": str,
    "gen_ai.output.type": str,
    "gen_ai.request.choice.count": int,
    "gen_ai.request.frequency_penalty": float,
    "gen_ai.request.presence_penalty": float,
    "gen_ai.request.seed": int,
    "gen_ai.request.stop_sequences": list,
    "gen_ai.request.stream": bool,
    "gen_ai.request.top_k": float,
    "gen_ai.response.time_to_first_chunk": float,
    "gen_ai.usage.reasoning.output_tokens": int,
    "http.request.method": str,
    "http.response.status_code": int,
    "http.route": str,
    "server.address": str,
    "server.port": int,
    "url.path": str,
}
PARTS = ("ingress", "queue", "transfer", "prefill", "preempted", "decode", "egress")
ACCOUNT = {f"glassbox.latency.{part}": int for part in (*PARTS, "e2e")}
FINISHED = GUIDE | VLLM | CONVENTIONS | ACCOUNT
KNOWN = FINISHED | SOMETIMES


def check(span, finished=True, wall=None):
    """What is wrong with the span: a list of sentences.

    `finished`: it must have all that a finished request has. `wall`: the (start, end) in between
    which the client saw the request, nanoseconds.
    """
    out = []
    if (span.name, span.kind) != ("llm_request", SERVER):
        out.append(f"{span.name} of kind {span.kind}")
    for name in FINISHED if finished else ():
        if name not in span.attributes:
            out.append(f"{name} is missing")
    for name, value in span.attributes.items():
        wanted = KNOWN.get(name)
        if wanted is None and not name.startswith("glassbox."):
            out.append(f"{name} is in no table")
        elif wanted and type(value) is not wanted:
            out.append(f"{name} is {value!r}, not of type {wanted.__name__}")
    if wall and not wall[0] <= span.start <= span.end <= wall[1] + SLACK:
        out.append(f"{span.start}..{span.end} is not within the client's {wall[0]}..{wall[1]}")
    if not out:
        out += check_account(span)
    if not out and finished:
        out += check_values(span) + check_latencies(span)
    if (span.status == ERROR) != ("error.type" in span.attributes):
        out.append(f"status {span.status}, error.type {span.attributes.get('error.type')}")
    return [f"{span}: {x}" for x in out]


def check_account(span):
    """The nanoseconds add up, exactly: wherever one part is given, all are."""
    found = {k: v for k, v in span.attributes.items() if k in ACCOUNT}
    out = [f"{k} is {v}" for k, v in found.items() if v < 0]
    if missing := [k for k in ACCOUNT if k not in found]:
        return out + [f"no account: {missing} are missing"]
    e2e = found["glassbox.latency.e2e"]
    parts = sum(v for k, v in found.items()) - e2e
    if parts != e2e:
        out.append(f"the parts are {parts} ns, e2e {e2e} ns")
    if span.end - span.start != e2e:
        out.append(f"the span is {span.end - span.start} ns, e2e {e2e} ns")
    return out


def check_values(span):
    a = {k.removeprefix("gen_ai."): v for k, v in span.attributes.items()}
    rules = {
        "one operation": a["operation.name"] in ("chat", "text_completion"),
        "a provider": bool(a["provider.name"]),
        "a request id": a["request.id"].startswith(("chatcmpl-", "cmpl-")),
        "the response's id": a["response.id"] == a["request.id"]
        or a["request.id"].startswith(a["response.id"] + "-"),
        "a model": bool(a["request.model"]) and bool(a["response.model"]),
        "0 <= temperature <= 2": 0 <= a["request.temperature"] <= 2,
        "0 < top_p <= 1": 0 < a["request.top_p"] <= 1,
        "max_tokens > 0": a["request.max_tokens"] > 0,
        "n > 0": a["request.n"] > 0,
        "prompt tokens": a["usage.prompt_tokens"] > 0,
        "no more tokens than asked for": 0
        <= a["usage.completion_tokens"]
        <= a["request.max_tokens"],
        "both names of the input": a["usage.input_tokens"] == a["usage.prompt_tokens"],
        "both names of the output": a["usage.output_tokens"] == a["usage.completion_tokens"],
        "cached below all": 0 <= a["usage.cache_read.input_tokens"] < a["usage.prompt_tokens"],
        "a finish reason": len(a["response.finish_reasons"]) == 1
        and a["response.finish_reasons"][0] in ("stop", "length", "abort", "error", "repetition"),
    }
    return [f"not {rule}: {a}" for rule, holds in rules.items() if not holds]


def check_latencies(span):
    """vLLM's definitions, in seconds, against each other and against the exact account."""
    a = {k.removeprefix("gen_ai.latency."): span.attributes[k] for k in LATENCIES}
    ns = {k: span.attributes[f"glassbox.latency.{k}"] / 1e9 for k in (*PARTS, "e2e")}
    queue, prefill = a["time_in_queue"], a["time_in_model_prefill"]
    decode, inference = a["time_in_model_decode"], a["time_in_model_inference"]
    waits = ns["preempted"]  # vLLM counts it as the phase in which it happened
    rules = {
        "none is negative": min(a.values()) >= 0,
        "inference = prefill + decode": near(inference, prefill + decode),
        "queue + inference <= e2e": queue + inference <= a["e2e"] + 1e-6,
        "queue + prefill <= first token": queue + prefill <= a["time_to_first_token"] + 1e-6,
        "first token <= e2e": a["time_to_first_token"] <= a["e2e"] + 1e-6,
        "e2e within the span": a["e2e"] <= ns["e2e"] + 1e-6,
        "queue within its parts": queue <= ns["queue"] + ns["transfer"] + 1e-6,
        "inference = prefill + preempted + decode of the account": near(
            inference, ns["prefill"] + waits + ns["decode"]
        ),
    }
    return [f"not {rule}: {a}, account {ns}" for rule, holds in rules.items() if not holds]


def near(a, b):
    return abs(a - b) <= 1e-6


def check_case(case, spans, reply):
    """What is wrong with the spans that a case of telemetry_cases.py left behind.

    `reply`: what the client saw, with its `status` (None: it hung up), `began` and `ended`.
    """
    out = []
    if case["spans"] is not None and len(spans) != case["spans"]:
        out.append(f"{len(spans)} spans, expected {case['spans']}")
    finished = reply["status"] == 200
    wall = (reply["began"], reply["ended"]) if reply["status"] else None
    for span in spans:
        out += check(span, finished, wall)
        if (span.status == ERROR) == finished:
            out.append(f"{span}: status {span.status}, the reply's {reply['status']}")
        if span.trace == trace_id(case["number"]) and span.parent != parent_id(case["number"]):
            out.append(f"{span}: parent {span.parent}")
    return out


def of_case(spans, case):
    """The requests' spans of a case, by request id and then by start."""
    number = case["number"]
    return sorted(
        (
            s
            for s in spans
            if s.name == "llm_request"
            and (s.trace == trace_id(number) or request_id(number) in id_of(s))
        ),
        key=lambda s: (id_of(s), s.start),
    )


def id_of(span):
    return str(span.attributes.get("gen_ai.request.id", ""))
