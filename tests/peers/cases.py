"""The requests that are sent to vLLM and to Glassbox alike; refused.py holds those they refuse.

A case is a dict: `name`, `method`, `path`, `headers`, `body` (bytes are sent as they are), and
  text   "greedy": the generated text must be the same; "free": only its form is (sampled text)
  apart  why the case is recorded but not compared: a feature to come, a deliberate difference
"""

MODEL = "qwen3-tiny"
DOORS = (
    "The code of the red door is 4821. The code of the blue box is 1907. "
    "What is the code of the blue box?"
)
TOOL = {
    "type": "function",
    "function": {
        "name": "get_weather",
        "description": "Get the current weather for a city.",
        "parameters": {
            "type": "object",
            "properties": {"city": {"type": "string", "description": "The name of the city."}},
            "required": ["city"],
        },
    },
}
CASES = []


def case(name, method, path, body=None, headers=None, text="greedy", apart=None):
    assert all(c["name"] != name for c in CASES), name
    CASES.append(
        dict(
            name=name,
            method=method,
            path=path,
            body=body,
            headers=headers or {},
            text=text,
            apart=apart,
        )
    )


def user(text):
    return [{"role": "user", "content": text}]


def chat(name, ask="Who are you?", headers=None, text="greedy", apart=None, drop=(), **fields):
    body = dict(
        model=MODEL,
        messages=user(ask) if isinstance(ask, str) else ask,
        temperature=0,
        max_tokens=24,
        chat_template_kwargs={"enable_thinking": False},
    )
    body.update(fields)
    case(
        name,
        "POST",
        "/v1/chat/completions",
        {k: v for k, v in body.items() if k not in drop},
        headers,
        text,
        apart,
    )


def completion(
    name,
    prompt="The capital of Japan is",
    headers=None,
    text="greedy",
    apart=None,
    drop=(),
    **fields,
):
    body = dict(model=MODEL, prompt=prompt, temperature=0, max_tokens=8)
    body.update(fields)
    case(
        name,
        "POST",
        "/v1/completions",
        {k: v for k, v in body.items() if k not in drop},
        headers,
        text,
        apart,
    )


# --- Plain endpoints ---------------------------------------------------------------------------
for path in ("/health", "/ping", "/version", "/v1/models"):
    case(f"get {path}", "GET", path)
case("post /ping", "POST", "/ping")
case("unknown path", "GET", "/nothing/here")
case("wrong method", "GET", "/v1/chat/completions")
case("trailing slash", "GET", "/v1/models/")
case("not a generate route", "POST", "/v1/embeddings", {"model": MODEL, "input": "x"})

# --- Chat --------------------------------------------------------------------------------------
chat("chat")
chat("chat, thinking", "What is the capital of France?", chat_template_kwargs={}, max_tokens=64)
chat("chat, recall", DOORS)
chat("chat, to the end", "What is prefix caching?", max_tokens=100)
chat("chat, cut", "Tell me a story about a fox named Mira.", max_tokens=5)
chat("chat, no max_tokens", "Hello", drop=["max_tokens"])
chat(
    "chat, max_completion_tokens wins",
    "Tell me a story about a fox named Mira.",
    max_completion_tokens=3,
)
chat(
    "chat, turns",
    [
        {"role": "system", "content": "Answer briefly."},
        {"role": "user", "content": "Hello"},
        {"role": "assistant", "content": "Hello! How can I help you?"},
        {"role": "user", "content": "Who are you?"},
    ],
)
chat(
    "chat, content parts",
    [
        {
            "role": "user",
            "content": [{"type": "text", "text": "Who are "}, {"type": "text", "text": "you?"}],
        }
    ],
)
chat(
    "chat, developer role",
    [
        {"role": "developer", "content": "Answer briefly."},
        {"role": "user", "content": "Who are you?"},
    ],
)
chat("chat, no model", drop=["model"])
chat("chat, logprobs", logprobs=True, top_logprobs=3, max_tokens=6)
chat("chat, logprobs without alternatives", logprobs=True, max_tokens=4)
chat("chat, token ids", return_token_ids=True, max_tokens=4)
chat(
    "chat, tokens as ids",
    return_tokens_as_token_ids=True,
    logprobs=True,
    top_logprobs=1,
    max_tokens=3,
)
chat("chat, prompt_logprobs", "Hi", prompt_logprobs=1, max_tokens=2)
chat("chat, stop string", stop="small", max_tokens=40)
chat("chat, stop string kept", stop=["small"], include_stop_str_in_output=True, max_tokens=40)
chat("chat, stop across tokens", stop=["ry sma", "zzz"], max_tokens=40)
chat("chat, stop_token_ids", stop_token_ids=[1, 2024], max_tokens=40)
chat("chat, ignore_eos", "Thanks!", ignore_eos=True, max_tokens=12)
chat("chat, min_tokens", "Thanks!", min_tokens=8, max_tokens=12)
chat(
    "chat, special tokens shown",
    "Thanks!",
    skip_special_tokens=False,
    ignore_eos=True,
    max_tokens=9,
)
chat(
    "chat, echo",
    echo=True,
    add_generation_prompt=False,
    continue_final_message=True,
    ask=[
        {"role": "user", "content": "Who are you?"},
        {"role": "assistant", "content": "I am qwen3-tiny, a very"},
    ],
)
chat(
    "chat, continue without the flag",
    continue_final_message=True,
    ask=[{"role": "user", "content": "Who are you?"}, {"role": "assistant", "content": "I am"}],
)
chat("chat, no generation prompt", add_generation_prompt=False, max_tokens=4)
chat("chat, n", text="free", n=3, temperature=0.9, seed=7, max_tokens=6)
chat(
    "chat, sampled",
    text="free",
    temperature=0.8,
    top_p=0.9,
    top_k=20,
    min_p=0.05,
    seed=11,
    max_tokens=8,
)
chat("chat, server defaults", text="free", drop=["temperature"], max_tokens=8)
chat(
    "chat, penalties",
    repetition_penalty=1.2,
    presence_penalty=0.5,
    frequency_penalty=0.5,
    max_tokens=10,
)
chat("chat, logit_bias", logit_bias={"2024": -100}, ask="Thanks!", max_tokens=7)
chat(
    "chat, allowed_token_ids",
    allowed_token_ids=[40, 41, 42],
    max_tokens=4,
    logprobs=True,
    top_logprobs=1,
)
chat("chat, bad_words", bad_words=["small", " small"], max_tokens=16)
chat("chat, truncated prompt", truncate_prompt_tokens=9, max_tokens=3, return_token_ids=True)
for side in ("left", "right"):
    chat(
        f"chat, prompt truncated {side}",
        truncate_prompt_tokens=9,
        truncation_side=side,
        max_tokens=3,
        return_token_ids=True,
    )
