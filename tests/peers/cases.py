"""The requests that are sent to vLLM and to Glassbox alike.

A case is a dict: `name`, `method`, `path`, `headers`, `body` (bytes are sent as they are), and
  text   "greedy": the generated text must be the same; "free": only its form is compared (sampled)
  later  the feature that the case waits for; it is recorded, but not compared unless asked for
"""
MODEL = "qwen3-tiny"
DOORS = "The code of the red door is 4821. The code of the blue box is 1907. What is the code of the blue box?"
TOOL = {"type": "function", "function": {"name": "get_weather", "description": "Get the current weather for a city.", "parameters": {
    "type": "object", "properties": {"city": {"type": "string", "description": "The name of the city."}}, "required": ["city"]}}}
CASES = []


def case(name, method, path, body=None, headers=None, text="greedy", later=None):
    assert all(c["name"] != name for c in CASES), name
    CASES.append(dict(name=name, method=method, path=path, body=body, headers=headers or {}, text=text, later=later))


def user(text):
    return [{"role": "user", "content": text}]


def chat(name, ask="Who are you?", headers=None, text="greedy", later=None, drop=(), **fields):
    body = dict(model=MODEL, messages=user(ask) if isinstance(ask, str) else ask, temperature=0, max_tokens=24,
                chat_template_kwargs={"enable_thinking": False})
    body.update(fields)
    case(name, "POST", "/v1/chat/completions", {k: v for k, v in body.items() if k not in drop}, headers, text, later)


def completion(name, prompt="The capital of Japan is", headers=None, text="greedy", later=None, drop=(), **fields):
    body = dict(model=MODEL, prompt=prompt, temperature=0, max_tokens=8)
    body.update(fields)
    case(name, "POST", "/v1/completions", {k: v for k, v in body.items() if k not in drop}, headers, text, later)


def raw(name, body, headers=None, path="/v1/chat/completions"):
    case(name, "POST", path, body, headers)


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
chat("chat, max_completion_tokens wins", "Tell me a story about a fox named Mira.", max_completion_tokens=3)
chat("chat, turns", [{"role": "system", "content": "Answer briefly."}, {"role": "user", "content": "Hello"},
                     {"role": "assistant", "content": "Hello! How can I help you?"}, {"role": "user", "content": "Who are you?"}])
chat("chat, content parts", [{"role": "user", "content": [{"type": "text", "text": "Who are "}, {"type": "text", "text": "you?"}]}])
chat("chat, developer role", [{"role": "developer", "content": "Answer briefly."}, {"role": "user", "content": "Who are you?"}])
chat("chat, no model", drop=["model"])
chat("chat, logprobs", logprobs=True, top_logprobs=3, max_tokens=6)
chat("chat, logprobs without alternatives", logprobs=True, max_tokens=4)
chat("chat, token ids", return_token_ids=True, max_tokens=4)
chat("chat, tokens as ids", return_tokens_as_token_ids=True, logprobs=True, top_logprobs=1, max_tokens=3)
chat("chat, prompt_logprobs", "Hi", prompt_logprobs=1, max_tokens=2)
chat("chat, stop string", stop="small", max_tokens=40)
chat("chat, stop string kept", stop=["small"], include_stop_str_in_output=True, max_tokens=40)
chat("chat, stop across tokens", stop=["ry sma", "zzz"], max_tokens=40)
chat("chat, stop_token_ids", stop_token_ids=[1, 2024], max_tokens=40)
chat("chat, ignore_eos", "Thanks!", ignore_eos=True, max_tokens=12)
chat("chat, min_tokens", "Thanks!", min_tokens=8, max_tokens=12)
chat("chat, special tokens shown", "Thanks!", skip_special_tokens=False, ignore_eos=True, max_tokens=9)
chat("chat, echo", echo=True, add_generation_prompt=False, continue_final_message=True, ask=[
    {"role": "user", "content": "Who are you?"}, {"role": "assistant", "content": "I am qwen3-tiny, a very"}])
chat("chat, continue without the flag", continue_final_message=True, ask=[
    {"role": "user", "content": "Who are you?"}, {"role": "assistant", "content": "I am"}])
