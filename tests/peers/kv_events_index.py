"""llm-d's real KV index, which learns what a pod caches from its events alone."""

import http.client
import json
import subprocess
import time

from checks import PATIENCE, must
from telemetry_cases import MODEL

INDEX_BLOCK = 16


class Index:
    """llm-d's index of one pod's events."""

    def __init__(self, llm_d, pod, release="kvscore"):
        command = [llm_d, "score", "--pod", pod, "--listen", "0", "--release", release]
        self.process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
        line = self.process.stdout.readline()
        must(line.startswith("ready http"), f"llm-d score: {line!r}")
        address = line.split()[1].removeprefix("http://")
        self.connection = http.client.HTTPConnection(address, timeout=60)

    def score(self, tokens):
        """Blocks of the index's size that the pod holds of a prompt's start."""
        return self.score_text(",".join(map(str, tokens)))

    def score_text(self, tokens):
        """The same, of token ids as JSON writes them."""
        body = f'{{"model": {json.dumps(MODEL)}, "token_ids": [{tokens}]}}'
        self.connection.request("POST", "/score", body)
        reply = self.connection.getresponse()
        answer = reply.read()
        must(reply.status == 200, f"{reply.status} {answer[:200]}")
        return max(json.loads(answer)["scores"].values(), default=0)

    def wait(self, tokens, blocks):
        """Until the score is as wanted: events are on their way."""
        self.wait_text(",".join(map(str, tokens)), lambda score: score == blocks)

    def wait_text(self, tokens, is_right, patience=PATIENCE):
        until = time.monotonic() + patience
        while not is_right(score := self.score_text(tokens)):
            must(time.monotonic() < until, f"scored {score:g} blocks")
            time.sleep(0.005)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.stop()

    def stop(self):
        self.connection.close()
        self.process.terminate()
        self.process.wait(10)
