"""Two Glassbox behind llm-d's real sidecars, of 2025 and 2026, and behind Envoy and the EPP.

    python3 transfer_sidecar.py --ours BINARY --otel OTEL --llm-d LLM-D [--only WORD]

Each request goes through the sidecar in two legs, and straight to a single server; both clients
must be told the same. That KV moved is counted by the server that pulls it.
"""

import http.client
import json
import re
import signal

from checks import CHECKS, check, llm_d_suite, must, none_of
from otel_stack import Stack
from server import send
from traces_tree import PD_PROXY, chain, sidecar, trace_of, tree
from transfer import MODEL, Peer, at_once, config, random_prompts, request

BLOCK = 16
LEASE_SECONDS = 10
SIDECARS = ("sidecar-2025", "sidecar")
# In the order of their keys, which is what a sidecar makes of them: prompts show schemas as sent.
TOOLS = [
    dict(
        function=dict(
            description="The weather of a city",
            name="weather",
            parameters=dict(properties=dict(city=dict(type="string")), type="object"),
        ),
        type="function",
    )
]
PARSERS = ("--enable-auto-tool-choice", "--tool-call-parser", "hermes")
PARSERS += ("--reasoning-parser", "qwen3")
WEATHER = dict(function=dict(name="weather"), type="function")
CALLS = dict(tools=TOOLS, max_tokens=64, ignore_eos=False)
USAGE = dict(include_usage=True)
SCHEMA = dict(
    type="json_schema",
    json_schema=dict(
        name="city",
        schema=dict(
            additionalProperties=False,
            properties=dict(city=dict(enum=["Rome", "Oslo"])),
            required=["city"],
            type="object",
        ),
    ),
)


def chat(text, **more):
    messages = [dict(role="system", content="You are brief."), dict(role="user", content=text)]
    body = dict(model=MODEL, messages=messages, temperature=0, max_tokens=16, logprobs=True)
    return "/v1/chat/completions", body | dict(ignore_eos=True) | more


def completion(text, **more):
    body = dict(model=MODEL, prompt=text, temperature=0, max_tokens=16, logprobs=1)
    return "/v1/completions", body | dict(ignore_eos=True) | more


# What both sidecars do in two legs: (name, path and body).
CASES = [
    ("completion", completion("The capital of France is one that every child knows, it is")),
    ("tokens", ("/v1/completions", request(random_prompts(1, 1, (200, 200))[0]))),
    ("sampled", completion("Sing of the sea and of", temperature=0.8, seed=3)),
    ("stream", completion("One, two, three, four,", stream=True)),
    ("usage at the end", completion("Five, six, seven, eight,", stream=True, stream_options=USAGE)),
    ("minimum", completion("Do not stop before you have said", min_tokens=3)),
    ("minimum of a stream", completion("Do not stop before it", min_tokens=5, stream=True)),
    ("stop", completion("Once upon a time there was a king and", stop=["e"], ignore_eos=False)),
    ("chat", chat("What is the capital of France?")),
    ("chat that streams", chat("What is the capital of Spain?", stream=True)),
    ("newer limit", chat("And that of Italy?", max_tokens=None, max_completion_tokens=9)),
    ("minimum of a chat", chat("And that of Greece?", min_tokens=4)),
    ("tools", chat("How is the weather in Rome?", tools=TOOLS)),
    ("tools that stream", chat("How is the weather in Oslo?", tools=TOOLS, stream=True)),
    ("a tool that must be called", chat("Is it warm in Bern?", tool_choice="required", **CALLS)),
    ("a named tool that streams", chat("And in Riga?", tool_choice=WEATHER, stream=True, **CALLS)),
    ("schema", chat("A city, please.", max_tokens=48, ignore_eos=False, response_format=SCHEMA)),
]
# What is refused, by either leg: the client sees an error and P keeps nothing.
REFUSED = [
    ("temperature", completion("Too hot to hold, too cold to", temperature=5)),
    ("model", completion("Whose model is that", model="another")),
    ("length", completion("As long as all the days", max_tokens=100_000)),
]


class Bench:
    """P, D and a single server, which trace to one Collector."""

    def __init__(self, ours, otel, llm_d):
        self.llm_d, self.stack, self.servers = llm_d, Stack(otel), []
        extra = dict(transport="tcp", block_checksums=True)
        extra["kv_lease_duration"] = LEASE_SECONDS
        flags = (*PARSERS, "--enable-scale-out", "--otlp-traces-endpoint", self.stack.endpoint())
        roles = dict(prefill="kv_producer", decode="kv_consumer", single=None)
        try:
            for name, role in roles.items():
                transfer = role and config(role, **extra)
                env = dict(OTEL_SERVICE_NAME=f"vllm-{name}", OTEL_BSP_SCHEDULE_DELAY="200")
                self.servers.append(Peer(name, ours, transfer, BLOCK, flags, **env))
        except BaseException:
            self.stop()
            raise
        self.prefill, self.decode, self.single = self.servers

    def stop(self):
        for server in self.servers:
            server.stop()
        self.stack.stop()

    def pulls(self):
        return self.decode.value("vllm:nixl_xfer_time_seconds_count")

    def two_legs(self):
        """The header by which a sidecar is told of the server for the first leg."""
        return {"x-prefiller-host-port": f"127.0.0.1:{self.prefill.port}"}


