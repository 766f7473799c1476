"""What counts as the same reply: ids and times masked, log probabilities within bf16's noise."""

import re

# bf16 logits around 10 are 0.06 apart, and both servers round along the way.
NOISE, RELATIVE = 0.15, 0.02
MASKS = [(r"(?<![0-9A-Za-z])([0-9a-f]{32}|[0-9a-f]{16})\b", "<hex>")]
IDS = ("id", "request_id", "signature", "item_id", "call_id")
HEADERS = ["content-type", "allow", "location"]
LOGPROBS = ("logprobs", "prompt_logprobs")
TIMES = (
    "time_to_first_token_ms",
    "generation_time_ms",
    "queue_time_ms",
    "mean_itl_ms",
    "tokens_per_second",
)


def masked(value, key=""):
    """The value with everything masked that differs from run to run."""
    if isinstance(value, dict):
        return {k: masked(v, k) for k, v in value.items()}
    if isinstance(value, list):
        return [masked(v, key) for v in value]
    if key in TIMES and isinstance(value, float):
        return "<ms>"
    if key in ("created", "created_at"):
        return "<time>" if isinstance(value, int) else value
    if key in ("system_fingerprint", "version", "root"):
        return f"<{key}>" if isinstance(value, str) else value
    if isinstance(value, str) and key in IDS:
        for pattern, name in MASKS:
            value = re.sub(pattern, name, value)
    return value


def close(a, b):
    return abs(a - b) <= NOISE + RELATIVE * max(abs(a), abs(b))


def differences(want, have, path="", text="greedy", out=None):
    """Lines that say where `have` (ours) is not what `want` (vLLM's) is."""
    out = [] if out is None else out
    key = path.rsplit(".", 1)[-1]
    if text == "free" and key in (
        "content",
        "text",
        "token_ids",
        "finish_reason",
        "stop_reason",
        "completion_tokens",
        "total_tokens",
    ):
        if type(want) is not type(have) and want is not None and have is not None:
            out.append(f"{path}: vLLM has a {type(want).__name__}, we a {type(have).__name__}")
    elif key == "score" and isinstance(want, float) and isinstance(have, float):
        # A probability among labels, of which one logit in bf16 may be a step away.
        if abs(want - have) > 0.05:
            out.append(f"{path}: {have}, vLLM has {want}")
    elif key in LOGPROBS and want and have and not isinstance(want, int):
        logprobs(want, have, path, text, out)
    elif isinstance(want, dict) and isinstance(have, dict):
        if list(want) != list(have):
            gone, more = [k for k in want if k not in have], [k for k in have if k not in want]
            out.append(
                f"{path}: "
                + (f"missing {gone} " if gone else "")
                + (f"additional {more}" if more else "")
                if gone or more
                else f"{path}: the order of keys is {list(have)}, vLLM's {list(want)}"
            )
        for k in want:
            if k in have:
                differences(want[k], have[k], f"{path}.{k}", text, out)
    elif isinstance(want, list) and isinstance(have, list):
        if len(want) != len(have):
            out.append(f"{path}: {len(have)} elements, vLLM has {len(want)}")
        for i, (a, b) in enumerate(zip(want, have)):
            differences(a, b, f"{path}[{i}]", text, out)
    elif type(want) is not type(have) or want != have:
        out.append(f"{path}:\n      vLLM {short(want)}\n      ours {short(have)}")
    return out


def short(value):
    return repr(value) if len(repr(value)) < 600 else repr(value)[:600] + "..."


def logprobs(want, have, path, text, out):
    """A prompt's, a chat's or a completion's log probabilities."""
    if isinstance(want, list) and isinstance(have, list) and "token" in (want[0] or {}):
        response_logprobs(want, have, path, text, out)
    elif isinstance(want, list) and isinstance(have, list):
        prompt_logprobs(want, have, path, out)
    elif list(want) != list(have):
        out.append(f"{path}: keys {list(have)}, vLLM has {list(want)}")
    elif "content" in want and None in (want["content"], have["content"]):
        differences(want["content"], have["content"], f"{path}.content", text, out)
    elif "content" in want:
        if len(want["content"]) != len(have["content"]) and text == "greedy":
            out.append(f"{path}.content: {len(have['content'])} tokens, not {len(want['content'])}")
        for i, (a, b) in enumerate(zip(want["content"], have["content"])):
            chat_logprob(a, b, f"{path}.content[{i}]", text, out)
    else:
        completion_logprobs(want, have, path, text, out)


