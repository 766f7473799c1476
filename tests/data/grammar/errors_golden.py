"""What vLLM 0.32 says of grammars: writes errors.json, with null for those that it takes.

Run it in vLLM's environment: python errors_golden.py MODEL > errors.json
"""

import json
import sys

from transformers import AutoTokenizer
from vllm.config.structured_outputs import StructuredOutputsConfig
from vllm.exceptions import VLLMValidationError
from vllm.sampling_params import SamplingParams, StructuredOutputsParams


def tag(form):
    return json.dumps({"type": "structural_tag", "format": form})


def legacy(triggers, *structures):
    return json.dumps({"structures": list(structures), "triggers": triggers})


CASES = [
    ("json", {"type": "foo"}),
    ("json", {"type": "object", "properties": 3}),
    ("json", {"type": "string", "pattern": "(a"}),
    ("json", {"type": "string", "minLength": 5, "maxLength": 2}),
    ("json", {"enum": []}),
    ("json", {"$ref": "http://x/y"}),
    ("json", {"$ref": "#/$defs/none"}),
    ("json", {"type": "integer", "minimum": 5, "maximum": 3}),
    ("json", {"type": "array", "uniqueItems": True}),
    ("json", {"type": "string", "format": "nope"}),
    ("json", {"type": "object", "not": {"required": ["a"]}}),
    ("json", {"type": "integer", "multipleOf": 3}),
    ("json", {"type": "string", "pattern": "a(?=b)"}),
    (
        'json',
        {'oneOf': [{'type': 'integer'}, {'type': 'number'}], 'type': 'integer', 'multipleOf': 2},
    ),
    ("json", {"type": "object", "patternProperties": {"(": {}}}),
    ("json", {}),
    ("json", {"allOf": [{"type": "string"}, {"type": "integer"}]}),
    ("json", {"type": "object", "properties": {"a": {"type": "bar"}}}),
    ("json", {"if": {"type": "string"}, "then": {"minLength": 2}}),
    ("json", {"type": "object", "dependentRequired": {"a": ["b"]}}),
    ("regex", "(a"),
    ("regex", "a(?=b)"),
    ("regex", "\\1(a)"),
    ("regex", "(?i)abc"),
    ("regex", "[z-a]"),
    ("regex", "\\bfoo"),
    ("regex", "a**"),
    ("regex", ""),
    ("regex", "a{5,2}"),
    ("regex", "\\p{L}+"),
    ("regex", "*a"),
    ("grammar", "root ::= undefined"),
    ('grammar', 'root ::= "a'),
    ('grammar', 'a ::= "b"'),
    ('grammar', 'root ::= ("a" | root'),
    ("grammar", "start: undefined"),
    ("grammar", "not a grammar"),
    ('grammar', 'start: "a'),
    ('grammar', 'foo: "a"'),
    ('grammar', "root ::= 'a'"),
    ("grammar", "root ::= "),
    ('grammar', 'root ::= "a" ;'),
    ("grammar", "start: /(/"),
    ('grammar', '?start: "a" | "b"'),
    ("structural_tag", "x"),
    ("structural_tag", "{}"),
    ("structural_tag", tag({"type": "nope"})),
    ("structural_tag", legacy([])),
    (
        'structural_tag',
        legacy(['<a'], {'begin': '<a>', 'schema': {'type': 'foo'}, 'end': '</a>'}),
    ),
    ("structural_tag", legacy(["<b"], {"begin": "<a>", "schema": {}, "end": "</a>"})),
    ("structural_tag", legacy(["<b"], {"begin": "<a>", "end": "</a>"})),
    ("structural_tag", tag({"type": "grammar", "grammar": "nope"})),
    ("choice", ["a", ""]),
    ("choice", ["\x00"]),
]


class AnyModel:
    is_diffusion = False


def main():
    tokenizer = AutoTokenizer.from_pretrained(sys.argv[1])
    rows = []
    for kind, spec in CASES:
        params = SamplingParams(structured_outputs=StructuredOutputsParams(**{kind: spec}))
        error = None
        try:
            params._validate_structured_outputs(AnyModel, StructuredOutputsConfig(), tokenizer)
        except VLLMValidationError as refused:
            error = str(refused)
        rows.append({"kind": kind, "spec": spec, "error": error})
    body = ",\n".join(json.dumps(row, ensure_ascii=False) for row in rows)
    sys.stdout.write(f"[\n{body}\n]\n")


main()
