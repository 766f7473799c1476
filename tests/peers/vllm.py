"""Compare Glassbox with the real vLLM, request by request.

    python3 vllm.py --vllm PEER --ours BINARY [--record FILE]     both servers, live
    python3 vllm.py --vllm PEER --record FILE                     record vLLM's replies alone
    python3 vllm.py --ours BINARY --recorded FILE                 against recorded replies
    ... [--only WORD] [--all]        some cases; also those that are only recorded
    ... --set parsed                 the cases of parsed.py, for servers with parsers
    ... --set messages               those of Anthropic's API, likewise
    ... --set parsed messages        both, before the same two servers
    ... --set responses              those of OpenAI's Responses API, likewise
    ... --set stored                 the same for servers that store responses

Every status, content type, header that matters, body and chunk is compared field by field. Greedy
text must be the same; where it is not, vLLM's own log probabilities at the first token that differs
decide: a gap of the two best below 0.05 is a tie, is counted and printed, and anything else is a
failure.
"""

import argparse
import base64
import http.client
import json
import os
import sys

import fields  # noqa: F401  adds its cases
import refused  # noqa: F401  adds its cases
import messages
import parsed
import responses
from cases import CASES
from diff import HEADERS, differences, masked, texts
from server import Server, send

TIE = 0.05
ADDRESS = ["--host", "127.0.0.1", "--port", "{port}"]
FLAGS = [
    "--served-model-name",
    "qwen3-tiny",
    "alias-b",
    "--enable-prompt-tokens-details",
    "--enable-scale-out",
    "--enable-per-request-metrics",
    "--max-model-len",
    "4096",
    "--block-size",
    "64",
    *ADDRESS,
]
ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))


def ask(port, case):
    return send(port, case["method"], case["path"], case["body"], case["headers"])


def steps(port, case):
    """[(text, gap of the two best)] of vLLM's greedy tokens: the same request, with logprobs."""
    body = sent(case)
    body = {k: v for k, v in body.items() if k not in ("stream", "stream_options", "echo")}
    if case["path"].endswith("/generate"):
        return token_steps(port, case, body)
    if body.get("use_beam_search") or not case["path"].endswith("completions"):
        return []
    is_chat = case["path"].endswith("chat/completions")
    body.update(dict(logprobs=True, top_logprobs=2) if is_chat else dict(logprobs=2))
    reply = send(port, "POST", case["path"], body, case["headers"])
    if reply["status"] != 200:
        return []
    out = []
    for choice in reply["json"]["choices"]:
        lp = choice["logprobs"] or {}
        if is_chat:
            rows = [
                (t["token"], [x["logprob"] for x in t["top_logprobs"]])
                for t in lp.get("content") or []
            ]
        else:
            rows = [(t, list(top.values())) for t, top in zip(lp["tokens"], lp["top_logprobs"])]
        out += [
            (token, sorted(top)[-1] - sorted(top)[-2] if len(top) > 1 else 99.0)
            for token, top in rows
        ]
    return out


def sent(case):
    """The body of a case as an object; an empty one where it is none."""
    body = case["body"]
    try:
        body = json.loads(body) if isinstance(body, bytes) else body
    except (ValueError, RecursionError):
        return {}
    return body if isinstance(body, dict) else {}


def token_steps(port, case, body):
    """The same of the endpoint that gives tokens."""
    params = {k: v for k, v in body["sampling_params"].items() if k != "logprob_token_ids"}
    body = dict(body, sampling_params=dict(params, logprobs=2), output_mode="tokens")
    reply = send(port, "POST", case["path"], body, case["headers"])
    if reply["status"] != 200:
        return []
    out = []
    for choice in reply["json"]["choices"]:
        for step in choice["logprobs"]["content"]:
            tops = sorted(top["logprob"] for top in step["top_logprobs"])
            gap = tops[-1] - tops[-2] if len(tops) > 1 else 99.0
            out.append((f"{step['token_id']},", gap))
    return out


def has_text(case, reply):
    return (
        case["text"] == "greedy"
        and reply["status"] == 200
        and bool(sent(case))
        and any(texts(reply).values())
    )


def smallest_gap(port, case, reply):
    """How near vLLM's greedy text came to another one; None where nothing was generated."""
    gaps = [gap for _, gap in steps(port, case)] if has_text(case, reply) else []
    return round(min(gaps), 4) if gaps else None


SETS = {
    "plain": (CASES, FLAGS, {}),
    "parsed": (parsed.PARSED, FLAGS + parsed.FLAGS, {}),
    "messages": (messages.MESSAGES, FLAGS + parsed.FLAGS, {}),
    "responses": (responses.RESPONSES, ADDRESS + responses.FLAGS, {}),
    "stored": (responses.STORED, ADDRESS + responses.FLAGS, responses.STORES),
}