def prompt_logprobs(want, have, path, out):
    """None, then {id: {logprob, rank, decoded_token}}, the prompt's own token first."""
    if len(want) != len(have):
        out.append(f"{path}: {len(have)} positions, vLLM has {len(want)}")
    for i, (a, b) in enumerate(zip(want, have)):
        at = f"{path}[{i}]"
        if a is None or b is None or list(a)[:1] != list(b)[:1]:
            if a is not None or b is not None:
                out.append(f"{at}: {short(b)}, vLLM has {short(a)}")
            continue
        alternatives(*({k: v["logprob"] for k, v in x.items()} for x in (a, b)), at, out)
        for k in a.keys() & b.keys():
            same = list(a[k]) == list(b[k]) and a[k]["decoded_token"] == b[k]["decoded_token"]
            # Far down, tokens lie so close that noise moves a rank by a lot.
            if not same or abs(a[k]["rank"] - b[k]["rank"]) > max(1, 0.25 * a[k]["rank"]):
                out.append(f"{at}.{k}: {short(b[k])}, vLLM has {short(a[k])}")


def response_logprobs(want, have, path, text, out):
    """Those of the Responses API: a chat's, which in streams have no bytes."""
    if len(want) != len(have):
        out.append(f"{path}: {len(have)} tokens, vLLM has {len(want)}")
    for i, (a, b) in enumerate(zip(want, have)):
        chat_logprob(a, b, f"{path}[{i}]", text, out)


def chat_logprob(a, b, at, text, out):
    """{token, logprob, bytes, top_logprobs: [{token, logprob, bytes}]}"""
    if list(a) != list(b) or len(a["top_logprobs"]) != len(b["top_logprobs"]):
        out.append(f"{at}: {short(b)}, vLLM has {short(a)}")
    elif "token_id" in a:
        token_logprob(a, b, at, text, out)
    elif text == "greedy":
        same = (a["token"], a.get("bytes")) == (b["token"], b.get("bytes"))
        if not same or not close(a["logprob"], b["logprob"]):
            out.append(f"{at}: {short(b)}, vLLM has {short(a)}")
        tops = (x["top_logprobs"] for x in (a, b))
        named = [{(t["token"], str(t.get("bytes"))): t["logprob"] for t in top} for top in tops]
        alternatives(*named, f"{at}.top_logprobs", out)
        for token, sent in named[1].keys() - named[0].keys():
            if token and any(token == other for other, _ in named[0]):
                out.append(f"{at}.top_logprobs: {token!r} has the bytes {sent}")


def token_logprob(a, b, at, text, out):
    """{token_id, logprob, rank, top_logprobs: [{token_id, logprob, rank}]}"""
    if text == "greedy":
        if a["token_id"] != b["token_id"] or not close(a["logprob"], b["logprob"]):
            out.append(f"{at}: {short(b)}, vLLM has {short(a)}")
        tops = (x["top_logprobs"] for x in (a, b))
        alternatives(*({t["token_id"]: t["logprob"] for t in top} for top in tops), at, out)


def completion_logprobs(want, have, path, text, out):
    """{text_offset, token_logprobs, tokens, top_logprobs}"""
    greedy = text == "greedy"
    for k in ("text_offset", "tokens") if greedy else ():
        if want[k] != have[k]:
            out.append(f"{path}.{k}: {short(have[k])}, vLLM has {short(want[k])}")
    for i, (a, b) in enumerate(zip(want["token_logprobs"], have["token_logprobs"])):
        if (a is None) != (b is None) or a is not None and greedy and not close(a, b):
            out.append(f"{path}.token_logprobs[{i}]: {b}, vLLM has {a}")
    for i, (a, b) in enumerate(zip(want["top_logprobs"] or [], have["top_logprobs"] or [])):
        if (a is None) != (b is None):
            out.append(f"{path}.top_logprobs[{i}]: {short(b)}, vLLM has {short(a)}")
        elif a and greedy:
            alternatives(a, b, f"{path}.top_logprobs[{i}]", out)


def alternatives(a, b, path, out):
    """Two maps from token to log probability; at the lower end other tokens may have slipped in."""
    if len(a) != len(b):
        out.append(f"{path}: {len(b)} alternatives, vLLM has {len(a)}")
    low = min([*a.values(), *b.values()], default=0.0)
    for token in list(a) + [t for t in b if t not in a]:
        x, y = a.get(token, low), b.get(token, low)
        if not close(x, y):
            out.append(f"{path}[{token!r}]: {b.get(token)}, vLLM has {a.get(token)}")


def said(choice):
    """What a choice says: text, or else tokens."""
    holder = choice.get("message") or choice.get("delta") or {}
    if "text" in choice or holder:
        parts = [choice.get("text"), holder.get("reasoning"), holder.get("content")]
        return "".join(filter(None, parts))
    return "".join(f"{token}," for token in choice.get("token_ids") or [])


def joined(events):
    """The text of each choice of a stream."""
    texts = {}
    for event in events:
        for choice in event.get("choices", []) if isinstance(event, dict) else []:
            texts[choice["index"]] = texts.get(choice["index"], "") + said(choice)
    return texts


def texts(reply):
    if "events" in reply:
        return joined(reply["events"])
    if isinstance(reply.get("json"), dict):
        return {
            c["index"]: said(c) for c in reply["json"].get("choices", [])
        }
    return {}
