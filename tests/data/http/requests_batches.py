"""Batches of chats, scores of labels, decisions."""

from requests_base import CHAT, raw
from requests_scale_out import post

B = "/v1/chat/completions/batch"
S, D = "/generative_scoring", "/v1/systemone"
JSON = {"content-type": "application/json"}


# --- batches of chats
TWO = [CHAT["messages"], [{"role": "user", "content": "Who are you?"}]]


def batch(name, **over):
    body = {**CHAT, "messages": TWO, **over}
    post(B, name, {k: v for k, v in body.items() if v is not ...})


batch("plain")
batch("one", messages=TWO[:1])
batch("none", messages=[])
batch("empty one", messages=[[]])
batch("flat", messages=CHAT["messages"])
batch("missing", messages=...)
batch("null", messages=None)
batch("ids", return_token_ids=True)
batch("ids null", return_token_ids=None)
batch("logprobs", logprobs=True, top_logprobs=1)
batch("logprob ids", logprobs=True, logprob_token_ids=[5, 7])
batch("logprob ids alone", logprob_token_ids=[5, 7])
batch("n 1", n=1)
batch("n null", n=None)
batch("n 2", n=2)
batch("n string", n="1")
batch("beam", use_beam_search=True)
batch("stream", stream=True)
batch("tools", tools=[{"type": "function", "function": {"name": "f"}}])
batch("tools none", tool_choice="none")
batch("tools auto", tool_choice="auto")
batch("transfer ids", kv_transfer_params={"prompt_token_ids": [1]})
batch("transfer", kv_transfer_params={"a": 1})
batch("echo", echo=True, add_generation_prompt=False)
batch("no generation prompt", add_generation_prompt=False)
batch("stop", stop=["e"], max_tokens=20)
batch("unknown model", model="nope")
batch("alias", model="alias-b")
batch("max_completion_tokens", max_completion_tokens=1)
batch("max_tokens 0", max_tokens=0)
batch("max_tokens big", max_tokens=5000)
batch("temperature", temperature=3)
batch("request id", request_id="mine")
batch("request id null", request_id=None)
batch("prompt_logprobs", prompt_logprobs=1)
batch("too many logprobs", logprobs=True, top_logprobs=50)
batch("top_logprobs alone", top_logprobs=2)
batch("length_penalty null", length_penalty=None)
batch("salt", cache_salt="a@b")
batch("template", chat_template="x")
batch("second bad", messages=[TWO[0], [{"role": "user"}]])
batch("priority", priority=2)
batch("response format", response_format={"type": "text"})
batch("response format bad", response_format={"type": "x"})
batch("response format list", response_format=[1])
batch("stream false", stream=False)
batch("include_reasoning", include_reasoning=False)
batch("early stopping", early_stopping=True, best_of=2, guided_decoding_backend="x")
post(B, "empty object", {})

# --- scores of labels


def score(name, headers=JSON, **over):
    body = {"query": "Is it so? ", "items": ["yes", "no way"], "label_token_ids": [40, 41], **over}
    post(S, name, {k: v for k, v in body.items() if v is not ...}, headers)


score("plain")
score("full", apply_softmax=False)
score("item first", item_first=True)
score("tokens", query=[51, 360], items=[[40], [41, 42]])
score("mixed", query=[51, 360], items=["a", "b"])
score("mixed items", items=["a", [1]])
score("one label", label_token_ids=[40])
score("labels twice", label_token_ids=[40, 40])
score("no labels", label_token_ids=[])
score("bad label", label_token_ids=[40, 2048])
score("negative label", label_token_ids=[-1])
score("labels 20", label_token_ids=list(range(20)))
score("labels 21", label_token_ids=list(range(21)))
score("no items", items=[])
score("empty item", items=["", "a"])
score("empty all", query="", items=[""])
score("empty tokens", query=[], items=[[]])
score("outside", query=[99999], items=[[1]])
score("negative token", query=[-1], items=[[1]])
score("missing query", query=...)
score("missing items", items=...)
score("missing labels", label_token_ids=...)
score("number query", query=5)
score("string items", items="abc")
score("special", add_special_tokens=False)
score("model", model="alias-b")
score("unknown model", model="nope")
score("salt", cache_salt="a/b")
score("salt good", cache_salt="ab")
score("priority", priority=1)
score("request id", request_id="mine")
score("request id header", headers={**JSON, "X-Request-Id": "theirs"})
score("long", query=[5] * 5000, items=[[1]])
score("unknown field", nope=1)
score("content type", headers={"content-type": "text/plain"})
raw(S + " get", "GET", S)


