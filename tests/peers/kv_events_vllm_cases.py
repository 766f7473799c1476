"""What `kv_events_vllm.py` asks of both servers: what comes does not depend on the model."""

import functools

CASES = {}


def case(function):
    """Registers a case: a generator of requests for a block size."""

    @functools.wraps(function)
    def with_reset(size):
        yield from function(size)
        yield dict(path="/reset_prefix_cache", body=None, headers={}, exact=False)

    CASES[function.__name__] = with_reset
    return function


def tokens(seed, count):
    """A prompt that shares no block with those of other seeds."""
    return [seed % 1500 + 2] + [(seed * 7 + i * 13) % 1500 + 2 for i in range(1, count)]


def ask(prompt, generate=1, headers=None, exact=False, **more):
    """Generates the same token again and again: the servers need not agree on logits."""
    body = {
        "model": "tiny",
        "prompt": prompt,
        "max_tokens": generate,
        "ignore_eos": True,
        "temperature": 0,
        "allowed_token_ids": [77],
        **more,
    }
    return dict(path="/v1/completions", body=body, headers=headers or {}, exact=exact)


@case
def plain(size):
    """Every length around a boundary, and whole runs in one event."""
    for n, count in enumerate([1, size - 1, size, size + 1, 2 * size, 5 * size + 3]):
        yield ask(tokens(100 + n, count), exact=True)


@case
def again(size):
    """Repeated prompts; one of whole blocks computes its last block again."""
    for count in (3 * size, 3 * size + 1, 3 * size - 1):
        yield ask(tokens(1, count))
        yield ask(tokens(1, count))


@case
def shared_prefixes(size):
    base = tokens(2, 4 * size)
    yield ask(base + tokens(3, size + 5))
    yield ask(base + tokens(4, 2 * size))
    yield ask(base[: 2 * size + 7] + tokens(5, size))
    yield ask(base[: 2 * size])


@case
def decode_fills_blocks(size):
    """A sampled token counts once the next step has run."""
    for n, (count, generate) in enumerate(
        [(size - 1, 1), (size - 1, 2), (size - 1, 3), (size, size), (size, size + 1)]
        + [(size // 2, 2 * size), (2 * size + 1, 2 * size + 3)]
    ):
        yield ask(tokens(10 + n, count), generate)
    # What was generated serves as a prompt.
    yield ask(tokens(16, 2 * size + 1) + [77] * size + tokens(30, 9))


@case
def salts(size):
    prompt = tokens(40, 2 * size + 2)
    yield ask(prompt, cache_salt="one", exact=True)
    yield ask(prompt, cache_salt="two")
    yield ask(prompt, exact=True)
    yield ask(prompt, cache_salt="one")
    yield ask(prompt + tokens(41, size), cache_salt="one")


@case
def sessions(size):
    """From the body, the header or the extra arguments, in this order."""
    header = {"X-Session-ID": "header"}
    extra = {"session_id": "extra"}
    for n, (headers, more) in enumerate(
        [
            ({}, dict(session_id="body")),
            (header, {}),
            ({}, dict(vllm_xargs=extra)),
            (header, dict(session_id="body", vllm_xargs=extra)),
            (header, dict(vllm_xargs=extra)),
            (header, dict(session_id="", cache_salt="salt")),
        ]
    ):
        yield ask(tokens(50 + n, size + 1), 2, headers, exact=True, **more)


@case
def several_replies(size):
    """Copies of the same blocks, side by side."""
    yield ask(tokens(60, 2 * size + 3), 2 * size, n=2, temperature=1.0)
    yield ask(tokens(61, size - 2), size, n=3, temperature=1.0)
    yield ask([tokens(62, size + 1), tokens(62, size + 9)], 3)


@case
def evictions(size):
    """Few blocks: who goes, and in which order."""
    whole = 32 * 40 // size
    for n in range(6):
        yield ask(tokens(70 + n, (whole // 4) * size + 1))
    yield ask(tokens(75, (whole // 4) * size + 1))
    yield ask(tokens(73, (whole // 4) * size + size))
    yield ask(tokens(80, 1000), 20)
    yield ask(tokens(74, 3 * size), size)


@case
def resets(size):
    yield ask(tokens(90, 2 * size), 2)
    yield dict(path="/reset_prefix_cache", body=None, headers={}, exact=False)
    yield ask(tokens(90, 2 * size), 2)
    yield ask(tokens(91, 2 * size), size)


@case
def reports(size):
    """The whole prefix on request, though it is no news: it is told like a store."""
    report = dict(vllm_xargs={"kv_cache_report_mode": "full"})
    yield ask(tokens(95, 3 * size + 1), exact=True, **report)
    yield ask(tokens(95, 3 * size + 1), exact=True, **report)
    yield ask(tokens(95, 5 * size + 1), 2, exact=True, session_id="s", **report)
    yield ask(tokens(95, 2 * size), exact=True, cache_salt="x", **report)
