"""P, or D, killed with SIGKILL under load; P that hangs.

    python3 transfer_kill.py --ours BINARY [--only WORD]

Clients go on asking for two legs, as a sidecar does it. Every one has an answer or an error in
time, an answer is what a single server says, the side that lives keeps no block for longer than a
lease, and once the killed side is back, with a new identity, all is as before.
"""

import http.client
import random
import signal
import threading
import time

from checks import arguments, must, none_of, settings_suite
from server import send
from transfer import LEASE, Peer, at_once, both_legs, config, random_prompts, request, said

LEASE_SECONDS = 6
CLIENTS = 16
ANSWER = 30  # seconds, within which every client has an answer or an error
SETTINGS = {
    # name: (kv_load_failure_policy, keys of the connector, environment)
    "nixl": ("fail", {}, dict(UCX_TLS="tcp,self,sm")),
    "nixl-sockets": ("recompute", {}, dict(UCX_TLS="tcp,self")),
    "tcp": ("fail", dict(transport="tcp"), {}),
    "tcp-checksums": ("recompute", dict(transport="tcp", block_checksums=True), {}),
}


class Bench:
    """P, D and the single server."""

    def __init__(self, ours, policy, extra, env):
        self.ours, self.policy, self.extra, self.env = ours, policy, extra, env
        self.servers, self.about = {}, f", {policy}"
        try:
            for name in ("prefill", "decode", "single"):
                self.start(name)
        except BaseException:
            self.stop()
            raise

    def start(self, name):
        """A new one, which nobody has met yet."""
        roles = dict(prefill="kv_producer", decode="kv_consumer")
        extra = dict(self.extra, kv_lease_duration=LEASE_SECONDS, policy=self.policy)
        transfer = config(roles[name], **extra) if name in roles else None
        self.servers[name] = Peer(name, self.ours, transfer, **self.env)

    def __getattr__(self, name):
        return self.servers[name]

    def stop(self):
        for server in self.servers.values():
            server.stop()

    def kill(self, name):
        self.servers[name].signal(signal.SIGKILL)
        self.servers[name].process.wait()

    def replaced(self, name):
        """Whether UCX has aborted this one: then another takes its place.

        Over TCP alone it does so when an answer to a read is the first thing to learn that the
        reader is dead (README, "P/D transfer"). A vLLM would end as well.
        """
        server = self.servers[name]
        if server.process.poll() != -signal.SIGABRT or "tcp,self" != self.env.get("UCX_TLS"):
            return False
        with open(server.log.name) as log:
            if "Fatal: unexpected error: Endpoint timeout" not in log.read():
                return False
        print(f"     UCX aborted {name}")
        server.stop()
        self.start(name)
        return True