chat("chat, no generation prompt", add_generation_prompt=False, max_tokens=4)
chat("chat, n", text="free", n=3, temperature=0.9, seed=7, max_tokens=6)
chat("chat, sampled", text="free", temperature=0.8, top_p=0.9, top_k=20, min_p=0.05, seed=11, max_tokens=8)
chat("chat, server defaults", text="free", drop=["temperature"], max_tokens=8)
chat("chat, penalties", repetition_penalty=1.2, presence_penalty=0.5, frequency_penalty=0.5, max_tokens=10)
chat("chat, logit_bias", logit_bias={"2024": -100}, ask="Thanks!", max_tokens=7)
chat("chat, allowed_token_ids", allowed_token_ids=[40, 41, 42], max_tokens=4, logprobs=True, top_logprobs=1)
chat("chat, bad_words", bad_words=["small", " small"], max_tokens=16)
chat("chat, truncated prompt", truncate_prompt_tokens=9, max_tokens=3)
chat("chat, request id header", headers={"X-Request-Id": "abc-1"}, max_tokens=2)
chat("chat, request id field", request_id="mine", max_tokens=2)
chat("chat, unknown field", future_field={"a": 1}, max_tokens=2)
chat("chat, strings for numbers", max_tokens="3", temperature="0.0")
chat("chat, priority under fcfs", priority=5, max_tokens=2)
chat("chat, cache_salt", cache_salt="pepper", max_tokens=2)
chat("chat, top_p 1 and top_k -1", top_p=1, top_k=-1, max_tokens=3)
chat("chat, null fields", top_p=None, top_k=None, seed=None, stop=None, n=None, logit_bias=None, max_tokens=3)
chat("chat, text format", response_format={"type": "text"}, max_tokens=3)
chat("chat, tools and none", "What is the weather in Paris?", tools=[TOOL], tool_choice="none", later="tools")

# --- Chat streams ------------------------------------------------------------------------------
chat("stream", stream=True)
chat("stream, usage", stream=True, stream_options={"include_usage": True}, max_tokens=5)
chat("stream, running usage", stream=True, stream_options={"include_usage": True, "continuous_usage_stats": True}, max_tokens=4)
chat("stream, running usage alone", stream=True, stream_options={"continuous_usage_stats": True}, max_tokens=3)
chat("stream, logprobs", stream=True, logprobs=True, top_logprobs=2, max_tokens=4)
chat("stream, token ids", stream=True, return_token_ids=True, max_tokens=3)
chat("stream, stop string", stream=True, stop=["small"], max_tokens=40)
chat("stream, stop string kept", stream=True, stop=["small"], include_stop_str_in_output=True, max_tokens=40)
chat("stream, stop_token_ids", stream=True, stop_token_ids=[2024], max_tokens=40)
chat("stream, characters of several tokens", "Repeat: river 🌍 house", stream=True, max_tokens=16)
chat("stream, echo", stream=True, echo=True, add_generation_prompt=False, continue_final_message=True, ask=[
    {"role": "user", "content": "Who are you?"}, {"role": "assistant", "content": "I am qwen3-tiny, a very"}])
chat("stream, n", stream=True, text="free", n=2, temperature=0.9, seed=3, max_tokens=4)
chat("stream, one token", stream=True, max_tokens=1)

# --- Completions -------------------------------------------------------------------------------
completion("completion")
completion("completion, default length", drop=["max_tokens"])
completion("completion, several prompts", prompt=["The capital of Japan is", "Once upon a time"])
completion("completion, token prompt", prompt=[51, 360, 1129])
completion("completion, token prompts", prompt=[[51, 360], [1129, 12, 77]], max_tokens=3)
completion("completion, n", text="free", n=2, temperature=1.0, seed=5, prompt=["1, 2,", "A, B,"], max_tokens=3)
completion("completion, echo", echo=True, max_tokens=4)
completion("completion, echo alone", echo=True, max_tokens=0)
completion("completion, echo and logprobs", echo=True, logprobs=2, max_tokens=3)
completion("completion, echo of a token prompt", echo=True, prompt=[51, 360, 1129], logprobs=0, max_tokens=1)
completion("completion, logprobs", logprobs=3, max_tokens=4)
completion("completion, logprobs 0", logprobs=0, max_tokens=3)
completion("completion, logprobs true", logprobs=True, max_tokens=2)
completion("completion, prompt_logprobs", prompt_logprobs=2, max_tokens=2)
completion("completion, prompt_logprobs 0", prompt_logprobs=0, max_tokens=1)
completion("completion, token ids", return_token_ids=True, max_tokens=3)
completion("completion, stop", prompt="1, 2, 3, 4,", stop=[" 7"], max_tokens=20)
completion("completion, sampled with logprobs", text="free", temperature=1.2, seed=1, logprobs=2, max_tokens=4)
completion("completion, no special tokens", add_special_tokens=False, max_tokens=2)
completion("completion stream", stream=True, max_tokens=5)
completion("completion stream, usage", stream=True, stream_options={"include_usage": True}, max_tokens=3)
completion("completion stream, running usage", stream=True, max_tokens=3,
           stream_options={"include_usage": True, "continuous_usage_stats": True})