def told(reply):
    """What a client is told, less ids and times; a stream's text, however it is cut."""
    must(reply["status"] == 200, f"{reply['status']}: {reply['raw'][:300]}")
    if "events" not in reply:
        choices = reply["json"]["choices"]
        return steady(dict(choices=choices, usage=counted(reply["json"]["usage"])))
    must(reply["events"][-1] == "data: [DONE]", f"the stream ends with {reply['events'][-1]!r}")
    text, logprobs, ends, usage = {}, [], [], None
    for chunk in reply["events"][:-1]:
        usage = chunk.get("usage") and counted(chunk["usage"]) or usage
        for choice in chunk["choices"]:
            delta = dict(choice["delta"] if "delta" in choice else dict(text=choice["text"]))
            for call in delta.pop("tool_calls", None) or []:
                parts = [call["function"].get(key) or "" for key in ("name", "arguments")]
                delta["tool"] = delta.get("tool", "") + "".join(parts)
            for key in ("content", "reasoning", "text", "tool"):
                text[key] = text.get(key, "") + (delta.get(key) or "")
            rows = choice.get("logprobs") or {}
            logprobs += rows.get("content") or rows.get("token_logprobs") or []
            ends += [choice["finish_reason"]] if choice["finish_reason"] else []
    return steady(dict(text=text, logprobs=logprobs, ends=ends, usage=usage))


def counted(usage):
    return {k: usage[k] for k in ("prompt_tokens", "completion_tokens", "total_tokens")}


def steady(said):
    """Without the ids of tool calls, which are made up."""
    return json.loads(re.sub(r'"id": "(chatcmpl-tool|call)[^"]*"', '"id": ""', json.dumps(said)))


def differs(bench, port, case, headers):
    name, (path, body) = case
    want = told(send(bench.single.port, "POST", path, body))
    have = told(send(port, "POST", path, body, headers))
    wrong = [f"{key}: {have[key]} for {want[key]}" for key in want if have[key] != want[key]]
    return f"{name}: {wrong[0][:600]}" if wrong else None


def held_to_the_single_server(bench, port, headers=None):
    """All cases by themselves, then at once."""
    began = bench.pulls()
    none_of(filter(None, (differs(bench, port, case, headers) for case in CASES)))
    moved = bench.pulls() - began
    must(moved == len(CASES), f"{moved:g} pulls for {len(CASES)} requests")
    pairs = [(f"prompt {i}", completion(p)) for i, p in enumerate(random_prompts(32, seed=9))]
    none_of(filter(None, at_once(lambda c: differs(bench, port, c, headers), CASES + pairs)))
    for case, (path, body) in REFUSED:
        reply = send(port, "POST", path, body, headers)
        must(400 <= reply["status"] < 500, f"{case}: {reply['status']}: {reply['raw'][:200]}")
    for server in bench.servers:
        server.settled(within=5)


@check
def behind_both_sidecars(bench):
    """Completions and chats, whole and streamed, tools, schemas, a client's min_tokens beside the
    single token of the first leg; what is refused leaves nothing behind."""
    for name in SIDECARS:
        with sidecar(bench, name, bench.decode) as proxy:
            held_to_the_single_server(bench, proxy.port, bench.two_legs())


@check
def other_paths_of_the_newer_sidecar(bench):
    """Responses, messages and tokens in, tokens out: it does these in two legs too."""
    text = "Tell me about the wind, the sea and the ships that are between them."
    chat_of = dict(messages=[dict(role="user", content=text)], max_tokens=8)
    tokens = random_prompts(1, 2, (120, 120))[0]
    generate = dict(token_ids=tokens, sampling_params=dict(max_tokens=8, temperature=0))
    cases = [
        ("/v1/messages", chat_of | dict(temperature=0), "content"),
        ("/v1/responses", dict(input=text, max_output_tokens=8, temperature=0), "output"),
        ("/inference/v1/generate", generate, "choices"),
    ]
    with sidecar(bench, "sidecar", bench.decode) as proxy:
        for path, body, key in cases:
            began = bench.pulls()
            replies = [
                send(port, "POST", path, dict(body, model=MODEL), headers)
                for port, headers in ((bench.single.port, {}), (proxy.port, bench.two_legs()))
            ]
            for reply in replies:
                must(reply["status"] == 200, f"{path}: {reply['status']}: {reply['raw'][:300]}")
            want, have = (nameless(r["json"][key]) for r in replies)
            must(have == want, f"{path}: {have[:300]} for {want[:300]}")
            must(bench.pulls() == began + 1, f"{path}: {bench.pulls() - began:g} pulls")
    bench.prefill.settled(within=5)


