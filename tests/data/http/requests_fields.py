"""Fields with an effect of their own, alone and together."""

import json

from requests_base import *  # noqa: F403
from requests_base import C, P, raw

FOX = [{"role": "user", "content": "Tell me a story about a fox named Mira."}]
JAPAN = "The capital of Japan is"
FIELDS = {"content-type": "application/json"}

# --- beam search
both("beam alone", use_beam_search=True, n=1, max_tokens=6)
for n in (2, 3, 4):
    chat(f"beam {n}", use_beam_search=True, n=n, max_tokens=6, messages=FOX)
    cmpl(f"beam {n}", use_beam_search=True, n=n, max_tokens=6, prompt=JAPAN)
for penalty in (0.0, 0.5, 2.0, -1.0):
    cmpl(f"beam penalty {penalty}", use_beam_search=True, n=3, length_penalty=penalty, max_tokens=8)
    chat(f"beam penalty {penalty}", use_beam_search=True, n=2, length_penalty=penalty,
         max_tokens=24)
both("beam ends", use_beam_search=True, n=3, max_tokens=40)
both("beam ignores ends", use_beam_search=True, n=2, max_tokens=30, ignore_eos=True)
both("beam end shown", use_beam_search=True, n=3, max_tokens=40, include_stop_str_in_output=True)
both("beam special shown", use_beam_search=True, n=2, max_tokens=30, skip_special_tokens=False)
chat("beam logprobs", use_beam_search=True, n=2, max_tokens=3, logprobs=True, top_logprobs=2)
cmpl("beam logprobs", use_beam_search=True, n=2, max_tokens=3, logprobs=2)
cmpl("beam logprobs 0", use_beam_search=True, n=2, max_tokens=3, logprobs=0)
both("beam ids", use_beam_search=True, n=2, max_tokens=3, return_token_ids=True)
both("beam echo", use_beam_search=True, n=2, max_tokens=3, echo=True)
both("beam and stop", use_beam_search=True, n=2, max_tokens=8, stop=["a"])
both("beam temperature", use_beam_search=True, n=2, max_tokens=4, temperature=0.5)
both("beam hot", use_beam_search=True, n=2, max_tokens=4, temperature=2.5)
both("beam cold", use_beam_search=True, n=2, max_tokens=4, temperature=-1)
both("beam default temperature", drop=["temperature"], use_beam_search=True, n=2, max_tokens=4)
both("beam 0", use_beam_search=True, n=0)
both("beam 11", use_beam_search=True, n=11)
both("beam 16385", use_beam_search=True, n=16385)
both("beam max_tokens 0", use_beam_search=True, n=2, max_tokens=0)
both("beam bad top_p", use_beam_search=True, n=2, max_tokens=2, top_p=3)
both("beam prompt_logprobs", use_beam_search=True, n=2, max_tokens=2, prompt_logprobs=1)
both("beam structured", use_beam_search=True, n=2, max_tokens=2, structured_outputs={"regex": "a"})
both("beam bad words", use_beam_search=True, n=2, max_tokens=2, bad_words=["a"])
cmpl("beam prompts", use_beam_search=True, n=2, max_tokens=3, prompt=["a b c", "1 2 3"])
cmpl("beam empty prompt", use_beam_search=True, n=2, max_tokens=3, prompt=[[]])
cmpl("beam outside prompt", use_beam_search=True, n=2, max_tokens=3, prompt=[99999])
both("beam to the context", use_beam_search=True, n=2, max_tokens=3, cache_salt="x")
cmpl("beam stream", use_beam_search=True, stream=True)
chat("beams stream", use_beam_search=True, stream=True, n=2, max_tokens=3)
chat("beams stream usage", use_beam_search=True, stream=True, n=2, max_tokens=3,
     stream_options={"include_usage": True})
chat("beams stream logprobs", use_beam_search=True, stream=True, n=2, max_tokens=3,
     logprobs=True, top_logprobs=2)

# --- log-probabilities of chosen tokens
for name, ids in dict(one=[5], three=[7, 5, 11], twice=[5, 5, 7], none=[]).items():
    chat(f"logprob ids {name}", logprobs=True, logprob_token_ids=ids)
    cmpl(f"logprob ids {name}", logprobs=0, logprob_token_ids=ids)