# --- decisions
def decide(name, questions=..., headers=JSON, **over):
    if questions is ...:
        questions = {"q": {"type": "noul", "instructions": "Is it warm?"}}
    body = {"state": "It is hot.", "questions": questions, **over}
    post(D, name, {k: v for k, v in body.items() if v is not ...}, headers)


CHOOSE = {"type": "choice", "instructions": "Which?",
          "criteria": {"red": "the color", "blue": None}}
RATE = {"type": "score", "instructions": "How warm?", "criteria": ["cold", "mild", "hot"]}
decide("plain")
decide("choice", {"c": CHOOSE})
decide("score", {"s": RATE})
decide("several", {"c": CHOOSE, "s": RATE, "n": {"type": "noul", "criteria": {"true": "warm"}}})
decide("state object", state={"a": [1, "é", None, 1.5, True]})
decide("state null", state=None)
decide("no state", state=...)
decide("no questions", {})
decide("questions null", None)
decide("questions list", [])
decide("instructions", instructions="Be brief.")
decide("question instructions number", {"q": {"type": "noul", "instructions": 5}})
decide("question instructions object",
       {"q": {"type": "noul", "instructions": {"a": True, "b": None}}})
decide("unknown type", {"q": {"type": "essay"}})
decide("no type", {"q": {}})
decide("unknown member", {"q": {"type": "noul", "zeta": 1, "alpha": 2}})
decide("empty id", {"": {"type": "noul"}})
decide("choice none", {"q": {"type": "choice"}})
decide("choice empty", {"q": {"type": "choice", "criteria": {}}})
decide("choice list", {"q": {"type": "choice", "criteria": ["a"]}})
decide("choice 27", {"q": {"type": "choice", "criteria": {str(i): None for i in range(27)}}})
decide("choice 26", {"q": {"type": "choice", "criteria": {str(i): i for i in range(26)}}})
decide("noul criteria", {"q": {"type": "noul", "criteria": {"maybe": 1}}})
decide("noul list", {"q": {"type": "noul", "criteria": []}})
decide("score one", {"q": {"type": "score", "criteria": ["a"]}})
decide("score object", {"q": {"type": "score", "criteria": {"a": 1}}})
decide("score twice", {"q": {"type": "score", "criteria": ["a", "a"]}})
decide("score 11", {"q": {"type": "score", "criteria": list(range(11))}})
decide("score values", {"q": {"type": "score", "criteria": [None, True, 1.0, {"a": "b'"}]}})
decide("questions 65", {str(i): {"type": "noul"} for i in range(65)})
decide("images", images=["data:image/png;base64,AAAA"])
decide("media", images=["a"], videos=["b"], audio=["c"])
decide("images empty", images=[])
decide("thinking", chat_template_kwargs={"enable_thinking": True})
decide("thinking off", chat_template_kwargs={"enable_thinking": False})
decide("kwargs", chat_template_kwargs={"x": 1})
decide("no generation prompt", chat_template_kwargs={"add_generation_prompt": False})
decide("unknown model", model="nope")
decide("salt", cache_salt="a@b")
decide("request id", request_id="mine")
decide("priority", priority=3)
decide("long", state="word " * 5000)
post(D, "empty object", {})
raw(D + " get", "GET", D)
