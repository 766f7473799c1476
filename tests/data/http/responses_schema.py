#!/usr/bin/env python3
"""Writes what pydantic checks of a Responses request, as vLLM 0.32 with its openai client has it.

    PEER/bin/python responses_schema.py > src/http/request/responses/schema.json

The request names some 340 types of OpenAI's, most of them for one kind of input item or tool, and
an error lists what does not fit in each. A node is a word ("str", "int", ...), a reference to a
named type ("#Name"), one of the server's own schemas ("@name"), or a list of a word and what it
is made of. Objects are lists of members; a `!` marks those that have to be there.
"""

import itertools
import json

from vllm.entrypoints.openai.responses.protocol import ResponsesRequest

# Fields whose schema the server shares with its other APIs.
SHARED = {
    "cache_salt": "@cache_salt",
    "logit_bias": "@logit_bias",
    "presence_penalty": "@penalty",
    "frequency_penalty": "@penalty",
    "priority": "@int64",
    "seed": "@nullable_int64",
    "stop": "@stop",
    "structured_outputs": "@structured_outputs",
    "top_logprobs": "@top_logprobs",
    "vllm_xargs": "@xargs",
}


class Walk:
    def __init__(self, core):
        self.definitions = {d["ref"]: d for d in core["definitions"]}
        self.types = {}

    def resolve(self, node):
        while True:
            kind = node["type"]
            if kind == "definition-ref":
                node = self.definitions[node["schema_ref"]]
            elif kind == "default" or kind.startswith("function-"):
                node = node["schema"]
            else:
                return node

    def label(self, node):
        """The name of a choice in the path of an error; internal ones do not show."""
        if node["type"].startswith("function-"):
            return ""
        node = self.resolve(node)
        if node["type"] == "model":
            return node["cls"].__name__
        if node["type"] == "typed-dict":
            return node["cls"].__name__
        return ""

    def members(self, fields):
        out = []
        for name, field in fields.items():
            # Populated by its alias alone, if it has one.
            name = field.get("validation_alias", name)
            schema = field["schema"]
            required = field.get("required", schema["type"] != "default")
            out.append([name + ("!" if required else ""), self.node(schema)])
        return out

    def named(self, name, node):
        # Types of several modules may share a name.
        known = (name if at == 1 else f"{name}{at}" for at in itertools.count(1))
        key = next(key for key in known if self.types.setdefault(key, node) == node)
        return "#" + key

    def node(self, schema):
        schema = self.resolve(schema)
        kind = schema["type"]
        if kind in ("str", "int", "float", "bool", "any"):
            return kind
        if kind == "literal":
            return ["literal", *schema["expected"]]
        if kind == "enum":
            return ["literal", *[member.value for member in schema["members"]]]
        if kind == "nullable":
            return ["null", self.node(schema["schema"])]
        if kind == "list":
            return ["list", self.node(schema["items_schema"])]
        if kind == "generator":
            return ["iterable"]
        if kind == "json-or-python":
            return ["sequence", self.node(schema["json_schema"]["items_schema"])]
        if kind == "dict":
            return ["map", self.node(schema["values_schema"])]
        if kind == "union":
            choices = [c[0] if isinstance(c, tuple) else c for c in schema["choices"]]
            return ["union", *[[self.label(c), self.node(c)] for c in choices]]
        if kind == "model":
            fields = self.resolve(schema["schema"])["fields"]
            return self.named(schema["cls"].__name__, ["model", *self.members(fields)])
        if kind == "typed-dict":
            name = schema["cls"].__name__
            return self.named(name, ["dict", *self.members(schema["fields"])])
        raise ValueError(kind)


def main():
    core = ResponsesRequest.__pydantic_core_schema__
    walk = Walk(core)
    root = walk.resolve(walk.resolve(core["schema"])["schema"])
    request = []
    for name, field in root["fields"].items():
        node = SHARED.get(name) or walk.node(field["schema"])
        required = field["schema"]["type"] != "default"
        request.append([name + ("!" if required else ""), node])
    line = lambda pair: json.dumps(pair, separators=(",", ":"))  # noqa: E731
    rows = ",\n".join(f"{json.dumps(name)}:{line(node)}" for name, node in walk.types.items())
    fields = ",\n".join(line(member) for member in request)
    print('{"types":{\n' + rows + '\n},"request":[\n' + fields + "\n]}")


main()
