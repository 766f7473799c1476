"""Which texts xgrammar takes for which grammars: writes acceptance.json.

Needs the xgrammar that vLLM 0.32 brings: python acceptance_golden.py > acceptance.json
"""

import json
import sys

import xgrammar as xgr
from xgrammar.testing import _is_grammar_accept_string as accepts

EXPR = """root ::= expr
expr ::= term (("+" | "-") term)*
term ::= [0-9]+ | "(" expr ")"
"""
JSON = r"""
root   ::= object
value  ::= object | array | string | number | ("true" | "false" | "null") ws
object ::= "{" ws ( string ":" ws value ("," ws string ":" ws value)* )? "}" ws
array  ::= "[" ws ( value ("," ws value)* )? "]" ws
string ::= "\"" ( [^"\\\x7F\x00-\x1F] | "\\" (["\\bfnrt] | "u" [0-9a-fA-F]{4}) )* "\"" ws
number ::= ("-"? ([0-9] | [1-9] [0-9]{0,15})) ("." [0-9]+)? ([eE] [-+]? [0-9] [1-9]{0,15})? ws
ws ::= | " " | "\n" [ \t]{0,20}
""".replace("ws ::= |", 'ws ::= "" |')
SQL = """
root ::= select_statement
select_statement ::= "SELECT " column " from " table " where " condition
column ::= "col_1 " | "col_2 "
table ::= "table_1 " | "table_2 "
condition ::= column "= " number
number ::= "1 " | "2 "
"""
EBNF = [
    ('root ::= "a" b\nb ::= "c"*', ["a", "ac", "acc", "b", "", "ca"]),
    ('root ::= "a"\n  | "b"', ["a", "b", "ab", ""]),
    ('root ::= [a-z]+ "x"', ["ax", "x", "xx", "abx", "abxy", "Ax"]),
    ('root ::= "a"* "ab"', ["ab", "aab", "aaab", "a", "b", "abab"]),
    ('root ::= ("ab" | "abc") "cd"', ["abcd", "abccd", "abc", "cd"]),
    ('root ::= "a"{2,3}', ["a", "aa", "aaa", "aaaa"]),
    ('root ::= "a"{3}', ["aa", "aaa", "aaaa"]),
    ('root ::= "a"{2,}', ["a", "aa", "aaaaaa"]),
    ('root ::= "a" # a comment\n', ["a", "a "]),
    (r'root ::= "\x41\u0042" "\"\n\t"', ['AB"\n\t', "AB"]),
    (r'root ::= [^"\\]*', ["", "abc é 漢字", 'a"', "\\"]),
    (r"root ::= [\]\-\^a]+", ["]", "-^a", "b", ""]),
    ("root ::= [a-]+", ["a", "-", "a-a", "b"]),
    ('root ::= ("a")?b?\nb::="c"', ["", "a", "c", "ac", "ca"]),
    ('root ::= "" | "x"', ["", "x", "xx"]),
    ('root ::= "(" root ")" | ""', ["", "()", "(())", "(()", ")("]),
    ('root ::= "é" [α-ω]+ "漢"', ["éαβ漢", "é漢", "eα漢"]),
    ('root ::= "yes" | "no" | "maybe"', ["yes", "no", "maybe", "may", "yesno", ""]),
    (EXPR, ["1", "1+2", "(1+2)-30", "((7))", "(1", "1+", "", "1 + 2"]),
    (SQL, ["SELECT col_1  from table_1  where col_2 = 1 ", "SELECT col_1 from table_1 where", ""]),
    (JSON, ['{}', '{"a": 1}', '{"a":[1,2,{"b":"\\u00e9"}],"c":-1.5e1}', '{"a" 1}', "[]", '{"a":}']),
]
REGEX = [
    ("^abc$", ["abc", "ab", "xabc"]),
    ("^a$|^bc$", ["a", "bc", "abc", ""]),
    ("(a+)+b", ["ab", "aaab", "b", "a"]),
    (r"\d{3}-\d{4}", ["555-1234", "5555-123", "555-123a"]),
    ("[a-z]+@[a-z]+\\.com", ["joe@site.com", "joe@site", "@a.com"]),
    ("a|", ["a", "", "aa"]),
    ("", ["", "a"]),
    (r"(foo|bar)\/[^/]+", ["foo/x", "bar/xyz", "baz/x", "foo/"]),
    (r"[\w.]+ [^\s]", ["a.b c", "a b ", "- c"]),
    ("(?:ab){2,}", ["abab", "ab", "ababab"]),
]
OBJECT = {"type": "object", "properties": {"a": {"type": "integer"}, "b": {"type": "string"}}}
TREE = {
    "type": "object",
    "properties": {
        "v": {"type": "number"},
        "kids": {"type": "array", "items": {"$ref": "#"}},
    },
    "required": ["v"],
}
JSON_SCHEMA = [
    ({"type": "object"}, ["{}", '{"x": [1, {"y": null}]}', "[]", "1", ""]),
    (OBJECT, ["{}", '{"a":1}', '{"a": 1, "b":"x"}', '{"b":"x","a":1}', '{"c":1}', '{ }', '{}\n']),
    (OBJECT | {"required": ["b"]}, ["{}", '{"b":""}', '{"a":1,"b":""}', '{"a":1}']),
    (OBJECT | {"additionalProperties": True}, ['{"a":1}', '{"c":1}', '{"a":1,"c":[]}']),
    ({"properties": {"a": {"type": "integer"}}}, ["{}", '{"a":1}', "3", '{"b":1}']),
    ({"type": "array", "prefixItems": [{"type": "integer"}]}, ["[]", "[1]", "[1,2]"]),
    ({"type": "array", "items": {"type": "boolean"}, "minItems": 1, "maxItems": 2},
     ["[]", "[true]", "[true, false]", "[true,true,true]"]),
    ({"type": "array"}, ["[]", '[1, "a"]']),
    ({"enum": ["red", 3, None, {"a": 1}]}, ['"red"', "3", "null", '"blue"', "4"]),
    ({"const": "x"}, ['"x"', '"y"']),
    ({"anyOf": [{"type": "integer"}, {"type": "null"}]}, ["5", "null", '"a"', "1.5"]),
    ({"type": ["string", "null"]}, ['"a"', "null", "1"]),
    ({"$ref": "#/$defs/x", "$defs": {"x": {"type": "string", "maxLength": 2}}},
     ['"a"', '"abc"', '"ab"']),
    (TREE, ['{"v": 1}', '{"v":1,"kids":[{"v":2.5}]}', '{"kids":[]}', '{"v":1,"x":1}']),
    ({"type": "integer", "minimum": 3, "maximum": 12}, ["3", "12", "2", "13", "7"]),
    ({"type": "string", "pattern": "^a[0-9]+$"}, ['"a1"', '"a"', '"b1"']),
    ({"type": "string", "format": "date"}, ['"2026-01-31"', '"2026-1-31"']),
    ({"type": "object", "additionalProperties": {"type": "integer"}}, ['{"a":1}', '{"a":"x"}']),
    ({"allOf": [OBJECT]}, ['{"a":1}', '{"a":1,"z":2}']),
    (True, ["1", '{"a":[]}', "x"]),
    ({}, ["1", '"x"', "x"]),
    ({"type": "number"}, ["1", "-0.5", "1e5", "01", "1."]),
    ({"type": "string"}, ['"\\u0041"', '"é"', '"\\x"', '"\t"', '"a']),
]


