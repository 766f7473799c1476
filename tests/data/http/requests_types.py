"""Fields of the wrong type."""

from requests_base import *  # noqa: F403

# --- fields: wrong types
for name, value in [
    ("string", "abc"),
    ("numeric string", "3"),
    ("float string", "1.5"),
    ("float", 1.5),
    ("whole float", 3.0),
    ("list", [1]),
    ("object", {"a": 1, "b": 2}),
    ("true", True),
    ("empty string", ""),
    ("spaced", " 7 "),
    ("underscore", "1_0"),
    ("long string", "x" * 300),
    ("many digits", "9" * 4301),
    ("plus", "+4"),
    ("exp", "1e2"),
    ("quote", "it's"),
    ("both quotes", "a'b\"c"),
    ("control", "a\n\u0001é\u00a0\u200b\U0001f600"),
]:
    both("n " + name, n=value)
for name, value in [
    ("string", "abc"),
    ("float string", "0.5x"),
    ("list", []),
    ("object", {}),
    ("true", True),
    ("inf string", "inf"),
    ("nan string", "nan"),
    ("empty string", ""),
    ("big int", 10**400),
    ("underscore", "1_0"),
]:
    both("temperature " + name, temperature=value)
for name, value in [
    ("string", "abc"),
    ("yes", "yes"),
    ("on", "ON"),
    ("1", 1),
    ("2", 2),
    ("0.0", 0.0),
    ("1.0", 1.0),
    ("1.5", 1.5),
    ("list", []),
    ("null", None),
    ("t", "t"),
    ("tRue", "tRue"),
]:
    both("ignore_eos " + name, ignore_eos=value)
    chat("logprobs " + name, logprobs=value)
for name, value in [("list", []), ("number", 1), ("null", None), ("true", True)]:
    both("model " + name, model=value)
both("model unknown", model="nope")
both("model empty", model="")
both("user number", user=3)
both("request_id null", request_id=None)
both("request_id number", request_id=3)
both("session_id number", session_id=3)
for field in [
    "frequency_penalty",
    "presence_penalty",
    "repetition_penalty",
    "top_p",
    "min_p",
    "length_penalty",
    "top_k",
    "max_tokens",
    "seed",
    "min_tokens",
    "prompt_logprobs",
    "truncate_prompt_tokens",
    "priority",
    "stream_interval",
    "routed_experts_prompt_start",
]:
    both(field + " string", **{field: "x"})
    both(field + " null", **{field: None})
    both(field + " list", **{field: [1, 2]})
for field in [
    "stream",
    "include_stop_str_in_output",
    "skip_special_tokens",
    "spaces_between_special_tokens",
    "echo",
    "add_special_tokens",
    "return_tokens_as_token_ids",
    "return_token_ids",
    "use_beam_search",
    "watermarking",
    "return_token_offsets",
    "return_mm_kwargs",
]:
    both(field + " string", **{field: "x"})
    both(field + " object", **{field: {}})
for field in [
    "add_generation_prompt",
    "continue_final_message",
    "include_reasoning",
    "parallel_tool_calls",
    "return_prompt_text",
]:
    chat(field + " string", **{field: "x"})
both("stream null", stream=None)
chat("include_reasoning null", include_reasoning=None)
chat("max_completion_tokens string", max_completion_tokens="x")
chat("top_logprobs string", logprobs=True, top_logprobs="3")
chat("top_logprobs float", logprobs=True, top_logprobs=1.5)
chat("top_logprobs true", logprobs=True, top_logprobs=True)
chat("top_logprobs list", logprobs=True, top_logprobs=[])
chat("top_logprobs null", logprobs=True, top_logprobs=None)
