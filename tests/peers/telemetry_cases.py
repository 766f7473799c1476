"""The requests by which traces and metrics are compared; one list for Glassbox and for vLLM.

All generate as many tokens as they ask for, so that counts can be equal where the text is not; one
meets its stop string. A case is a dict: `name`, `method`, `path`, `headers` (pairs, so that one may
come twice), `body` (bytes as they are, None for none), `abort` (hang up: "mid-stream" after the
first event, "waiting" before any answer) and `spans`, the number of `llm_request`s that a server
makes of it if it traces every request; None where there may be none. The number of a case is
written into its trace id, its parent span id and its request id.
"""

import http.client
import json
import socket

MODEL = "qwen3-tiny"
LONG = "Once upon a time there was a small red fox who lived in a wide green wood. " * 12
CASES = []


def trace_id(number):
    return f"91a55b0c{number:024x}"


def parent_id(number):
    return f"fa7e{number:012x}"


def request_id(number):
    return f"case-{number:02d}"


def traceparent(number, flags="01", version="00"):
    return f"{version}-{trace_id(number)}-{parent_id(number)}-{flags}"


def case(name, path, body, method="POST", trace="sampled", headers=(), abort=None, spans=1):
    """`trace`: "sampled", or what is sent in place of a sampled parent: a list of pairs."""
    number = len(CASES) + 1
    pairs = [("X-Request-Id", request_id(number))]
    pairs += [("traceparent", traceparent(number))] if trace == "sampled" else list(trace)
    CASES.append(
        dict(
            number=number,
            name=name,
            method=method,
            path=path,
            headers=[*pairs, *headers],
            body=body,
            abort=abort,
            spans=spans,
        )
    )


def chat(name, ask="Who are you?", how=None, **fields):
    body = dict(model=MODEL, messages=[dict(role="user", content=ask)], temperature=0)
    body |= dict(max_tokens=12, ignore_eos=True)
    case(name, "/v1/chat/completions", body | fields, **(how or {}))


def completion(name, prompt="The capital of France is", how=None, **fields):
    body = dict(model=MODEL, prompt=prompt, temperature=0, max_tokens=12, ignore_eos=True)
    case(name, "/v1/completions", body | fields, **(how or {}))


def with_next(*headers, spans=1):
    """How to send what follows with these headers in place of a sampled parent."""
    return dict(
        trace=[(n, v.format(parent=traceparent(len(CASES) + 1))) for n, v in headers], spans=spans
    )


def generation():
    usage = dict(stream=True, stream_options=dict(include_usage=True))
    chat("chat, greedy")
    chat("chat, sampled, streamed", temperature=0.7, top_p=0.9, seed=7, **usage)
    completion("completion, greedy")
    completion("completion, sampled, streamed", temperature=0.7, top_p=0.8, seed=7, **usage)
    completion(
        "completion, every parameter",
        temperature=0.7,
        top_p=1.0,
        top_k=20,
        min_p=0.1,
        seed=7,
        presence_penalty=0.5,
        frequency_penalty=0.25,
        repetition_penalty=1.1,
        stop=["\n\n\n\n", "zebra"],
        min_tokens=2,
        logprobs=2,
        user="somebody",
    )
    chat("chat, defaults of the server", temperature=None, max_tokens=None, max_completion_tokens=8)
    completion("completion, no max_tokens given", max_tokens=None, seed=7, temperature=0.7)
    completion("completion, one token", max_tokens=1)
    completion("completion, n=2", n=2, temperature=0.7, seed=7, how=dict(spans=2))
    chat("chat, n=2, streamed", n=2, temperature=0.7, seed=7, stream=True, how=dict(spans=2))
    completion("completion, two prompts", prompt=["One two three", "Red green"], how=dict(spans=2))
    completion(
        "completion, two prompts, n=2, streamed",
        prompt=["One two", "Red green blue"],
        n=2,
        temperature=0.7,
        seed=7,
        stream=True,
        how=dict(spans=4),
    )
    completion("completion, stop string", stop=[" "], max_tokens=40)
    completion("completion, ids", prompt=list(range(100, 170)))
    completion("completion, long prompt", prompt=LONG)
    completion("completion, the same prompt again", prompt=LONG)
    completion("completion, echo", echo=True, logprobs=1)