def tag(begin, content, end):
    return {"type": "tag", "begin": begin, "content": content, "end": end}


CONST = {"type": "const_string", "value": "x"}
SCHEMA = {"type": "json_schema", "json_schema": OBJECT}
F = tag("<f=a>", CONST, "</f>")
G = tag("<f=b>", SCHEMA, "</f>")
TAGGED = ["", "hello", "hi <f=a>x</f> yes", "<f=a>x</f>", "<f=a>y</f>", "<f=c>x</f>", "<f",
          '<f=b>{"a": 1}</f><f=a>x</f>', '<f=b>{"a": "s"}</f>', "<f=", "a<f=a>x</f>b<f=a>x</f>c"]
TRIGGERED = {"type": "triggered_tags", "triggers": ["<f="], "tags": [F, G]}
LIST = {"type": "tags_with_separator", "tags": [F, G], "separator": ","}
LISTED = ["", "<f=a>x</f>", "<f=a>x</f>,<f=b>{}</f>", "<f=a>x</f><f=a>x</f>", "<f=a>x</f>,", "text"]
ANY = {"type": "any_text"}
TAG = [
    (CONST, ["x", "", "xx"]),
    (SCHEMA, ["{}", '{"a": 1}', '{"z": 1}']),
    (ANY, ["", "anything\nat all é"]),
    ({"type": "any_text", "excludes": ["foo", "bar"]}, ["", "fo bar"[:4], "a foo", "bar"]),
    ({"type": "regex", "pattern": "[0-9]+"}, ["12", "", "a"]),
    ({"type": "grammar", "grammar": EXPR}, ["1+(2-3)", "1+"]),
    ({"type": "sequence", "elements": [CONST, SCHEMA, CONST]}, ["x{}x", "x{}", "{}"]),
    ({"type": "sequence", "elements": [tag("<t>", ANY, "</t>"), CONST]},
     ["<t>hm\n</t>x", "<t></t>x", "<t>x", "x"]),
    ({"type": "or", "elements": [CONST, SCHEMA]}, ["x", "{}", "xx"]),
    (tag("<b>", ANY, "</b>"), ["<b></b>", "<b>text</b>", "<b>text", "<b></b></b>"]),
    (tag("<b>", ANY, ["</b>", "</c>"]), ["<b></b>", "<b>t</c>", "<b>t"]),
    (tag("<b>", TRIGGERED, "</b>"),
     ["<b></b>", "<b>t</b>", "<b>t<f=a>x</f></b>", "<b><f=a>y</f></b>", "<b>t<f=a>x</f>u</b>"]),
    (TRIGGERED, TAGGED),
    (TRIGGERED | {"at_least_one": True}, TAGGED),
    (TRIGGERED | {"stop_after_first": True}, TAGGED),
    (TRIGGERED | {"at_least_one": True, "stop_after_first": True}, TAGGED),
    (TRIGGERED | {"excludes": ["no"]}, [*TAGGED, "no", "a no b"]),
    (LIST, LISTED),
    (LIST | {"at_least_one": True}, LISTED),
    (LIST | {"at_least_one": True, "stop_after_first": True}, LISTED),
    (LIST | {"separator": ""}, LISTED),
    ({"type": "optional", "content": F}, ["", "<f=a>x</f>", "<f=a>x</f><f=a>x</f>"]),
    ({"type": "plus", "content": F}, ["", "<f=a>x</f>", "<f=a>x</f><f=a>x</f>"]),
    ({"type": "star", "content": F}, ["", "<f=a>x</f>", "<f=a>x</f><f=a>x</f>"]),
    ({"type": "repeat", "min": 2, "max": 3, "content": CONST}, ["x", "xx", "xxx", "xxxx"]),
    ({"type": "dispatch", "rules": [["<a", CONST], ["<b", SCHEMA]]},
     ["", "t", "t<ax", "t<ay", "<b{}u<ax", "<a"]),
    ({"type": "dispatch", "rules": [["<a", CONST]], "loop": False, "excludes": ["no"]},
     ["", "t", "t<ax", "t<axu", "no"]),
]
CITY = {
    "type": "object",
    "properties": {"city": {"type": "string"}, "days": {"type": "integer"}},
    "required": ["city"],
}
PARIS = "<parameter=city>\nParis\n</parameter>"
KINDS_OF_VALUES = {
    "type": "object",
    "properties": {
        "o": {"type": "object", "properties": {"a": {"$ref": "#/$defs/n"}}, "required": ["a"]},
        "l": {"type": "array", "items": {"type": "number"}},
        "e": {"enum": ["a", "b c", 3, None]},
        "k": {"const": "x"},
        "b": {"type": "boolean"},
        "z": {"type": ["null", "integer"]},
    },
    "required": ["o"],
    "additionalProperties": False,
    "$defs": {"n": {"type": "integer"}},
}
O = '<parameter=o>{"a": 1}</parameter>'
TEXTS = {
    "type": "object",
    "properties": {
        "p": {"type": "string", "pattern": "^[a-c]+$"},
        "m": {"type": "string", "minLength": 2, "maxLength": 4},
        "d": {"type": "string", "format": "date"},
        "u": {"anyOf": [{"type": "string", "maxLength": 1}, {"type": "integer"}]},
    },
}