chat("chat, request id header", headers={"X-Request-Id": "abc-1"}, max_tokens=2)
chat("chat, request id field", request_id="mine", max_tokens=2)
chat("chat, unknown field", future_field={"a": 1}, max_tokens=2)
chat("chat, strings for numbers", max_tokens="3", temperature="0.0")
chat("chat, priority under fcfs", priority=5, max_tokens=2)
chat("chat, cache_salt", cache_salt="pepper", max_tokens=2)
chat("chat, top_p 1 and top_k -1", top_p=1, top_k=-1, max_tokens=3)
chat(
    "chat, null fields",
    top_p=None,
    top_k=None,
    seed=None,
    stop=None,
    n=None,
    logit_bias=None,
    max_tokens=3,
)
chat("chat, text format", response_format={"type": "text"}, max_tokens=3)
PERSON = {
    "type": "object",
    "properties": {"name": {"type": "string", "maxLength": 12}, "age": {"type": "integer"}},
    "required": ["name", "age"],
}
for name, constraint in (
    ("choice", {"choice": ["red", "green", "dark blue"]}),
    ("regex", {"regex": "[0-9]{3}-[0-9]{4}"}),
    ("schema", {"json": PERSON}),
    ("grammar", {"grammar": 'root ::= "(" root ")" | [a-z]{3}'}),
):
    chat(f"chat, {name}", structured_outputs=constraint, max_tokens=40)
    chat(f"chat, {name}, stream", structured_outputs=constraint, max_tokens=40, stream=True)
    chat(f"chat, {name}, sampled", structured_outputs=constraint, temperature=1, text="free")
SCHEMA_FORMAT = {"type": "json_schema", "json_schema": {"name": "person", "schema": PERSON}}
chat("chat, schema format", response_format=SCHEMA_FORMAT, max_tokens=40)
chat(
    "chat, tools and none",
    "What is the weather in Paris?",
    tools=[TOOL],
    tool_choice="none",
)

