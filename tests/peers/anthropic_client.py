"""The official anthropic client against a running server: what an application sees.

python anthropic_client.py --ours BINARY      starts `BINARY serve models/qwen3-tiny`
python anthropic_client.py --peer SCRIPT      the same against the real vLLM, to check the suite
"""

import asyncio
import time

import anthropic

from checks import client_suite
from server import send

MODEL = "qwen3-tiny"
WHO = "I am qwen3-tiny, a very small language model that was trained on synthetic text."
# What the client has no parameters for.
GREEDY = {"temperature": 0}
QUIET = {**GREEDY, "chat_template_kwargs": {"enable_thinking": False}}
WEATHER = "What is the weather in Paris?"
TOOL = {
    "name": "get_weather",
    "description": "Get the current weather for a city.",
    "input_schema": {
        "type": "object",
        "properties": {"city": {"type": "string", "description": "The name of the city."}},
        "required": ["city"],
    },
}


def kinds(message):
    return [block.type for block in message.content]


class Suite:
    def __init__(self, server, key):
        self.port = server.port
        self.url = f"http://127.0.0.1:{server.port}"
        self.key = key
        self.client = self.named(anthropic.Anthropic)

    def named(self, client, key=None):
        return client(base_url=self.url, auth_token=key or self.key, max_retries=0, timeout=120)

    def fields(self, ask="Who are you?", **more):
        messages = [{"role": "user", "content": ask}] if isinstance(ask, str) else ask
        fields = dict(model=MODEL, messages=messages, max_tokens=80)
        return {**fields, "extra_body": QUIET, **more}

    def ask(self, ask="Who are you?", **more):
        return self.client.messages.create(**self.fields(ask, **more))

    def streamed(self, ask="Who are you?", **more):
        with self.client.messages.stream(**self.fields(ask, **more)) as stream:
            events = list(stream)
            return events, stream.get_final_message()

    # --- what must hold ---------------------------------------------------------------------

    def a_message_answers(self):
        message = self.ask()
        assert (message.type, message.role, message.model) == ("message", "assistant", MODEL)
        (block,) = message.content
        assert (block.type, block.text) == ("text", WHO), block
        assert (message.stop_reason, message.stop_sequence) == ("end_turn", None), message
        assert message.usage.input_tokens > 0 and message.usage.output_tokens > 10, message.usage

    def a_stream_says_the_same(self):
        whole = self.ask()
        events, message = self.streamed()
        assert message.content[0].text == WHO and message.stop_reason == "end_turn", message
        assert message.usage.output_tokens == whole.usage.output_tokens, (message, whole)
        assert message.usage.input_tokens == whole.usage.input_tokens, (message, whole)
        assert [e.type for e in events if e.type != "content_block_delta" and e.type != "text"] == [
            *("message_start", "content_block_start", "content_block_stop"),
            *("message_delta", "message_stop"),
        ], [e.type for e in events]

    def pieces_come_one_by_one(self):
        texts = [e.text for e in self.streamed()[0] if e.type == "text"]
        assert "".join(texts) == WHO and len(texts) > 10, texts

    def the_system_is_heard(self):
        turns = [dict(role="user", content="Hello"), dict(role="assistant", content="Hello!")]
        turns.append(dict(role="user", content=[dict(type="text", text="Who are you?")]))
        for system in ("Answer briefly.", [dict(type="text", text="Answer briefly.")]):
            message = self.ask(turns, system=system)
            assert "qwen3-tiny" in message.content[0].text, message

    def max_tokens_and_stop_sequences_end(self):
        message = self.ask(max_tokens=3)
        assert (message.stop_reason, message.usage.output_tokens) == ("max_tokens", 3), message
        message = self.ask(stop_sequences=["zzz", "small"])
        assert (message.stop_reason, message.stop_sequence) == ("stop_sequence", "small"), message
        assert message.content[0].text == WHO[: WHO.index("small")], message

    def thinking_comes_first(self):
        ask = dict(ask="What is the capital of France?", extra_body=GREEDY)
        message = self.ask(**ask)
        assert kinds(message) == ["thinking", "text"] and "Paris" in message.content[1].text
        assert message.content[0].thinking and len(message.content[0].signature) == 32, message
        events, again = self.streamed(**ask)
        assert kinds(again) == ["thinking", "text"], again
        assert again.content[0].thinking == message.content[0].thinking, (message, again)
        assert again.content[1].text == message.content[1].text, (message, again)
        assert again.content[0].signature, again
        assert [e.index for e in events if e.type == "content_block_start"] == [0, 1], events
        quiet = self.ask(**ask, thinking={"type": "disabled"})
        assert kinds(quiet) == ["text"] and "Paris" in quiet.content[0].text, quiet

    def a_thought_may_come_back(self):
        ask = [dict(role="user", content="What is the capital of France?")]
        first = self.ask(ask, extra_body=GREEDY)
        more = dict(role="user", content="What is the capital of Japan?")
        turns = [*ask, dict(role="assistant", content=first.content), more]
        assert "Tokyo" in self.ask(turns).content[-1].text

    def tools_are_called_and_answered(self):
        message = self.ask(WEATHER, tools=[TOOL])
        call = message.content[-1]
        assert (message.stop_reason, call.type, call.name) == ("tool_use", "tool_use", TOOL["name"])
        assert call.input == {"city": "Paris"}, call
        _, streamed = self.streamed(WEATHER, tools=[TOOL])
        assert streamed.content[-1].input == call.input, streamed
        assert streamed.stop_reason == "tool_use", streamed
        result = dict(type="tool_result", tool_use_id=call.id, content='{"weather": "sunny"}')
        turns = [
            dict(role="user", content=WEATHER),
            dict(role="assistant", content=message.content),
            dict(role="user", content=[result]),
        ]
        answer = self.ask(turns, tools=[TOOL])
        assert answer.stop_reason == "end_turn" and "sunny" in answer.content[0].text, answer

    def two_tools_are_called_at_once(self):
        ask = dict(ask="What is the weather in Paris and in Rome?", tools=[TOOL])
        message = self.ask(**ask)
        cities = [block.input for block in message.content if block.type == "tool_use"]
        _, streamed = self.streamed(**ask)
        assert [b.input for b in streamed.content if b.type == "tool_use"] == cities, streamed
        assert len({b.id for b in message.content}) == len(cities) == 2, message
        one = self.ask(**ask, tool_choice=dict(type="auto", disable_parallel_tool_use=True))
        assert [b.input for b in one.content if b.type == "tool_use"] == cities[:1], one

    def tools_may_be_forbidden(self):
        message = self.ask(WEATHER, tools=[TOOL], tool_choice={"type": "none"})
        assert "tool_use" not in kinds(message) and message.stop_reason != "tool_use", message

    def tokens_are_counted(self):
        fields = dict(model=MODEL, messages=[dict(role="user", content="Who are you?")])
        count = self.client.messages.count_tokens(**fields, extra_body=QUIET).input_tokens
        assert count == self.ask().usage.input_tokens, count
        more = self.client.messages.count_tokens(**fields, tools=[TOOL], system="Be brief.")
        assert more.input_tokens > count, more

    def bad_requests_are_explained(self):
        image = dict(type="image", source=dict(type="url", url="http://127.0.0.1/x.png"))
        for fields, part in (
            (dict(extra_body={"temperature": -1}), "temperature must be non-negative"),
            (dict(max_tokens=0), "max_tokens must be positive"),
            (dict(ask=[dict(role="user", content=[image])]), "not a multimodal model"),
            (dict(stop_sequences=["a"] * 5), "at most 4 items"),
            (dict(thinking=dict(type="enabled", budget_tokens=2)), "greater than or equal to 1024"),
        ):
            for send_it in (self.ask, self.streamed):
                try:
                    send_it(**fields)
                except anthropic.BadRequestError as e:
                    assert e.status_code == 400 and part in str(e), e
                else:
                    raise AssertionError(f"{fields} was accepted")

    def unknown_models_are_not_found(self):
        try:
            self.ask(model="nope")
        except anthropic.NotFoundError as e:
            assert e.body["error"]["type"] == "NotFoundError", e.body
            assert "The model `nope` does not exist." in e.body["error"]["message"], e.body
        else:
            raise AssertionError("the model nope was found")

    def wrong_keys_are_refused(self):
        for key in ("wrong", "secre"):
            try:
                self.named(anthropic.Anthropic, key).messages.create(**self.fields())
            except anthropic.AuthenticationError as e:
                assert e.status_code == 401
            else:
                raise AssertionError("a wrong key was accepted")

    def many_at_once_say_the_same(self):
        asks = ["Who are you?", "What is the capital of France?", "What is prefix caching?"] * 4
        alone = [self.ask(ask).content[0].text for ask in asks[:3]] * 4

        async def one(client, ask):
            async with client.messages.stream(**self.fields(ask)) as stream:
                return "".join([text async for text in stream.text_stream])

        async def together():
            async with self.named(anthropic.AsyncAnthropic) as client:
                return await asyncio.gather(*(one(client, ask) for ask in asks))

        assert asyncio.run(together()) == alone

    def a_client_may_leave(self):
        ask = "Tell me a story about a fox named Mira."
        with self.client.messages.stream(**self.fields(ask, max_tokens=3000)) as stream:
            for _ in range(3):
                next(stream.text_stream)
        deadline = time.monotonic() + 10
        while self.running() > 0:  # the server must notice by itself
            assert time.monotonic() < deadline, "the request still runs 10 s after its client left"
            time.sleep(0.02)

    def running(self):
        lines = send(self.port, "GET", "/metrics")["raw"].splitlines()
        name = "vllm:num_requests_running{"
        (value,) = [float(line.rsplit(" ", 1)[1]) for line in lines if line.startswith(name)]
        return value


HELPERS = ("ask", "fields", "named", "running", "streamed")
TESTS = [name for name in vars(Suite) if not name.startswith("_") and name not in HELPERS]


if __name__ == "__main__":
    flags = ["--served-model-name", MODEL, "--reasoning-parser", "qwen3"]
    flags += ["--enable-auto-tool-choice", "--tool-call-parser", "hermes"]
    client_suite(anthropic, __doc__, lambda server: Suite(server, "secret"), TESTS, flags)
