"""What the measurements run on: real Keystone, MariaDB and Glance on loopback, and a node with a real agent."""

import contextlib
import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from tests.glance.conftest import InstalledGlance, installed_glance
from tests.glance.databases import mariadb
from tests.glance.prefetcher import CacheNode
from tests.glance.stores import glance_with
from tests.keystone import KeystoneServer, running_keystone
from tests.unit.render import samples


@dataclass(frozen=True)
class Place:
    """What runs, and a directory on the disk that is measured."""

    installed: InstalledGlance
    keystone: KeystoneServer
    directory: Path


@contextlib.contextmanager
def place(release: str, directory: Path) -> Iterator[Place]:
    """Run a Keystone and a MariaDB until the block ends."""
    for name in ("keystone", "mariadb", "glance"):
        (directory / name).mkdir()
    with (
        running_keystone(directory / "keystone") as keystone,
        mariadb(directory / "mariadb") as server,
        installed_glance(release, server, directory / "glance") as installed,
    ):
        yield Place(installed, keystone, directory)


@contextlib.contextmanager
def node_beside_a_plain_api(at: Place) -> Iterator[CacheNode]:
    """Run a Glance without a cache, with a file store, and give the node of an agent that has the same store.

    With a cache, the API would write what it sends to the disk a second time.
    """
    directory = at.directory / "node"
    directory.mkdir()
    stores = (samples.store("central"),)
    with glance_with(stores, at.installed, at.installed.environment, at.keystone, directory) as glance:
        variables = {
            "OS_DEFAULT__IMAGE_CACHE_DIR": str(directory / "cache" / "images"),
            "OS_DEFAULT__WORKER_SELF_REFERENCE_URL": f"http://node-{uuid.uuid4().hex[:6]}:9292",
        }
        yield CacheNode(glance, at.installed.environment, variables)
