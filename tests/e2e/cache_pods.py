"""The pod of a cache as its node has it: processes that can be killed, files that can be looked at, time that it takes.

Nodes of the provider `local` are namespaces of this machine, so root sees it all from outside, whether or not an API
server, a kubelet or a container is there to be asked.
"""

import contextlib
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from tests.cluster import cgroups
from tests.cluster.processes import Process, kill
from tests.e2e.cache_site import CacheSite
from tests.waiting import wait_for

CACHE = "var/lib/glance-cache/images"
AGENT, WORKER, API = ("-m", "prefetcher"), ("-m", "prefetcher.worker"), ("glance.wsgi.api:application",)
"""Words in the command lines of the programs."""


@dataclass(frozen=True)
class CachePod:
    """The pod with this uid."""

    node: str
    uid: str

    # -- processes -----------------------------------------------------------------------------------------------

    def processes(self, *words: str) -> list[Process]:
        """Its processes whose command lines have these words."""
        return [process for process in self._all() if set(words) <= set(_command(process))]

    def _all(self) -> Iterator[Process]:
        pids: list[str] = []
        for container in self._containers("memory"):
            with contextlib.suppress(OSError):  # it has gone meanwhile
                pids += (container / "cgroup.procs").read_text().split()
        for pid in pids:
            process = Process.observe(int(pid))
            if process is not None and process.alive():
                yield process

    def _containers(self, controller: str) -> Iterator[Path]:
        """The cgroups of its containers; those of pods that have no guarantee are one level deeper."""
        tree = Path("/sys/fs/cgroup") / ("" if cgroups.is_v2() else controller)
        for level in ("", "*/"):
            yield from tree.glob(f"image-service-*-{self.node}/kubepods/{level}pod{self.uid}/*/")

    def one(self, *words: str) -> Process:
        """The process whose command line has these words: of several the first, which has started the others."""
        found: list[Process] = wait_for(lambda: self.processes(*words), 60, f"{words} runs on {self.node}")
        return min(found, key=lambda process: (process.started, process.pid))

    def kill(self, *words: str) -> None:
        """Kill all processes whose command lines have these words, and wait until they are gone."""
        found = self.processes(*words)
        assert found, f"{words} does not run on {self.node}"
        kill(found)

    def cpu_seconds(self, *words: str) -> float:
        """What the container of a process has taken of a processor, processes that are gone included."""
        pid = str(self.one(*words).pid)
        groups = self._containers("cpuacct")
        [group] = [entry for entry in groups if pid in (entry / "cgroup.procs").read_text().split()]
        if not cgroups.is_v2():
            return int((group / "cpuacct.usage").read_text()) / 1e9
        lines = (group / "cpu.stat").read_text().splitlines()
        return int(dict(line.split() for line in lines)["usage_usec"]) / 1e6

    # -- files ---------------------------------------------------------------------------------------------------

    def directory(self) -> Path:
        """Its cache directory, as a process of it sees it."""

        def look() -> Path | None:
            roots = (Path(f"/proc/{process.pid}/root/{CACHE}") for process in self._all())
            return next((root for root in roots if root.exists()), None)

        found: Path = wait_for(look, 60, f"a process on {self.node} that has the cache")
        return found

    def holds(self, image_id: str) -> bool:
        """Whether the file of an image is in the cache."""
        return (self.directory() / image_id).exists()

    def fetched_bytes(self, image_id: str) -> int:
        """How much of an image is there of a fetch that runs; 0 where none does."""
        with contextlib.suppress(OSError):
            return (self.directory() / "incomplete" / f"{image_id}.part").stat().st_size
        return 0

    def used_bytes(self) -> int:
        """What all files of the cache take."""
        used = 0
        for folder, _, names in os.walk(self.directory()):
            for name in names:
                with contextlib.suppress(OSError):
                    used += (Path(folder) / name).stat().st_size
        return used

    def wait_until_it_fetches(self, image_id: str, seconds: float = 240) -> int:
        """Wait until a fetch is under way; return how many bytes are there."""
        where = f"{self.node} fetches {image_id}"
        return int(wait_for(lambda: self.fetched_bytes(image_id), seconds, where, pause=0.02))

    def wait_until_it_holds(self, *image_ids: str, seconds: float = 240) -> None:
        """Wait until images are in the cache."""
        wait_for(lambda: all(self.holds(image) for image in image_ids), seconds, f"{self.node} holds {image_ids}")


def _command(process: Process) -> list[str]:
    with contextlib.suppress(OSError):
        return Path(f"/proc/{process.pid}/cmdline").read_text().split("\0")
    return []


def pods_of(site: CacheSite) -> dict[str, CachePod]:
    """Node -> pod of the policy."""
    return {node: CachePod(node, pod["metadata"]["uid"]) for node, pod in site.cache_pods().items()}
