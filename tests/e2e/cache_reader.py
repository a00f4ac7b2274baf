"""A client on a node that reads images through the cache of that node, one after the other, and counts.

    cache_reader.py GLANCE TOKEN SECONDS ID=SHA512...   with SECONDS between two reads

It says `begun` after its first read, ends when its standard input is closed, and prints a JSON line of counts then.
"""

import contextlib
import http.client
import itertools
import json
import select
import subprocess
import sys
import time
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from demo import image_client

if TYPE_CHECKING:
    from tests.e2e.cache_site import CacheSite

_REPOSITORY = Path(__file__).resolve().parents[2]


@dataclass
class Report:
    """What a reader has counted.

    `failed` has a line for each read that failed, `digests` the SHA-512 of what came last, by image; `slowest` is the
    longest read in seconds.
    """

    reads: int = 0
    failed: list[str] = field(default_factory=list)
    digests: dict[str, str] = field(default_factory=dict)
    slowest: float = 0.0


@contextlib.contextmanager
def reading(
    site: "CacheSite", url: str, nodes: Iterable[str], images: Mapping[str, str], pause: float = 0.3
) -> Iterator[dict[str, Report]]:
    """Have a client on each of these nodes read images (id -> SHA-512); the counts are there after the block."""
    specs = [f"{image}={digest}" for image, digest in images.items()]
    words = [sys.executable, __file__, url, site.token(), str(pause), *specs]
    environment = {**site.cluster.environment, "PYTHONPATH": str(_REPOSITORY)}
    with contextlib.ExitStack() as stack:
        clients = {}
        for node in nodes:
            command = site.cluster.node_command(node, words)
            pipes: dict[str, Any] = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
            clients[node] = stack.enter_context(subprocess.Popen(command, env=environment, **pipes))
            stack.callback(clients[node].kill)
        for client in clients.values():
            assert client.stdout
            assert client.stdout.readline() == "begun\n"
        reports: dict[str, Report] = {}
        yield reports
        for node, client in clients.items():
            said, _ = client.communicate("", timeout=150)
            reports[node] = Report(**json.loads(said))
            report = reports[node]
            print(f"{node}: {report.reads} reads, {len(report.failed)} failed, the slowest took {report.slowest:.1f} s")


def _read(glance: str, token: str, image_id: str, digest: str, report: Report) -> None:
    began = time.monotonic()
    try:
        received, _ = image_client.Images(glance, token).download(image_id)
        report.digests[image_id] = received
        if received != digest:
            raise image_client.Refused(f"image {image_id} reads back differently")  # noqa: TRY301
        report.reads += 1
    except (OSError, http.client.HTTPException, image_client.Refused) as error:
        report.failed.append(f"{time.strftime('%H:%M:%S')} {type(error).__name__}: {error}")
    report.slowest = max(report.slowest, time.monotonic() - began)


def _is_over(pause: float) -> bool:
    readable, _, _ = select.select([sys.stdin], [], [], pause)
    return bool(readable) and not sys.stdin.readline()


def main() -> None:
    """Read until told to end."""
    glance, token, pause, *specs = sys.argv[1:]
    report = Report()
    for image_id, _, digest in (spec.partition("=") for spec in itertools.cycle(specs)):
        _read(glance, token, image_id, digest, report)
        if report.reads + len(report.failed) == 1:
            print("begun", flush=True)
        if _is_over(float(pause)):
            break
    print(json.dumps(vars(report)))


if __name__ == "__main__":
    main()
