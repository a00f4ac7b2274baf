"""`python -m tests.soak --minutes 30`: changes, faults and reads at random, with a rest now and then.

Two operators, each with namespaces of its own: one behind a fault proxy, now and then killed; one that talks TLS to the
API server itself and lives through all of it. At each rest everything is healed and every namespace gets the same
spec: all must become Ready, end in the same state object by object, and move no more. Then memory and open sockets are
read; both must be level at the end. The exit status is 0 if all of that held.
"""

import argparse
import json
import random
import shutil
import sys
import tempfile
import time
import uuid
from collections import Counter
from contextlib import suppress
from pathlib import Path

from tests import caches_stand_in, keystone_stand_in
from tests.api_client import ApiClient, Refused
from tests.cluster import local, state
from tests.faults.proxy import FaultProxy
from tests.faults.scenarios import OWN_KINDS
from tests.soak.actions import bring, faults, good, one_change
from tests.soak.levels import LEAST_SAMPLES, grew, thirds
from tests.soak.sides import Side, differences_of
from tests.waiting import wait_for

REST_EVERY_SECONDS = 60.0
SAME_SECONDS = 45.0
"""Longer than twice the pause after which an operator here reads all lists anew, or once asks a silent agent again."""
NAMESPACES = 3
MEMORY_SHARE, MEMORY_SLACK_MIB = 0.05, 4.0
SOCKETS_SLACK = 3


class Soak:
    """The clock, the chance and the counts of one run."""

    def __init__(self, sides: tuple[Side, ...], seed: int) -> None:
        self.sides = sides
        self.seed = seed
        self.chance = random.Random(seed)
        self.counts: Counter[str] = Counter()
        self.began = time.monotonic()

    def say(self, text: str) -> None:
        """Print a line with the time."""
        print(f"[{time.monotonic() - self.began:7.1f} s] {text}", flush=True)

    def unrest(self, seconds: float) -> None:
        """Let things happen for a while."""
        until = time.monotonic() + seconds
        heal_at = 0.0
        while time.monotonic() < until:
            side = self.chance.choice(self.sides)
            self.counts[one_change(self.chance, side)] += 1
            self.revive()
            if side.proxy is not None and time.monotonic() > heal_at:
                side.proxy.heal()
                broken = faults(self.chance)
                side.proxy.inject(*broken)
                self.counts[f"fault: {type(broken[0]).__name__}"] += 1
                heal_at = time.monotonic() + self.chance.uniform(1, 8)
                if self.chance.random() < 0.1:
                    side.kill()
                    self.counts["operator killed"] += 1
            time.sleep(self.chance.uniform(0.05, 0.6))

    def rest(self) -> None:
        """Heal all, wait until every namespace is in the same good state, and read the levels.

        Raises AssertionError where that state is not reached.
        """
        wanted = good(self.chance)
        for side in self.sides:
            if side.proxy is not None:
                side.proxy.heal()
            for namespace in side.namespaces:
                side.restore(namespace)
            side.wait_gone(self.revive)
            for namespace in side.namespaces:
                bring(side, namespace, wanted)
        for side in self.sides:
            side.wait_settled(wanted, self.revive)
            with suppress(AssertionError):  # what lost events left is found when the lists are read anew
                wait_for(lambda side=side: not differences_of(side.end_states()), SAME_SECONDS, "the same", pause=2)
            found = differences_of(side.end_states())
            assert not found, "\n".join([f"{side.name}: one spec, several ends:", *found])
            side.read_levels()
        self.counts["rest"] += 1
        levels = [f"{side.name}: {side.memory[-1]:.1f} MiB, {side.sockets[-1]} sockets" for side in self.sides]
        self.say("; ".join(levels))

    def revive(self) -> None:
        """Start operators that a fault has ended."""
        for side in self.sides:
            if side.revive():
                self.counts[f"operator ended and started again: {side.name}"] += 1