completion("completion stream, logprobs", stream=True, logprobs=2, max_tokens=3)
completion("completion stream, echo", stream=True, echo=True, max_tokens=3)
completion("completion stream, echo and logprobs", stream=True, echo=True, logprobs=1, max_tokens=2)
completion("completion stream, echo alone", stream=True, echo=True, max_tokens=0)
completion("completion stream, stop", stream=True, prompt="1, 2, 3, 4,", stop=[" 7"], max_tokens=20)

# --- Tokens ------------------------------------------------------------------------------------
case("tokenize", "POST", "/tokenize", {"model": MODEL, "prompt": "Hello 🌍, 42 stones", "return_token_strs": True})
case("tokenize, chat", "POST", "/tokenize", {"messages": user("Who are you?")})
case("tokenize, chat without prompt", "POST", "/tokenize", {"messages": user("Who are you?"), "add_generation_prompt": False})
case("tokenize, control tokens", "POST", "/tokenize", {"prompt": "<|im_start|>user\n<think>"})
case("tokenize, empty", "POST", "/tokenize", {"prompt": ""})
case("tokenize, neither form", "POST", "/tokenize", {"model": MODEL})
case("tokenize, unknown model", "POST", "/tokenize", {"model": "nope", "prompt": "x"})
case("detokenize", "POST", "/detokenize", {"model": MODEL, "tokens": [51, 360, 1129, 2024]})
case("detokenize, out of vocabulary", "POST", "/detokenize", {"tokens": [999999]})
case("detokenize, huge id", "POST", "/detokenize", {"tokens": [2 ** 40]})
case("detokenize, negative", "POST", "/detokenize", {"tokens": [-1]})

# --- Bodies that are refused -------------------------------------------------------------------
raw("bad json", b'{"model": "x", ')
raw("bad json, comma", b'{"messages": [],}')
raw("bad json, literal", b'{"messages": nul}')
raw("bad json, completions", b'hello', path="/v1/completions")
raw("empty body", b"")
raw("null body", b"null")
raw("list body", b"[1, 2]")
raw("string body", b'"text"')
raw("invalid utf-8", b'{"messages": "\xff\xfe"}')
raw("deep json", b'{"messages": ' + b"[" * 3000 + b"]" * 3000 + b"}")
raw("wrong content type", b'{"messages": []}', {"Content-Type": "text/plain"})
raw("space before parameters", b'{"messages": []}', {"Content-Type": "application/json ;a=b"})
raw("content type with parameters", b'{"messages": [{"role":"user","content":"Hi"}],"max_tokens":1,"temperature":0}',
    {"Content-Type": "application/json; charset=utf-8"})
raw("duplicate keys", b'{"messages": [{"role":"user","content":"Hi"}],"max_tokens":9,"max_tokens":1,"temperature":0}')
raw("byte order mark", b'\xef\xbb\xbf{"messages": [{"role":"user","content":"Hi"}],"max_tokens":1,"temperature":0}')
raw("NaN", b'{"messages": [{"role":"user","content":"Hi"}],"temperature":NaN}')
raw("infinity", b'{"messages": [{"role":"user","content":"Hi"}],"temperature":1e999}')
raw("lone surrogate", b'{"messages": [{"role":"user","content":"\\ud800"}],"max_tokens":1}')
raw("no messages", b"{}")
raw("no prompt", b"{}", path="/v1/completions")