class Load:
    """Clients that ask one after the other until told to stop, and what they were told."""

    def __init__(self, bench):
        self.bench, self.over = bench, threading.Event()
        self.answers, self.errors, self.slow = [], [], []
        self.threads = [threading.Thread(target=self.client, args=(i,)) for i in range(CLIENTS)]
        for thread in self.threads:
            thread.start()

    def client(self, seed):
        rng = random.Random(seed)
        while not self.over.is_set():
            # Long enough that a kill finds them at every stage.
            body = request([rng.randrange(1000, 2000) for _ in range(rng.randint(40, 900))], 32)
            began = time.monotonic()
            try:
                self.answers.append((body, self.answer(body)))
            except (OSError, http.client.HTTPException) as e:
                self.errors.append(repr(e))
                time.sleep(0.02)  # a connection that is refused takes no time at all
            took = time.monotonic() - began
            if took > ANSWER:
                self.slow.append(f"{took:.1f} s for an answer or an error")

    def answer(self, body):
        """Of D; what a sidecar does where P fails is to say so."""
        first = body | dict(max_tokens=1, kv_transfer_params=LEASE)
        reply = send(self.bench.prefill.port, "POST", "/v1/completions", first, timeout=60)
        if reply["status"] != 200:
            return reply
        second = body | dict(kv_transfer_params=reply["json"]["kv_transfer_params"])
        return send(self.bench.decode.port, "POST", "/v1/completions", second, timeout=60)

    def until(self, answers):
        """Waits for this many more."""
        wanted, end = len(self.answers) + answers, time.monotonic() + 60
        while len(self.answers) < wanted:
            must(time.monotonic() < end, f"{answers} more answers did not come")
            time.sleep(0.01)

    def stop(self):
        self.over.set()
        for thread in self.threads:
            thread.join(90)
            must(not thread.is_alive(), "a client has neither an answer nor an error")

    def check(self):
        """What was said to clients; how many had an answer, and how many an error."""
        none_of(self.slow)
        good = [(body, reply) for body, reply in self.answers if reply["status"] == 200]
        bad = [reply for _, reply in self.answers if reply["status"] != 200]
        wrong = [r for r in bad if r["status"] != 500 or self.bench.policy == "recompute"]
        none_of(f"{r['status']}: {r['raw'][:200]}" for r in wrong)
        step = max(1, len(good) // 60)
        for body, reply in good[::step]:
            must(said(reply) == said(self.bench.single.post(body)), "an answer is another one's")
        return len(good), len(bad) + len(self.errors)


def killed(bench, name, other):
    """Under load. While it is dead and when it is back; whether the other lived on."""
    lives = bench.servers[other]
    load = Load(bench)
    try:
        load.until(answers=30)
        bench.kill(name)
        time.sleep(1.5)  # for what runs into it
    finally:
        load.stop()
    answers, errors = load.check()
    must(errors, f"{name} was killed and no client had an error: there was no load")
    lived = not bench.replaced(other)
    if lived:
        kept = lives.settled(within=LEASE_SECONDS + 4)
        print(
            f"     {answers} answers, {errors} errors; the last block was free after {kept:.1f} s"
        )
    bench.servers[name].stop()
    bench.start(name)
    load = Load(bench)
    try:
        load.until(answers=60)
    finally:
        load.stop()
    answers, errors = load.check()
    must(not errors, f"{errors} errors, with {name} back: {load.errors[:1]}")
    for server in (bench.prefill, bench.decode):
        server.settled(within=5)
    must(not lived or lives.process.poll() is None, f"{other} went on all the time")


def prefill_hangs(bench):
    """P has answered and does nothing more, then goes on: D has an answer or an error in time, what
    it is given is the prompt's own KV, and P is as before."""
    bodies = [request(prompt) for prompt in random_prompts(4, seed=80, lengths=(60, 300))]
    said(both_legs(bench.prefill, bench.decode, bodies[0]))  # they have met
    first = [bench.prefill.post(b | dict(max_tokens=1, kv_transfer_params=LEASE)) for b in bodies]
    second = [
        body | dict(kv_transfer_params=reply["json"]["kv_transfer_params"], cache_salt="hangs")
        for body, reply in zip(bodies, first)
    ]
    bench.prefill.signal(signal.SIGSTOP)
    try:
        began = time.monotonic()
        replies = at_once(bench.decode.post, second)
        took = time.monotonic() - began
    finally:
        bench.prefill.signal(signal.SIGCONT)
    must(took < ANSWER, f"D took {took:.1f} s")
    for body, reply in zip(bodies, replies):
        if reply["status"] == 200 or bench.policy == "recompute":
            must(said(reply) == said(bench.single.post(body)), "D says what a single one says")
        else:
            must(reply["status"] == 500, f"{reply['status']}: {reply['raw'][:200]}")
    for server in (bench.decode, bench.prefill):
        server.settled(within=LEASE_SECONDS + 4)
    for body in bodies:
        reply = both_legs(bench.prefill, bench.decode, body | dict(cache_salt="goes on"))
        must(said(reply) == said(bench.single.post(body)), "P goes on")
    print(f"     D was done after {took:.1f} s: {[reply['status'] for reply in replies]}")


def prefill_killed(bench):
    """What D has begun to pull fails, or is computed there: as the policy says."""
    killed(bench, "prefill", "decode")


def decode_killed(bench):
    """What nobody will pull any more is free when its lease is over."""
    killed(bench, "decode", "prefill")


def prefill_gone_before_the_pull(bench):
    """P has answered and dies: D says so at once by one policy, and computes by the other."""
    bodies = [request(prompt) for prompt in random_prompts(4, seed=70, lengths=(60, 300))]
    said(both_legs(bench.prefill, bench.decode, bodies[0]))  # they have met
    params = [bench.prefill.post(b | dict(max_tokens=1, kv_transfer_params=LEASE)) for b in bodies]
    bench.kill("prefill")
    for body, reply in zip(bodies, params):
        params = reply["json"]["kv_transfer_params"]
        began = time.monotonic()
        reply = bench.decode.post(body | dict(kv_transfer_params=params, cache_salt="gone"))
        took = time.monotonic() - began
        must(took < 10, f"D took {took:.1f} s to find out")
        if bench.policy == "recompute":
            must(said(reply) == said(bench.single.post(body)), "D computes what a single one does")
        else:
            must(reply["status"] == 500, f"{reply['status']}: {reply['raw'][:200]}")
    bench.decode.settled(within=5)
    bench.servers["prefill"].stop()
    bench.start("prefill")


CHECKS = [prefill_gone_before_the_pull, prefill_killed, decode_killed]
# Of our own protocol; what UCX makes of a peer that is stopped and goes on is not ours to say.
TCP_CHECKS = [prefill_hangs]


def checks_of(bench):
    return CHECKS + (TCP_CHECKS if "transport" in bench.extra else [])


def main():
    args = arguments(__doc__, "settings", ours="the glassbox binary")
    settings_suite("P/D with deaths", SETTINGS, args, Bench, checks_of)


if __name__ == "__main__":
    main()
