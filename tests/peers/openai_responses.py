"""The official openai client and the Responses API: what an application sees.

python openai_responses.py --ours BINARY      starts `BINARY serve models/qwen3-tiny`
python openai_responses.py --peer SCRIPT      the same against the real vLLM
"""

import json
import time

import openai

from checks import client_suite

MODEL = "qwen3-tiny"
WHO = "I am qwen3-tiny, a very small language model that was trained on synthetic text."
QUIET = {"chat_template_kwargs": {"enable_thinking": False}}
WEATHER = {
    "type": "function",
    "name": "get_weather",
    "description": "Get the current weather for a city.",
    "parameters": {
        "type": "object",
        "properties": {"city": {"type": "string", "description": "The name of the city."}},
        "required": ["city"],
    },
}
FLAGS = ["--served-model-name", MODEL, "--enable-auto-tool-choice"]
FLAGS += ["--reasoning-parser", "qwen3", "--tool-call-parser", "hermes"]


class Suite:
    def __init__(self, port):
        url = f"http://127.0.0.1:{port}/v1"
        self.client = openai.OpenAI(base_url=url, api_key="secret", max_retries=0, timeout=120)
        self.stranger = openai.OpenAI(base_url=url, api_key="x", max_retries=0, timeout=120)

    def ask(self, input="Who are you?", **more):
        fields = dict(model=MODEL, input=input, temperature=0, max_output_tokens=64)
        return self.client.responses.create(**{"extra_body": QUIET, **fields, **more})

    # --- what must hold ---------------------------------------------------------------------

    def a_response_answers(self):
        reply = self.ask()
        assert reply.output_text == WHO and reply.status == "completed", reply
        usage = reply.usage
        assert usage.total_tokens == usage.input_tokens + usage.output_tokens, usage
        assert reply.id.startswith("resp_") and reply.object == "response", reply

    def a_stream_says_the_same(self):
        events = list(self.ask(stream=True))
        assert [event.sequence_number for event in events] == list(range(len(events)))
        kinds = [event.type for event in events]
        assert kinds[:2] == ["response.created", "response.in_progress"], kinds
        deltas = [e.delta for e in events if e.type == "response.output_text.delta"]
        assert "".join(deltas) == WHO and len(deltas) > 3, deltas
        assert kinds[-1] == "response.completed", kinds
        assert events[-1].response.output_text == WHO, events[-1]

    def the_stream_helper_understands_it(self):
        fields = dict(model=MODEL, input="Who are you?", temperature=0, extra_body=QUIET)
        with self.client.responses.stream(**fields) as stream:
            for _ in stream:
                pass
            assert stream.get_final_response().output_text == WHO

    def a_reply_that_is_cut_says_so(self):
        reply = self.ask(max_output_tokens=3)
        assert reply.status == "incomplete", reply
        assert reply.incomplete_details.reason == "max_output_tokens", reply

    def reasoning_is_an_item_of_its_own(self):
        reply = self.ask("What is the capital of France?", extra_body={}, max_output_tokens=200)
        kinds = [item.type for item in reply.output]
        assert kinds[0] == "reasoning" and reply.output[0].content[0].text, reply
        assert reply.usage.output_tokens_details.reasoning_tokens > 0, reply.usage

    def tools_are_called_and_their_output_is_read(self):
        question = {"role": "user", "content": "What is the weather in Paris?"}
        reply = self.ask([question], tools=[WEATHER])
        (call,) = [item for item in reply.output if item.type == "function_call"]
        assert call.name == "get_weather" and json.loads(call.arguments) == {"city": "Paris"}, call
        done = {"type": "function_call_output", "call_id": call.call_id, "output": '{"temp": 12}'}
        answer = self.ask([question, *reply.output, done], tools=[WEATHER])
        assert answer.output_text.startswith("The weather in Paris is"), answer

    def calls_are_streamed(self):
        events = list(self.ask("What is the weather in Paris?", tools=[WEATHER], stream=True))
        parts = [e.delta for e in events if e.type == "response.function_call_arguments.delta"]
        (done,) = [e for e in events if e.type == "response.function_call_arguments.done"]
        assert "".join(parts) == done.arguments and done.name == "get_weather", events

    def log_probabilities_come_along(self):
        reply = self.ask(include=["message.output_text.logprobs"], top_logprobs=2)
        logprobs = reply.output[0].content[0].logprobs
        assert all(entry.logprob <= 0 and len(entry.top_logprobs) == 2 for entry in logprobs)

    def instructions_and_metadata_are_repeated(self):
        reply = self.ask(instructions="Be short.", metadata={"a": "b"})
        assert reply.instructions == "Be short." and reply.metadata == {"a": "b"}, reply

    def a_stored_response_can_be_had_again(self):
        reply = self.ask()
        assert self.client.responses.retrieve(reply.id) == reply
        follow = self.ask("Who are you?", previous_response_id=reply.id)
        assert follow.usage.input_tokens > reply.usage.input_tokens, follow

    def a_response_runs_in_the_background(self):
        reply = self.ask(background=True)
        assert reply.status == "queued" and reply.output == [], reply
        deadline = time.monotonic() + 60
        while reply.status == "queued":
            assert time.monotonic() < deadline, "it never ends"
            reply = self.client.responses.retrieve(reply.id)
        assert reply.output_text == WHO and reply.status == "completed", reply

    def a_stream_in_the_background_can_be_joined_late(self):
        events = list(self.ask(background=True, stream=True))
        id = events[0].response.id
        again = list(self.client.responses.retrieve(id, stream=True, starting_after=4))
        assert again == events[5:], again

    def a_response_is_cancelled(self):
        endless = dict(QUIET, ignore_eos=True)
        reply = self.ask(background=True, max_output_tokens=4000, extra_body=endless)
        assert self.client.responses.cancel(reply.id).status == "cancelled"
        assert self.client.responses.retrieve(reply.id).status == "cancelled"

    def errors_are_the_clients_own(self):
        for kind, call in [
            (openai.NotFoundError, lambda: self.client.responses.retrieve("resp_none")),
            (openai.NotFoundError, lambda: self.ask(model="no-model")),
            (openai.BadRequestError, lambda: self.ask(temperature=3)),
            (openai.BadRequestError, lambda: self.ask([{"type": "item_reference", "id": "x"}])),
            (openai.BadRequestError, lambda: self.client.responses.cancel(self.ask().id)),
            (openai.AuthenticationError, lambda: self.stranger.responses.retrieve("resp_none")),
        ]:
            try:
                call()
            except kind:
                continue
            raise AssertionError(f"no {kind.__name__}")


TESTS = [n for n, f in vars(Suite).items() if callable(f) and n not in ("__init__", "ask")]


if __name__ == "__main__":
    stores = {"VLLM_ENABLE_RESPONSES_API_STORE": "1"}
    client_suite(openai, __doc__, lambda server: Suite(server.port), TESTS, FLAGS, stores)
