"""One image on one node: the agent beside `curl … | tee FILE | sha512sum`, its memory, and what it takes when idle."""

import os
import shlex
import subprocess
import time
from dataclasses import dataclass, field
from pathlib import Path

from tests.agent_process import Agent
from tests.cluster.progress import say
from tests.glance import client
from tests.glance.prefetcher import CacheNode, agent_of
from tests.waiting import wait_for

from bench.caches.place import Place, node_beside_a_plain_api
from bench.process import own_cpu_seconds
from bench.results import Results
from bench.samples import median

MEBIBYTE = 2**20
SETTLED_IMAGES = 20
"""So many small images are wanted and there while the agent is idle."""
FETCH_SECONDS = 300
SETTLE_SECONDS = 120
"""How long until the agent has ended its worker: a minute after it had something to do."""
_LOOK_SECONDS = 0.01


@dataclass
class _Rounds:
    agent: list[float] = field(default_factory=list)
    curl: list[float] = field(default_factory=list)
    curl_and_sync: list[float] = field(default_factory=list)
    cpu: list[float] = field(default_factory=list)
    peak_kib: list[int] = field(default_factory=list)


def measure(at: Place, results: Results, *, mebibytes: int, rounds: int, idle_seconds: float) -> None:
    """Record all figures of one node."""
    with node_beside_a_plain_api(at) as node, agent_of(node, at.directory / "agent").running() as agent:
        say(f"an image of {mebibytes} MiB is uploaded")
        image = client.upload(node.at.glance, node.at.user, os.urandom(mebibytes * MEBIBYTE))
        small = [client.upload(node.at.glance, node.at.user, os.urandom(MEBIBYTE)) for _ in range(SETTLED_IMAGES)]
        uid = agent.put_set(*small)
        for one in small:
            agent.wait(one, "Cached")
        _record(results, mebibytes, _rounds(node, agent, image, rounds))
        _idle(agent, results, idle_seconds)
        agent.call("DELETE", f"/v1/sets/{uid}")


def _rounds(node: CacheNode, agent: Agent, image: str, rounds: int) -> _Rounds:
    """Do the three things in turns, so that what else happens on the machine meets all alike."""
    found = _Rounds()
    _fetch(agent, image, _Rounds())
    for number in range(rounds):
        say(f"round {number + 1} of {rounds}")
        _fetch(agent, image, found)
        found.curl.append(_curl(node, image))
        found.curl_and_sync.append(_curl(node, image, then="sync {file}"))
    return found


def _fetch(agent: Agent, image: str, found: _Rounds) -> None:
    os.sync()
    before, cpu = len(agent.events("Fetched")), _cpu_seconds(agent)
    began = time.monotonic()
    uid = agent.put_set(image)
    wait_for(lambda: len(agent.events("Fetched")) > before, FETCH_SECONDS, "the image", pause=_LOOK_SECONDS)
    found.agent.append(time.monotonic() - began)
    found.cpu.append(_cpu_seconds(agent) - cpu)
    found.peak_kib.append(sum(_level(pid, "VmHWM") for pid in _processes(agent)))
    agent.wait(image, "Cached")
    agent.call("DELETE", f"/v1/sets/{uid}")
    assert agent.call("DELETE", f"/v1/cache/{image}")[0] == 200


def _curl(node: CacheNode, image: str, then: str = "true") -> float:
    """Return how long the same takes by hand; the hash must be that of the image."""
    glance, file = node.at.glance, node.cache.parent / "by-hand"
    wanted = client.image(glance, node.at.user, image)["os_hash_value"]
    url = f"http://127.0.0.1:{glance.port}/v2/images/{image}/file"
    header, quoted = shlex.quote(f"X-Auth-Token: {node.at.user.token}"), shlex.quote(str(file))
    script = f"curl --silent --fail --header {header} {url} | tee {quoted} | sha512sum && {then.format(file=quoted)}"
    os.sync()
    began = time.monotonic()
    done = subprocess.run(["bash", "-o", "pipefail", "-c", script], capture_output=True, text=True, check=True)
    seconds = time.monotonic() - began
    assert done.stdout.split()[0] == wanted
    file.unlink()
    return seconds


def _record(results: Results, mebibytes: int, found: _Rounds) -> None:
    results.record("fetch.image", 1, mebibytes)
    for name, samples in (("agent", found.agent), ("curl", found.curl), ("curl_and_sync", found.curl_and_sync)):
        results.samples.setdefault(f"fetch.{name}", {})[1] = [round(sample, 3) for sample in samples]
        results.record(f"fetch.{name}.median", 1, median(samples))
        results.record(f"fetch.{name}.max", 1, max(samples))
    results.record("fetch.ratio", 1, median(found.agent) / median(found.curl))
    results.record("fetch.ratio_and_sync", 1, median(found.agent) / median(found.curl_and_sync))
    results.record("fetch.cpu", 1, median(found.cpu))
    results.record("memory.peak", 1, max(found.peak_kib) / 1024)


def _idle(agent: Agent, results: Results, seconds: float) -> None:
    say("the agent settles")
    wait_for(lambda: agent.worker_pid() is None, SETTLE_SECONDS, "the worker ends", pause=1)
    results.record("memory.settled", 1, agent.rss_kib() / 1024)
    before = agent.cpu_seconds()
    time.sleep(seconds)
    results.record("idle.cpu", 1, (agent.cpu_seconds() - before) * 60 / seconds)


def _processes(agent: Agent) -> list[int]:
    assert agent.process
    worker = agent.worker_pid()
    return [agent.process.pid, *([worker] if worker else [])]


def _cpu_seconds(agent: Agent) -> float:
    return agent.cpu_seconds() + sum(own_cpu_seconds(pid) for pid in _processes(agent)[1:])


def _level(pid: int, name: str) -> int:
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return int(next(line.split()[1] for line in lines if line.startswith(f"{name}:")))
