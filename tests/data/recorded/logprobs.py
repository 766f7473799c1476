"""Records the log-probabilities of vLLM 0.32 in each --logprobs-mode. For one mode:

    vllm serve models/qwen3-tiny --served-model-name tiny --max-model-len 512 --block-size 32 \
        --logprobs-mode processed_logprobs
    python3 logprobs.py http://127.0.0.1:8000 processed_logprobs >> logprobs-0.32.jsonl

Greedy requests are compared token by token; of sampled ones only the first position is asked for,
since what is drawn there is the sampler's own business. `tests/serve/logprobs.rs` compares.
"""

import json
import sys
import urllib.request

PROMPT = "What is the capital of France? The capital of"
GREEDY = {"temperature": 0, "max_tokens": 6}
SAMPLED = {"max_tokens": 1, "seed": 7}
ASKED = [
    {**GREEDY},
    {**GREEDY, "echo": True},
    {**GREEDY, "repetition_penalty": 1.5, "presence_penalty": 1.0, "frequency_penalty": 0.5},
    {**GREEDY, "logit_bias": {"300": 20, "301": -50}, "min_tokens": 6},
    {**GREEDY, "allowed_token_ids": [300, 301, 302, 303, 304, 305, 306, 307]},
    {**GREEDY, "top_k": 2, "top_p": 0.5, "min_p": 0.5},
    {**SAMPLED, "temperature": 0.5},
    {**SAMPLED, "temperature": 2.0},
    {**SAMPLED, "temperature": 1.5, "top_k": 3},
    {**SAMPLED, "temperature": 1.5, "top_p": 0.9},
    {**SAMPLED, "temperature": 2.0, "min_p": 0.1},
    {**SAMPLED, "temperature": 2.0, "top_k": 5, "top_p": 0.95, "min_p": 0.01},
    {**SAMPLED, "temperature": 0.7, "presence_penalty": 1.5, "repetition_penalty": 1.2},
    {**GREEDY, "max_tokens": 2, "structured_outputs": {"choice": ["Paris", "Rome"]}},
]


def post(url, path, body):
    head = {"content-type": "application/json"}
    request = urllib.request.Request(url + path, json.dumps(body).encode(), head)
    with urllib.request.urlopen(request) as reply:
        return json.loads(reply.read())


def main():
    url, mode = sys.argv[1:]
    for asked in ASKED:
        body = {"model": "tiny", "prompt": PROMPT, "logprobs": 5, **asked}
        body["return_tokens_as_token_ids"] = True
        if "structured_outputs" not in asked:
            logprobs = post(url, "/v1/completions", body)["choices"][0]["logprobs"]
            print(json.dumps({"mode": mode, "path": "/v1/completions", "body": body,
                              "tokens": logprobs["tokens"],
                              "logprobs": logprobs["token_logprobs"],
                              "top": logprobs["top_logprobs"]}))
        if "echo" in asked:
            continue
        body.pop("prompt")
        body.update(messages=[{"role": "user", "content": "What is the capital of France?"}],
                    logprobs=True, top_logprobs=5, chat_template_kwargs={"enable_thinking": False})
        content = post(url, "/v1/chat/completions", body)["choices"][0]["logprobs"]["content"]
        print(json.dumps({"mode": mode, "path": "/v1/chat/completions", "body": body,
                          "tokens": [one["token"] for one in content],
                          "logprobs": [one["logprob"] for one in content],
                          "top": [{top["token"]: top["logprob"] for top in one["top_logprobs"]}
                                  for one in content]}))


main()
