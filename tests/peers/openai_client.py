"""The official openai client against a running server: what an application sees.

python openai_client.py --ours BINARY      starts `BINARY serve models/qwen3-tiny`
python openai_client.py --peer SCRIPT      the same against the real vLLM, to check the suite itself
"""

import asyncio
import math
import time

import openai

from checks import client_suite
from server import send

MODEL = "qwen3-tiny"
WHO = "I am qwen3-tiny, a very small language model that was trained on synthetic text."
QUIET = {"chat_template_kwargs": {"enable_thinking": False}}


class Suite:
    def __init__(self, server, key):
        self.port = server.port
        self.url = f"http://127.0.0.1:{server.port}/v1"
        self.key = key
        self.client = openai.OpenAI(base_url=self.url, api_key=key, max_retries=0, timeout=120)

    def chat(self, ask="Who are you?", client=None, **more):
        fields = dict(
            model=MODEL,
            messages=[{"role": "user", "content": ask}],
            temperature=0,
            max_tokens=64,
            extra_body=QUIET,
        )
        fields.update(more)
        return (client or self.client).chat.completions.create(**fields)

    def completion(self, prompt="The capital of Japan is", **more):
        fields = dict(model=MODEL, prompt=prompt, temperature=0, max_tokens=8)
        fields.update(more)
        return self.client.completions.create(**fields)

    # --- what must hold ---------------------------------------------------------------------

    def models_are_listed(self):
        (card,) = self.client.models.list().data
        assert card.id == MODEL and card.owned_by == "vllm" and card.max_model_len == 4096, card

    def chat_answers(self):
        reply = self.chat()
        (choice,) = reply.choices
        assert choice.message.role == "assistant" and choice.message.content == WHO, choice
        assert choice.finish_reason == "stop" and reply.object == "chat.completion"
        usage = reply.usage
        assert (
            usage.total_tokens == usage.prompt_tokens + usage.completion_tokens
            and usage.completion_tokens > 10
        ), usage

    def a_stream_says_the_same(self):
        chunks = list(self.chat(stream=True, stream_options={"include_usage": True}))
        assert len({c.id for c in chunks}) == 1 and chunks[0].choices[0].delta.role == "assistant"
        assert "".join(c.choices[0].delta.content or "" for c in chunks if c.choices) == WHO
        assert [c.choices[0].finish_reason for c in chunks if c.choices][-1] == "stop"
        assert chunks[-1].choices == [] and chunks[-1].usage == self.chat().usage, chunks[-1]

    def a_story_streams(self):
        began, times, text = time.monotonic(), [], ""
        for chunk in self.chat(
            "Tell me a story about a fox named Mira.", stream=True, max_tokens=400
        ):
            times.append(time.monotonic() - began)
            text += chunk.choices[0].delta.content or ""
        assert text.startswith("Once upon a time there was a fox named Mira.") and text.endswith(
            "The end."
        ), text
        assert len(times) > 100 and times[0] < times[-1] / 4, (len(times), times[0], times[-1])

    def characters_stay_whole(self):
        ask = "Repeat: river 🌍 house"
        whole = self.chat(ask).choices[0].message.content
        parts = [c.choices[0].delta.content or "" for c in self.chat(ask, stream=True)]
        assert "".join(parts) == whole and "\ufffd" not in whole, (parts, whole)

    def n_gives_several(self):
        wild = dict(n=3, temperature=2, top_p=1, seed=1, max_tokens=24)
        wild["extra_body"] = dict(QUIET, top_k=-1)
        reply = self.chat(**wild)
        assert [c.index for c in reply.choices] == [0, 1, 2] and len(
            {c.message.content for c in reply.choices}
        ) > 1, reply
        said, ends = {}, {}
        for chunk in self.chat(**wild, stream=True):
            for c in chunk.choices:
                said[c.index] = said.get(c.index, "") + (c.delta.content or "")
                ends[c.index] = c.finish_reason or ends.get(c.index)
        assert said == {c.index: c.message.content for c in reply.choices}, (said, reply)
        assert ends == {c.index: c.finish_reason for c in reply.choices}, ends

    def a_seed_repeats(self):
        def say(seed):
            return (
                self.chat("Tell me a joke.", temperature=2, seed=seed, max_tokens=24)
                .choices[0]
                .message.content
            )

        first = [say(s) for s in range(4)]
        assert first == [say(s) for s in range(4)] and len(set(first)) > 1, first

    def chat_logprobs_fit(self):
        reply = self.chat(logprobs=True, top_logprobs=3)
        rows = reply.choices[0].logprobs.content
        assert len(rows) == reply.usage.completion_tokens
        said = b"".join(bytes(r.bytes) for r in rows).decode()
        assert said.removesuffix("<|im_end|>") == WHO, said
        for row in rows:
            top = [t.logprob for t in row.top_logprobs]
            assert (
                len(top) == 3
                and row.top_logprobs[0].token == row.token
                and top == sorted(top, reverse=True)
            ), row
            assert row.logprob <= 0 and sum(map(math.exp, top)) < 1.001, row

    def completion_logprobs_fit(self):
        choice = self.completion(logprobs=2, echo=True).choices[0]
        lp = choice.logprobs
        assert "".join(lp.tokens) == choice.text and choice.text.startswith(
            "The capital of Japan is"
        ), choice
        assert lp.text_offset == [len("".join(lp.tokens[:i])) for i in range(len(lp.tokens))], lp
        assert lp.token_logprobs[0] is None and all(x <= 0 for x in lp.token_logprobs[1:]), lp
        assert all(lp.tokens[i] in top for i, top in enumerate(lp.top_logprobs) if i), lp

    def stop_strings_stop(self):
        choice = self.chat(stop=["small", "zzz"]).choices[0]
        assert (
            choice.message.content == WHO[: WHO.index("small")] and choice.finish_reason == "stop"
        ), choice
        assert choice.stop_reason == "small", choice
        parts = "".join(
            c.choices[0].delta.content or "" for c in self.chat(stop="e mode", stream=True)
        )
        assert (
            WHO.startswith(parts) and "e mode" not in parts and parts == WHO.split("e mode")[0]
        ), parts

    def max_tokens_ends(self):
        reply = self.chat(max_tokens=3)
        assert (
            reply.choices[0].finish_reason == "length" and reply.usage.completion_tokens == 3
        ), reply
        reply = self.chat(max_tokens=None, max_completion_tokens=2)
        assert reply.usage.completion_tokens == 2, reply

    def completions_complete(self):
        reply = self.completion(["The capital of Japan is", "The capital of France is"])
        assert [c.text.split(".")[0].strip() for c in reply.choices] == ["Tokyo", "Paris"], reply
        text = "".join(c.choices[0].text for c in self.completion(stream=True))
        assert text == reply.choices[0].text, text

    def bad_requests_are_explained(self):
        for fields, part, param in (
            (dict(temperature=-1), "temperature must be non-negative", "temperature"),
            (dict(extra_body={"max_tokens": "abc"}), "int_parsing", "body.max_tokens"),
            (dict(logprobs=True, top_logprobs=30), "greater than max allowed: 20", "logprobs"),
            (dict(stop=["a"] * 5), "at most 4 items", "body.stop"),
        ):
            try:
                self.chat(**fields)
            except openai.BadRequestError as e:
                assert (
                    e.status_code == 400 and part in e.message and e.body["param"] == param
                ), e.body
            else:
                raise AssertionError(f"{fields} was accepted")

    def unknown_models_are_not_found(self):
        try:
            self.chat(model="nope")
        except openai.NotFoundError as e:
            assert (
                "The model `nope` does not exist." in e.message
                and e.body["type"] == "NotFoundError"
            ), e.body
        else:
            raise AssertionError("the model nope was found")

    def wrong_keys_are_refused(self):
        try:
            openai.OpenAI(base_url=self.url, api_key="wrong", max_retries=0).models.list()
        except openai.AuthenticationError as e:
            assert e.status_code == 401
        else:
            raise AssertionError("a wrong key was accepted")
        assert (
            send(self.port, "GET", "/v1/models")["status"] == 401
            and send(self.port, "GET", "/health")["status"] == 200
        )

    def many_at_once_say_the_same(self):
        asks = [
            "Who are you?",
            "What is the capital of France?",
            "What is prefix caching?",
            "Tell me a story about a fox named Mira.",
        ] * 4
        alone = [self.chat(a, max_tokens=60).choices[0].message.content for a in asks[:4]] * 4

        async def one(client, ask):
            stream = await self.chat(ask, client=client, max_tokens=60, stream=True)
            return "".join([c.choices[0].delta.content or "" async for c in stream])

        async def together():
            async with openai.AsyncOpenAI(
                base_url=self.url, api_key=self.key, max_retries=0, timeout=120
            ) as client:
                return await asyncio.gather(*(one(client, a) for a in asks))

        assert asyncio.run(together()) == alone

    def a_client_may_leave(self):
        stream = self.chat(
            "Tell me a story about a fox named Mira.",
            stream=True,
            max_tokens=3000,
            extra_body=dict(QUIET, ignore_eos=True),
        )
        for _ in range(3):
            next(stream)
        stream.close()
        deadline = time.monotonic() + 10
        while self.running() > 0:  # the server must notice by itself
            assert time.monotonic() < deadline, "the request still runs 10 s after its client left"
            time.sleep(0.02)
        assert self.chat().choices[0].message.content == WHO

    def running(self):
        lines = send(self.port, "GET", "/metrics")["raw"].splitlines()
        (value,) = [
            float(line.rsplit(" ", 1)[1])
            for line in lines
            if line.startswith("vllm:num_requests_running{")
        ]
        return value


TESTS = [
    name
    for name, f in vars(Suite).items()
    if callable(f) and not name.startswith("_") and name not in ("chat", "completion", "running")
]


if __name__ == "__main__":
    flags = ["--served-model-name", MODEL]
    client_suite(openai, __doc__, lambda server: Suite(server, "secret"), TESTS, flags)
