"""The `llm` command line against a server: a prompt, a stream, a conversation, a schema.

    python llm_client.py http://127.0.0.1:8000/v1
"""

import json
import os
import subprocess
import sys
import tempfile

from said import KEY, MODEL

LLM = os.path.join(os.path.dirname(sys.executable), "llm")
MODELS = """
- model_id: tiny
  model_name: {model}
  api_base: {base}
  api_key_name: tiny
  supports_schema: true
  supports_tools: true
- model_id: tiny-completion
  model_name: {model}
  api_base: {base}
  api_key_name: tiny
  completion: true
"""


def llm(*arguments, home):
    environment = dict(os.environ, LLM_USER_PATH=home)
    done = subprocess.run(
        [LLM, *arguments], capture_output=True, text=True, env=environment, timeout=120
    )
    assert done.returncode == 0, (arguments, done.stderr[-600:])
    return done.stdout.strip()


def main():
    with tempfile.TemporaryDirectory() as home:
        with open(os.path.join(home, "extra-openai-models.yaml"), "w") as models:
            models.write(MODELS.format(model=MODEL, base=sys.argv[1]))
        with open(os.path.join(home, "keys.json"), "w") as keys:
            json.dump({"tiny": KEY}, keys)
        greedy = ["-o", "temperature", "0", "-o", "max_tokens", "200"]
        streamed = llm("-m", "tiny", *greedy, "What is the capital of France?", home=home)
        assert "Paris" in streamed, streamed
        print("ok   llm: a stream", flush=True)
        whole = ["-m", "tiny", *greedy, "--no-stream", "What is the capital of France?"]
        assert llm(*whole, home=home) == streamed
        print("ok   llm: the same, not streamed", flush=True)
        llm("-c", *greedy, "And of Japan?", home=home)
        logged = json.loads(llm("logs", "list", "-n", "1", "--json", home=home))[0]
        assert logged["input_tokens"] > 0 and logged["output_tokens"] > 0, logged
        print("ok   llm: a conversation, with its token counts", flush=True)
        schema = {"type": "object", "properties": {"city": {"enum": ["Paris", "Rome"]}}}
        schema |= {"required": ["city"], "additionalProperties": False}
        asked = ["-m", "tiny", *greedy, "--schema", json.dumps(schema), "Name a city."]
        assert json.loads(llm(*asked, home=home))["city"] in ("Paris", "Rome")
        print("ok   llm: a schema", flush=True)
        said = llm("-m", "tiny-completion", *greedy[:3], "The capital of Japan is", home=home)
        assert "Tokyo" in said, said
        print("ok   llm: a completion", flush=True)


if __name__ == "__main__":
    main()