def argument(name, value):
    return f"<parameter={name}>{value}</parameter>"


XML = [
    (True, ["", "\n", PARIS, PARIS + "\n" + argument("x_1", "{}"), "Paris", argument("1", "a"),
            argument("city", "a < b </para"), "<parameter=city>a"]),
    ({"type": "object"}, ["", PARIS, "x"]),
    ({"type": "object", "properties": {}}, ["", " \n", PARIS]),
    (CITY, [PARIS, PARIS + "\n<parameter=days>\n2\n</parameter>", "", argument("days", "2"),
            PARIS + argument("days", "two"), PARIS + argument("days", "-20"), PARIS + PARIS,
            argument("days", "2") + PARIS, PARIS + argument("other", "1"), argument("city", ""),
            argument("city", "\"quoted\" é 漢 <b>"), " " + PARIS + "\n\n", "a" + PARIS]),
    ({**CITY, "additionalProperties": {"type": "integer"}},
     [PARIS, PARIS + argument("x", "1"), PARIS + argument("x", "y"),
      PARIS + argument("days", "1") + argument("x", "2") + argument("y", "3")]),
    ({"$ref": "#/$defs/c", "$defs": {"c": CITY}}, [PARIS, ""]),
    (KINDS_OF_VALUES,
     [O, O + argument("l", "[1, 2.5]"), O + argument("l", "[1, x]"), O + argument("e", "b c"),
      O + argument("e", "3"), O + argument("e", '"a"'), O + argument("e", "null"),
      O + argument("k", "x"), O + argument("k", "y"), O + argument("b", "true"),
      O + argument("b", "True"), O + argument("z", "null"), O + argument("z", "7"),
      O + argument("z", "x"), argument("o", "{}"), argument("o", '{"a": "1"}'),
      argument("o", '\n{"a": 1}\n'), O + argument("k", "x") + argument("l", "[]")]),
    (TEXTS, ["", argument("p", "abc"), argument("p", "abd"), argument("m", "ab"),
             argument("m", "a"), argument("m", "abcdef"), argument("d", "2026-11-28"),
             argument("d", "2026-13-28"), argument("u", "12"), argument("u", "x"),
             argument("u", "xy"), argument("p", "a") + argument("d", "2026-11-28")]),
]
LEGACY = [
    ({"structures": [{"begin": "<f=a>", "schema": OBJECT, "end": "</f>"}], "triggers": ["<f="]},
     ["", "hi", "hi<f=a>{}</f>", '<f=a>{"a":1}</f> and <f=a>{}</f>', "<f=a>1</f>", "<f=b>{}</f>"]),
]