def contexts():
    chat("unsampled parent", how=with_next(("traceparent", "{parent}"), spans=0))
    CASES[-1]["headers"][-1] = ("traceparent", traceparent(len(CASES), flags="00"))
    completion("no trace header", how=with_next())
    completion("malformed parent", how=with_next(("traceparent", "00-hello-world-01")))
    completion("parent of zeros", how=with_next(("traceparent", f"00-{'0' * 32}-{'0' * 16}-01")))
    completion("parent in capitals", how=with_next(("traceparent", traceparent(171).upper())))
    completion(
        "parent of a later version",
        how=with_next(
            ("traceparent", traceparent(len(CASES) + 1, version="cc") + "-what-the-future-brings")
        ),
    )
    completion(
        "parent of version ff",
        how=with_next(("traceparent", traceparent(len(CASES) + 1, version="ff"))),
    )
    completion("parent with a tail", how=with_next(("traceparent", "{parent}-tail")))
    completion("parent between spaces", how=with_next(("traceparent", "  {parent}  ")))
    completion(
        "all flags set", how=with_next(("traceparent", traceparent(len(CASES) + 1, flags="ff")))
    )
    completion(
        "two parents", how=with_next(("traceparent", "{parent}"), ("traceparent", traceparent(500)))
    )
    completion(
        "tracestate",
        how=with_next(
            ("traceparent", "{parent}"), ("tracestate", "rojo=00f067aa0ba902b7,congo=t61rcWkgMzE")
        ),
    )
    completion(
        "two tracestates",
        how=with_next(
            ("traceparent", "{parent}"), ("tracestate", "rojo=1"), ("tracestate", "congo=2")
        ),
    )
    completion(
        "malformed tracestate",
        how=with_next(("traceparent", "{parent}"), ("tracestate", "=,no such thing")),
    )
    completion("tracestate alone", how=with_next(("tracestate", "rojo=1")))
    completion("no request id")
    CASES[-1]["headers"] = CASES[-1]["headers"][1:]


def failures():
    chat(
        "client hangs up mid-stream",
        ask="Tell me everything.",
        stream=True,
        max_tokens=3000,
        how=dict(abort="mid-stream"),
    )
    completion(
        "client hangs up waiting", prompt="Count", max_tokens=3900, how=dict(abort="waiting")
    )
    chat("400: a bad value", temperature=5)
    completion("400: a prompt too long", prompt=LONG * 40)
    case("400: not JSON", "/v1/completions", b"{not json")
    chat("404: unknown model", model="gpt-17")
    completion("404: unknown model", model="gpt-17")
    case("404: unknown path", "/v1/nothing", dict(model=MODEL), spans=None)
    case("405: method", "/v1/chat/completions", None, method="GET", spans=None)


def without_spans():
    for path in ("/health", "/v1/models", "/version", "/metrics", "/ping", "/load"):
        case(f"GET {path}", path, None, method="GET", spans=0)
    case("tokenize", "/tokenize", dict(model=MODEL, prompt="Hello"), spans=None)
    case("detokenize", "/detokenize", dict(model=MODEL, tokens=[100, 101]), spans=None)


generation()
contexts()
failures()
without_spans()


def payload(body):
    if body is None or isinstance(body, bytes):
        return body
    return json.dumps({k: v for k, v in body.items() if v is not None}).encode()


def ask(port, case, timeout=120):
    """One case on a connection of its own: the status and the body, or None where we hang up."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=timeout)
    body = payload(case["body"])
    while case["abort"] and running(metrics(port)):
        pass  # what the case before left behind
    try:
        connection.putrequest(case["method"], case["path"])
        for name, value in case["headers"]:
            connection.putheader(name, value)
        if body is not None:
            connection.putheader("Content-Type", "application/json")
            connection.putheader("Content-Length", str(len(body)))
        connection.endheaders(body)
        if case["abort"] == "waiting":
            hang_up_soon(port, connection)
            return None
        answer = connection.getresponse()
        if case["abort"] == "mid-stream":
            answer.readline()
            return None
        return answer.status, answer.read().decode()
    finally:
        connection.close()


def hang_up_soon(port, connection):
    """Wait until the server works on the request, as its metrics say, then close for good."""
    while not running(metrics(port)):
        pass
    connection.sock.shutdown(socket.SHUT_RDWR)


def running(page):
    lines = [x for x in page.splitlines() if x.startswith("vllm:num_requests_running{")]
    return float(lines[0].rsplit(" ", 1)[1])


def scrape(port, accept=None):
    """A page of /metrics and its content type."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
    try:
        connection.request("GET", "/metrics", headers={"Accept": accept} if accept else {})
        answer = connection.getresponse()
        return answer.read().decode(), answer.getheader("content-type")
    finally:
        connection.close()


def metrics(port, accept=None):
    return scrape(port, accept)[0]