chat("logprob ids and top", logprobs=True, top_logprobs=2, logprob_token_ids=[5, 7, 9])
cmpl("logprob ids and count", logprobs=3, logprob_token_ids=[5, 7, 9])
both("logprob ids stream", logprobs=1, logprob_token_ids=[5, 7], stream=True)
both("logprob ids as ids", logprobs=1, logprob_token_ids=[5, 7], return_tokens_as_token_ids=True)
both("logprob ids echo", logprobs=1, logprob_token_ids=[5, 7], echo=True)
both("logprob ids prompt_logprobs", logprobs=1, logprob_token_ids=[5, 7], prompt_logprobs=1)
both("logprob ids 128", logprobs=1, logprob_token_ids=list(range(128)), max_tokens=1)
both("logprob ids 129", logprobs=1, logprob_token_ids=list(range(129)), max_tokens=1)
both("logprob ids outside", logprobs=1, logprob_token_ids=[5, 2048, -1])
both("logprob ids sampled", logprobs=1, logprob_token_ids=[5], temperature=1, seed=4)
both("logprobs -1", logprobs=-1)
chat("top_logprobs -1", logprobs=True, top_logprobs=-1)
both("prompt_logprobs -1", prompt_logprobs=-1)
both("prompt_logprobs true", prompt_logprobs=True)
both("prompt_logprobs 0", prompt_logprobs=0)
both("prompt_logprobs 20", prompt_logprobs=20)
chat("echo logprobs", echo=True, logprobs=True, top_logprobs=1)

# --- repetition

both("repetition", repetition_detection={"max_pattern_size": 1, "min_count": 3},
     allowed_token_ids=[40], max_tokens=9)
both("repetition stream", repetition_detection={"max_pattern_size": 2, "min_count": 3},
     allowed_token_ids=[40], max_tokens=9, stream=True)
both("repetition of two", allowed_token_ids=[40], max_tokens=9, return_token_ids=True,
     repetition_detection={"max_pattern_size": 3, "min_pattern_size": 2, "min_count": 2})
both("repetition after min_tokens", min_tokens=6, allowed_token_ids=[40], max_tokens=9,
     repetition_detection={"max_pattern_size": 1, "min_count": 2})
both("repetition off", repetition_detection={}, allowed_token_ids=[40], max_tokens=9)
both("repetition min alone", repetition_detection={"min_count": 5}, allowed_token_ids=[40])
both("repetition at the end", repetition_detection={"max_pattern_size": 1, "min_count": 3},
     allowed_token_ids=[40], max_tokens=3)
both("repetition and stop", repetition_detection={"max_pattern_size": 1, "min_count": 3},
     allowed_token_ids=[40], max_tokens=9, stop_token_ids=[40])

# --- marks on the reply
both("watermarking true", watermarking=True)
both("watermarking false", watermarking=False)
both("token offsets", return_token_offsets=True)
both("interval", stream=True, stream_interval=3, max_tokens=8, ignore_eos=True)
both("interval ids", stream=True, stream_interval=5, max_tokens=8, ignore_eos=True,
     return_token_ids=True)
both("interval 0", stream=True, stream_interval=0)
both("interval alone", stream_interval=4)
both("usage n stream", stream=True, n=2, temperature=1, seed=3,
     stream_options={"include_usage": True})
cmpl("usage prompts stream", stream=True, prompt=["a", "b"],
     stream_options={"include_usage": True})
both("priority", priority=-3)
both("priority string", priority="7")
both("priority big", priority=2**63)
both("session", session_id="s-1")
both("xargs", vllm_xargs={"a": 1, "b": "x", "c": [1, 2.5, "y"]})
both("xargs object", vllm_xargs={"a": {"b": 1}})
both("xargs big", vllm_xargs={"a": 2**64})
both("xargs report", vllm_xargs={"kv_cache_report_mode": "full"})
both("transfer params", kv_transfer_params={"do_remote_decode": True, "do_remote_prefill": False})
both("transfer params remote", kv_transfer_params={"do_remote_prefill": True})
both("transfer params empty", kv_transfer_params={})
both("transfer params big", kv_transfer_params={"x": 2**70})
both("encoder transfer params", ec_transfer_params={"a": 1})
both("best_of", best_of=3)
for name in ("json", "regex", "choice", "grammar", "decoding_backend", "whitespace_pattern"):
    both(f"guided {name}", **{f"guided_{name}": "a"})
