"""Compare the `llm_request` spans of Glassbox and of the real vLLM for the same requests.

For each case of telemetry_cases.py: name, kind, trace, parent, tracestate; every attribute of
vLLM's span by name, type and, where the requests alone decide it, value; what ours has more must
be in span_table.py. What may differ is named in ALLOWED, each with its reason; that each of them
was met shows that the list is no longer than it must be.
"""

import span_table
from span_table import of_case
from telemetry_cases import CASES

ALLOWED = {
    "spans where vLLM has none": "aborted and refused requests have a span too",
    "error status": "those say that they failed, and why",
    "temperature 0": "vLLM leaves it out",
    "gen_ai.request.model": "vLLM never sets it; the guide lists it",
    "semantic conventions": "OpenTelemetry's names beside vLLM's",
    "glassbox.*": "the exact account",
    "children": "the phases of a request are spans below it",
    "sampled flag": "W3C's sampled bit is set; Python's exporter leaves it out",
    "trace of parentless choices": "the choices of one request share a trace",
    "request id without a header": "random in both",
}
MEASURED = tuple(span_table.LATENCIES)
FLAG_SAMPLED = 1


class Comparison:
    def __init__(self, theirs, ours):
        self.theirs, self.ours = theirs, ours
        self.failed, self.met = [], set()

    def fail(self, case, what):
        self.failed.append(f"{case['number']} {case['name']}: {what}")

    def may(self, name):
        assert name in ALLOWED, name
        self.met.add(name)
        return True

    def run(self):
        for case in CASES:
            vllm, mine = (of_case(r["spans"], case) for r in (self.theirs, self.ours))
            self.counts(case, vllm, mine)
            for a, b in zip(vllm, mine):
                self.context(case, a, b)
                self.attributes(case, a, b)
            self.ends(case, mine)
        self.children()
        if unmet := set(ALLOWED) - self.met:
            self.failed.append(f"allowed but not met, take it off the list: {sorted(unmet)}")
        return self.failed

    def counts(self, case, vllm, mine):
        """As many spans as vLLM, or more where it has none."""
        if len(mine) != len(vllm) and not (
            mine and not vllm and self.may("spans where vLLM has none")
        ):
            self.fail(case, f"{len(mine)} spans, vLLM has {len(vllm)}")

    def context(self, case, vllm, mine):
        """The place in the trace."""
        for field in ("name", "kind", "scope", "state"):
            if getattr(vllm, field) != getattr(mine, field):
                self.fail(case, f"{field} {getattr(mine, field)}, vLLM {getattr(vllm, field)}")
        if vllm.flags != mine.flags:
            self.may("sampled flag")
            if vllm.flags | FLAG_SAMPLED != mine.flags:
                self.fail(case, f"flags {mine.flags}, vLLM {vllm.flags}")
        if vllm.parent != mine.parent:
            self.fail(case, f"parent {mine.parent}, vLLM {vllm.parent}")
        if vllm.parent and vllm.trace != mine.trace:
            self.fail(case, f"trace {mine.trace}, vLLM {vllm.trace}")

    def attributes(self, case, vllm, mine):
        for name, value in vllm.attributes.items():
            got = mine.attributes.get(name)
            if type(got) is not type(value):
                self.fail(case, f"{name} is {got!r}, vLLM {value!r}")
            elif got != value and name not in MEASURED:
                if name == "gen_ai.request.id" and without_id(case) and alike(got, value):
                    self.may("request id without a header")
                else:
                    self.fail(case, f"{name} is {got!r}, vLLM {value!r}")
        for name in mine.attributes.keys() - vllm.attributes.keys():
            if not self.may_add(name, mine.attributes[name]):
                self.fail(case, f"{name} = {mine.attributes[name]!r}, which vLLM has not")

    def may_add(self, name, value):
        if name.startswith("glassbox."):
            return self.may("glassbox.*")
        if name == "gen_ai.request.temperature":
            return value == 0 and self.may("temperature 0")
        if name == "gen_ai.request.model":
            return self.may("gen_ai.request.model")
        conventions = span_table.CONVENTIONS | span_table.SOMETIMES
        return name in conventions and self.may("semantic conventions")

    def ends(self, case, mine):
        """Ours by the table, within the time in which the client saw the request."""
        reply = next(r for r in self.ours["replies"] if r["number"] == case["number"])
        for what in span_table.check_case(case, mine, reply):
            self.fail(case, what)
        if any(s.status == span_table.ERROR for s in mine):
            self.may("error status")

    def children(self):
        """The two of one request below one root; spans that are not requests stay in traces."""
        roots = {s.trace for s in self.ours["spans"] if s.name == "llm_request"}
        if any(s.trace in roots and s.name != "llm_request" for s in self.ours["spans"]):
            self.may("children")
        during = [
            {s.trace for s in r["spans"] if "during" in str(s.attributes.get("gen_ai.request.id"))}
            for r in (self.theirs, self.ours)
        ]
        if len(during[0]) == 2 and len(during[1]) == 1:
            self.may("trace of parentless choices")


def without_id(case):
    return all(name != "X-Request-Id" for name, _ in case["headers"])


def alike(a, b):
    """Ids of one form: `cmpl-<16 hexadecimal digits>-0`."""
    parts = a.split("-"), b.split("-")
    return [(len(x), x.isalnum()) for x in parts[0]] == [(len(x), x.isalnum()) for x in parts[1]]


def compare(theirs, ours):
    """The differences that are not allowed, a sentence each."""
    return Comparison(theirs, ours).run()