def main() -> int:
    """Run the soak; see the head of this file."""
    parser = argparse.ArgumentParser(prog="python -m tests.soak", description=__doc__)
    parser.add_argument("--minutes", type=float, default=30, metavar="N")
    parser.add_argument("--seed", type=int, default=None, help="default: by chance, and printed")
    parser.add_argument("--output", type=Path, default=Path(".work/soak"), metavar="DIR")
    wanted = parser.parse_args()
    seed = random.SystemRandom().randrange(10**6) if wanted.seed is None else wanted.seed
    wanted.output.mkdir(parents=True, exist_ok=True)
    print(f"seed {seed}, {wanted.minutes:g} minutes", flush=True)
    directory = Path(tempfile.mkdtemp(prefix="soak-"))
    cluster = local.up(state.registry() / f"soak-{uuid.uuid4().hex[:6]}", nodes=0, fake_nodes=3, keep=False)
    try:
        cluster.kubectl("apply", "--server-side", "-f", "crds")
        cluster.kubectl("wait", "--for=condition=Established", "crd", "--all", "--timeout=30s")
        with keystone_stand_in.running() as keystone, caches_stand_in.running() as programs:
            api = ApiClient(cluster.kubeconfig)
            wait_for(lambda: _serves(api), 30, f"the API server lists {OWN_KINDS}")
            with FaultProxy(api, directory) as proxy:
                sides = (
                    Side("faulty", api, proxy.kubeconfig, directory, _names("f"), keystone.cloud, programs, proxy),
                    Side("direct", api, cluster.kubeconfig, directory, _names("d"), keystone.cloud, programs),
                )
                soak = Soak(sides, seed)
                return _report(soak, wanted.output) if _run(soak, wanted.minutes * 60, wanted.output) else 1
    finally:
        cluster.down()
        shutil.rmtree(directory)


def _serves(api: ApiClient) -> bool:
    """Tell whether our kinds are served: one that is new is not there at once."""
    with suppress(Refused):
        return all(api.list(kind) is not None for kind in OWN_KINDS)
    return False


def _run(soak: Soak, seconds: float, output: Path) -> bool:
    """Go on for so long; tell whether every rest was reached."""
    try:
        for side in soak.sides:
            side.prepare()
            side.start()
        soak.rest()
        while time.monotonic() - soak.began < seconds:
            soak.unrest(REST_EVERY_SECONDS)
            soak.rest()
    except AssertionError as failure:
        soak.say(f"FAILED (seed {soak.seed}): {failure}")
        for side in soak.sides:
            shutil.copy(side.directory / f"{side.name}.log", output)
        return False
    finally:
        for side in soak.sides:
            if side.operator is not None:
                side.operator.stop()
    return True


def _names(letter: str) -> tuple[str, ...]:
    return tuple(f"{letter}-{uuid.uuid4().hex[:8]}" for _ in range(NAMESPACES))


def _report(soak: Soak, output: Path) -> int:
    for name, count in sorted(soak.counts.items()):
        print(f"  {count:6}  {name}")
    grown = []
    for side in soak.sides:
        figures: dict[str, list[float]] = {"memory (MiB)": side.memory, "sockets": [*map(float, side.sockets)]}
        for name, samples in figures.items():
            share, slack = (MEMORY_SHARE, MEMORY_SLACK_MIB) if name.startswith("memory") else (0.0, SOCKETS_SLACK)
            if side.starts == 1 and grew(samples, share=share, slack=slack):
                grown.append(f"{side.name}: {name} grew: {samples}")
            if len(samples) >= LEAST_SAMPLES:
                middle, last = thirds(samples)
                print(f"  {side.name}, {name}: {middle:.1f} in the middle third, {last:.1f} in the last")
    record = {"seed": soak.seed, "counts": dict(soak.counts)}
    levels = {side.name: {"memory_mib": side.memory, "sockets": side.sockets} for side in soak.sides}
    (output / "soak.json").write_text(json.dumps(record | {"levels": levels}, indent=2) + "\n")
    print("\n".join(grown) if grown else "memory and open sockets are level")
    return 1 if grown else 0


if __name__ == "__main__":
    sys.exit(main())