def tokens(port, case):
    """The tokens behind a greedy reply: the same request, whole and with nothing hidden."""
    if not case["path"].startswith("/v1/chat/completions") or not isinstance(case["body"], dict):
        return None
    body = {k: v for k, v in case["body"].items() if k not in ("stream", "stream_options")}
    body |= dict(return_token_ids=True, include_reasoning=True)
    reply = send(port, "POST", case["path"], body, case["headers"])
    choices = reply["json"].get("choices") if reply["status"] == 200 else None
    return choices and choices[0]["token_ids"]


def recording(case, reply, gap, tokens=None):
    body = case["body"]
    if isinstance(body, bytes):
        try:
            sent = dict(body=body.decode())
        except UnicodeDecodeError:
            sent = dict(body_base64=base64.b64encode(body).decode())
    else:
        sent = {} if body is None else dict(body=json.dumps(body, ensure_ascii=False))
    answer = dict(
        status=reply["status"],
        headers={h: reply["headers"][h] for h in HEADERS if h in reply["headers"]},
    )
    answer.update(
        {k: masked(reply[k]) for k in ("json", "events") if k in reply} or dict(text=reply["raw"])
    )
    return dict(
        name=case["name"],
        method=case["method"],
        path=case["path"],
        headers=case["headers"],
        **sent,
        text=case["text"],
        **({"apart": case["apart"]} if case["apart"] else {}),
        **({} if gap is None else {"gap": gap}),
        **({} if tokens is None else {"tokens": tokens}),
        reply=answer,
    )


def choice_index(event):
    """Of a stream's chunk; those that belong to no choice come last."""
    choices = event.get("choices") if isinstance(event, dict) else None
    return choices[0]["index"] if choices else 1 << 30


def folded(events):
    """A stream with each run of text in one chunk, as either server sends it to a slow reader."""
    out, pending = [], {}
    for event in events:
        choices = event.get("choices") if isinstance(event, dict) else None
        if not choices or choices[0]["logprobs"] or choices[0].get("token_ids") or "usage" in event:
            out.append(event)
            continue
        choice = choices[0]
        held = choice if "text" in choice else choice["delta"]
        key, index = "text" if "text" in choice else "content", choice["index"]
        told = {name for name, value in held.items() if value is not None}
        if "role" in held or not told <= {key}:
            if pending.get(index):
                text = dict(choice, delta={key: pending.pop(index)}, finish_reason=None)
                out.append(dict(event, choices=[text]))
            out.append(event)
        elif choice["finish_reason"] is None:
            pending[index] = pending.get(index, "") + (held.get(key) or "")
        else:
            said = pending.pop(index, "") + (held.get(key) or "")
            changed = dict(choice, text=said) if key == "text" else dict(choice, delta={key: said})
            out.append(dict(event, choices=[changed]))
    return out


def compare(want, reply, text):
    """The differences of a live reply from a recorded one."""
    have = dict(
        status=reply["status"],
        headers={h: reply["headers"][h] for h in HEADERS if h in reply["headers"]},
    )
    have.update(
        {k: masked(reply[k]) for k in ("json", "events") if k in reply} or dict(text=reply["raw"])
    )
    if "location" in have["headers"]:  # absolute, with the port
        paths = [h["headers"].get("location", "").split("/", 3)[3:] for h in (want, have)]
        have["headers"]["location"] = want["headers"]["location"] if paths[0] == paths[1] else "?"
    if text == "free" and "events" in want and "events" in have:  # choices may take turns
        want = dict(want, events=sorted(want["events"], key=choice_index))
        have["events"] = sorted(have["events"], key=choice_index)
    if "events" in want and "events" in have:
        want = dict(want, events=responses.folded(want["events"]))
        have["events"] = responses.folded(have["events"])
    if "events" in want and "events" in have and len(want["events"]) != len(have["events"]):
        want = dict(want, events=messages.folded(folded(want["events"])))
        have["events"] = messages.folded(folded(have["events"]))
    return [d.lstrip(".") for d in differences(want, have, "", text)]


def is_tie(case, want, reply, gap, vllm):
    """Whether the greedy texts part at a token where vLLM's two best are as good as equal."""
    if gap is None or gap >= TIE:
        return False
    ours, theirs = texts(reply), texts(want)
    if ours == theirs or vllm is None:
        return ours != theirs
    shared = len(os.path.commonprefix([ours.get(0, ""), theirs.get(0, "")]))
    at = 0
    for token, distance in steps(vllm.port, case):
        # Tags of reasoning are no part of the text where it is parsed.
        at += 0 if token in ("<think>", "</think>") else len(token)
        if at > shared:
            return distance < TIE
    return False


