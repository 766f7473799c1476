#!/usr/bin/env python3
"""Records how the real vLLM 0.32 answers a fixed list of requests, most of them bad ones.

    vllm serve models/qwen3-tiny --served-model-name qwen3-tiny alias-b --max-model-len 4096 \
        --block-size 64 --enable-prompt-tokens-details --port 8391
    python3 record.py 127.0.0.1:8391 > replies.jsonl

The other recordings, each with these flags and some more:

    --enable-scale-out --enable-per-request-metrics
    python3 record.py 127.0.0.1:8391 fields > fields.jsonl

    --enable-request-id-headers --api-key secret --root-path /api \
        --allowed-origins '["http://a.example", "http://b.example"]'
    python3 record.py 127.0.0.1:8391 transport > transport.jsonl
    (one served name, and without --enable-prompt-tokens-details)

    VLLM_SERVER_DEV_MODE=1 and --enable-tokenizer-info-endpoint
    python3 record.py 127.0.0.1:8391 operations > operations.jsonl

    --enable-scale-out --reasoning-parser qwen3 --enable-auto-tool-choice --tool-call-parser hermes
    python3 record.py 127.0.0.1:8391 messages > messages.jsonl

    --enable-scale-out --reasoning-parser qwen3 --enable-auto-tool-choice --tool-call-parser hermes
    --served-model-name tiny --max-model-len 2048 --block-size 32, the second time with
    VLLM_ENABLE_RESPONSES_API_STORE=1 as well
    python3 record.py 127.0.0.1:8391 responses > responses.jsonl
    python3 record.py 127.0.0.1:8391 responses_store > responses_store.jsonl

    VLLM_ALLOW_RUNTIME_LORA_UPDATING=1, --served-model-name tiny
    python3 record.py 127.0.0.1:8391 adapters > adapters.jsonl

    --skip-tokenizer-init --enable-scale-out --enable-tokenizer-info-endpoint
    --served-model-name tiny --max-model-len 512, without --enable-prompt-tokens-details
    python3 record.py 127.0.0.1:8391 no_tokenizer > no_tokenizer.jsonl

    --enable-scale-out --reasoning-parser qwen3 --enable-auto-tool-choice
    with --tool-call-parser hermes, then with --tool-call-parser qwen3_coder
    python3 record.py 127.0.0.1:8391 parsed > parsed_hermes.jsonl
    python3 record.py 127.0.0.1:8391 parsed > parsed_xml.jsonl

Each line is a fact: what was sent, which status and body came back. `tests/http_api/golden.rs`
sends the same bytes to Glassbox and compares. Replies that hold ids, times or generated text are
compared by shape, the others byte for byte. `tests/serve/` compares text as well.
"""

import http.client
import importlib
import json
import sys

from requests_base import cases

SETS = {
    "replies": ["bodies", "types", "ranges", "prompts", "replies"],
    "fields": ["fields", "scale_out", "batches"],
    "transport": ["transport"],
    "operations": ["operations"],
    "responses": ["responses", "responses_refused"],
    "responses_store": ["responses_store"],
    "adapters": ["adapters"],
    "no_tokenizer": ["no_tokenizer"],
    "parsed": ["parsed_derender", "parsed_render"],
    "messages": ["messages_bodies", "messages_chats", "messages_replies"],
}


def main():
    host, port = sys.argv[1].rsplit(":", 1)
    for name in SETS[sys.argv[2] if len(sys.argv) > 2 else "replies"]:
        importlib.import_module(f"requests_{name}")
    only = sys.argv[3] if len(sys.argv) > 3 else None
    for case in cases:
        if only and only not in case["name"]:
            continue
        body = None if case["body"] is None else case["body"].encode()
        if "hex" in case:
            body = bytes.fromhex(case["hex"])
        if "repeat" in case:
            before, unit, count, after = case["repeat"]
            body = (before + unit * count + after).encode()
        conn = http.client.HTTPConnection(host, int(port), timeout=120)
        conn.request(case["method"], case["path"], body, case["headers"])
        reply = conn.getresponse()
        try:
            data = reply.read().decode()
        except http.client.IncompleteRead:
            # It broke off, which is nothing to compare with.
            print(f"not recorded: {case['name']}", file=sys.stderr)
            continue
        if case["path"] == "/metrics":
            # Its numbers are of that moment.
            data = ""
        skip = ("date", "connection", "transfer-encoding")
        heads = sorted([k.lower(), v] for k, v in reply.getheaders() if k.lower() not in skip)
        line = {**case, "status": reply.status, "reply_headers": heads, "reply": data}
        print(json.dumps(line, ensure_ascii=False))
        conn.close()


main()