# --- Chat streams ------------------------------------------------------------------------------
chat("stream", stream=True)
chat("stream, usage", stream=True, stream_options={"include_usage": True}, max_tokens=5)
chat(
    "stream, running usage",
    stream=True,
    stream_options={"include_usage": True, "continuous_usage_stats": True},
    max_tokens=4,
)
chat(
    "stream, running usage alone",
    stream=True,
    stream_options={"continuous_usage_stats": True},
    max_tokens=3,
)
chat("stream, logprobs", stream=True, logprobs=True, top_logprobs=2, max_tokens=4)
chat("stream, token ids", stream=True, return_token_ids=True, max_tokens=3)
chat("stream, stop string", stream=True, stop=["small"], max_tokens=40)
chat(
    "stream, stop string kept",
    stream=True,
    stop=["small"],
    include_stop_str_in_output=True,
    max_tokens=40,
)
chat("stream, stop_token_ids", stream=True, stop_token_ids=[2024], max_tokens=40)
chat("stream, characters of several tokens", "Repeat: river 🌍 house", stream=True, max_tokens=16)
chat(
    "stream, echo",
    apart="vLLM trips over its own schema",
    stream=True,
    echo=True,
    add_generation_prompt=False,
    continue_final_message=True,
    ask=[
        {"role": "user", "content": "Who are you?"},
        {"role": "assistant", "content": "I am qwen3-tiny, a very"},
    ],
)
chat("stream, n", stream=True, text="free", n=2, temperature=0.9, seed=3, max_tokens=4)
chat("stream, one token", stream=True, max_tokens=1)

# --- Completions -------------------------------------------------------------------------------
completion("completion")
completion("completion, default length", drop=["max_tokens"])
completion("completion, several prompts", prompt=["The capital of Japan is", "Once upon a time"])
completion("completion, token prompt", prompt=[51, 360, 1129])
completion("completion, token prompts", prompt=[[51, 360], [1129, 12, 77]], max_tokens=3)
completion(
    "completion, n",
    text="free",
    n=2,
    temperature=1.0,
    seed=5,
    prompt=["1, 2,", "A, B,"],
    max_tokens=3,
)
completion("completion, echo", echo=True, max_tokens=4)
completion("completion, echo alone", echo=True, max_tokens=0)
completion("completion, echo and logprobs", echo=True, logprobs=2, max_tokens=3)
completion(
    "completion, echo of a token prompt",
    echo=True,
    prompt=[51, 360, 1129],
    logprobs=0,
    max_tokens=1,
)
completion("completion, logprobs", logprobs=3, max_tokens=4)
completion("completion, logprobs 0", logprobs=0, max_tokens=3)
completion("completion, logprobs true", logprobs=True, max_tokens=2)
completion("completion, prompt_logprobs", prompt_logprobs=2, max_tokens=2)
completion("completion, prompt_logprobs 0", prompt_logprobs=0, max_tokens=1)
completion("completion, token ids", return_token_ids=True, max_tokens=3)
completion(
    "completion, truncated prompt", truncate_prompt_tokens=3, return_token_ids=True, max_tokens=2
)
completion("completion, stop", prompt="1, 2, 3, 4,", stop=[" 7"], max_tokens=20)
completion(
    "completion, sampled with logprobs",
    text="free",
    temperature=1.2,
    seed=1,
    logprobs=2,
    max_tokens=4,
)
completion("completion, no special tokens", add_special_tokens=False, max_tokens=2)
completion("completion stream", stream=True, max_tokens=5)
completion(
    "completion stream, usage", stream=True, stream_options={"include_usage": True}, max_tokens=3
)
completion(
    "completion stream, running usage",
    stream=True,
    max_tokens=3,
    stream_options={"include_usage": True, "continuous_usage_stats": True},
)
completion("completion stream, logprobs", stream=True, logprobs=2, max_tokens=3)
completion("completion stream, echo", stream=True, echo=True, max_tokens=3)
completion("completion stream, echo and logprobs", stream=True, echo=True, logprobs=1, max_tokens=2)
completion("completion stream, echo alone", stream=True, echo=True, max_tokens=0)
completion("completion stream, stop", stream=True, prompt="1, 2, 3, 4,", stop=[" 7"], max_tokens=20)

# --- Tokens ------------------------------------------------------------------------------------
case(
    "tokenize",
    "POST",
    "/tokenize",
    {"model": MODEL, "prompt": "Hello 🌍, 42 stones", "return_token_strs": True},
)
case("tokenize, chat", "POST", "/tokenize", {"messages": user("Who are you?")})
case(
    "tokenize, chat without prompt",
    "POST",
    "/tokenize",
    {"messages": user("Who are you?"), "add_generation_prompt": False},
)
case("tokenize, control tokens", "POST", "/tokenize", {"prompt": "<|im_start|>user\n<think>"})
case("tokenize, empty", "POST", "/tokenize", {"prompt": ""})
case("tokenize, neither form", "POST", "/tokenize", {"model": MODEL})
case("tokenize, unknown model", "POST", "/tokenize", {"model": "nope", "prompt": "x"})
case("detokenize", "POST", "/detokenize", {"model": MODEL, "tokens": [51, 360, 1129, 2024]})
case("detokenize, out of vocabulary", "POST", "/detokenize", {"tokens": [999999]})
case("detokenize, huge id", "POST", "/detokenize", {"tokens": [2**40]})
case("detokenize, negative", "POST", "/detokenize", {"tokens": [-1]})