def main():
    ap = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    ap.add_argument("--vllm", help="the script that runs vLLM")
    ap.add_argument("--ours", help="the glassbox binary")
    ap.add_argument("--model", default=os.path.join(ROOT, "models/qwen3-tiny"))
    ap.add_argument("--recorded", help="compare with the replies in this file")
    ap.add_argument("--record", help="write vLLM's replies to this file")
    ap.add_argument("--only", default="", help="cases whose name holds this")
    ap.add_argument(
        "--set", nargs="+", default=["plain"], choices=SETS, help="which cases, with which flags"
    )
    ap.add_argument("--all", action="store_true", help="also cases that are only recorded")
    args = ap.parse_args()
    _, flags, env = SETS[args.set[0]]
    if any(SETS[name][1:] != (flags, env) for name in args.set):
        ap.error(f"these sets are for servers with other flags: {', '.join(args.set)}")
    cases = [c for name in args.set for c in SETS[name][0] if args.only in c["name"]]
    old = {}
    if args.recorded:
        with open(args.recorded) as f:
            old = {r["name"]: r for r in json.load(f)}
    vllm = ours = None
    try:
        if args.vllm:
            vllm = Server("vllm", [args.vllm, "serve", args.model, *flags], env)
            print(f"vLLM was ready after {vllm.ready_after:.1f} s", flush=True)
        if args.ours:
            ours = Server("glassbox", [args.ours, "serve", args.model, *flags], env)
            print(f"Glassbox was ready after {ours.ready_after:.2f} s", flush=True)
        ok = run(cases, vllm, ours, old, args)
    finally:
        for server in (vllm, ours):
            if server:
                server.stop()
    sys.exit(0 if ok else 1)


def run(cases, vllm, ours, old, args):
    records, failed, ties, same, apart = [], [], [], 0, 0
    for case in cases:
        if vllm:
            try:
                reply = ask(vllm.port, case)
            except http.client.IncompleteRead:
                print(f"     {case['name']}: vLLM broke off, which is nothing to compare with")
                apart += 1
                if ours:  # What follows may ask for what came of it.
                    ask(ours.port, case)
                continue
            # What is replayed with its tokens needs no gaps.
            replayed = args.set == ["parsed"] and ours is None
            behind = tokens(vllm.port, case) if replayed else None
            gap = None if replayed else smallest_gap(vllm.port, case, reply)
            record = recording(case, reply, gap, behind)
            records.append(record)
        elif case["name"] in old:
            record = old[case["name"]]
        else:
            failed.append(case["name"])
            print(f"FAIL {case['name']}: not in the recorded replies")
            continue
        if ours is None:
            continue
        if case["apart"] and not args.all:
            apart += 1
            continue
        found = try_ours(case, record, ours)
        for _ in range(5):
            # A busy vLLM may put two tokens into one chunk of a stream: a matter of time, so ask
            # it again. What differs otherwise differs every time.
            streams = sent(case).get("stream")
            if isinstance(found, dict) or not vllm or not streams:
                break
            record = recording(case, ask(vllm.port, case), record.get("gap"))
            found = try_ours(case, record, ours)
        if isinstance(found, dict):
            same += 1
        elif is_tie(case, record["reply"], found[1], record.get("gap"), vllm):
            ties.append(case["name"])
            print(
                f"tie  {case['name']}: the texts part at a tie; "
                f"vLLM's two best tokens come within {record['gap']}"
            )
        else:
            failed.append(case["name"])
            print(
                f"FAIL {case['name']}: {case['method']} {case['path']}\n    "
                + "\n    ".join(found[0]),
                flush=True,
            )
    if args.record and vllm:
        write(args.record, records)
        print(f"{len(records)} replies of vLLM recorded in {args.record}")
    if ours:
        print(f"{same} the same, {len(ties)} ties, {len(failed)} different, {apart} not compared")
    return not failed


def try_ours(case, record, ours):
    """Our reply when it is the same, otherwise (differences, our reply)."""
    try:
        reply = ask(ours.port, case)
    except OSError as e:
        return [f"no answer: {e!r}"], dict(status=0)
    found = compare(record["reply"], reply, case["text"])
    return (found, reply) if found else reply


def write(path, records):
    """One case a line: a change shows as one."""
    with open(path, "w", encoding="utf-8") as f:
        f.write("[\n" + ",\n".join(json.dumps(r, ensure_ascii=False) for r in records) + "\n]\n")


if __name__ == "__main__":
    main()