def nameless(items):
    """As text, in the order of keys and without what is made up for each reply."""
    text = json.dumps(items, sort_keys=True)
    return re.sub(r'"(id|signature)": "[^"]*"', "", text)


@check
def sidecars_killed(bench):
    """With SIGKILL under load: every client has an answer, a single server's, or an error. D stops
    at once, P keeps nothing for longer than a lease, and a new sidecar takes over."""
    for seed, name in enumerate(SIDECARS):
        prompts = list(enumerate(random_prompts(64, seed=30 + seed, lengths=(100, 900))))
        with sidecar(bench, name, bench.decode) as proxy:

            def ask(numbered, proxy=proxy):
                number, prompt = numbered
                path, body = completion(prompt, max_tokens=64, stream=bool(number % 2))
                if number == 40:  # the others are at every stage
                    proxy.signal(signal.SIGKILL)
                try:
                    return path, body, told(send(proxy.port, "POST", path, body, bench.two_legs()))
                except (OSError, http.client.HTTPException):
                    return None

            answers = [answer for answer in at_once(ask, prompts, threads=16) if answer]
        must(16 <= len(answers) < 48, f"{name}: {len(answers)} of {len(prompts)} have an answer")
        bench.decode.settled(within=5)
        kept = bench.prefill.settled(within=LEASE_SECONDS + 4)
        print(f"     {name}: {len(answers)} answers; the last block was free after {kept:.1f} s")
        for path, body, have in answers:
            must(have == told(send(bench.single.port, "POST", path, body)), f"{name}: {body}")
        with sidecar(bench, name, bench.decode) as proxy:
            none_of(filter(None, (differs(bench, proxy.port, c, bench.two_legs()) for c in CASES)))


@check
def behind_the_gateway(bench):
    """Envoy, the EPP that picks both servers, and either sidecar: the same cases."""
    for name in SIDECARS:
        with chain(bench, bench.prefill, bench.decode, "--sidecar", name) as port:
            held_to_the_single_server(bench, port)


@check
def one_joined_trace(bench):
    """Gateway, sidecar, P, D, and the pull between them: one tree, and a link from the pull to the
    request that computed what it pulled."""
    with chain(bench, bench.prefill, bench.decode, "--sidecar", "sidecar") as port:
        for prompt in random_prompts(2, seed=21, lengths=(300, 300)):
            path, body = completion(prompt)
            reply = send(port, "POST", path, body)
            must(reply["status"] == 200, f"{reply['status']}: {reply['raw'][:300]}")
        trace = trace_of(bench, "vllm-decode", reply["json"]["id"])
        wanted = [("llm_request", "vllm-prefill"), ("llm_request", "vllm-decode")]
        wanted += [("kv_transfer", "vllm-decode"), (PD_PROXY, None), ("gateway.request", None)]
        found = tree(bench, trace, dict.fromkeys(wanted, 1))
    must(found.root() == "gateway.request", f"the root is {found.root()}")
    (computed,) = found.named("llm_request", "vllm-prefill")
    (continued,) = found.named("llm_request", "vllm-decode")
    for leg in (computed, continued):
        must(PD_PROXY in found.way_up(leg), f"the way up is {found.way_up(leg)}")
    (pull,) = bench.stack.wait(1, service="vllm-decode", name="kv_transfer", trace=trace)
    must(pull.parent == continued["spanID"], "the pull belongs to the request that waited for it")
    links = [(link["traceId"], link["spanId"]) for link in pull.links]
    must(links == [(trace, computed["spanID"])], f"the links of the pull: {links}")
    blocks = pull.attributes["glassbox.kv_transfer.blocks"]
    must(blocks == -(-300 // BLOCK), f"{blocks} blocks of 300 tokens")
    must(pull.attributes["glassbox.kv_transfer.bytes"] > 0, f"{pull.attributes}")
    waited = pull.attributes["glassbox.kv_transfer.handshake"]
    must(waited == 0, f"{waited} ns for a peer that the first request had met")


if __name__ == "__main__":
    own = [c for c in CHECKS if c.__module__ == __name__]
    llm_d_suite("P/D behind llm-d", own, __doc__, Bench)