both("experts start 0", routed_experts_prompt_start=0)
both("experts start beyond", routed_experts_prompt_start=5000)
both("user", user="me")
both("suffix", suffix="end")
cmpl("suffix echo", suffix="end", echo=True)
cmpl("embeds", prompt_embeds="AAAA")
cmpl("embeds alone", drop=["prompt"], prompt_embeds="AAAA")
cmpl("embeds empty", drop=["prompt"], prompt_embeds=[])
both("mm payload", mm_payload="none")
both("mm payload bad", mm_payload="x")
both("mm kwargs alias", return_mm_kwargs=False)
both("thinking budget", thinking_token_budget=5)
both("thinking budget off", thinking_token_budget=-1)
both("thinking budget bad", thinking_token_budget=-2)
chat("prompt text ids", return_prompt_text=True, return_token_ids=True)
chat("prompt text ids stream", return_prompt_text=True, return_token_ids=True, stream=True)
cmpl("prompt text", return_prompt_text=True)
both("truncate 3", truncate_prompt_tokens=3, return_token_ids=True)
both("truncate right", truncate_prompt_tokens=3, truncation_side="right", return_token_ids=True)
both("truncate -1", truncate_prompt_tokens=-1, return_token_ids=True)
both("truncate -2", truncate_prompt_tokens=-2)
both("truncate side bad", truncate_prompt_tokens=3, truncation_side="up")
both("truncate string", truncate_prompt_tokens="4", return_token_ids=True)
for kind in ("TEXT", "json", "xml"):
    for path, body in ((P, CHAT), (C, CMPL)):
        heads = {**FIELDS, "endpoint-load-metrics-format": kind}
        raw(f"load {kind} {path}", "POST", path, json.dumps(body), heads)
        raw(f"load {kind} {path} stream", "POST", path, json.dumps({**body, "stream": True}), heads)
for rank in ("0", "1", "-1", "x", " 0 ", "1_0", "2.0"):
    for path, body in ((P, CHAT), (C, CMPL)):
        heads = {**FIELDS, "X-data-parallel-rank": rank}
        raw(f"rank {rank} {path}", "POST", path, json.dumps(body), heads)
        raw(f"rank {rank} {path} stream", "POST", path, json.dumps({**body, "stream": True}), heads)
for value in ("3", "x", "-1", "99999999999999999999"):
    raw(f"priority header {value}", "POST", P, json.dumps(CHAT),
        {**FIELDS, "X-Vllm-Priority": value})
raw("session header", "POST", C, json.dumps(CMPL), {**FIELDS, "X-Session-ID": "abc"})

# --- bounds
both("allowed ids all", allowed_token_ids=list(range(2048)))
both("stop ids many", stop_token_ids=list(range(100, 228)))
both("bias many", logit_bias={str(t): 0 for t in range(1024)})
both("bad words many", bad_words=[f"w{i}" for i in range(64)])
both("bad words too many", bad_words=[f"w{i}" for i in range(200)])
both("min_tokens", min_tokens=4, max_tokens=6)
both("ignore_eos", ignore_eos=True, max_tokens=20)
both("stop at", stop=["e", "a"], max_tokens=20)
both("stop kept", stop=["e", "a"], max_tokens=20, include_stop_str_in_output=True)
both("stop stream", stop=["the"], max_tokens=20, stream=True)
both("stop min_tokens", stop=["e"], max_tokens=20, min_tokens=5)
both("penalties", presence_penalty=1, frequency_penalty=-0.5, repetition_penalty=1.3, max_tokens=12)
both("bias", logit_bias={"40": 100}, max_tokens=3)
both("bias against", logit_bias={"40": -100, "5": 3.5}, max_tokens=6)
both("temperature tiny", temperature=1e-9, max_tokens=4)
