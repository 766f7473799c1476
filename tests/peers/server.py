"""Servers under test and plain HTTP to them.

Standard library only, so that nothing tidies a request up.
"""

import http.client
import json
import os
import signal
import socket
import subprocess
import sys
import tempfile
import time


def free_port():
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


class Server:
    """A server process on a free loopback port, in a process group of its own."""

    def __init__(self, name, command, env=None, patience=300, port=None, host="127.0.0.1"):
        self.name, self.host, self.port = name, host, port or free_port()
        self.log = tempfile.NamedTemporaryFile(
            "w+", prefix=f"peer-{name}-", suffix=".log", delete=False
        )
        command = [str(c).replace("{port}", str(self.port)) for c in command]
        self.started = time.monotonic()
        self.process = subprocess.Popen(
            command,
            stdout=self.log,
            stderr=subprocess.STDOUT,
            start_new_session=True,
            env=dict(os.environ, **(env or {})),
        )
        while True:
            if self.process.poll() is not None:
                self.fail(f"ended with exit code {self.process.returncode} before it was ready")
            try:
                if send(self.port, "GET", "/health", host=host)["status"] == 200:
                    break
            except OSError:
                pass
            if time.monotonic() - self.started > patience:
                self.fail(f"was not ready after {patience} s")
            time.sleep(0.05)
        self.ready_after = time.monotonic() - self.started

    def fail(self, what):
        with open(self.log.name) as f:
            tail = "".join(f.readlines()[-25:])
        self.stop()
        sys.exit(f"{self.name} {what}; the end of its log:\n{tail}")

    def peak_memory(self):
        """Bytes: the sum of the peaks of the processes of the group."""
        total = 0
        for pid in filter(str.isdigit, os.listdir("/proc")):
            try:
                if os.getpgid(int(pid)) == self.process.pid:
                    with open(f"/proc/{pid}/status") as f:
                        total += sum(
                            int(line.split()[1]) * 1024 for line in f if line.startswith("VmHWM")
                        )
            except (OSError, ProcessLookupError):
                continue
        return total

    def processor_seconds(self):
        """What the process has used so far, all its threads together."""
        with open(f"/proc/{self.process.pid}/stat") as f:
            user, system = f.read().rsplit(")", 1)[1].split()[11:13]
        return (int(user) + int(system)) / os.sysconf("SC_CLK_TCK")

    def signal(self, sign):
        """To the whole process group; one that is gone needs none."""
        try:
            os.killpg(self.process.pid, sign)
        except ProcessLookupError:
            pass

    def stop(self):
        self.signal(signal.SIGTERM)
        try:
            self.process.wait(timeout=30)
        except subprocess.TimeoutExpired:
            print(f"{self.name} did not end within 30 s of SIGTERM", file=sys.stderr)
        self.signal(signal.SIGKILL)  # what its children left behind
        self.process.wait()
        os.unlink(self.log.name)

    def __enter__(self):
        return self

    def __exit__(self, kind, value, trace):
        if kind is not None:  # keep the log of a failed run
            kept = self.log.name + ".failed"
            os.link(self.log.name, kept)
            print(f"the log of {self.name}: {kept}", file=sys.stderr)
        self.stop()


def send(port, method, path, body=None, headers=None, timeout=120, host="127.0.0.1"):
    """One exchange on a connection of its own.

    `body`: bytes as they are, anything else as JSON. The reply: `status`, `headers` (lower case),
    and `raw`, parsed into `events` for a stream, `json` for JSON.
    """
    headers = dict(headers or {})
    if body is not None and not isinstance(body, bytes):
        body = json.dumps(body, ensure_ascii=False).encode("utf-8", "surrogatepass")
    if body is not None and not any(h.lower() == "content-type" for h in headers):
        headers["Content-Type"] = "application/json"
    connection = http.client.HTTPConnection(host, port, timeout=timeout)
    try:
        connection.request(method, path, body, headers)
        answer = connection.getresponse()
        raw = answer.read().decode("utf-8", "replace")
        reply = dict(
            status=answer.status, headers={k.lower(): v for k, v in answer.getheaders()}, raw=raw
        )
    finally:
        connection.close()
    kind = reply["headers"].get("content-type", "")
    if kind.startswith("text/event-stream"):
        reply["events"] = events(raw)
    elif kind.startswith("application/json") and raw:
        reply["json"] = json.loads(raw)
    return reply


def events(raw):
    """The events of a stream: JSON where it is JSON, the text where not. Names are in `event`."""
    out = []
    for block in raw.split("\n\n"):
        if block:
            name, _, data = block.rpartition("\ndata: ")
            try:
                event = json.loads(data.removeprefix("data: "))
                out.append(dict(event, event=name) if name else event)
            except ValueError:
                out.append(block)
    return out