# --- Values that are refused -------------------------------------------------------------------
chat("messages not a list", messages="hi")
chat("messages null", messages=None)
chat("messages empty", messages=[])
chat("message without role", [{"content": "x"}])
chat("message content null", [{"role": "user", "content": None}])
chat("message is a string", ["hi"])
chat("image part", [{"role": "user", "content": [{"type": "image_url", "image_url": {"url": "http://127.0.0.1/x.png"}}]}])
chat("unknown model", model="nope")
for field, values in dict(
        max_tokens=["abc", 0, -1, 5000, 1.5, True, [1]], max_completion_tokens=[5000, 0], temperature=[-1, 3, "hot"], top_p=[0, 1.5],
        top_k=[-2, 1.5], min_p=[2], presence_penalty=[3], frequency_penalty=[-2.5], repetition_penalty=[0], n=[0, 2, "x", 20000],
        seed=[2 ** 63, "x", -1], stop=["", ["a"] * 5, [""], 5], min_tokens=[50, -1], top_logprobs=[2], prompt_logprobs=[30, -3, "1"],
        logit_bias=[{"a": 1}, {"999999": 1}, {"1": 500}, [1]], stop_token_ids=[[999999], [-1], "x"],
        allowed_token_ids=[[], [999999]], bad_words=[[""], "x"], truncate_prompt_tokens=[0, -2, 99999],
        stream_options=[{"include_usage": True}], cache_salt=["", "a/b", "x" * 129], tools=[[]], tool_choice=["auto", "none", "xx"],
        chat_template=["{{ messages }}"], chat_template_kwargs=["x", {"tokenize": True}], response_format=[{"type": "json_schema"}, {"type": "x"}],
        structured_outputs=[{}, {"json": {}, "regex": "a"}], priority=["x"], logprobs=["x"], stream=["x"],
        thinking_token_budget=[-2, 5], reasoning_effort=["x"], ignore_eos=["x"], echo=[3], user=[7], request_id=[7]).items():
    for value in values:
        shown = repr(value) if len(repr(value)) < 30 else repr(value)[:25] + "..."
        chat(f"chat {field}={shown}", later="structured outputs" if field in ("response_format", "structured_outputs") else None,
             text="greedy" if value not in (20000,) else "free", **{field: value})
chat("top_logprobs negative", logprobs=True, top_logprobs=-3)
chat("top_logprobs all", logprobs=True, top_logprobs=-1, max_tokens=1)
chat("top_logprobs too many", logprobs=True, top_logprobs=30)
chat("stream, top_logprobs too many", stream=True, logprobs=True, top_logprobs=30)
chat("stream, prompt_logprobs", stream=True, prompt_logprobs=1)
chat("stream, out of vocabulary", stream=True, logit_bias={"999999": 1})
chat("stream, unknown model", stream=True, model="nope")
chat("auto tools", tools=[TOOL])
chat("required tools", tools=[TOOL], tool_choice="required", later="tools")
chat("named tool that is not there", tools=[TOOL], tool_choice={"type": "function", "function": {"name": "x"}}, later="tools")
chat("generation prompt and continuation", add_generation_prompt=True, continue_final_message=True)
chat("prompt too long", "river " * 4200)
chat("prompt too long by characters", "a" * 82_000)
chat("several errors at once", max_tokens="abc", n="x", seed=1.5)
completion("completion prompt=[]", prompt=[])
completion("completion prompt=''", prompt="")
completion("completion prompt=['']", prompt=[""])
completion("completion prompt=[[]]", prompt=[[]])
completion("completion prompt=['a','']", prompt=["a", ""])
completion("completion prompt=null", prompt=None)
completion("completion prompt=5", prompt=5)
completion("completion prompt={}", prompt={})
completion("completion prompt=[1,'a']", prompt=[1, "a"])
completion("completion of 1025 prompts", prompt=["a"] * 1025)
completion("completion of an unknown token", prompt=[999999])
completion("completion of a negative token", prompt=[-1])
completion("completion stream of an unknown token", prompt=[999999], stream=True)
completion("completion stream of nothing", prompt="", stream=True)
completion("completion stream of an empty list", prompt=[[]], stream=True)
completion("completion of too many tokens", prompt=[5] * 4097)
completion("completion of exactly the context", prompt=[5] * 4096, max_tokens=1)
completion("completion clamped to the context", prompt=[5] * 4094, max_tokens=100, ignore_eos=True)
for field, values in dict(max_tokens=[0, None, -1, 5000], n=[None, 0], logprobs=[30, -2, "2", 1.5], echo=["x"], suffix=["x"],
                          prompt_logprobs=[30, "x"], stop=[["a"] * 5], best_of=[3], model=["nope", ""], use_beam_search=["x"]).items():
    for value in values:
        completion(f"completion {field}={value!r}", **{field: value})
completion("completion stream, logprobs too many", stream=True, logprobs=30)
completion("completion stream, beam search", stream=True, use_beam_search=True, n=2, temperature=0)
completion("completion stream_options alone", stream_options={"include_usage": True})
