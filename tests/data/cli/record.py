"""Records vLLM's command line: what its parsers know (flags.json) and what they make of the lines
in lines.txt (replies.jsonl). Run with the Python that vLLM is installed for, no arguments.
"""

import argparse
import contextlib
import importlib
import io
import json
import os
import pathlib
import re
import shlex
import sys

FOLDER = pathlib.Path(__file__).parent
# Subcommands whose flags nobody needs.
SKIPPED = ("launch", "bench mm-processor", "bench startup", "bench sweep")
PARTS = ["openai", "serve", "launch", "benchmark.main", "collect_env", "run_batch"]


def build():
    """The parser of the whole program, subcommands of `bench` included."""
    from vllm.entrypoints.cli.types import CLISubcommand  # noqa: F401
    from vllm.utils.argparse_utils import FlexibleArgumentParser

    sys.argv = ["vllm", "bench"]
    parser = FlexibleArgumentParser(prog="vllm")
    parser.add_argument("-v", "--version", action="version", version="0.32.0")
    subparsers = parser.add_subparsers(required=False, dest="subparser")
    for part in PARTS:
        module = importlib.import_module(f"vllm.entrypoints.cli.{part}")
        for command in module.cmd_init():
            command.subparser_init(subparsers)
    return parser


def plain(value):
    """JSON as it is, an enum's value, and a mark for any other object."""
    if isinstance(value, (set, frozenset, tuple)):
        return sorted(value) if isinstance(value, (set, frozenset)) else list(value)
    try:
        return json.loads(json.dumps(value))
    except (TypeError, ValueError):
        return plain(value.value) if hasattr(value, "value") else "<object>"


def describe(action, group):
    """One flag: its spellings, how it reads values, and its default."""
    default = plain(action.default)
    if "--request-id-prefix" in action.option_strings:
        default = "<random>"
    elif default == float("inf"):
        default = "inf"
    return {
        "group": group,
        "names": action.option_strings or [action.dest],
        "action": type(action).__name__,
        "nargs": action.nargs,
        "type": reader(action.type),
        "metavar": action.metavar,
        "choices": [plain(choice) for choice in action.choices] if action.choices else None,
        "default": default,
    }


def reader(function):
    """The name of what reads a value; of what is behind it, where that is hidden."""
    name = getattr(function, "__name__", None)
    if name in ("_optional_type", "_parse_type"):
        return f"{name} {reader(function.__closure__[0].cell_contents)}"
    return name


def parsers(parser, name=""):
    """All parsers below `parser`, with the words that lead to them."""
    yield name, parser
    for action in parser._actions:
        if isinstance(action, argparse._SubParsersAction):
            for word, inner in action.choices.items():
                yield from parsers(inner, f"{name} {word}".strip())


def flags(parser):
    """Flags by subcommand; those that a subcommand shares with `serve` by name alone."""
    found = {}
    for name, inner in parsers(parser):
        if name in SKIPPED or name.startswith(SKIPPED):
            continue
        groups = [(group.title, action) for group in inner._action_groups
                  for action in group._group_actions]
        found[name] = [describe(action, title) for title, action in groups
                       if not isinstance(action, argparse._SubParsersAction)]
    serve = {flag["names"][0]: flag for flag in found["serve"]}
    for name, entries in found.items():
        if name != "serve":
            found[name] = [flag["names"][0] if same(serve.get(flag["names"][0]), flag) else flag
                           for flag in entries]
    return found


def same(one, other):
    """Whether two flags differ in their group at most."""
    return one is not None and {**one, "group": None} == {**other, "group": None}


def run(parser, argv):
    """What the parser makes of one line."""
    from vllm.entrypoints.launchers.cli_args import validate_parsed_serve_args
    from vllm.utils.argparse_utils import FlexibleArgumentParser

    FlexibleArgumentParser._search_keyword = None
    out, err = io.StringIO(), io.StringIO()
    reply = {"argv": argv}
    try:
        with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
            args = parser.parse_args(list(argv))
            reply["values"] = changed(parser, argv, args)
            if argv[0] == "serve":
                validate_parsed_serve_args(args)
        reply["code"] = 0
    except SystemExit as end:
        reply["code"] = end.code or 0
        if reply["code"]:
            message = err.getvalue().split("error: ", 1)[-1].strip()
            reply["error"] = re.sub(r" at 0x[0-9a-f]+", "", message)
        else:
            text = out.getvalue()
            reply["help"] = sorted(set(re.findall(r"^  (--?[a-z][\w-]*)", text, re.M)))
    except Exception as error:
        reply["code"] = 1
        reply["error"] = f"{type(error).__name__}: {error}"
    return reply


def changed(parser, argv, args):
    """The values that are not defaults."""
    names = dict(parsers(parser))
    inner = names.get(" ".join(argv[:2])) or names[argv[0]]
    known = {action.dest: action.default for action in inner._actions}
    values = {}
    for name, value in vars(args).items():
        default = known.get(name)
        same = plain(value) == plain(default) and (plain(value) != "<object>" or value is default)
        if name not in ("subparser", "dispatch_function", "bench_type") and not same:
            values[name] = plain(value)
    return values


def main():
    os.chdir(FOLDER)
    parser = build()
    with open("flags.json", "w") as out:
        rows = [f"{json.dumps(name)}: [\n" + ",\n".join(map(json.dumps, entries)) + "\n]"
                for name, entries in flags(parser).items()]
        out.write("{\n" + ",\n".join(rows) + "\n}\n")
    with open("replies.jsonl", "w") as out:
        for line in pathlib.Path("lines.txt").read_text().splitlines():
            if line and not line.startswith("#"):
                # NaN is no JSON: it is written as a text.
                reply = json.dumps(run(parser, shlex.split(line)))
                reply = json.loads(reply, parse_constant=str)
                out.write(json.dumps(reply) + "\n")


if __name__ == "__main__":
    main()