def legacy(spec):
    items = [
        xgr.StructuralTagItem(begin=s["begin"], schema=json.dumps(s["schema"]), end=s["end"])
        for s in spec["structures"]
    ]
    return xgr.Grammar.from_structural_tag(items, spec["triggers"])


def xml(schema):
    content = {"type": "json_schema", "json_schema": schema, "style": "qwen_xml"}
    return tag("<f>\n", content, "\n</f>")


def wrapped(texts):
    return [f"<f>\n{text}\n</f>" for text in texts]


TAG += [(xml(schema), wrapped(texts)) for schema, texts in XML]
CALLS = [
    {**xml(schema), "begin": f"<f={name}>\n"}
    for name, schema in [("a", CITY), ("ab", True)]
]
A, AB = f"<f=a>\n{PARIS}\n</f>", "<f=ab>\n\n</f>"
for once in ({}, {"at_least_one": True}, {"stop_after_first": True}):
    calls = {"type": "triggered_tags", "triggers": ["<f="], "tags": CALLS, **once}
    TAG.append((
        {**calls, "excludes": ["<t>", "</t>"]},
        ["", "text", A, AB, "text " + A, A + "\n" + AB, A + " and", "<f=c>", "<f=a>\n\n</f>",
         "a<t>", A + "</t>"],
    ))


KINDS = {
    "grammar": (EBNF, xgr.Grammar.from_ebnf),
    "regex": (REGEX, xgr.Grammar.from_regex),
    "json": (JSON_SCHEMA, lambda schema: xgr.Grammar.from_json_schema(json.dumps(schema))),
    "tag": (
        [({"type": "structural_tag", "format": spec}, texts) for spec, texts in TAG],
        lambda spec: xgr.Grammar.from_structural_tag(json.dumps(spec)),
    ),
    "legacy": (LEGACY, legacy),
}


def main():
    rows = []
    for kind, (cases, make) in KINDS.items():
        for spec, texts in cases:
            grammar = make(spec)
            taken = [[text, accepts(grammar, text)] for text in texts]
            rows.append({"kind": kind, "spec": spec, "texts": taken})
    body = ",\n".join(json.dumps(row, ensure_ascii=False) for row in rows)
    sys.stdout.write(f"[\n{body}\n]\n")


main()
